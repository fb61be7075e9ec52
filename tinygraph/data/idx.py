"""The IDX format, in which MNIST is published.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, the dimensions as
big-endian 32-bit integers, and the entries, row-major and big-endian.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import DataError
from .files import read_bytes

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """Return the array in an IDX file, compressed by gzip or not.

    Returns
    -------
    array
        Of the shape and dtype the file states, in the machine's byte order, writable.

    Raises
    ------
    DataError
        If the file is missing, damaged, truncated or not an IDX file; the text names it.
    """
    path = Path(path)
    raw = read_bytes(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        raise DataError(f"{path}: not an IDX file: it starts with {raw[:4].hex(' ') or 'nothing'}")
    dtype, ndim = np.dtype(DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise DataError(f"{path}: damaged: it ends within its header of {start} bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", ndim, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise DataError(f"{path}: damaged: shape {shape} takes {expected} bytes, the file holds {len(raw)}")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
