"""Losses as operations: the batch mean of a sample's loss Q, with gradients in closed form.

A loss computed from the signals before the output activation never takes the logarithm of a rounded
probability, so it stays finite for every finite input.
"""

from __future__ import annotations

from ..errors import ShapeError
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, DTypeLike, Namespace
from .activation import log_softmax, sigmoid, softmax
from .declare import FloatingOp, operation
from .elementwise import multiply, negative, subtract
from .reduce import in_single, sum

__all__ = ["sigmoid_cross_entropy", "softmax_cross_entropy", "squared_error"]


def _check_pair(op: Op, *inputs: Tensor, name: str = "output") -> None:
    """Raise an error unless the inputs are floating and of one shape (B, ...) with B > 0."""
    check_floating(op, inputs[0])
    a, b = inputs[0].data.shape, inputs[1].data.shape
    if a != b:
        raise ShapeError(f"{op.name}: {name} and target must have one shape, got {a} and {b}")
    if not inputs[0].data.size or not a:
        raise ShapeError(f"{op.name}: the batch is empty: {name} has shape {a}")


def _check_logits(op: Op, *inputs: Tensor) -> None:
    _check_pair(op, *inputs, name="logits")
    if inputs[0].ndim != 2:
        raise ShapeError(f"{op.name}: expected logits of shape (B, classes), got {inputs[0].shape}")


def _total(xp: Namespace, cost: Array, factor: float, dtype: DTypeLike) -> Array:
    """Return the sum of all elements times a number, in a dtype; that of half precision is computed in single."""
    total = xp.sum(in_single(cost)) * factor
    return total if total.dtype == dtype else total.astype(dtype)


def _squared_error(xp: Namespace, output: Array, target: Array, out: Array | None = None) -> Array:
    difference = output - target
    return _total(xp, xp.square(in_single(difference)), 1.0 / output.shape[0], difference.dtype)


@operation(
    "doutput = dy 2 (output - target) / B, dtarget = -doutput",
    Op,
    forward=_squared_error,
    check=_check_pair,
    promotes_from=0,
    equation="(65.53)",
)
def squared_error(dy: Tensor, y: Tensor, output: Operand, target: Operand) -> Gradients:
    """Return the mean over the batch of the squared distance ``|output - target|**2`` (65.48).

    Parameters
    ----------
    output, target : tensors of one shape (B, ...)
    """

    def doutput() -> Tensor:
        difference = subtract(output, target)
        return multiply(difference, dy * (2.0 / difference.shape[0]))

    return doutput, lambda: negative(doutput())


def _softmax_cross_entropy(xp: Namespace, z: Array, target: Array, out: Array | None = None) -> Array:
    c = z - xp.max(z, axis=-1, keepdims=True)
    log_y = c - xp.log(xp.sum(xp.exp(c), axis=-1, keepdims=True))
    # An impossible class (z = -inf) that is not the target costs nothing: 0 log 0 = 0.
    cost = xp.where(target == 0, xp.zeros_like(target), log_y) * target
    return _total(xp, cost, -1.0 / z.shape[0], cost.dtype)


@operation(
    "dz = dy (softmax(z) sum(target) - target) / B",
    Op,
    forward=_softmax_cross_entropy,
    check=_check_logits,
    promotes_from=0,
    equation="(65.147)",
)
def softmax_cross_entropy(dy: Tensor, y: Tensor, z: Operand, target: Operand) -> Gradients:
    """Return the mean over the batch of the cross-entropy ``-sum target log softmax(z)`` (65.126), (65.128).

    Parameters
    ----------
    z, target : tensors of shape (B, C)
        The signals before the softmax, and one row of class probabilities for each sample.
    """

    def dtarget() -> Tensor:
        log_y = log_softmax(z)
        return dy * (log_y * (-1.0 / log_y.shape[0]))

    return lambda: softmax_cross_entropy_slope(dy, z, target), dtarget


def _softmax_cross_entropy_slope(xp: Namespace, dy: Array, z: Array, target: Array, out: Array | None = None) -> Array:
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    e = e * (xp.sum(target, axis=-1, keepdims=True) / xp.sum(e, axis=-1, keepdims=True)) - target
    return xp.multiply(e, dy * (1.0 / z.shape[0]), out=out)


@operation(
    "its gradient in z is dy sum(target) p (v - sum(v p)) / B with p = softmax(z), v that of the output",
    Op,
    forward=_softmax_cross_entropy_slope,
)
def softmax_cross_entropy_slope(v: Tensor, y: Tensor, dy: Operand, z: Operand, target: Operand) -> Gradients:
    """Return the gradient of `softmax_cross_entropy` in `z`: ``dy (softmax(z) sum(target) - target) / B``."""
    p = softmax(z)
    scale = multiply(dy, 1.0 / p.shape[0])
    along = sum(v * p, -1, keepdims=True)
    mass = sum(target, -1, keepdims=True)
    return (
        lambda: sum(v * (p * mass - target)) * (1.0 / p.shape[0]),
        lambda: scale * mass * p * (v - along),
        lambda: scale * (along - v),
    )


def _sigmoid_cross_entropy(xp: Namespace, z: Array, t: Array, out: Array | None = None) -> Array:
    return xp.add(xp.maximum(z, 0) - z * t, xp.log1p(xp.exp(-xp.abs(z))), out=out)


@operation("dz = dy (sigmoid(z) - t), dt = -dy z", FloatingOp, forward=_sigmoid_cross_entropy)
def sigmoid_cross_entropy(dy: Tensor, y: Tensor, z: Operand, t: Operand) -> Gradients:
    """Return ``-t log s - (1 - t) log(1 - s)`` with ``s = sigmoid(z)``, per element; finite for every finite `z`.

    Parameters
    ----------
    z, t : tensors whose shapes broadcast
        The signals before the sigmoid, and what they should become, from 0 to 1.
    """
    return lambda: dy * (sigmoid(z) - t), lambda: negative(dy * z)
