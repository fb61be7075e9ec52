"""Reductions along axes, running sums, and the opposite, broadcasting.

An axis is an int, a tuple of ints or None for all axes, as in NumPy. A maximum or minimum reached several
times shares its gradient equally among the places; the norm has derivative 0 at 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..errors import ShapeError
from ..leaves import as_tensor
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..operators import Operand, offers
from ..tensors import Tensor
from ..typing import Array, Axis, Namespace, Shape
from .axes import check_axis, normalize_axes, normalize_axis, plain_axes, plain_lengths
from .declare import applies, instance
from .elementwise import astype, divide_or_zero, equal, exp, sqrt, square
from .indexing import Index
from .shape import concatenate, reshape, split, transpose

__all__ = ["argmax", "argmin", "broadcast_to", "cumsum", "logsumexp", "max", "mean", "min", "norm", "prod", "std"]
__all__ += ["sum", "sum_to", "var"]

A = TypeVar("A", Array, Tensor)


@dataclass(frozen=True)
class Reduction(Op):
    """An operation that joins the elements along `axis` into one; the backend has it under the same name."""

    axis: Axis = None
    keepdims: bool = False

    def check(self, *inputs: Tensor) -> None:
        if self.axis is not None:
            self.axes(inputs[0].data.shape)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return getattr(xp, self.name)(x, axis=self.axis, keepdims=self.keepdims, out=out)

    def axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes of `shape` that vanish, counted from the front."""
        return normalize_axes(self.name, self.axis, shape)

    def count(self, shape: Shape) -> int:
        """Return how many elements are joined into one."""
        return math.prod([shape[a] for a in self.axes(shape)])

    def expand_like(self, t: Tensor, x: Tensor) -> Tensor:
        """Return `t`, a result of this reduction, in a shape that broadcasts against `x`."""
        if self.keepdims or not t.ndim:
            return t
        gone = self.axes(x.shape)
        return reshape(t, tuple(1 if a in gone else n for a, n in enumerate(x.shape)))


class Sum(Reduction):
    """Sum ``y = sum x``."""

    rule = "dx = dy, repeated along the axis"

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (broadcast_to(self.expand_like(dy, x), x.shape),)


class Prod(Reduction):
    """Product ``y = x_1 x_2 ...``; of half precision it is computed in single."""

    rule = "dx = dy times the product of the others"

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        if x.dtype.char != "e":
            return xp.prod(x, axis=self.axis, keepdims=self.keepdims, out=out)
        return xp.prod(in_single(x), axis=self.axis, keepdims=self.keepdims).astype(x.dtype)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        dy, gone = self.expand_like(dy, x), self.axes(x.shape)
        if self.count(x.shape) < 2:
            return (broadcast_to(dy, x.shape),)
        if len(gone) == 1:
            return (dy * _products_of_others(x, gone[0]),)
        order = [a for a in range(x.ndim) if a not in gone] + list(gone)
        last = transpose(x, order)
        rows = reshape(last, (*last.shape[: -len(gone)], self.count(x.shape)))
        others = reshape(_products_of_others(rows, rows.ndim - 1), last.shape)
        return (dy * transpose(others, [order.index(a) for a in range(x.ndim)]),)


def _products_of_others(x: Tensor, axis: int) -> Tensor:
    """Return for each of two or more elements along an axis the product of all others: no quotient, so 0 is no matter.

    Elements are multiplied in pairs; what an element lacks is its partner and the product of the other pairs.
    """
    half, odd = divmod(x.shape[axis], 2)
    a, b, rest = split(x, [half, 2 * half], axis)
    if not odd and half == 1:
        return concatenate([b, a], axis)
    pairs = a * b
    others = _products_of_others(concatenate([pairs, rest], axis) if odd else pairs, axis)
    of_pairs, of_rest = split(others, [half], axis)
    return concatenate([of_pairs * b, of_pairs * a, *([of_rest] * odd)], axis)


class _OfSome(Reduction):
    """A reduction that has no value where there are no elements."""

    def check(self, *inputs: Tensor) -> None:
        if not self.count(inputs[0].data.shape):
            raise ShapeError(f"{self.name}: no elements along axis {self.axis} of shape {inputs[0].shape}")


class Mean(_OfSome):
    """Mean ``y = sum x / n``."""

    rule = "dx = dy / n, repeated along the axis"

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])
        _OfSome.check(self, *inputs)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (broadcast_to(self.expand_like(dy * (1.0 / self.count(x.shape)), x), x.shape),)


class Max(_OfSome):
    """Maximum ``y = max x``."""

    rule = "dx = dy where x = y, shared equally, 0 elsewhere"

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        hit = equal(x, self.expand_like(y, x)).astype(x.dtype)
        return (self.expand_like(dy, x) * hit / sum(hit, self.axis, keepdims=True),)


class Min(Max):
    """Minimum ``y = min x``."""


@dataclass(frozen=True)
class Norm(Reduction):
    """Euclidean norm ``y = sqrt(sum x**2)``, safe from overflow and underflow of the squares."""

    rule = "dx = dy x / y, 0 where y = 0"

    def check(self, *inputs: Tensor) -> None:
        Reduction.check(self, *inputs)
        check_floating(self, inputs[0])

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        if not x.size:
            return xp.sqrt(xp.sum(x, axis=self.axis, keepdims=self.keepdims))
        scale = xp.max(xp.abs(x), axis=self.axis, keepdims=True)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        scale = xp.where(scale < math.inf, scale, xp.ones_like(scale))
        squares = in_single(xp.square(x / scale))
        root = (xp.sqrt(xp.sum(squares, axis=self.axis, keepdims=True)) * scale).astype(x.dtype)
        gone = self.axes(x.shape)
        return root if self.keepdims else xp.reshape(root, tuple(n for a, n in enumerate(x.shape) if a not in gone))

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (self.expand_like(dy, x) * divide_or_zero(x, self.expand_like(y, x)),)


class LogSumExp(_OfSome):
    """Logarithm of a sum of exponentials ``y = log(sum exp(x))``, safe from overflow of these."""

    rule = "dx = dy exp(x - y)"

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])
        _OfSome.check(self, *inputs)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        largest = xp.max(x, axis=self.axis, keepdims=True)
        largest = xp.where(xp.abs(largest) < math.inf, largest, xp.zeros_like(largest))
        total = xp.sum(xp.exp(x - largest), axis=self.axis, keepdims=True)
        y = xp.log(total) + largest
        gone = self.axes(x.shape)
        return y if self.keepdims else xp.reshape(y, tuple(n for a, n in enumerate(x.shape) if a not in gone))

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (self.expand_like(dy, x) * exp(x - self.expand_like(y, x)),)


def in_single(x: A) -> A:
    """Return an array or a tensor of half precision in single, which holds its squares and their sums; else `x`."""
    return x.astype(np.float32) if x.dtype.char == "e" else x  # pyright: ignore[reportReturnType]


def _apply(kind: Any, x: Operand, axis: Any, keepdims: bool) -> Tensor:
    return instance(kind, plain_axes(kind.name, axis, x), keepdims)(x)


@applies(Sum)
def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis` (None: over all elements)."""
    return _apply(Sum, x, axis, keepdims)


@applies(Prod)
def prod(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the product over `axis` (None: of all elements); gradients are right where elements are 0 as well."""
    return _apply(Prod, x, axis, keepdims)


@applies(Mean)
def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean over `axis` (None: over all elements); of truth values, the share of those that hold, float32."""
    x = as_tensor(x)
    return _apply(Mean, astype(x, "float32") if x.dtype.kind == "b" else x, axis, keepdims)


@applies(Max)
def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest element along `axis`; equals share its gradient."""
    return _apply(Max, x, axis, keepdims)


@applies(Min)
def min(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest element along `axis`; equals share its gradient."""
    return _apply(Min, x, axis, keepdims)


@applies(Norm)
def norm(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the Euclidean norm over `axis` (None: of all elements); its derivative at 0 is 0."""
    return _apply(Norm, x, axis, keepdims)


@applies(LogSumExp)
def logsumexp(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the logarithm of the sum of exponentials over `axis` (None: of all elements), without overflow."""
    return _apply(LogSumExp, x, axis, keepdims)


@offers
def var(x: Operand, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Return the variance over `axis`: squared deviations from the mean, summed and divided by n - `ddof`.

    Of half precision it is computed in single precision.

    Raises
    ------
    ShapeError
        If there are not more than `ddof` elements.
    """
    x = as_tensor(x)
    axis = plain_axes("var", axis, x)
    count: int = math.prod([x.shape[a] for a in normalize_axes("var", axis, x.shape)])
    if count <= ddof:
        raise ShapeError(f"var: {count} elements along axis {axis} of {x.shape}, ddof={ddof} needs more than {ddof}")
    if x.dtype.char == "e":
        return var(x.astype(np.float32), axis, keepdims, ddof).astype(x.dtype)
    deviation = x - mean(x, axis, keepdims=True)
    return mean(square(deviation), axis, keepdims) * (count / (count - ddof))


@offers
def std(x: Operand, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Return the standard deviation over `axis`, the root of `var`; its derivative at 0 is 0.

    Raises
    ------
    ShapeError
        If there are not more than `ddof` elements.
    """
    return sqrt(var(x, axis, keepdims, ddof))


@dataclass(frozen=True)
class ArgMax(Op):
    """The position of the largest element along an axis, the first of equals."""

    name = "argmax"
    rule = "no gradient"
    differentiable = False
    axis: int = -1

    def check(self, *inputs: Tensor) -> None:
        check_axis(self, inputs[0], self.axis)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.argmax(x, axis=self.axis)


@applies(ArgMax)
def argmax(x: Operand, axis: int | None = -1) -> Tensor:
    """Return the position of the largest element along `axis`, the first of equals (int64, no gradient).

    None: the position among all elements in a row.
    """
    return ArgMax(0)(reshape(x, -1)) if axis is None else instance(ArgMax, plain_axes("argmax", axis, x))(x)


class ArgMin(ArgMax):
    """The position of the smallest element along an axis, the first of equals."""

    name = "argmin"

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.argmin(x, axis=self.axis)


@applies(ArgMin)
def argmin(x: Operand, axis: int | None = -1) -> Tensor:
    """Return the position of the smallest element along `axis`, the first of equals (int64, no gradient).

    None: the position among all elements in a row.
    """
    return ArgMin(0)(reshape(x, -1)) if axis is None else instance(ArgMin, plain_axes("argmin", axis, x))(x)


@dataclass(frozen=True)
class CumSum(Op):
    """Running sums along an axis; of half precision they are computed in single."""

    name = "cumsum"
    rule = "dx = dy, summed from each place to the end"
    axis: int = 0

    def check(self, *inputs: Tensor) -> None:
        normalize_axis(self.name, self.axis, inputs[0].shape)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        if x.dtype.char != "e":
            return xp.cumsum(x, axis=self.axis, out=out)
        return xp.cumsum(in_single(x), axis=self.axis).astype(x.dtype)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        backwards = Index((*(slice(None),) * (self.axis % x.ndim), slice(None, None, -1)))
        return (backwards(self(backwards(dy))),)


@applies(CumSum)
def cumsum(x: Operand, axis: int | None = None) -> Tensor:
    """Return the running sums along `axis`: each element with all before it (None: of all elements in a row)."""
    return CumSum(0)(reshape(x, -1)) if axis is None else instance(CumSum, plain_axes("cumsum", axis, x))(x)


@dataclass(frozen=True)
class BroadcastTo(Op):
    """Elements repeated along axes of length 1 or none."""

    rule = "dx = dy, summed over the repeated axes"
    view = True
    shape: Shape

    def check(self, *inputs: Tensor) -> None:
        x = inputs[0].shape
        if len(x) > len(self.shape) or any(n not in (1, m) for n, m in zip(x[::-1], self.shape[::-1], strict=False)):
            raise ShapeError(f"broadcast_to: {x} does not broadcast to {self.shape}")

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.broadcast_to(x, self.shape)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (sum_to(dy, x.shape),)


@applies(BroadcastTo)
def broadcast_to(x: Operand, shape: Sequence[int]) -> Tensor:
    """Return `x` repeated to `shape` by NumPy's rules."""
    return instance(BroadcastTo, plain_lengths("broadcast_to", shape))(x)


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Return `x` summed over the axes along which `shape` was broadcast to it.

    Raises
    ------
    ShapeError
        If `shape` does not broadcast to the shape of `x`.
    """
    gone = _broadcast_axes(x.data.shape, shape)
    summed = instance(Sum, gone, False)(x) if gone else x
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
