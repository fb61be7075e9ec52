"""Numbers, lists and arrays as arrays: which dtype they have, and what is no number."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from .base import Array, Backend


def host_array(value: Any) -> np.ndarray:
    """Return `value` as a host array: Python floats become float32, arrays keep their dtype."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"tensor: expected numbers in rows of equal length; {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    if array.dtype == np.float64 and not hasattr(value, "dtype") and not _has_float64(value):
        array = array.astype(np.float32)
    return array


def _has_float64(value: Any) -> bool:
    """Whether nested lists hold NumPy float64 values, which keep their dtype."""
    if isinstance(value, list | tuple):
        return any(_has_float64(v) for v in value)
    return isinstance(value, np.ndarray | np.float64) and value.dtype == np.float64


def constant(value: Any, dtype: Any, backend: Backend) -> Array:
    """Return a number as an array, made once, which nobody may write to."""
    return _constant(value, math.copysign(1.0, value), dtype, backend)


@lru_cache(maxsize=4096, typed=True)
def _constant(value: Any, sign: float, dtype: Any, backend: Backend) -> Array:
    """Return a number as an array; `sign` keeps 0.0 and -0.0 apart."""
    return backend.asarray(np.array(value, dtype))


def find_dtype(dtype: Any) -> np.dtype:
    """Return the dtype called `dtype`, or raise a `DTypeError` if there is none."""
    try:
        result: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError):
        raise DTypeError(f"dtype {dtype!r} is not known; name one such as 'float32' or 'float64'") from None
    return result
