"""What was measured of the tensors of a graph, to be shown beside what computes them: norms, shares, numbers, times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .mode import no_grad
from .ops.activation import SELU_ALPHA, SELU_SCALE, Elu, ScaledTanh
from .tensors import Tensor

STEEPEST = {  # the largest slopes of activation functions without settings
    "sigmoid": 0.25,
    "tanh": 1.0,
    "softplus": 1.0,
    "softsign": 1.0,
    "selu": SELU_SCALE * SELU_ALPHA,
    "gelu": 1.12890,  # at the square root of 2
    "silu": 1.09984,
}
STRAIGHT = ("relu", "two_sided_relu", "leaky_relu")  # which do not saturate
ACTIVATIONS = (*STEEPEST, *STRAIGHT, "scaled_tanh", "elu")
SATURATED = 0.05  # of the steepest slope; of tanh it is left for |z| > 2.2
WHOLE, CORNER = 8, 3  # the longest axis of which all elements are written; of longer ones, so many at either end
LINES = 12  # of numbers


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one node; None and () where nothing was.

    Attributes
    ----------
    norm : float or None
        The Euclidean norm of its value.
    gradient_norm : float or None
        That of the gradient that arrives at it in the backward pass.
    dead : float or None
        Of an activation function, the share of its nodes whose slope is 0 for all samples.
    saturated : float or None
        Of an activation function that levels off, the share of its nodes, over all samples, whose slope is below 5 %
        of the steepest one.
    seconds : float or None
        Of an instruction of a plan, how long it takes, or the fusion group that it is in.
    together : int
        How many instructions are in that group.
    numbers, gradient_numbers : tuple of str
        The elements of its value and of the gradient that arrives, in lines.
    """

    norm: float | None = None
    gradient_norm: float | None = None
    dead: float | None = None
    saturated: float | None = None
    seconds: float | None = None
    together: int = 1
    numbers: tuple[str, ...] = ()
    gradient_numbers: tuple[str, ...] = ()


NOTHING = Measured()


def measured(t: Tensor, gradient: Tensor | None, with_numbers: bool) -> Measured:
    """Return what can be measured of a tensor, and of the gradient that arrives at it.

    Parameters
    ----------
    t : Tensor
    gradient : Tensor or None
        Of the shape of `t`; None where none arrives.
    with_numbers : bool
        Whether the elements are to be written out.
    """
    host = _host(t)
    arriving = None if gradient is None else _host(gradient)
    dead, saturated = flat_shares(t)
    return Measured(
        norm=_norm(host),
        gradient_norm=None if arriving is None else _norm(arriving),
        dead=dead,
        saturated=saturated,
        numbers=number_lines(host) if with_numbers else (),
        gradient_numbers=number_lines(arriving) if with_numbers and arriving is not None else (),
    )


def _host(t: Tensor) -> np.ndarray:
    return np.asarray(t.backend.to_host(t.data))


def _norm(a: np.ndarray) -> float | None:
    """Return the Euclidean norm of floating elements, which does not overflow; None for other ones."""
    if a.dtype.kind != "f":
        return None
    largest = float(np.max(np.abs(a), initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(np.linalg.norm((a / largest).astype(np.float64).ravel()))


def flat_shares(t: Tensor) -> tuple[float | None, float | None]:
    """Return the shares of dead and of saturated nodes, see `Measured`, of the result `t` of an activation function.

    None for what is the result of none, or of one that does not saturate. The slopes are what the operation's own rule
    makes of a gradient of ones.
    """
    if t.op is None or t.op.name not in ACTIVATIONS or len(t.inputs) != 1 or not t.data.size:
        return None, None
    with no_grad():
        (rule,) = t.op.backward(Tensor(t.backend.xp.full(t.shape, 1, t.dtype), t.backend), t, *t.inputs)
        slope = np.abs(_host(rule() if callable(rule) else rule)) if rule is not None else np.zeros(t.shape)
    dead = float(np.mean(np.all(slope == 0, axis=0))) if t.ndim > 1 else float(np.mean(slope == 0))
    if t.op.name in STRAIGHT:
        return dead, None
    return dead, float(np.mean(slope < SATURATED * _steepest(t)))


def _steepest(t: Tensor) -> float:
    """Return the largest slope of an activation function."""
    if isinstance(t.op, ScaledTanh):
        return abs(t.op.a * t.op.b)
    if isinstance(t.op, Elu):
        return max(1.0, abs(t.op.alpha))
    return STEEPEST.get(t.op.name if t.op else "", 1.0)


def number_lines(a: np.ndarray) -> tuple[str, ...]:
    """Return the elements of an array in lines, to three digits, a row a line; of a large one the corners.

    Parameters
    ----------
    a : ndarray
        Of any shape and dtype.
    """
    edge = WHOLE // 2 if max(a.shape, default=0) <= WHOLE else CORNER
    words: Any = {"float_kind": number_text}
    text = np.array2string(a, 10_000, separator="  ", formatter=words, threshold=0, edgeitems=edge)
    if a.ndim > 1:
        text = text[1:-1]  # every row has brackets of its own
    return shortened([line.strip() for line in text.splitlines() if line.strip()])


def number_text(x: float) -> str:
    """Return a number to three digits: ``0.0123``, ``-1.23e-5``."""
    mantissa, e, exponent = f"{x + 0.0:.3g}".partition("e")  # no negative zero
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """Return lines, of many the first and the last ones."""
    half = LINES // 2
    return tuple(lines) if len(lines) <= LINES else (*lines[:half], "...", *lines[-half:])
