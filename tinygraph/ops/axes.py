"""Axes by number: counted from the front, or an error that names the axes there are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ..arguments import whole
from ..errors import ShapeError
from ..leaves import as_tensor
from ..op import Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Axis
from ..typing import Shape as Shape


def normalize_axis(caller: str, axis: object, shape: Shape, extra: int = 0) -> int:
    """Return `axis` counted from the front, for `shape` with `extra` further axes."""
    ndim = len(shape) + extra
    number = whole(axis)
    if number is None or not -ndim <= number < ndim:
        if not ndim:
            raise ShapeError(f"{caller}: axis {axis!r} is not an axis of shape (), which has none")
        raise ShapeError(f"{caller}: axis {axis!r} is not an axis of shape {shape}; allowed: {-ndim} to {ndim - 1}")
    return number % ndim


def plain_axes(caller: str, axis: Any, x: Operand) -> Axis:
    """Return an axis of `x`, several of them, or None, as int, tuple of ints or None: what an operation is known by.

    Raises
    ------
    ShapeError
        If one of them is not an axis of `x`.
    """
    if axis is None or axis.__class__ is int:  # checked by the operation
        return axis
    shape = as_tensor(x).shape
    several = isinstance(axis, tuple | list) or (isinstance(axis, np.ndarray) and axis.ndim == 1)
    for a in axis if several else (axis,):
        normalize_axis(caller, a, shape)
    return tuple(map(int, axis)) if several else int(axis)  # pyright: ignore[reportArgumentType]


def plain_lengths(caller: str, shape: object, inferred: bool = False) -> Shape:
    """Return a shape, given as a whole number or several, as a tuple of ints; `inferred`: -1 is one as well.

    Raises
    ------
    ShapeError
        If it is none.
    """
    n = whole(shape)
    lengths: Any = tuple(map(whole, shape)) if n is None and isinstance(shape, Iterable) else (n,)
    if not all(n is not None and n >= -inferred for n in lengths):
        infer = ", or -1 for one that is inferred" if inferred else ""
        raise ShapeError(f"{caller}: a shape is whole numbers from 0 on{infer}; got {shape!r}")
    return lengths  # type: ignore[no-any-return]


@lru_cache(maxsize=None, typed=True)
def normalize_axes(caller: str, axis: Axis, shape: Shape) -> tuple[int, ...]:
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
