"""The activation functions of Table 65.1, with the derivatives of (65.6)-(65.12), and of Problem 65.4.

Rules use the output where that is cheaper, as the chapter's derivatives (65.6), (65.7) do: ``tanh' = 1 - y**2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..errors import ArgumentError
from ..op import Gradient, Op, documents
from ..tensor import Operand, Tensor, as_tensor
from .elementwise import FloatingOp, gate, where


class Sigmoid(FloatingOp):
    """Sigmoid ``y = 1 / (1 + exp(-z))`` (Table 65.1), with its derivative ``y (1 - y)`` (65.6)."""

    rule = "dz = dy y (1 - y)"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        small = xp.exp(-xp.abs(z))  # at most 1: neither branch overflows
        return xp.divide(xp.where(z >= 0, xp.ones_like(small), small), 1 + small, out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy * (y * (1.0 - y)),)


class Softplus(FloatingOp):
    """Softplus ``y = log(1 + exp(z))`` (Table 65.1)."""

    rule = "dz = dy sigmoid(z)"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.add(xp.maximum(z, 0), xp.log1p(xp.exp(-xp.abs(z))), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy * sigmoid(z),)


class Tanh(FloatingOp):
    """Hyperbolic tangent ``y = tanh(z)`` (Table 65.1), with its derivative ``1 - y**2`` (65.7)."""

    rule = "dz = dy (1 - y**2)"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.tanh(z, out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy * (1.0 - y * y),)


@dataclass(frozen=True)
class ScaledTanh(FloatingOp):
    """Scaled hyperbolic tangent ``y = a tanh(b z)`` (Table 65.1)."""

    rule = "dz = dy b (a - y**2 / a)"
    a: float
    b: float

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.multiply(xp.tanh(z * self.b), self.a, out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy * (self.a * self.b - y * y * (self.b / self.a)),)


class Relu(FloatingOp):
    """Rectifier, ReLU, ``y = max(0, z)`` (Table 65.1), with derivative 0 at 0 (65.11)."""

    rule = "dz = dy where z > 0, 0 elsewhere"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.maximum(z, 0, out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (gate(dy, y),)


@dataclass(frozen=True)
class TwoSidedRelu(FloatingOp):
    """Two slopes ``y = max(0, z) + alpha min(0, z)`` (Problem 65.4), with slope 0 at 0, as leaky ReLU's (65.12)."""

    rule = "dz = dy where z > 0, alpha dy where z < 0, 0 at 0"
    alpha: float

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.add(xp.maximum(z, 0), self.alpha * xp.minimum(z, 0), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (gate(dy, z) + self.alpha * gate(dy, -z),)


class LeakyRelu(TwoSidedRelu):
    """Leaky ReLU ``y = z`` for ``z >= 0``, ``alpha z`` below (Table 65.1), with derivative 0 at 0 (65.12)."""


@dataclass(frozen=True)
class Elu(FloatingOp):
    """Exponential linear unit, ELU, ``y = z`` for ``z >= 0``, ``alpha (exp(z) - 1)`` below (Table 65.1)."""

    rule = "dz = dy where z >= 0, dy (y + alpha) elsewhere"
    alpha: float = 1.0

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return xp.where(z > 0, z, self.alpha * xp.expm1(xp.minimum(z, 0)))

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy * where(z >= 0, 1.0, y + self.alpha),)


class Identity(Op):
    """Identity ``y = z``: the linear activation of regression."""

    rule = "dz = dy"
    view = True

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        return z

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy,)


_sigmoid, _softplus, _tanh, _relu, _identity = Sigmoid(), Softplus(), Tanh(), Relu(), Identity()
SCALED_TANH_B = 2.0 / 3.0
SCALED_TANH_A = 1.0 / math.tanh(2.0 / 3.0)
_scaled_tanh = ScaledTanh(SCALED_TANH_A, SCALED_TANH_B)
_leaky_relu, _elu = LeakyRelu(0.01), Elu()


@documents(Sigmoid)
def sigmoid(z: Operand) -> Tensor:
    """Return the sigmoid ``1 / (1 + exp(-z))`` of every entry (Table 65.1); it never overflows."""
    return _sigmoid(z)


@documents(Softplus)
def softplus(z: Operand) -> Tensor:
    """Return the softplus ``log(1 + exp(z))`` of every entry (Table 65.1); it never overflows."""
    return _softplus(z)


@documents(Tanh)
def tanh(z: Operand) -> Tensor:
    """Return the hyperbolic tangent, tanh, of every entry (Table 65.1)."""
    return _tanh(z)


@documents(ScaledTanh)
def scaled_tanh(z: Operand, a: float = SCALED_TANH_A, b: float = SCALED_TANH_B) -> Tensor:
    """Return the scaled hyperbolic tangent ``a tanh(b z)`` of every entry (Table 65.1).

    Parameters
    ----------
    z : tensor
    a, b : float
        By default ``b = 2/3`` and ``a = 1 / tanh(2/3)``, so that 1 and -1 map to themselves: the constants of
        the scaled tanh in (65.10).
    """
    if a == 0:
        raise ArgumentError("scaled_tanh: a must not be 0, the output would be constant")
    return _scaled_tanh(z) if (a, b) == (SCALED_TANH_A, SCALED_TANH_B) else ScaledTanh(a, b)(z)


@documents(Relu)
def relu(z: Operand) -> Tensor:
    """Return the rectifier, ReLU, ``max(0, z)`` of every entry (Table 65.1); the derivative at 0 is 0 (65.11)."""
    return _relu(z)


@documents(LeakyRelu)
def leaky_relu(z: Operand, slope: float = 0.01) -> Tensor:
    """Return the leaky ReLU of every entry, `z` from 0 on and ``slope z`` below; the derivative at 0 is 0 (65.12)."""
    return _leaky_relu(z) if slope == 0.01 else LeakyRelu(slope)(z)


@documents(Elu)
def elu(z: Operand, alpha: float = 1.0) -> Tensor:
    """Return the ELU of every entry, `z` from 0 on and ``alpha (exp(z) - 1)`` below (Table 65.1).

    The derivative at 0 is 1, the slope of the branch that 0 belongs to in the table; in PyTorch it is alpha.
    """
    return _elu(z) if alpha == 1.0 else Elu(alpha)(z)


@documents(TwoSidedRelu)
def two_sided_relu(z: Operand, alpha: float) -> Tensor:
    """Return ``max(0, z) + alpha min(0, z)`` of every entry (Problem 65.4); the derivative at 0 is 0."""
    return TwoSidedRelu(alpha)(z)


@documents(Identity)
def identity(z: Operand) -> Tensor:
    """Return `z` itself, as a node of the graph."""
    return _identity(as_tensor(z))
