"""The activation functions of Table 65.1, with the derivatives of (65.6)-(65.12), of Problem 65.4, and softmax.

Rules use the output where that is cheaper, as the chapter's derivatives (65.6), (65.7) do: ``tanh' = 1 - y**2``.
No exponential overflows, for any input; those of softmax are taken after subtracting the largest element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..arguments import number
from ..errors import ArgumentError
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace
from .axes import check_axis, plain_axes
from .declare import FloatingOp, applies, instance, operation
from .elementwise import abs, divide, erf, exp, gate, greater_equal, multiply, square, where
from .reduce import sum

__all__ = ["elu", "gelu", "identity", "leaky_relu", "log_softmax", "relu", "scaled_tanh", "selu", "sigmoid", "silu"]
__all__ += ["softmax", "softplus", "softsign", "tanh", "two_sided_relu"]

SCALED_TANH_B = 2.0 / 3.0
SCALED_TANH_A = 1.0 / math.tanh(2.0 / 3.0)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, (14)


def _sigmoid(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    # both exponentials are at most 1: nothing overflows
    return xp.divide(xp.exp(xp.minimum(z, 0)), 1 + xp.exp(-xp.abs(z)), out=out)


@operation("dz = dy y (1 - y)", FloatingOp, forward=_sigmoid, equation="(65.6)")
def sigmoid(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return the sigmoid ``1 / (1 + exp(-z))`` of every element (Table 65.1), derivative ``y (1 - y)`` (65.6)."""
    return (dy * (y * (1.0 - y)),)


def _softplus(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return xp.add(xp.maximum(z, 0), xp.log1p(xp.exp(-xp.abs(z))), out=out)


@operation("dz = dy sigmoid(z)", FloatingOp, forward=_softplus)
def softplus(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return the softplus ``log(1 + exp(z))`` of every element (Table 65.1); it never overflows."""
    return (dy * sigmoid(z),)


@operation("dz = dy (1 - y**2)", FloatingOp, equation="(65.7)")
def tanh(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return the hyperbolic tangent, tanh, of every element (Table 65.1); its derivative is ``1 - y**2`` (65.7)."""
    return (dy * (1.0 - y * y),)


@dataclass(frozen=True)
class ScaledTanh(FloatingOp):
    """Scaled hyperbolic tangent ``y = a tanh(b z)``."""

    rule = "dz = dy b (a - y**2 / a)"
    a: float
    b: float

    def forward(self, xp: Namespace, z: Array, out: Array | None = None) -> Array:
        return xp.multiply(xp.tanh(z * self.b), self.a, out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> Gradients:
        return (dy * (self.a * self.b - y * y * (self.b / self.a)),)


@applies(ScaledTanh)
def scaled_tanh(z: Operand, a: float = SCALED_TANH_A, b: float = SCALED_TANH_B) -> Tensor:
    """Return the scaled hyperbolic tangent ``a tanh(b z)`` of every element (Table 65.1).

    Parameters
    ----------
    z : tensor
    a, b : float
        By default ``b = 2/3`` and ``a = 1 / tanh(2/3)``, so that 1 and -1 map to themselves: the constants of
        the scaled tanh in (65.10).
    """
    a, b = number("scaled_tanh: a", a), number("scaled_tanh: b", b)
    if a == 0:
        raise ArgumentError("scaled_tanh: a must not be 0, the output would be constant")
    return instance(ScaledTanh, a, b)(z)


def _positive_part(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return xp.maximum(z, 0, out=out)


@operation("dz = dy where z > 0, 0 elsewhere", FloatingOp, forward=_positive_part, equation="(65.11)")
def relu(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return the rectifier, ReLU, ``max(0, z)`` of every element (Table 65.1); the derivative at 0 is 0 (65.11)."""
    return (gate(dy, y),)


@dataclass(frozen=True)
class TwoSidedRelu(FloatingOp):
    """Two slopes ``y = max(0, z) + alpha min(0, z)``."""

    rule = "dz = dy where z > 0, alpha dy where z < 0, 0 at 0"
    alpha: float

    def forward(self, xp: Namespace, z: Array, out: Array | None = None) -> Array:
        return xp.add(xp.maximum(z, 0), self.alpha * xp.minimum(z, 0), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> Gradients:
        return (gate(dy, z) + self.alpha * gate(dy, -z),)


@applies(TwoSidedRelu)
def two_sided_relu(z: Operand, alpha: float) -> Tensor:
    """Return ``max(0, z) + alpha min(0, z)`` of every element (Problem 65.4); the derivative at 0 is 0."""
    return instance(TwoSidedRelu, number("two_sided_relu: alpha", alpha))(z)


class LeakyRelu(TwoSidedRelu):
    """Leaky ReLU ``y = z`` for ``z >= 0``, ``alpha z`` below."""

    equation = "(65.12)"


@applies(LeakyRelu)
def leaky_relu(z: Operand, slope: float = 0.01) -> Tensor:
    """Return the leaky ReLU of every element, `z` from 0 on and ``slope z`` below; the derivative at 0 is 0 (65.12)."""
    return instance(LeakyRelu, number("leaky_relu: slope", slope))(z)


@dataclass(frozen=True)
class Elu(FloatingOp):
    """Exponential linear unit, ELU, ``y = z`` for ``z >= 0``, ``alpha (exp(z) - 1)`` below."""

    rule = "dz = dy where z >= 0, dy (y + alpha) elsewhere"
    alpha: float = 1.0

    def forward(self, xp: Namespace, z: Array, out: Array | None = None) -> Array:
        return xp.add(xp.maximum(z, 0), self.alpha * xp.expm1(xp.minimum(z, 0)), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> Gradients:
        return (dy * where(z >= 0, 1.0, y + self.alpha),)


@applies(Elu)
def elu(z: Operand, alpha: float = 1.0) -> Tensor:
    """Return the ELU of every element, `z` from 0 on and ``alpha (exp(z) - 1)`` below (Table 65.1).

    The derivative at 0 is 1, the slope of the branch that 0 belongs to in the table; in PyTorch it is alpha.
    """
    return instance(Elu, number("elu: alpha", alpha))(z)


def _selu(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    below = SELU_SCALE * SELU_ALPHA * xp.expm1(xp.minimum(z, 0))
    return xp.add(SELU_SCALE * xp.maximum(z, 0), below, out=out)


@operation("dz = dy s where z >= 0, dy (y + s alpha) elsewhere", FloatingOp, forward=_selu)
def selu(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return the scaled ELU of every element: ``s z`` from 0 on and ``s alpha (exp(z) - 1)`` below.

    With s = 1.0507 and alpha = 1.6733, signals of mean 0 and variance 1 keep both from layer to layer (Klambauer et al.
    2017).
    """
    return (dy * where(greater_equal(z, 0), SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),)


def _gelu(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return xp.multiply(z, 0.5 * (1 + xp.erf(z * math.sqrt(0.5))), out=out)


@operation("dz = dy (P(z) + z p(z)), P and p of the standard normal distribution", FloatingOp, forward=_gelu)
def gelu(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return ``z P(z)`` of every element, with the distribution function P of the standard normal distribution."""
    below = 0.5 * (1.0 + erf(multiply(z, math.sqrt(0.5))))
    density = exp(square(z) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return (dy * (below + density * z),)


def _silu(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return xp.multiply(z, _sigmoid(xp, z), out=out)


@operation("dz = dy (s + y (1 - s)), s = sigmoid(z)", FloatingOp, forward=_silu)
def silu(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return ``z sigmoid(z)`` of every element, also called swish."""
    s = sigmoid(z)
    return (dy * (s + y * (1.0 - s)),)


def _softsign(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return xp.divide(z, 1 + xp.abs(z), out=out)


@operation("dz = dy / (1 + |z|)**2", FloatingOp, forward=_softsign)
def softsign(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return ``z / (1 + |z|)`` of every element."""
    return (dy * square(divide(1.0, 1.0 + abs(z))),)  # the quotient's square never overflows


def _same(xp: Namespace, z: Array, out: Array | None = None) -> Array:
    return z


@operation("dz = dy", Op, forward=_same, view=True)
def identity(dy: Tensor, y: Tensor, z: Operand) -> Gradients:
    """Return `z` itself, as a node of the graph: the linear activation of regression."""
    return (dy,)


@dataclass(frozen=True)
class _AlongAxis(Op):
    """An operation that treats the elements along one axis together."""

    axis: int = -1

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])
        check_axis(self, inputs[0], self.axis)


class Softmax(_AlongAxis):
    """Softmax ``y = exp(z) / sum exp(z)``."""

    rule = "dz = y (dy - sum(dy y)), the product with the Jacobian J = diag(y) - y y' (65.69)"

    def forward(self, xp: Namespace, z: Array, out: Array | None = None) -> Array:
        e = xp.exp(z - xp.max(z, axis=self.axis, keepdims=True))
        return xp.divide(e, xp.sum(e, axis=self.axis, keepdims=True), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> Gradients:
        return (y * (dy - sum(dy * y, self.axis, keepdims=True)),)


@applies(Softmax)
def softmax(z: Operand, axis: int = -1) -> Tensor:
    """Return the softmax along `axis` (65.13)-(65.15), (65.39): positive elements that add up to 1.

    Finite for every finite input, centred on the largest element along the axis.
    """
    return instance(Softmax, plain_axes("softmax", axis, z))(z)


class LogSoftmax(_AlongAxis):
    """Logarithm of the softmax ``y = z - log sum exp(z)``."""

    rule = "dz = dy - softmax(z) sum(dy)"

    def forward(self, xp: Namespace, z: Array, out: Array | None = None) -> Array:
        c = z - xp.max(z, axis=self.axis, keepdims=True)
        return xp.subtract(c, xp.log(xp.sum(xp.exp(c), axis=self.axis, keepdims=True)), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> Gradients:
        return (dy - exp(y) * sum(dy, self.axis, keepdims=True),)


@applies(LogSoftmax)
def log_softmax(z: Operand, axis: int = -1) -> Tensor:
    """Return the logarithm of the softmax along `axis`; finite where the softmax itself underflows."""
    return instance(LogSoftmax, plain_axes("log_softmax", axis, z))(z)
