"""A rank-one update with weight decay, ``W = t W + s a' b``: one pass over the matrix where BLAS makes two.

BLAS scales the matrix and adds the product then. One pass takes half the time, and has the same bits if it rounds the
sum as that library does on this processor, which is found out by comparing them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from ..backend.blas import BlasLibrary
from .records import GER, Call, Control, Field

IN_TWO_PASSES, FUSED, SEPARATE = 0, 1, 2  # by BLAS; one pass that rounds the sum once, or product and sum
LENGTHS = (*range(1, 36), 63, 64, 65, 127, 512, 1000)  # of columns: all remainders of vectors
ROWS = 5


def kind_of_update(run: Callable[..., int], blas: BlasLibrary, control: np.ndarray) -> int:
    """Return which way in one pass has the bits of two calls of BLAS: FUSED, SEPARATE, or IN_TWO_PASSES if none has.

    Parameters
    ----------
    run : callable
        The machine.
    blas : BlasLibrary
    control : numpy.ndarray
        The machine's memory; what it holds about updates is as it was afterwards.
    """
    kinds = [FUSED, SEPARATE]
    before = control[Control.UPDATE]
    for dtype in (np.float32, np.float64):
        for length in LENGTHS:
            by_blas, *others = (_updated(run, blas, control, np.dtype(dtype), length, k) for k in (0, FUSED, SEPARATE))
            kinds = [k for k in kinds if others[k - 1].tobytes() == by_blas.tobytes()]
    control[Control.UPDATE] = before
    return kinds[0] if kinds else IN_TWO_PASSES


def _updated(
    run: Callable[..., int], blas: BlasLibrary, control: np.ndarray, dtype: np.dtype, columns: int, kind: int
) -> np.ndarray:
    """Return a matrix after an update of one kind by the machine."""
    rng = np.random.default_rng(columns)
    y, a, b = (rng.standard_normal(n).astype(dtype) for n in (ROWS * columns, columns, ROWS))
    y[:3], b[1] = -0.0, 0.0  # a node that sleeps, and signs of zeros
    scales = np.zeros(4)
    scales[2:] = -0.013, 0.9998
    for k in (0, 1):
        scales[k : k + 1].view(dtype)[0] = scales[2 + k]
    numbers = np.array([0, 0, columns, ROWS, y.size, 0, 1, columns], np.int64)
    letter = "s" if dtype == np.float32 else "d"
    fields = {
        Field.OP: GER,
        Field.FUNCTION: blas.address(f"{letter}ger"),
        Field.DATA: blas.address(f"{letter}scal"),
        Field.SPAN: 1,
        Field.TASKS: 1,
        Field.NUMBERS: numbers.ctypes.data,
        Field.TYPE: int(letter == "d"),
        Field.SCALES: scales.ctypes.data,
    }
    table = np.zeros((1, int(Field.END)), np.int64)
    for field, value in fields.items():
        table[0, field] = value
    table[0, Field.P : Field.P + 3] = [x.ctypes.data for x in (a, b, y)]
    control[Control.UPDATE] = kind
    call = np.zeros(len(Call), np.int64)
    call[: Call.MASK] = table.ctypes.data, 0, 1, control.ctypes.data
    run(ctypes.c_int64(call.ctypes.data))
    return y
