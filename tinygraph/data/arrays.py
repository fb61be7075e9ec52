"""NPY and NPZ files: the header is read first, and nothing is unpacked that it does not announce."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ..errors import DataError
from .opening import fill, most_unpacked, opened, reading, too_large

NPY, PICKLE = b"\x93NUMPY", b"\x80"
ENCRYPTED = 1  # a flag of a zip archive's entry
LAST_LETTER = 0x10FFFF  # of Unicode
SURROGATES = (0xD800 >> 11, 11)  # the first bits of what is no letter below, and how many follow
HEADERS: dict[bytes, Any] = {  # by version; a third has names of fields beyond Latin-1, which no numbers need
    b"\1\0": np.lib.format.read_array_header_1_0,
    b"\2\0": np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> np.ndarray:
    """Return the array in an NPY file; see `read_npz`."""
    with reading(path), opened(path) as file:
        return _read_array(str(path), file, os.fstat(file.fileno()).st_size)


class Archive:
    """The arrays in an NPZ file, by name, each read when it is asked for."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, packed: int) -> None:
        self.path, self.archive, self.packed = path, archive, packed
        self.unpacked = 0
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self.members:
                raise DataError(f"{path}: damaged: it holds {name!r} twice")
            self.members[name] = member

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.members:
            raise DataError(f"{self.path}: expected an array called {name}, found {', '.join(self) or 'none'}")
        member = self.members[name]
        if member.flag_bits & ENCRYPTED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{self.path}: {name} is encrypted, or packed in a way that NumPy does not write")
        self.unpacked += member.file_size
        if self.unpacked > most_unpacked(self.packed):
            raise too_large(self.path, self.packed, self.unpacked)
        with self.archive.open(member) as stream:
            return _read_array(f"{self.path}: {name}", cast(BinaryIO, stream), member.file_size)


@contextmanager
def read_npz(path: Path, remedy: str = "") -> Iterator[Archive]:
    """Open an NPZ file, whose arrays are read by their names.

    Raises
    ------
    DataError
        In the block, if the file is missing or damaged, holds a name twice, something that is no array, or pickled
        objects, which are never loaded; or if an array would take over 64 MiB and 100 times the file's size. Whatever
        else is raised in the block is told as damage, so nothing but the reading belongs into it.
    """
    with reading(path, remedy), opened(path) as file, zipfile.ZipFile(file) as archive:
        yield Archive(path, archive, os.fstat(file.fileno()).st_size)


def _read_array(where: str, stream: BinaryIO, size: int) -> np.ndarray:
    """Return the array in a stream of `size` bytes, of any dtype that is neither objects nor records."""
    start = stream.read(len(NPY) + 2)
    if start[:1] == PICKLE:
        raise DataError(f"{where}: holds pickled objects, which are never loaded")
    if start[: len(NPY)] != NPY:
        raise DataError(f"{where}: damaged, or not an array in the NPY format")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that Python 2 wrote
            shape, fortran, dtype = HEADERS[start[-2:]](stream)
    except Exception as error:  # nearly anything, even MemoryError
        raise DataError(f"{where}: damaged: its header cannot be read ({type(error).__name__})") from None
    if dtype.hasobject:
        raise DataError(f"{where}: holds pickled objects, which are never loaded")
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind == "V":
        raise DataError(f"{where}: expected numbers, got records of dtype {dtype}")
    expected, remaining = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or expected != remaining:
        raise DataError(f"{where}: damaged: {dtype} of shape {shape} takes {expected} bytes, there are {remaining}")
    array = np.empty(shape, dtype, order="F" if fortran else "C")
    if expected:
        raw = array.reshape(-1, order="A").view(np.uint8)
        if fill(raw, stream) < expected or stream.read(1):  # at the end zipfile compares its sum
            raise DataError(f"{where}: damaged: it does not end after its {expected} bytes")
        if dtype.kind == "b" and raw.max() > 1:
            raise DataError(f"{where}: damaged: a truth value is neither 0 nor 1")
        if dtype.kind == "U":
            letters = raw.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
            if letters.max() > LAST_LETTER or ((letters >> SURROGATES[1]) == SURROGATES[0]).any():
                raise DataError(f"{where}: damaged: a text holds what is no letter")
    return array
