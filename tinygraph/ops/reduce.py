"""Reductions along axes, and their opposite, broadcasting.

An axis is an int, a tuple of ints or None for all axes, as in NumPy. A maximum or minimum reached several
times shares its gradient equally among the places; the norm has derivative 0 at 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradient, Op, documents
from ..tensor import Axis, Operand, Tensor, as_tensor, functions
from .elementwise import check_floating, divide_or_zero, equal, square
from .shape import Shape, normalize_axis, reshape


@cache
def _axes(what: str, axis: int | tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Return the axes counted from the front, or raise an error if one does not exist or is named twice."""
    axes = tuple([normalize_axis(what, a, shape) for a in (axis if isinstance(axis, tuple) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: axis {axis} names an axis of {shape} twice")
    return axes


@dataclass(frozen=True)
class Reduction(Op):
    """An operation that joins the entries along `axis` into one."""

    axis: Axis = None
    keepdims: bool = False

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if an axis does not exist or is named twice."""
        if self.axis is not None:
            _axes(self.name, self.axis, inputs[0].data.shape)

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """Return the axes that vanish, counted from the front."""
        return tuple(range(x.ndim)) if self.axis is None else _axes(self.name, self.axis, x.shape)

    def count(self, x: Tensor) -> int:
        """Return how many entries are joined into one."""
        return math.prod(x.shape[a] for a in self.axes(x))

    def spread(self, t: Tensor, x: Tensor) -> Tensor:
        """Return `t`, a result of this reduction, in a shape that broadcasts against `x`."""
        if self.keepdims or not t.ndim:
            return t
        gone = self.axes(x)
        return reshape(t, tuple(1 if a in gone else n for a, n in enumerate(x.shape)))


class Sum(Reduction):
    """Sum ``y = sum x``."""

    rule = "dx = dy, repeated along the axis"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.sum(x, axis=self.axis, keepdims=self.keepdims, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (broadcast_to(self.spread(dy, x), x.shape),)


class Mean(Reduction):
    """Mean ``y = sum x / n``."""

    rule = "dx = dy / n, repeated along the axis"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if an axis does not exist, nothing is there to average, or dtypes do not fit."""
        Reduction.check(self, *inputs)
        check_floating(self, inputs)
        if not self.count(inputs[0]):
            raise ShapeError(f"{self.name}: no entries along axis {self.axis} of shape {inputs[0].shape}")

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.mean(x, axis=self.axis, keepdims=self.keepdims, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (broadcast_to(self.spread(dy * (1.0 / self.count(x)), x), x.shape),)


class _Extreme(Reduction):
    """The largest or smallest entry."""

    rule = "dx = dy where x = y, shared equally, 0 elsewhere"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if an axis does not exist or nothing is there to choose from."""
        Reduction.check(self, *inputs)
        if not self.count(inputs[0]):
            raise ShapeError(f"{self.name}: no entries along axis {self.axis} of shape {inputs[0].shape}")

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        hit = equal(x, self.spread(y, x)).astype(x.dtype)
        return (self.spread(dy, x) * hit / sum(hit, self.axis, keepdims=True),)


class Max(_Extreme):
    """Maximum ``y = max x``."""

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.max(x, axis=self.axis, keepdims=self.keepdims, out=out)


class Min(_Extreme):
    """Minimum ``y = min x``."""

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.min(x, axis=self.axis, keepdims=self.keepdims, out=out)


@dataclass(frozen=True)
class ArgMax(Op):
    """The position of the largest entry along an axis, the first of equals."""

    rule = "no gradient"
    differentiable = False
    axis: int = -1

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the axis does not exist or is empty."""
        if not inputs[0].shape[normalize_axis("argmax", self.axis, inputs[0].shape)]:
            raise ShapeError(f"argmax: no entries along axis {self.axis} of shape {inputs[0].shape}")

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.argmax(x, axis=self.axis)


@dataclass(frozen=True)
class BroadcastTo(Op):
    """Entries repeated along axes of length 1 or none."""

    rule = "dx = dy, summed over the repeated axes"
    view = True
    shape: Shape

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the shape cannot be broadcast to."""
        x = inputs[0].shape
        fits = len(x) <= len(self.shape) and all(
            n in (1, m) for n, m in zip(reversed(x), reversed(self.shape), strict=False)
        )
        if not fits:
            raise ShapeError(f"broadcast_to: {x} does not broadcast to {self.shape}")

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.broadcast_to(x, self.shape)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (sum_to(dy, x.shape),)


@cache
def _op(kind: type[Reduction], axis: Axis, keepdims: bool) -> Reduction:
    """Return the op of a kind; made once, since making a frozen dataclass takes as long as a small sum."""
    return kind(axis, keepdims)


@documents(Sum)
def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis` (None: over all entries)."""
    return _op(Sum, _frozen(axis), keepdims)(x)


@documents(Mean)
def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean over `axis` (None: over all entries)."""
    return _op(Mean, _frozen(axis), keepdims)(x)


@documents(Max)
def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest entry along `axis`; equals share its gradient."""
    return _op(Max, _frozen(axis), keepdims)(x)


@documents(Min)
def min(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest entry along `axis`; equals share its gradient."""
    return _op(Min, _frozen(axis), keepdims)(x)


def argmax(x: Operand, axis: int = -1) -> Tensor:
    """Return the position of the largest entry along `axis`, the first of equals (int64, no gradient)."""
    return ArgMax(axis)(x)


def var(x: Operand, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Return the variance over `axis`: squared deviations from the mean, summed and divided by n - `ddof`.

    Raises
    ------
    ShapeError
        If there are not more than `ddof` entries.
    """
    x = as_tensor(x)
    axis = _frozen(axis)
    count = Mean(axis).count(x)
    if count <= ddof:
        raise ShapeError(f"var: {count} entries along axis {axis} of {x.shape}, ddof={ddof} needs more than {ddof}")
    deviation = x - mean(x, axis, keepdims=True)
    return sum(square(deviation), axis, keepdims) * (1.0 / (count - ddof))


@dataclass(frozen=True)
class Norm(Reduction):
    """Euclidean norm ``y = sqrt(sum x**2)``, safe from overflow and underflow of the squares."""

    rule = "dx = dy x / y, 0 where y = 0"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if an axis does not exist or dtypes do not fit."""
        Reduction.check(self, *inputs)
        check_floating(self, inputs)

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        if not x.size:
            return xp.sqrt(xp.sum(x, axis=self.axis, keepdims=self.keepdims))
        scale = xp.max(xp.abs(x), axis=self.axis, keepdims=True)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        root = xp.sqrt(xp.sum(xp.square(x / scale), axis=self.axis, keepdims=True)) * scale
        return root if self.keepdims else xp.reshape(root, xp.sum(x, axis=self.axis).shape)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (self.spread(dy, x) * divide_or_zero(x, self.spread(y, x)),)


@documents(Norm)
def norm(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the Euclidean norm over `axis` (None: of all entries); its derivative at 0 is 0."""
    return _op(Norm, _frozen(axis), keepdims)(x)


@documents(BroadcastTo)
def broadcast_to(x: Operand, shape: Sequence[int]) -> Tensor:
    """Return `x` repeated to `shape` by NumPy's rules."""
    return BroadcastTo(tuple(shape))(x)


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Return `x` summed over the axes along which `shape` was broadcast to it.

    Raises
    ------
    ShapeError
        If `shape` does not broadcast to the shape of `x`.
    """
    gone = _broadcast_axes(x.data.shape, shape)
    summed = _op(Sum, gone, False)(x) if gone else x
    return summed if summed.data.shape == shape else reshape(summed, shape)


@cache
def _broadcast_axes(broadcast: Shape, shape: Shape) -> tuple[int, ...]:
    """Return the axes along which `shape` was repeated to give the shape `broadcast`."""
    lead = len(broadcast) - len(shape)
    repeated = [lead + a for a, n in enumerate(shape) if lead >= 0 and n == 1 and broadcast[lead + a] != 1]
    gone = (*range(lead), *repeated)
    if lead < 0 or math.prod(shape) != math.prod(n for a, n in enumerate(broadcast) if a not in gone):
        raise ShapeError(f"sum_to: {shape} does not broadcast to {broadcast}")
    return gone


def _frozen(axis: Any) -> Axis:
    """Return an axis that can be a field of an op."""
    return tuple(axis) if isinstance(axis, list) else axis


functions.sum, functions.mean, functions.max, functions.min = sum, mean, max, min
functions.var, functions.argmax = var, argmax
