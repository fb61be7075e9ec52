"""Softmax, its logarithm, and the losses that are computed from signals before the output activation.

Every exponential is taken after subtracting the largest entry, so nothing overflows, for any input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradient, Op, check_dtypes, documents
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
        if not inputs[0].shape[normalize_axis(self.name, self.axis, inputs[0])]:
            raise ShapeError(f"{self.name}: no entries along axis {self.axis} of shape {inputs[0].shape}")


class Softmax(_AlongAxis):
    """Softmax ``y = exp(z) / sum exp(z)`` (65.13)-(65.15), (65.39)."""

    rule = "dz = y (dy - sum(dy y)), the product with J = diag(y) - y y' (65.66)"

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


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Op):
    """Mean over the rows of ``-sum target log softmax(z)``: softmax and cross-entropy as one (65.125)-(65.131)."""

    rule = "dz = dy (softmax(z) sum(target) - target) / B"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless both are (B, C) with B > 0, of one floating dtype."""
        check_rows(self, inputs, "logits", "target")

    def forward(self, xp: Any, z: Array, target: Array, out: Array | None = None) -> Array:
        c = z - xp.max(z, axis=-1, keepdims=True)
        log_y = c - xp.log(xp.sum(xp.exp(c), axis=-1, keepdims=True))
        # An impossible class (z = -inf) that is not the target costs nothing: 0 log 0 = 0.
        cost = xp.where(target == 0, xp.zeros_like(target), log_y) * target
        return xp.sum(cost) * (-1.0 / z.shape[0])

    def backward(self, dy: Tensor, y: Tensor, z: Tensor, target: Tensor) -> tuple[Gradient, ...]:
        return (
            lambda: dy * _softmax_cross_entropy_slope(z, target),
            lambda: dy * (_log_softmax(z) * (-1.0 / z.shape[0])),
        )


@dataclass(frozen=True)
class SoftmaxCrossEntropySlope(Op):
    """The gradient of `SoftmaxCrossEntropy`, an operation itself: ``(softmax(z) sum(target) - target) / B``."""

    rule = "dz = sum(target) y (dy - sum(dy y)) / B with y = softmax(z)"

    def forward(self, xp: Any, z: Array, target: Array, out: Array | None = None) -> Array:
        e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
        e *= xp.sum(target, axis=-1, keepdims=True) / xp.sum(e, axis=-1, keepdims=True)
        e -= target
        return xp.multiply(e, 1.0 / z.shape[0], out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor, target: Tensor) -> tuple[Gradient, ...]:
        p = _softmax(z)
        dy = dy * (1.0 / z.shape[0])
        along = sum(dy * p, -1, keepdims=True)
        return lambda: sum(target, -1, keepdims=True) * p * (dy - along), lambda: along - dy


def check_rows(op: Op, inputs: tuple[Tensor, ...], *names: str) -> None:
    """Raise an error unless all inputs are floating, of one dtype, and of one shape (B, n) with B > 0."""
    check_dtypes(op, inputs)
    shape = inputs[0].data.shape
    for t, name in zip(inputs, names, strict=True):
        if t.data.dtype.kind != "f":
            check_floating(op, (t,))
        if t.data.shape != shape or len(shape) != 2:
            said = " and ".join(f"{n} {t.shape}" for n, t in zip(names, inputs, strict=True))
            raise ShapeError(f"{op.name}: expected {' and '.join(names)} of one shape (B, n), got {said} ({name})")
    if not shape[0] or not shape[1]:
        raise ShapeError(f"{op.name}: the batch is empty: {names[0]} has shape {shape}")


_softmax, _log_softmax = Softmax(), LogSoftmax()
_softmax_cross_entropy, _softmax_cross_entropy_slope = SoftmaxCrossEntropy(), SoftmaxCrossEntropySlope()


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


@documents(SoftmaxCrossEntropy)
def softmax_cross_entropy(z: Operand, target: Operand) -> Tensor:
    """Return the mean over the batch of ``-sum target log softmax(z)`` (65.125)-(65.131).

    Parameters
    ----------
    z, target : tensors of shape (B, C)
        The signals before the softmax, and one row of class probabilities for each sample.
    """
    return _softmax_cross_entropy(z, target)
