"""Indexing: elements picked by integers, slices and arrays of indices, and put back where they came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any

import numpy as np

from ..arguments import whole
from ..backend.conversion import number_array
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..leaves import as_tensor
from ..mode import mode
from ..op import Gradients, Op
from ..operators import Operand, offers
from ..tensors import Tensor
from ..typing import Array, Namespace, Shape
from .axes import normalize_axis
from .declare import applies

__all__ = ["take", "take_along_axis"]


class _ArrayKey:
    """Stands in an index for an array of indices, which comes as an input of the op."""

    def __repr__(self) -> str:
        return "array"


ARRAY_KEY = _ArrayKey()
Key = tuple[int | slice | EllipsisType | _ArrayKey | None, ...]


def _key_text(k: object) -> str:
    """Return one part of an index as it is written."""
    if isinstance(k, slice):
        ends = ":".join("" if n is None else str(n) for n in (k.start, k.stop))
        return ends if k.step is None else f"{ends}:{k.step}"
    return "..." if k is ... else "array" if isinstance(k, _ArrayKey) else str(k)


def _fill(key: Key, arrays: Sequence[Array]) -> Any:
    """Return the index with its arrays in their places."""
    remaining = iter(arrays)
    return tuple(next(remaining) if isinstance(k, _ArrayKey) else k for k in key)


@dataclass(frozen=True)
class Index(Op):
    """Elements picked by an index: ``y = x[key]``; arrays in the key are further inputs."""

    rule = "dx = dy at the picked places, 0 elsewhere; places picked twice add up"
    key: Key

    @property
    def view(self) -> bool:  # type: ignore[override]
        """Whether the elements are a regular part of the memory: no arrays of indices."""
        return ARRAY_KEY not in self.key

    @property
    def label(self) -> str:
        """The index as it is written: ``index[:, 0:32]``."""
        return f"index[{', '.join(_key_text(k) for k in self.key)}]"

    def check(self, *inputs: Tensor) -> None:
        shape = inputs[0].shape
        for k, axis in self._axes(shape, inputs[1:]):
            if isinstance(k, int) and not -shape[axis] <= k < shape[axis]:
                raise IndexRangeError(f"index: {k} is outside axis {axis} of shape {shape}")
            if isinstance(k, Tensor) and k.dtype.kind == "b" and k.shape != shape[axis : axis + k.ndim]:
                raise IndexRangeError(
                    f"index: a mask of shape {k.shape} does not fit a tensor of shape {shape} at axis {axis}"
                )

    def check_range(self, shape: Shape, arrays: Sequence[np.ndarray | Tensor]) -> None:
        """Raise an error if an index among `arrays` is outside the tensor of this shape."""
        for k, axis in self._axes(shape, arrays):
            if isinstance(k, np.ndarray | Tensor) and k.dtype.kind in "iu":
                _check_inside(k, axis, shape)

    def _axes(self, shape: Shape, arrays: Sequence[object]) -> list[tuple[Any, int]]:
        """Return the parts of the index that pick from axes, arrays in their places, each with its first axis."""
        key = _fill(self.key, arrays)
        masks = [isinstance(k, np.ndarray | Tensor) and k.dtype.kind == "b" for k in key]
        spans = [k.ndim if mask else k is not None and k is not ... for k, mask in zip(key, masks, strict=True)]
        if sum(spans) > len(shape):
            raise ShapeError(f"index: {sum(spans)} axes are indexed, the tensor has shape {shape}")
        if self.key.count(...) > 1:
            raise ShapeError("index: at most one ... fits in an index")
        axis, found = 0, []
        for k, span in zip(key, spans, strict=True):
            if span:
                found.append((k, axis))
            axis += len(shape) - sum(spans) if k is ... else span
        return found

    def forward(self, xp: Namespace, x: Array, *arrays: Array, out: Array | None = None) -> Array:
        key = _fill(self.key, arrays)
        try:
            return x[key if ... in self.key else (*key, ...)]  # with ..., one element is a view of it and not a number
        except IndexError as error:
            raise IndexRangeError(f"index: {error}") from None

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, *arrays: Tensor) -> Gradients:
        return lambda: IndexAdd(self.key, x.shape)(dy, *arrays), *(None for _ in arrays)


@dataclass(frozen=True)
class IndexAdd(Op):
    """Elements put at the places of an index, zeros elsewhere; places named twice add up."""

    rule = "dx = dy[key]"
    key: Key
    shape: Shape

    @property
    def label(self) -> str:
        """The index as it is written: ``index_add[:, 0:32]``."""
        return f"index_add[{', '.join(_key_text(k) for k in self.key)}]"

    def forward(self, xp: Namespace, x: Array, *arrays: Array, out: Array | None = None) -> Array:
        return xp.index_add(self.shape, _fill(self.key, arrays), x)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, *arrays: Tensor) -> Gradients:
        return lambda: Index(self.key)(dy, *arrays), *(None for _ in arrays)


@dataclass(frozen=True)
class TakeAlongAxis(Op):
    """Elements picked by indices along an axis, in each row its own."""

    rule = "dx = dy at the picked places, 0 elsewhere; places picked twice add up"
    axis: int

    def check(self, *inputs: Tensor) -> None:
        (x, at), a = (t.shape for t in inputs), self.axis
        if len(x) != len(at) or x[:a] + x[a + 1 :] != at[:a] + at[a + 1 :]:
            raise ShapeError(f"take_along_axis: x of shape {x} and indices of {at} may differ along axis {a} only")

    def forward(self, xp: Namespace, x: Array, indices: Array, out: Array | None = None) -> Array:
        return x[_along_axis(xp, self.axis, x.shape, indices)]

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, indices: Tensor) -> Gradients:
        return lambda: AddAlongAxis(self.axis, x.shape[self.axis])(dy, indices), None


@dataclass(frozen=True)
class AddAlongAxis(Op):
    """Elements put at indices along an axis, in each row its own, zeros elsewhere; places named twice add up."""

    rule = "dx = dy at the places"
    axis: int
    length: int

    def forward(self, xp: Namespace, x: Array, indices: Array, out: Array | None = None) -> Array:
        shape = (*x.shape[: self.axis], self.length, *x.shape[self.axis + 1 :])
        return xp.index_add(shape, _along_axis(xp, self.axis, shape, indices), x)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, indices: Tensor) -> Gradients:
        return lambda: TakeAlongAxis(self.axis)(dy, indices), None


def _along_axis(xp: Namespace, axis: int, shape: Shape, indices: Array) -> tuple[Array, ...]:
    """Return the index that picks from an array of a shape at indices along an axis, in each row its own."""
    rows = (xp.reshape(xp.arange(n), (1,) * a + (n,) + (1,) * (len(shape) - a - 1)) for a, n in enumerate(shape))
    return tuple(indices if a == axis else row for a, row in enumerate(rows))


def _check_inside(indices: np.ndarray | Tensor, axis: int, shape: Shape) -> None:
    """Raise an error if one of `indices` is outside an axis.

    Of those that are not on the host nobody but a watcher may see the content. A device then takes them modulo the
    length of the axis.
    """
    check = partial(_check_indices, axis=axis, shape=shape)
    if isinstance(indices, Tensor):
        require(indices, check)
    elif isinstance(indices, np.ndarray):
        check(indices)


def require(t: Tensor, check: Callable[[np.ndarray], None]) -> None:
    """Hold a check of what a tensor has on the host; watchers are asked as well, who may see other content later."""
    if isinstance(t.data, np.ndarray):
        check(t.data)
    for watcher in mode.watchers:
        watcher.requires(t, check)


def _check_indices(indices: np.ndarray, axis: int, shape: Shape) -> None:
    """Raise an error that names the first of `indices` outside an axis."""
    length = shape[axis]
    if indices.size and not -length <= indices.min() <= indices.max() < length:
        wrong = indices[(indices < -length) | (indices >= length)][0]
        raise IndexRangeError(f"index: {wrong} is outside axis {axis} of shape {shape}")


@offers
def getitem(x: Tensor, key: object) -> Tensor:
    """Return ``x[key]``: integers, slices, None, ... and arrays or tensors of indices or truth values."""
    parts = key if isinstance(key, tuple) else (key,)
    plain: list[Any] = []
    indices: list[tuple[Tensor, np.ndarray | None]] = []
    for k in parts:
        if isinstance(k, bool | np.bool_) or (isinstance(k, np.ndarray) and k.dtype == bool and not k.ndim):
            raise ArgumentError("index: a single truth value is not an index; use an array of them")
        if k is None or k is ... or isinstance(k, slice):
            plain.append(k)
        elif (n := whole(k)) is not None:
            plain.append(n)
        else:
            plain.append(ARRAY_KEY)
            indices.append(_indices(k, x))
    return _picked(x, tuple(plain), indices) if indices else Index(tuple(plain))(x)


def _picked(x: Tensor, key: Key, indices: Sequence[tuple[Tensor, np.ndarray | None]]) -> Tensor:
    """Return the elements at an index; its arrays are tensors beside `x`, each with what they are of on the host."""
    op = Index(key)
    op.check_range(x.shape, [tensor if host is None else host for tensor, host in indices])
    return op(x, *(tensor for tensor, _ in indices))


def _indices(value: Any, x: Tensor) -> tuple[Tensor, np.ndarray | None]:
    """Return indices as a tensor on the backend of `x`, and as the array on the host that they come from, if any."""
    host: np.ndarray | None = None
    if not isinstance(value, Tensor):
        array: Any = value if isinstance(value, x.backend.array_type) else number_array(value)
        host = array if isinstance(array, np.ndarray) else None
        value = as_tensor(value if array.size else np.zeros(array.shape, np.int64), x)
    if value.dtype.kind not in "iub":
        raise DTypeError(f"index: expected whole numbers or truth values, got {value.dtype}")
    return value, host


@dataclass(frozen=True)
class OneHot(Op):
    """Class indices as basis vectors (65.125); those outside 0 to ``classes - 1`` give NaN."""

    rule = "no gradient"
    differentiable = False
    classes: int
    dtype: str

    @property
    def label(self) -> str:
        """The name with the number of classes."""
        return f"{self.name}({self.classes})"

    def forward(self, xp: Namespace, indices: Array, out: Array | None = None) -> Array:
        places = xp.reshape(indices, (*indices.shape, 1)).astype("int64")
        vectors = xp.equal(places, xp.arange(self.classes)).astype(self.dtype)
        known = xp.where(xp.less(places, self.classes), vectors, math.nan)
        return xp.where(xp.greater_equal(places, 0), known, math.nan)


@applies(Index)
def take(x: Operand, indices: Operand, axis: int = 0) -> Tensor:
    """Return the elements of `x` at `indices` along `axis`; an index may repeat.

    Parameters
    ----------
    x : tensor of shape (..., n, ...)
    indices : tensor, array or list of whole numbers, of any shape, or one whole number
        Its shape replaces the axis.
    """
    x = as_tensor(x)
    axis = normalize_axis("take", axis, x.shape)
    before = (slice(None),) * axis
    if (n := whole(indices)) is not None:
        return Index((*before, n))(x)
    return _picked(x, (*before, ARRAY_KEY), [_indices(indices, x)])


@applies(TakeAlongAxis)
def take_along_axis(x: Operand, indices: Operand, axis: int = -1) -> Tensor:
    """Return the elements of `x` at `indices` along `axis`, each row's own: ``y[i, j] = x[i, indices[i, j]]``.

    Parameters
    ----------
    x : tensor of shape (..., n, ...)
    indices : tensor, array or list of whole numbers, of shape (..., m, ...)
        Of as many axes as `x`, and of the same lengths but for `axis`; an index may repeat.

    Returns
    -------
    tensor of the shape of `indices`
    """
    x = as_tensor(x)
    axis = normalize_axis("take_along_axis", axis, x.shape)
    picked, host = _indices(indices, x)
    if picked.dtype.kind == "b":
        raise DTypeError("take_along_axis: expected whole numbers as indices, got truth values")
    op = TakeAlongAxis(axis)
    op.check(x, picked)
    _check_inside(picked if host is None else host, axis, x.shape)
    return op(x, picked)
