"""Losses as operations: the batch mean of a sample's loss Q, with gradients in closed form.

A loss computed from the signals before the output activation never takes the logarithm of a rounded
probability, so it stays finite for every finite input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradient, Op, check_dtypes, documents
from ..tensor import Operand, Tensor
from .activation import sigmoid
from .elementwise import FloatingOp, check_floating, negative
from .reduce import sum
from .softmax import log_softmax, softmax


def check_pair(op: Op, inputs: tuple[Tensor, ...], what: str) -> None:
    """Raise an error unless both inputs are floating, of one dtype and of one shape (B, ...) with B > 0."""
    check_dtypes(op, inputs)
    for t in inputs:
        check_floating(op, (t,))
    a, b = inputs[0].data.shape, inputs[1].data.shape
    if a != b:
        raise ShapeError(f"{op.name}: {what} and target must have one shape, got {a} and {b}")
    if not inputs[0].data.size or not a:
        raise ShapeError(f"{op.name}: the batch is empty: {what} has shape {a}")


@dataclass(frozen=True)
class SquaredError(Op):
    """Mean over the batch of the squared distance ``|output - target|**2`` (65.48)."""

    rule = "doutput = dy 2 (output - target) / B, dtarget = -doutput"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless both are of one shape (B, ...) with B > 0, of one floating dtype."""
        check_pair(self, inputs, "output")

    def forward(self, xp: Any, output: Array, target: Array, out: Array | None = None) -> Array:
        return xp.sum(xp.square(output - target)) * (1.0 / output.shape[0])

    def backward(self, dy: Tensor, y: Tensor, output: Tensor, target: Tensor) -> tuple[Gradient, ...]:
        def slope() -> Tensor:
            return (output - target) * (dy * (2.0 / output.shape[0]))

        return slope, lambda: negative(slope())


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Op):
    """Mean over the rows of ``-sum target log softmax(z)``: softmax (65.126) and cross-entropy (65.128) as one."""

    rule = "dz = dy (softmax(z) sum(target) - target) / B"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless both are (B, C) with B > 0, of one floating dtype."""
        check_pair(self, inputs, "logits")
        if inputs[0].ndim != 2:
            raise ShapeError(f"{self.name}: expected logits of shape (B, classes), got {inputs[0].shape}")

    def forward(self, xp: Any, z: Array, target: Array, out: Array | None = None) -> Array:
        c = z - xp.max(z, axis=-1, keepdims=True)
        log_y = c - xp.log(xp.sum(xp.exp(c), axis=-1, keepdims=True))
        # An impossible class (z = -inf) that is not the target costs nothing: 0 log 0 = 0.
        cost = xp.where(target == 0, xp.zeros_like(target), log_y) * target
        return xp.sum(cost) * (-1.0 / z.shape[0])

    def backward(self, dy: Tensor, y: Tensor, z: Tensor, target: Tensor) -> tuple[Gradient, ...]:
        return (
            lambda: _softmax_cross_entropy_slope(dy, z, target),
            lambda: dy * (log_softmax(z) * (-1.0 / z.shape[0])),
        )


@dataclass(frozen=True)
class SoftmaxCrossEntropySlope(Op):
    """The gradient of `SoftmaxCrossEntropy` as an operation: ``dy (softmax(z) sum(target) - target) / B``."""

    rule = "its gradient in z is dy sum(target) p (v - sum(v p)) / B with p = softmax(z), v that of the output"

    def forward(self, xp: Any, dy: Array, z: Array, target: Array, out: Array | None = None) -> Array:
        e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
        e = e * (xp.sum(target, axis=-1, keepdims=True) / xp.sum(e, axis=-1, keepdims=True)) - target
        return xp.multiply(e, dy * (1.0 / z.shape[0]), out=out)

    def backward(self, v: Tensor, y: Tensor, dy: Tensor, z: Tensor, target: Tensor) -> tuple[Gradient, ...]:
        p = softmax(z)
        scale = dy * (1.0 / z.shape[0])
        along = sum(v * p, -1, keepdims=True)
        mass = sum(target, -1, keepdims=True)
        return (
            lambda: sum(v * (p * mass - target)) * (1.0 / z.shape[0]),
            lambda: scale * mass * p * (v - along),
            lambda: scale * (along - v),
        )


class SigmoidCrossEntropy(FloatingOp):
    """Entry by entry ``-t log s - (1 - t) log(1 - s)`` with ``s = sigmoid(z)``: sigmoid and cross-entropy as one."""

    rule = "dz = dy (sigmoid(z) - t), dt = -dy z"

    def forward(self, xp: Any, z: Array, t: Array, out: Array | None = None) -> Array:
        return xp.add(xp.maximum(z, 0) - z * t, xp.log1p(xp.exp(-xp.abs(z))), out=out)

    def backward(self, dy: Tensor, y: Tensor, z: Tensor, t: Tensor) -> tuple[Gradient, ...]:
        return lambda: dy * (sigmoid(z) - t), lambda: negative(dy * z)


_squared_error = SquaredError()
_sigmoid_cross_entropy = SigmoidCrossEntropy()
_softmax_cross_entropy, _softmax_cross_entropy_slope = SoftmaxCrossEntropy(), SoftmaxCrossEntropySlope()


@documents(SquaredError)
def squared_error(output: Operand, target: Operand) -> Tensor:
    """Return the mean over the batch of the squared distance ``|output - target|**2`` (65.48).

    Parameters
    ----------
    output, target : tensors of one shape (B, ...)
    """
    return _squared_error(output, target)


@documents(SoftmaxCrossEntropy)
def softmax_cross_entropy(z: Operand, target: Operand) -> Tensor:
    """Return the mean over the batch of the cross-entropy ``-sum target log softmax(z)`` (65.128).

    Parameters
    ----------
    z, target : tensors of shape (B, C)
        The signals before the softmax, and one row of class probabilities for each sample.
    """
    return _softmax_cross_entropy(z, target)


@documents(SigmoidCrossEntropy)
def sigmoid_cross_entropy(z: Operand, t: Operand) -> Tensor:
    """Return ``-t log s - (1 - t) log(1 - s)`` with ``s = sigmoid(z)``, entry by entry; finite for every finite `z`.

    Parameters
    ----------
    z, t : tensors whose shapes broadcast
        The signals before the sigmoid, and what they should become, from 0 to 1.
    """
    return _sigmoid_cross_entropy(z, t)
