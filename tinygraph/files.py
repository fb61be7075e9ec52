"""Writing a file whole or not at all, checksums of arrays, and where files are kept that can be made again."""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

import numpy as np

from .errors import DataError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

PathLike = str | os.PathLike[str]


def cache_folder() -> Path:
    """Return the folder for what can be made or fetched again; it need not exist."""
    import platformdirs  # for few: kept out of `import tinygraph`

    return Path(platformdirs.user_cache_dir("tinygraph"))


def update_checksum(total: hashlib.blake2b, array: np.ndarray) -> None:
    """Let a checksum go on over the elements of an array, in their order, without a copy of them if it can."""
    total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def write_file(path: PathLike, content: bytes) -> None:
    """Write `content` to `path` whole or not at all: the old file stays until the new one is on the disk.

    It is written beside its place, under a hidden name that ends in ``.part``, flushed to the disk and moved; its
    permissions are those that the umask gives to a new file. Such files of processes that were killed are removed.

    Raises
    ------
    DataError
        If the folder does not exist or cannot be written to, the disk is full, or no file can have that name.
    """
    target = Path(path)
    temporary = None
    try:
        _remove_leftovers(target)
        temporary, handle = _create_beside(target)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:  # moved while it is locked: nobody takes it for a leftover
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
        _flush_folder(target.parent)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, ValueError):  # a character 0, or half of a pair of surrogates
            raise DataError(f"cannot write {str(target)!r}: a file cannot have that name") from None
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or error
        raise DataError(f"cannot write {target}: {reason}; choose a folder that exists and can be written to") from None


def _create_beside(target: Path) -> tuple[str, int]:
    """Create a new, locked file beside `target`; return its name and its descriptor."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        name = str(target.parent / f".{target.name[:100]}.{secrets.token_hex(4)}.part")
        try:
            handle = os.open(name, flags, 0o666)
        except FileExistsError:
            continue
        if fcntl is None:
            return name, handle
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return name, handle
        os.close(handle)  # taken for a leftover before it was locked


def _remove_leftovers(target: Path) -> None:
    """Remove the unfinished files of `target` that no process writes any more."""
    for name in glob.glob(f".{glob.escape(target.name[:100])}.*.part", root_dir=target.parent, include_hidden=True):
        path = target.parent / name
        with suppress(OSError):  # another process holds or has removed it
            if fcntl is None:
                path.unlink()
                continue
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush a folder to the disk, where its system can, so that a renamed file is there after a power cut."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
