"""Opening files of data: only what is a file is opened, and unpacked only as far as its size allows."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..errors import ArgumentError, DataError

GZIP = b"\x1f\x8b"
CHUNK = 1 << 20
RATIO, ALWAYS = 100, 64 << 20  # numbers seldom pack better than 100 to 1, deflated zeros do 1000 to 1


def one_line(error: BaseException) -> str:
    """Return what `error` says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def reading(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn whatever a missing or damaged file raises into one line that names it.

    Every exception counts: damage makes zipfile, zlib, tarfile and NumPy raise nearly anything. So nothing
    but the reading belongs into the block.
    """
    try:
        yield
    except DataError as error:
        if not remedy:
            raise
        raise DataError(f"{error}{remedy}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file{remedy}") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not gzip's
            raise DataError(f"{path}: cannot be read ({error.strerror}){remedy}") from None
        raise DataError(f"{path}: damaged ({one_line(error)}){remedy}") from None


def as_path(value: object, name: str) -> Path:
    """Return `value` as a path, or raise an error that calls it `name`."""
    try:
        path = Path(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(f"{name}: expected a path, got {value!r:.80}") from None
    if "\0" in str(path):
        raise ArgumentError(f"{name}: no path holds a zero byte, got {str(path)!r:.80}")
    return path


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a pipe, which may keep its reader waiting, and a device, which may not end, are refused.

    Meant for a block of `reading`.
    """
    _require_file(path, os.stat(path).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        _require_file(path, os.fstat(file.fileno()).st_mode)
        yield cast(BinaryIO, file)


def _require_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: cannot be read (Is a directory)")
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise DataError(f"{path}: cannot be read ({kind}, not a file); copy its contents into a file")


def most_unpacked(packed: int) -> int:
    """Return how many bytes are unpacked, at most, from a file of `packed` bytes."""
    return max(ALWAYS, RATIO * packed)


def too_large(path: Path, packed: int, wanted: int | None = None) -> DataError:
    """Return the error for a file of `packed` bytes that holds `wanted` bytes when unpacked, or no end of them."""
    least = f"{wanted:,}" if wanted is not None else f"more than {most_unpacked(packed):,}"
    return DataError(
        f"{path}: its {packed:,} bytes unpack to {least}, which is more than {RATIO} times as many; if that is "
        "meant, store it unpacked"
    )


@dataclass(frozen=True)
class Contents:
    """What a file holds, to be read once.

    Attributes
    ----------
    path : Path
    stream : binary stream
        Gives what is in the file, unpacked.
    packed : int
        The file's size in bytes.
    compressed : bool
        Whether the size of the contents is known only when all are read; otherwise it is `packed`.
    """

    path: Path
    stream: BinaryIO
    packed: int
    compressed: bool

    @property
    def most(self) -> int:
        """How many bytes are read at most."""
        return most_unpacked(self.packed) if self.compressed else self.packed

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents in parts.

        Raises
        ------
        DataError
            If they unpack to more than is unpacked of a file of this size.
        """
        total = 0
        while chunk := self.stream.read(CHUNK):
            total += len(chunk)
            if total > self.most and self.compressed:
                raise too_large(self.path, self.packed)
            yield chunk


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a file, compressed by gzip or not. Meant for a block of `reading`."""
    import gzip  # for few: kept out of `import tinygraph`

    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not compressed:
            yield Contents(path, file, size, False)
            return
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield Contents(path, cast(BinaryIO, unzipped), size, True)


def fill(array: np.ndarray, stream: BinaryIO) -> int:
    """Read into all of an array of bytes; return how many came before the end."""
    filled = 0
    while filled < len(array) and (count := stream.readinto(array[filled : filled + CHUNK])):  # type: ignore[attr-defined]
        filled += count
    return filled


def sum_of(chunks: Iterable[bytes]) -> str:
    """Return an MD5 sum, which is what is published for these data sets: against damage, not against malice."""
    sum_so_far = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        sum_so_far.update(chunk)
    return sum_so_far.hexdigest()
