"""Axes by number: counted from the front, or an error that names the axes there are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..errors import ShapeError
from ..op import Op
from ..tensors import Tensor

Shape = tuple[int, ...]


def normalize_axis(caller: str, axis: int, shape: Shape, extra: int = 0) -> int:
    """Return `axis` counted from the front, for `shape` with `extra` further axes."""
    ndim = len(shape) + extra
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise ShapeError(f"{caller}: axis {axis!r} is not an axis of shape {shape}; allowed: {-ndim} to {ndim - 1}")
    return int(axis) % ndim


@lru_cache(maxsize=None, typed=True)
def normalize_axes(caller: str, axis: int | tuple[int, ...] | None, shape: Shape) -> tuple[int, ...]:
    """Return the axes, None being all of them, counted from the front; none may be named twice."""
    if axis is None:
        return tuple(range(len(shape)))
    axes = tuple([normalize_axis(caller, a, shape) for a in (axis if isinstance(axis, tuple) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{caller}: axis {axis} names an axis of {shape} twice")
    return axes


def check_axis(op: Op, x: Tensor, axis: int) -> None:
    """Raise an error if the axis does not exist or has no elements."""
    if not x.shape[normalize_axis(op.name, axis, x.shape)]:
        raise ShapeError(f"{op.name}: no elements along axis {axis} of shape {x.shape}")
