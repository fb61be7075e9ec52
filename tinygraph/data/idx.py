"""The IDX format, in which MNIST is published.

A file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, the dimensions as
big-endian 32-bit integers, and the elements, row-major and big-endian.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import DataError
from .opening import as_path, contents, fill, reading, too_large

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
        If the file is missing, damaged, truncated or not an IDX file, or if a compressed one states a shape that takes
        over 64 MiB and 100 times the file's size; the text names it. Nothing is unpacked beyond that shape.
    """
    path = as_path(path, "read_idx")
    with reading(path), contents(path) as content:
        start = content.stream.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in DTYPES:
            raise DataError(f"{path}: not an IDX file: it starts with {start.hex(' ') or 'nothing'}")
        dtype, ndim = np.dtype(DTYPES[start[2]]), start[3]
        dimensions = content.stream.read(4 * ndim)
        header = 4 + 4 * ndim
        if len(dimensions) < 4 * ndim:
            raise DataError(f"{path}: damaged: it ends within its header of {header} bytes")
        shape = tuple(int(n) for n in np.frombuffer(dimensions, ">u4"))
        expected = header + math.prod(shape) * dtype.itemsize
        if content.compressed and expected > content.most:
            raise too_large(path, content.packed, expected)
        if not content.compressed and expected != content.packed:
            raise _other_size(path, shape, expected, str(content.packed))
        array = np.empty(shape, dtype)
        filled = header + (fill(array.reshape(-1).view(np.uint8), content.stream) if array.size else 0)
        more = content.stream.read(1)  # at the end gzip compares its sum
        if filled < expected or more:
            raise _other_size(path, shape, expected, "more" if more else str(filled))
    return array.astype(dtype.newbyteorder("="), copy=False)


def _other_size(path: Path, shape: tuple[int, ...], expected: int, got: str) -> DataError:
    return DataError(f"{path}: damaged: shape {shape} takes {expected} bytes, the file holds {got}")
