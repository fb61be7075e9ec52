"""Operations that move entries and do not change them: shapes, indexing, joining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..op import Gradient, Op, check_dtypes, documents
from ..tensor import Operand, Tensor, as_tensor, functions

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reshape(Op):
    """The same entries in another shape."""

    rule = "dx = dy, reshaped back"
    view = True
    shape: Shape

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the number of entries differs."""
        size, known = inputs[0].size, math.prod(n for n in self.shape if n != -1)
        open_axes = self.shape.count(-1)
        if open_axes > 1 or (size != known if not open_axes else not known or size % known):
            raise ShapeError(f"reshape: {inputs[0].shape} has {size} entries, they do not fill {self.shape}")

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.reshape(x, self.shape)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (reshape(dy, x.shape),)


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    rule = "dx = dy, axes in the old order"
    view = True
    axes: tuple[int, ...] | None = None

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless `axes` names every axis once."""
        ndim = inputs[0].ndim
        if self.axes is not None and sorted(a % max(ndim, 1) for a in self.axes) != list(range(ndim)):
            raise ShapeError(
                f"transpose: axes {self.axes} do not name each of the {ndim} axes of {inputs[0].shape} once"
            )

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.transpose(x, self.axes)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        if self.axes is None:
            return (transpose(dy),)
        order = [a % x.ndim for a in self.axes]
        return (transpose(dy, tuple(order.index(a) for a in range(x.ndim))),)


class _ArrayKey:
    """Stands in an index for an array of indices, which comes as an input of the op."""

    def __repr__(self) -> str:
        return "array"


ARRAY_KEY = _ArrayKey()
Key = tuple[int | slice | EllipsisType | _ArrayKey | None, ...]


def _key_text(k: Any) -> str:
    """Return one part of an index as it is written."""
    if isinstance(k, slice):
        ends = ":".join("" if n is None else str(n) for n in (k.start, k.stop))
        return ends if k.step is None else f"{ends}:{k.step}"
    return "..." if k is ... else "array" if isinstance(k, _ArrayKey) else str(k)


def _fill(key: Key, arrays: Sequence[Array]) -> Any:
    """Return the index with its arrays in their places."""
    given = iter(arrays)
    return tuple(next(given) if isinstance(k, _ArrayKey) else k for k in key)


@dataclass(frozen=True)
class Index(Op):
    """Entries picked by an index: ``y = x[key]``; arrays in the key are further inputs."""

    rule = "dx = dy at the picked places, 0 elsewhere; places picked twice add up"
    key: Key

    @property
    def view(self) -> bool:  # type: ignore[override]
        """Whether the entries are a regular part of the memory: no arrays of indices."""
        return ARRAY_KEY not in self.key

    @property
    def label(self) -> str:
        """The index as it is written: ``index[:, 0:32]``."""
        return f"index[{', '.join(_key_text(k) for k in self.key)}]"

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the index does not fit the shape."""
        self._axes(inputs[0].shape, inputs[1:])

    def _axes(self, shape: Shape, arrays: tuple[Tensor, ...]) -> None:
        ranks = iter([t.ndim if t.dtype.kind == "b" else 1 for t in arrays])
        spans = [next(ranks) if isinstance(k, _ArrayKey) else int(isinstance(k, int | slice)) for k in self.key]
        if sum(spans) > len(shape):
            raise ShapeError(f"index: {sum(spans)} axes are indexed, the tensor has shape {shape}")
        if self.key.count(...) > 1:
            raise ShapeError("index: at most one ... fits in an index")
        axis = 0
        for k, span in zip(self.key, spans, strict=True):
            if k is ...:
                axis += len(shape) - sum(spans)
                continue
            if isinstance(k, int) and not -shape[axis] <= k < shape[axis]:
                raise IndexRangeError(f"index: {k} is outside axis {axis} of shape {shape}")
            axis += span

    def forward(self, xp: Any, x: Array, *arrays: Array, out: Array | None = None) -> Array:
        key = _fill(self.key, arrays)
        return x[key if ... in self.key else (*key, ...)]  # with ..., one entry is a view of it and not a number

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, *arrays: Tensor) -> tuple[Gradient, ...]:
        nothing = (None,) * len(arrays)
        return lambda: IndexAdd(self.key, x.shape)(dy, *arrays), *nothing


@dataclass(frozen=True)
class IndexAdd(Op):
    """Entries put at the places of an index, zeros elsewhere; places named twice add up."""

    rule = "dx = dy[key]"
    key: Key
    shape: Shape

    @property
    def label(self) -> str:
        """The index as it is written: ``index_add[:, 0:32]``."""
        return f"index_add[{', '.join(_key_text(k) for k in self.key)}]"

    def forward(self, xp: Any, x: Array, *arrays: Array, out: Array | None = None) -> Array:
        return xp.index_add(self.shape, _fill(self.key, arrays), x)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, *arrays: Tensor) -> tuple[Gradient, ...]:
        nothing = (None,) * len(arrays)
        return lambda: Index(self.key)(dy, *arrays), *nothing


@dataclass(frozen=True)
class Concatenate(Op):
    """Tensors joined along an axis they have."""

    rule = "each input gets its part of dy"
    axis: int = 0

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if the shapes differ anywhere but along the axis."""
        check_dtypes(self, inputs)
        shapes = [t.shape for t in inputs]
        axis = normalize_axis("concatenate", self.axis, inputs[0].shape)
        rest = {s[:axis] + s[axis + 1 :] for s in shapes if len(s) == len(shapes[0])}
        if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
            raise ShapeError(f"concatenate: shapes may differ along axis {axis} only: {shapes}")

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        return xp.concatenate(arrays, axis=self.axis, out=out)

    def backward(self, dy: Tensor, y: Tensor, *inputs: Tensor) -> tuple[Gradient, ...]:
        axis = self.axis % y.ndim
        before = (slice(None),) * axis
        ends = np.cumsum([t.shape[axis] for t in inputs]).tolist()
        starts = [0, *ends[:-1]]
        return tuple(lambda i=i, j=j: Index((*before, slice(i, j)))(dy) for i, j in zip(starts, ends, strict=True))


@dataclass(frozen=True)
class Pad(Op):
    """A constant written around the entries."""

    rule = "dx = dy without the border"
    widths: tuple[tuple[int, int], ...]
    value: float = 0.0

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless there is a pair of widths for every axis."""
        if len(self.widths) != inputs[0].ndim or any(n < 0 for pair in self.widths for n in pair):
            raise ShapeError(
                f"pad: expected two widths >= 0 for each of the {inputs[0].ndim} axes of {inputs[0].shape}, "
                f"got {self.widths}"
            )

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.pad(x, self.widths, constant_values=self.value)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        inside = tuple(slice(lo, lo + n) for (lo, _), n in zip(self.widths, x.shape, strict=True))
        return (Index(inside)(dy),)


def normalize_axis(what: str, axis: int, shape: Shape, extra: int = 0) -> int:
    """Return `axis` counted from the front, or raise an error that names the axes there are."""
    ndim = len(shape) + extra
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise ShapeError(f"{what}: axis {axis!r} is not an axis of shape {shape}; allowed: {-ndim} to {ndim - 1}")
    return int(axis) % ndim


_transpose = Transpose()


@documents(Reshape)
def reshape(x: Operand, shape: int | Sequence[int]) -> Tensor:
    """Return the same entries in another shape; one length may be -1, it is then worked out."""
    return Reshape((shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape))(x)


@documents(Transpose)
def transpose(x: Operand, axes: Sequence[int] | None = None) -> Tensor:
    """Return `x` with its axes in the order `axes`, or reversed."""
    return _transpose(x) if axes is None else Transpose(tuple(axes))(x)


@documents(Concatenate)
def concatenate(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Return the tensors joined along `axis`; elsewhere their shapes must agree."""
    if not tensors:
        raise ArgumentError("concatenate: expected at least one tensor, got none")
    return Concatenate(axis)(*tensors)


def stack(tensors: Sequence[Operand], axis: int = 0) -> Tensor:
    """Return tensors of one shape side by side along a new `axis`."""
    if not tensors:
        raise ArgumentError("stack: expected at least one tensor, got none")
    parts = [as_tensor(t) for t in tensors]
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
    if isinstance(sections, int | np.integer):
        if sections < 1 or length % sections:
            raise ShapeError(f"split: axis {axis} of {x.shape} cannot be cut into {sections} equal sections")
        step = length // sections
        cuts = list(range(step, length, step))
    else:
        cuts = [int(c) for c in sections]
    before = (slice(None),) * axis
    return [Index((*before, slice(i, j)))(x) for i, j in zip([0, *cuts], [*cuts, length], strict=True)]


def getitem(x: Tensor, key: Any) -> Tensor:
    """Return ``x[key]``: integers, slices, None, ... and arrays or tensors of indices or truth values."""
    parts = key if isinstance(key, tuple) else (key,)
    plain: list[Any] = []
    arrays: list[Tensor] = []
    for k in parts:
        if isinstance(k, bool):
            raise ArgumentError("index: a single truth value is not an index; use an array of them")
        if k is None or k is ... or isinstance(k, slice):
            plain.append(k)
        elif isinstance(k, int | np.integer):
            plain.append(int(k))
        else:
            plain.append(ARRAY_KEY)
            arrays.append(_index_tensor(k, x))
    return Index(tuple(plain))(x, *arrays)


def _index_tensor(value: Any, x: Tensor) -> Tensor:
    """Return indices as a tensor on the backend of `x`, checked where they are on the host."""
    if not isinstance(value, Tensor):
        value = as_tensor(value if np.size(value) else np.asarray(value, np.int64), x)
    if value.dtype.kind not in "iub":
        raise DTypeError(f"index: expected whole numbers or truth values, got {value.dtype}")
    indices: Tensor = value
    return indices


@documents(Index)
def take(x: Operand, indices: Operand, axis: int = 0) -> Tensor:
    """Return the entries of `x` at `indices` along `axis`; an index may repeat.

    Parameters
    ----------
    x : tensor of shape (..., n, ...)
    indices : tensor, array or list of whole numbers, of any shape
        Its shape replaces the axis.
    """
    x = as_tensor(x)
    axis = normalize_axis("take", axis, x.shape)
    picked = _index_tensor(indices, x)
    host = indices if not isinstance(indices, Tensor) else None
    if host is not None and np.size(host) and not -x.shape[axis] <= np.min(host) <= np.max(host) < x.shape[axis]:
        raise IndexRangeError(f"take: indices run outside axis {axis} of shape {x.shape}")
    return Index(((slice(None),) * axis) + (ARRAY_KEY,))(x, picked)


@documents(Pad)
def pad(x: Operand, widths: int | Sequence[int | Sequence[int]], value: float = 0.0) -> Tensor:
    """Return `x` with a border of `value`.

    Parameters
    ----------
    x : tensor
    widths : int, or one int or pair (before, after) per axis
        How many entries to add.
    value : float
        What the border holds.
    """
    x = as_tensor(x)
    per_axis = [widths] * x.ndim if isinstance(widths, int) else list(widths)
    pairs = tuple((w, w) if isinstance(w, int) else (int(w[0]), int(w[1])) for w in per_axis)
    return Pad(pairs, float(value))(x)


functions.reshape, functions.transpose, functions.getitem = reshape, transpose, getitem
