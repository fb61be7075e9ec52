"""Softmax and its logarithm.

Every exponential is taken after subtracting the largest entry, so nothing overflows, for any input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradient, Op, documents
from ..tensor import Operand, Tensor
from .elementwise import check_floating, exp
from .reduce import sum
from .shape import normalize_axis


@dataclass(frozen=True)
class _AlongAxis(Op):
    """An operation that treats the entries along one axis together."""

    axis: int = -1

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the axis does not exist or is empty, or dtypes do not fit."""
        check_floating(self, inputs)
        if not inputs[0].shape[normalize_axis(self.name, self.axis, inputs[0].shape)]:
            raise ShapeError(f"{self.name}: no entries along axis {self.axis} of shape {inputs[0].shape}")


class Softmax(_AlongAxis):
    """Softmax ``y = exp(z) / sum exp(z)`` (65.13)-(65.15), (65.39)."""

    rule = "dz = y (dy - sum(dy y)), the product with the Jacobian J = diag(y) - y y' (65.69)"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        e = xp.exp(z - xp.max(z, axis=self.axis, keepdims=True))
        return xp.divide(e, xp.sum(e, axis=self.axis, keepdims=True), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (y * (dy - sum(dy * y, self.axis, keepdims=True)),)


class LogSoftmax(_AlongAxis):
    """Logarithm of the softmax ``y = z - log sum exp(z)``."""

    rule = "dz = dy - softmax(z) sum(dy)"

    def forward(self, xp: Any, z: Array, out: Array | None = None) -> Array:
        c = z - xp.max(z, axis=self.axis, keepdims=True)
        return xp.subtract(c, xp.log(xp.sum(xp.exp(c), axis=self.axis, keepdims=True)), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return (dy - exp(y) * sum(dy, self.axis, keepdims=True),)


_softmax, _log_softmax = Softmax(), LogSoftmax()


@documents(Softmax)
def softmax(z: Operand, axis: int = -1) -> Tensor:
    """Return the softmax along `axis` (65.13)-(65.15), (65.39): positive entries that add up to 1.

    Finite for every finite input, centred on the largest entry along the axis.
    """
    return _softmax(z) if axis == -1 else Softmax(axis)(z)


@documents(LogSoftmax)
def log_softmax(z: Operand, axis: int = -1) -> Tensor:
    """Return the logarithm of the softmax along `axis`; finite where the softmax itself underflows."""
    return _log_softmax(z) if axis == -1 else LogSoftmax(axis)(z)
