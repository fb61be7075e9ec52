"""Tensors made of a shape, or of a range of numbers: leaves, and inside a compiled function constants of its plan."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np

from .arguments import whole
from .backend import Backend, current
from .backend.conversion import find_dtype
from .errors import ArgumentError, DTypeError, IndexRangeError
from .leaves import as_tensor
from .mode import mode
from .operators import Operand
from .ops.axes import plain_lengths
from .ops.indexing import OneHot, require
from .promotion import NUMBERS, beyond, of_numbers
from .tensors import Tensor
from .typing import Array, DType, DTypeLike, Shape

__all__ = ["arange", "eye", "full", "full_like", "linspace", "one_hot", "ones", "ones_like", "zeros", "zeros_like"]


def zeros(shape: int | Shape, dtype: DTypeLike = "float32", requires_grad: bool = False) -> Tensor:
    """Return a new leaf of zeros on the current backend."""
    return _filled("zeros", shape, 0, dtype, requires_grad)


def ones(shape: int | Shape, dtype: DTypeLike = "float32", requires_grad: bool = False) -> Tensor:
    """Return a new leaf of ones on the current backend."""
    return _filled("ones", shape, 1, dtype, requires_grad)


def full(shape: int | Shape, value: float, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return a new leaf that holds a number everywhere.

    Its dtype is that of the number unless one is given: float32 for a fraction, int64 for a whole number of Python's.
    """
    _check_numbers("full", value)
    return _filled("full", shape, value, of_numbers([value]) if dtype is None else dtype, requires_grad)


def zeros_like(x: Operand, dtype: DTypeLike | None = None) -> Tensor:
    """Return a new leaf of zeros with the shape, backend and, unless one is given, the dtype of `x`."""
    return full_like(x, 0, dtype)


def ones_like(x: Operand, dtype: DTypeLike | None = None) -> Tensor:
    """Return a new leaf of ones with the shape, backend and, unless one is given, the dtype of `x`."""
    return full_like(x, 1, dtype)


def full_like(x: Operand, value: float, dtype: DTypeLike | None = None) -> Tensor:
    """Return a new leaf that holds a number everywhere, of the shape, backend and, unless given, the dtype of `x`."""
    x = as_tensor(x)
    _check_numbers("full_like", value)
    kind = x.dtype if dtype is None else find_dtype(dtype, "full_like")
    return _of_number("full_like", x.shape, value, kind, x.backend)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None) -> Tensor:
    """Return a new leaf with the numbers from `start` (0 if one number is given) up to, without, `stop`.

    They are int64 if all three are whole numbers, else float32, unless a dtype is given.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    _check_finite("arange", start, stop, step)
    if step == 0:
        raise ArgumentError("arange: the step is not 0")
    kind = of_numbers([start, stop, step]) if dtype is None else find_dtype(dtype, "arange")
    try:
        return _of_host(np.arange(start, stop, step), kind)
    except (ValueError, OverflowError, MemoryError) as error:
        raise ArgumentError(f"arange: from {start} to {stop} by {step} are too many numbers: {error}") from None


def linspace(start: float, stop: float, num: int = 50, dtype: DTypeLike = "float32") -> Tensor:
    """Return a new leaf with `num` numbers, equally far from each other, from `start` to `stop`, both included."""
    _check_finite("linspace", start, stop)
    n = _at_least(0, "linspace: num", num)
    return _of_host(np.linspace(start, stop, n), find_dtype(dtype, "linspace"))


def eye(n: int, m: int | None = None, k: int = 0, dtype: DTypeLike = "float32") -> Tensor:
    """Return a new leaf of shape (n, m), square unless `m` is given, with ones on a diagonal, `k` above the main."""
    rows = _at_least(0, "eye: n", n)
    columns = rows if m is None else _at_least(0, "eye: m", m)
    diagonal = whole(k)
    if diagonal is None:
        raise ArgumentError(f"eye: the diagonal k is a whole number, 0 the main one; got {k!r}")
    return _of_host(np.eye(rows, columns, diagonal), find_dtype(dtype, "eye"))


def one_hot(indices: Operand, classes: int, dtype: DTypeLike = "float32") -> Tensor:
    """Return class indices as basis vectors (65.125), along a further axis at the end; without gradient.

    `data.one_hot` makes an array of labels, and counts the classes.

    Parameters
    ----------
    indices : tensor or array of whole numbers, of any shape
    classes : int
    dtype : floating dtype

    Raises
    ------
    DTypeError
        If indices are no whole numbers, or the dtype is not floating.
    IndexRangeError
        If an index is outside 0 to ``classes - 1``; of indices on a device the vector is NaN then.
    """
    n = _at_least(1, "one_hot: classes", classes)
    kind = find_dtype(dtype, "one_hot")
    if kind.kind != "f":
        raise DTypeError(f"one_hot: expected a floating dtype, got {kind}; convert with .astype(...)")
    t = as_tensor(indices)
    if t.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: expected whole numbers, got {t.dtype}; convert them with .astype('int64')")
    require(t, partial(_check_classes, classes=n))
    return OneHot(n, kind.name)(t)


def _check_classes(indices: np.ndarray, classes: int) -> None:
    """Raise an error that names the first of `indices` outside 0 to ``classes - 1``."""
    wrong = indices[(indices < 0) | (indices >= classes)]
    if wrong.size:
        raise IndexRangeError(f"one_hot: index {wrong[0]} is outside 0 to {classes - 1}")


def _check_numbers(caller: str, *values: object) -> None:
    """Raise an error if one of the arguments is no number."""
    for value in values:
        if not isinstance(value, NUMBERS):
            raise ArgumentError(f"{caller}: expected a number, got {value!r}")


def _check_finite(caller: str, *values: object) -> None:
    """Raise an error if one of the arguments is no number, or not finite."""
    _check_numbers(caller, *values)
    for value in values:
        if not np.isfinite(np.float64(cast(float, value))):
            raise ArgumentError(f"{caller}: expected a finite number, got {value!r}")


def _at_least(least: int, what: str, value: object) -> int:
    n = whole(value)
    if n is None or n < least:
        raise ArgumentError(f"{what} is a whole number from {least} on; got {value!r}")
    return n


def _filled(caller: str, shape: int | Shape, value: float, dtype: DTypeLike, requires_grad: bool) -> Tensor:
    kind = find_dtype(dtype, caller)
    if requires_grad and kind.kind != "f":
        raise DTypeError(f"{caller}: only floating tensors have gradients, got {kind}; pass dtype='float32'")
    return _of_number(caller, plain_lengths(caller, shape), value, kind, current(), requires_grad)


def _of_number(
    caller: str, shape: Shape, value: float, dtype: DType, backend: Backend, requires_grad: bool = False
) -> Tensor:
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise beyond(value, dtype, caller)  # NumPy 2.0 wraps it round
    try:
        data = backend.xp.full(shape, value, dtype)
    except OverflowError:
        raise beyond(value, dtype, caller) from None
    return _leaf(data, backend, requires_grad)


def _of_host(array: np.ndarray, dtype: DType) -> Tensor:
    return _leaf(current().asarray(array.astype(dtype)), current())


def _leaf(data: Array, backend: Backend, requires_grad: bool = False) -> Tensor:
    leaf = Tensor(data, backend, requires_grad=requires_grad)
    for watcher in mode.watchers:
        watcher.creates(leaf)
    return leaf
