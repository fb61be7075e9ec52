"""Indexing: elements picked by integers, slices and arrays of indices, and put back where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from ..arguments import whole
from ..backend import Array
from ..backend.conversion import number_array
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..leaves import as_tensor
from ..op import Gradients, Op
from ..operators import Operand, offers
from ..tensors import Tensor
from .axes import Shape, normalize_axis
from .declare import applies

__all__ = ["take"]


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
        ranks = iter([t.ndim if t.dtype.kind == "b" else 1 for t in inputs[1:]])
        spans = [next(ranks) if isinstance(k, _ArrayKey) else int(isinstance(k, int | slice)) for k in self.key]
        if sum(spans) > len(shape):
            raise ShapeError(f"index: {sum(spans)} axes are indexed, the tensor has shape {shape}")
        if self.key.count(...) > 1:
            raise ShapeError("index: at most one ... fits in an index")
        axis = 0
        arrays = iter(inputs[1:])
        for k, span in zip(self.key, spans, strict=True):
            if k is ...:
                axis += len(shape) - sum(spans)
                continue
            if isinstance(k, int) and not -shape[axis] <= k < shape[axis]:
                raise IndexRangeError(f"index: {k} is outside axis {axis} of shape {shape}")
            if isinstance(k, _ArrayKey):
                picks = next(arrays)
                if picks.dtype.kind == "b" and picks.shape != shape[axis : axis + span]:
                    raise IndexRangeError(
                        f"index: a mask of shape {picks.shape} does not fit a tensor of shape {shape} at axis {axis}"
                    )
            axis += span

    def forward(self, xp: Any, x: Array, *arrays: Array, out: Array | None = None) -> Array:
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

    def forward(self, xp: Any, x: Array, *arrays: Array, out: Array | None = None) -> Array:
        return xp.index_add(self.shape, _fill(self.key, arrays), x)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, *arrays: Tensor) -> Gradients:
        return lambda: Index(self.key)(dy, *arrays), *(None for _ in arrays)


@offers
def getitem(x: Tensor, key: Any) -> Tensor:
    """Return ``x[key]``: integers, slices, None, ... and arrays or tensors of indices or truth values."""
    parts = key if isinstance(key, tuple) else (key,)
    plain: list[Any] = []
    arrays: list[Tensor] = []
    for k in parts:
        if isinstance(k, bool | np.bool_) or (isinstance(k, np.ndarray) and k.dtype == bool and not k.ndim):
            raise ArgumentError("index: a single truth value is not an index; use an array of them")
        if k is None or k is ... or isinstance(k, slice):
            plain.append(k)
        elif (n := whole(k)) is not None:
            plain.append(n)
        else:
            plain.append(ARRAY_KEY)
            arrays.append(_index_tensor(k, x))
    return Index(tuple(plain))(x, *arrays)


def _index_tensor(value: Any, x: Tensor) -> Tensor:
    """Return indices as a tensor on the backend of `x`, checked where they are on the host."""
    if not isinstance(value, Tensor):
        array: Any = value if isinstance(value, x.backend.array_type) else number_array(value)
        value = as_tensor(value if array.size else np.zeros(array.shape, np.int64), x)
    if value.dtype.kind not in "iub":
        raise DTypeError(f"index: expected whole numbers or truth values, got {value.dtype}")
    indices: Tensor = value
    return indices


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
    if (n := whole(indices)) is not None:
        return getitem(x, (*(slice(None),) * axis, n))
    picked = _index_tensor(indices, x)
    on_host = not isinstance(indices, Tensor) and np.size(indices)
    if on_host and not -x.shape[axis] <= np.min(indices) <= np.max(indices) < x.shape[axis]:
        raise IndexRangeError(f"take: indices run outside axis {axis} of shape {x.shape}")
    return Index(((slice(None),) * axis) + (ARRAY_KEY,))(x, picked)
