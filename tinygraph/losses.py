"""Losses and regularisers.

Every loss is the mean over the batch of the chapter's Q, a tensor with one entry. A loss that takes logits
is given the signals before the output activation, ``net(x)``; the others the prediction, ``net.predict(x)``
(`takes_logits` tells which).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TypeVar

import numpy as np

from .errors import ArgumentError, DataError, GraphError, ShapeError
from .nn import Module
from .ops.elementwise import abs as absolute
from .ops.elementwise import add, square
from .ops.loss import softmax_cross_entropy
from .ops.loss import squared_error as squared_error_op
from .ops.reduce import sum as total
from .tensor import Operand, Tensor, as_tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def _of_logits(loss: F) -> F:
    loss.takes_logits = True  # type: ignore[attr-defined]
    return loss


def _of_prediction(loss: F) -> F:
    loss.takes_logits = False  # type: ignore[attr-defined]
    return loss


def takes_logits(loss: Callable[..., Tensor]) -> bool | None:
    """Return whether a function of this module is given logits; None for any other function."""
    answer: bool | None = getattr(loss, "takes_logits", None)
    return answer


@_of_prediction
def squared_error(output: Operand, target: Operand) -> Tensor:
    """Return the mean over the batch of ``|target - output|**2`` (65.45).

    Parameters
    ----------
    output : tensor of shape (B, ...)
        The prediction gamma-hat.
    target : tensor or array of the same shape and dtype

    Raises
    ------
    ShapeError
        If the shapes differ or the batch is empty.
    """
    return squared_error_op(output, target)


@_of_logits
def cross_entropy(logits: Operand, target: Operand) -> Tensor:
    """Return the mean over the batch of ``-sum target log softmax(logits)`` (65.125)-(65.131).

    Parameters
    ----------
    logits : tensor of shape (B, classes)
        The signals z_L before the softmax.
    target : tensor or array
        One row of class probabilities for each sample, a basis vector for a label, of shape (B, classes);
        or class indices of shape (B,), whole numbers from 0 to classes - 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit or the batch is empty.
    DataError
        If a class index on the host is out of range.
    """
    logits = as_tensor(logits)
    return softmax_cross_entropy(logits, _basis_vectors(logits, target))


def _basis_vectors(logits: Tensor, target: Operand) -> Operand:
    """Return class indices as basis vectors like `logits`, anything else as it is."""
    kind = target.dtype.kind if isinstance(target, Tensor) else np.asarray(target).dtype.kind
    if kind not in "iu" or np.ndim(target if not isinstance(target, Tensor) else target.data) == 2:
        return target
    classes = logits.shape[-1]
    if not isinstance(target, Tensor):
        host = np.asarray(target)
        if host.size and not 0 <= host.min() <= host.max() < classes:
            wrong = int(host[(host < 0) | (host >= classes)][0])
            raise DataError(f"cross_entropy: class {wrong} is outside 0 to {classes - 1}")
        target = Tensor(logits.backend.asarray(host), logits.backend)
    if target.shape != logits.shape[:1]:
        raise ShapeError(f"cross_entropy: expected {logits.shape[0]} class indices, got shape {target.shape}")
    columns = Tensor(logits.backend.xp.arange(classes), logits.backend)
    return (target[:, None].astype(columns.dtype) == columns).astype(logits.dtype)


def _weights(net: Module, what: str) -> list[Tensor]:
    weights = [t for t in net.parameters() if t.role == "weight"]
    if not weights:
        raise GraphError(f"{what}: the network has no parameters of role 'weight'")
    return weights


def _factor(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.floating) and value >= 0 and np.isfinite(value)):
        raise ArgumentError(f"{name}: expected a finite number of at least 0, got {value!r}")
    return float(value)


def l2(net: Module, rho: float) -> Tensor:
    """Return ``rho`` times the sum of the squared weights, each shared one once, never biases (65.47).

    Parameters
    ----------
    net : Module
    rho : float
        At least 0.
    """
    rho = _factor("l2: rho", rho)
    return rho * reduce(add, [total(square(W)) for W in _weights(net, "l2")])


def l1(net: Module, alpha: float) -> Tensor:
    """Return ``alpha`` times the sum of the weights' absolute values, never biases (Problem 65.15)."""
    alpha = _factor("l1: alpha", alpha)
    return alpha * reduce(add, [total(absolute(W)) for W in _weights(net, "l1")])
