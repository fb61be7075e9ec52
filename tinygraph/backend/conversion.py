"""Numbers, lists and arrays as arrays: which dtype they have, and what is no number."""

from __future__ import annotations

import math
import sys
from functools import lru_cache

import numpy as np

from ..errors import DTypeError, ShapeError
from ..typing import Array, DType, DTypeLike
from .base import Backend

NATIVE = frozenset(np.dtype(c) for c in "?" + np.typecodes["AllInteger"] + np.typecodes["Float"])  # dtypes of numbers


def host_array(value: object, floating: DTypeLike = np.float32) -> np.ndarray:
    """Return `value` as a host array: Python floats take the dtype `floating`, arrays keep theirs."""
    array = number_array(value)
    if array.dtype == np.float64 and not hasattr(value, "__array__") and not _has_float64(value):
        array = array.astype(floating, copy=False)
    return array


def number_array(value: object) -> np.ndarray:
    """Return `value` as an array of NumPy's own class that holds numbers as this machine does.

    Raises
    ------
    DTypeError
        If it holds anything but real numbers and truth values.
    ShapeError
        If its rows differ in length.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"tensor: expected numbers in rows of equal length; {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray) and masked.is_masked(value):
        raise DTypeError("tensor: a masked array has no numbers where it is masked; give them with .filled(...)")
    return array if array.dtype.isnative else array.astype(array.dtype.type)


def _has_float64(value: object) -> bool:
    """Whether nested lists hold NumPy float64 values, which keep their dtype."""
    if isinstance(value, list | tuple):
        return any(_has_float64(v) for v in value)
    return isinstance(value, np.ndarray | np.float64) and value.dtype == np.float64


def constant(value: float, dtype: DType, backend: Backend) -> Array:
    """Return a number as an array, made once, which nobody may write to."""
    return _constant(value, math.copysign(1.0, value), dtype, backend)


@lru_cache(maxsize=4096, typed=True)
def _constant(value: object, sign: float, dtype: DTypeLike, backend: Backend) -> Array:
    """Return a number as an array; `sign` keeps 0.0 and -0.0 apart."""
    return backend.asarray(np.array(value, dtype))


def find_dtype(dtype: DTypeLike, caller: str) -> np.dtype:
    """Return the dtype of numbers called `dtype`, in this machine's order of bytes.

    Raises
    ------
    DTypeError
        If there is none; `caller` begins the text.
    """
    try:
        result: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError):
        raise DTypeError(f"dtype {dtype!r} is not known; name one such as 'float32' or 'float64'") from None
    if dtype is None or result.kind not in "fiub":
        got = dtype if dtype is None else result
        raise DTypeError(f"{caller}: expected a dtype of real numbers, got {got}; name one such as 'float32'")
    return result if result.isnative else np.dtype(result.type)  # a dtype is found again by its identity
