"""Operations that move elements and do not change them: other shapes, other orders of axes, joining and cutting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ..arguments import number, whole
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor, as_tensors
from ..op import Gradients, Op
from ..operators import Operand, offers
from ..promotion import holding
from ..tensors import Tensor
from ..typing import Array, Axis, Namespace, Shape
from .axes import normalize_axes, normalize_axis, plain_axes, plain_lengths
from .declare import applies, instance
from .elementwise import astype
from .indexing import Index

__all__ = ["concatenate", "expand_dims", "flatten", "pad", "reshape", "split", "squeeze", "stack", "swapaxes"]
__all__ += ["transpose", "tril", "triu"]


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in another shape."""

    rule = "dx = dy, reshaped back"
    view = True
    shape: Shape

    def check(self, *inputs: Tensor) -> None:
        size, known = inputs[0].size, math.prod(n for n in self.shape if n != -1)
        open_axes = self.shape.count(-1)
        if open_axes > 1 or (size != known if not open_axes else not known or size % known):
            raise ShapeError(f"reshape: {inputs[0].shape} has {size} elements, they do not fill {self.shape}")

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.reshape(x, self.shape)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (reshape(dy, x.shape),)


@applies(Reshape)
def reshape(x: Operand, shape: int | Sequence[int]) -> Tensor:
    """Return the same elements in another shape; one length may be -1, it is then inferred."""
    return instance(Reshape, plain_lengths("reshape", shape, inferred=True))(x)


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    rule = "dx = dy, axes in the old order"
    view = True
    axes: tuple[int, ...] | None = None

    def check(self, *inputs: Tensor) -> None:
        ndim = inputs[0].ndim
        if self.axes is not None and sorted(a % max(ndim, 1) for a in self.axes) != list(range(ndim)):
            raise ShapeError(
                f"transpose: axes {self.axes} do not name each of the {ndim} axes of {inputs[0].shape} once"
            )

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.transpose(x, self.axes)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        if self.axes is None:
            return (transpose(dy),)
        order = [a % x.ndim for a in self.axes]
        return (transpose(dy, tuple(order.index(a) for a in range(x.ndim))),)


@applies(Transpose)
def transpose(x: Operand, axes: Sequence[int] | None = None) -> Tensor:
    """Return `x` with its axes in the order `axes`, or reversed."""
    order = plain_axes("transpose", axes, x)
    return instance(Transpose, (order,) if isinstance(order, int) else order)(x)


@offers
def swapaxes(x: Operand, first: int, second: int) -> Tensor:
    """Return `x` with two of its axes in each other's place: a transpose."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    i, j = (normalize_axis("swapaxes", axis, x.shape) for axis in (first, second))
    order[i], order[j] = j, i
    return transpose(x, order)


@offers
def squeeze(x: Operand, axis: Axis = None) -> Tensor:
    """Return `x` without axes of length 1: those named, or all of them.

    Raises
    ------
    ShapeError
        If an axis that is named has another length.
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(x, [n for n in x.shape if n != 1])
    gone = normalize_axes("squeeze", plain_axes("squeeze", axis, x), x.shape)
    for a in gone:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of {x.shape} has {x.shape[a]} elements; only axes of length 1 go")
    return reshape(x, [n for a, n in enumerate(x.shape) if a not in gone])


@offers
def expand_dims(x: Operand, axis: int | Sequence[int]) -> Tensor:
    """Return `x` with further axes of length 1, at the places `axis` of the result."""
    x = as_tensor(x)
    places = [axis] if whole(axis) is not None or not isinstance(axis, Iterable) else list(axis)
    new = [normalize_axis("expand_dims", a, x.shape, extra=len(places)) for a in places]
    if len(set(new)) != len(new):
        raise ShapeError(f"expand_dims: axis {axis} names a place twice")
    lengths = iter(x.shape)
    return reshape(x, [1 if a in new else next(lengths) for a in range(x.ndim + len(new))])


@offers
def flatten(x: Operand, first: int = 0, last: int = -1) -> Tensor:
    """Return `x` with its axes from `first` to `last` joined into one: ``flatten(x, 1)`` keeps a batch's samples."""
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, 1)
    i, j = (normalize_axis("flatten", axis, x.shape) for axis in (first, last))
    if i > j:
        raise ShapeError(f"flatten: axis {first} of shape {x.shape} comes after axis {last}")
    return reshape(x, (*x.shape[:i], math.prod(x.shape[i : j + 1]), *x.shape[j + 1 :]))


@dataclass(frozen=True)
class Tril(Op):
    """The elements on and below a diagonal of the last two axes, 0 elsewhere."""

    rule = "dx = dy on and below the diagonal, 0 elsewhere"
    k: int = 0

    def check(self, *inputs: Tensor) -> None:
        if inputs[0].ndim < 2:
            raise ShapeError(f"{self.name}: expected at least two axes, got shape {inputs[0].shape}")

    def kept(self, xp: Namespace, rows: Array, columns: Array) -> Array:
        """Return where elements are kept, given the numbers of rows and columns."""
        return xp.greater_equal(rows + self.k, columns)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        rows, columns = x.shape[-2:]
        kept = self.kept(xp, xp.reshape(xp.arange(rows), (rows, 1)), xp.arange(columns))
        return xp.logical_and(x, kept) if x.dtype.kind == "b" else xp.where(kept, x, 0)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (self(dy),)


class Triu(Tril):
    """The elements on and above a diagonal of the last two axes, 0 elsewhere."""

    rule = "dx = dy on and above the diagonal, 0 elsewhere"

    def kept(self, xp: Namespace, rows: Array, columns: Array) -> Array:
        return xp.less_equal(rows + self.k, columns)


@applies(Tril)
def tril(x: Operand, k: int = 0) -> Tensor:
    """Return `x` with zeros above a diagonal of its last two axes: that `k` places above the main one."""
    return instance(Tril, _diagonal("tril", k))(x)


@applies(Triu)
def triu(x: Operand, k: int = 0) -> Tensor:
    """Return `x` with zeros below a diagonal of its last two axes: that `k` places above the main one."""
    return instance(Triu, _diagonal("triu", k))(x)


def _diagonal(caller: str, k: object) -> int:
    n = whole(k)
    if n is None:
        raise ArgumentError(f"{caller}: the diagonal k is a whole number, 0 the main one; got {k!r}")
    return n


@dataclass(frozen=True)
class Concatenate(Op):
    """Tensors joined along an axis they have."""

    rule = "each input gets its part of dy"
    promotes_from = 0
    axis: int = 0

    def check(self, *inputs: Tensor) -> None:
        shapes = [t.shape for t in inputs]
        axis = normalize_axis("concatenate", self.axis, inputs[0].shape)
        rest = {s[:axis] + s[axis + 1 :] for s in shapes if len(s) == len(shapes[0])}
        if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
            raise ShapeError(f"concatenate: shapes may differ along axis {axis} only: {shapes}")

    def forward(self, xp: Namespace, *arrays: Array, out: Array | None = None) -> Array:
        return xp.concatenate(arrays, axis=self.axis, out=out)

    def backward(self, dy: Tensor, y: Tensor, *inputs: Tensor) -> Gradients:
        axis = self.axis % y.ndim
        ends = list(accumulate(t.shape[axis] for t in inputs))
        return tuple(lambda i=i, j=j: _part(dy, axis, i, j) for i, j in pairwise([0, *ends]))


@applies(Concatenate)
def concatenate(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Return the tensors joined along `axis`; elsewhere their shapes must agree."""
    if not tensors:
        raise ArgumentError("concatenate: expected at least one tensor, got none")
    at: Any = plain_axes("concatenate", axis, tensors[0])
    return Concatenate(at)(*tensors)


def stack(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Return tensors of one shape side by side along a new `axis`."""
    if not tensors:
        raise ArgumentError("stack: expected at least one tensor, got none")
    parts = as_tensors(Concatenate(), tuple(tensors))
    shapes = {t.shape for t in parts}
    if len(shapes) != 1:
        raise ShapeError(f"stack: expected tensors of one shape, got {[t.shape for t in parts]}")
    at = normalize_axis("stack", axis, parts[0].shape, extra=1)
    shape = parts[0].shape
    return concatenate([reshape(t, (*shape[:at], 1, *shape[at:])) for t in parts], at)


def split(x: Operand, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Return `x` cut along `axis`, into equal `sections` or before the positions listed.

    Raises
    ------
    ShapeError
        If the axis cannot be cut into equal sections.
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.shape)
    length = x.shape[axis]
    n = whole(sections)
    if n is not None and (n < 1 or length % n):
        raise ShapeError(f"split: axis {axis} of {x.shape} cannot be cut into {n} equal sections")
    if n is not None:
        places: Any = range(length // n, length, length // n)
    elif not isinstance(sections, Iterable) or None in (places := list(map(whole, sections))):
        raise ArgumentError(f"split: expected a number of sections or the positions to cut before, got {sections!r}")
    return [_part(x, axis, i, j) for i, j in pairwise([0, *places, length])]


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return Index((*(slice(None),) * axis, slice(start, stop)))(x)


@dataclass(frozen=True)
class Pad(Op):
    """A constant written around the elements."""

    rule = "dx = dy without the border"
    widths: tuple[tuple[int, int], ...]
    value: float = 0.0

    def check(self, *inputs: Tensor) -> None:
        fits = all(len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in self.widths)
        if not fits or len(self.widths) != inputs[0].ndim:
            raise ShapeError(
                f"pad: expected two widths >= 0 for each of the {inputs[0].ndim} axes of {inputs[0].shape}, "
                f"got {self.widths}"
            )

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.pad(x, self.widths, constant_values=self.value)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        inside = tuple(slice(lo, lo + n) for (lo, _), n in zip(self.widths, x.shape, strict=True))
        return (Index(inside)(dy),)


@applies(Pad)
def pad(x: Operand, widths: int | Sequence[int | Sequence[int]], value: float = 0.0) -> Tensor:
    """Return `x` with a border of `value`.

    Parameters
    ----------
    x : tensor
    widths : int, or one int or pair (before, after) per axis
        How many elements to add.
    value : float
        What the border holds.
    """
    x = as_tensor(x)
    fill = number("pad: value", value)
    if x.dtype.kind != "f" and float(fill).is_integer():
        fill = int(fill)  # written as a fraction, and yet no reason to make one of the elements
    x = astype(x, holding(x.dtype, fill, "pad"))
    of_axes = widths if isinstance(widths, Iterable) and whole(widths) is None else [widths] * x.ndim
    return Pad(tuple(map(_pair, of_axes)), float(fill))(x)


def _pair(width: Any) -> tuple[Any, ...]:
    """Return the widths before and after an axis, given as one number or two."""
    several = isinstance(width, Iterable) and np.ndim(width) > 0  # type: ignore[arg-type]
    return tuple([w if (n := whole(w)) is None else n for w in (width if several else (width, width))])
