"""The dtype in which operands meet: one rule for every operation.

Tensors and arrays decide, numbers adapt:

- One floating dtype among tensors and arrays is that of all: whole numbers and truth values beside it are converted.
  Two floating dtypes do not meet; nothing is rounded or widened without being asked for.
- Whole numbers and truth values among themselves meet as in NumPy 2: uint8 and int8 in int16.
- A number of Python's or NumPy's takes the dtype beside it. What that cannot hold makes all what the number would be by
  itself: a fraction beside whole numbers float32, a whole number beside truth values int64.
- Operands that are only compared need no common dtype to hold the result: a fraction beside whole numbers makes float64
  of them, and a number beyond their dtype is compared as infinite, as NumPy compares it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .errors import DTypeError
from .typing import DType

NUMBERS = (int, float, np.generic)  # bool is an int
BOOL, INT, FLOAT, DOUBLE = (np.dtype(t) for t in (bool, np.int64, np.float32, np.float64))


def common_dtype(dtypes: Sequence[DType]) -> DType | None:
    """Return the dtype in which tensors and arrays of `dtypes` meet; None if two of them are floating.

    Raises
    ------
    DTypeError
        If uint64 meets signed whole numbers, for which NumPy has no whole numbers wide enough.
    """
    floating = {d for d in dtypes if d.kind == "f"}
    if floating:
        return floating.pop() if len(floating) == 1 else None
    dtype = np.result_type(*dtypes)
    if dtype.kind == "f":
        raise DTypeError("uint64 and signed whole numbers have no dtype in common; convert one with .astype(...)")
    return dtype


def with_number(dtype: DType, number: object, compared: bool = False) -> DType:
    """Return the dtype in which operands of `dtype` meet a number; `compared`: they are only compared with it."""
    if dtype.kind == "f":
        return dtype
    if isinstance(number, float | np.floating):
        return DOUBLE if compared else FLOAT
    return INT if dtype.kind == "b" and not isinstance(number, bool | np.bool_) else dtype


def of_numbers(numbers: Sequence[object]) -> DType:
    """Return the dtype in which numbers meet where nothing but numbers does: NumPy's keep theirs."""
    dtypes = [n.dtype for n in numbers if isinstance(n, np.generic | np.ndarray)]
    dtype = np.result_type(*dtypes) if dtypes else BOOL
    for number in numbers:
        dtype = with_number(dtype, number)
    return dtype


def holding(dtype: DType, number: float, caller: str) -> DType:
    """Return the dtype in which operands of `dtype` meet one of Python's numbers.

    Raises
    ------
    DTypeError
        If the number is beyond it; `caller` begins the text.
    """
    dtype = with_number(dtype, number)
    try:
        np.array(number, dtype)
    except OverflowError:
        raise beyond(number, dtype, caller) from None
    return dtype


def comparable(number: object, dtype: DType) -> object:
    """Return a number that is to be compared with elements of `dtype`: infinite if they are whole and it is beyond."""
    if dtype.kind in "iu" and isinstance(number, int | np.integer):
        limits = np.iinfo(dtype)
        if not limits.min <= number <= limits.max:
            return math.inf if number > 0 else -math.inf
    return number


def beyond(number: float, dtype: DType, caller: str) -> DTypeError:
    """Return the error for a whole number that `dtype` does not hold."""
    bits = int(number).bit_length()
    text = f"the number {number}" if bits <= 64 else f"a number of {bits} bits"
    if dtype.kind == "f":
        return DTypeError(f"{caller}: {text} is beyond {dtype}, which holds at most {np.finfo(dtype).max:.3g}")
    limits = np.iinfo(dtype)
    return DTypeError(
        f"{caller}: {text} is beyond {dtype}, which holds {limits.min} to {limits.max}; convert the tensor with "
        ".astype(...)"
    )
