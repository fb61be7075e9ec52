"""Files of data: reading them safely, finding them, downloading them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import DataError

ENVIRONMENT = "TINYGRAPH_DATA_DIR"
Found = TypeVar("Found")


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
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file{remedy}") from None
    except (PermissionError, IsADirectoryError) as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}){remedy}") from None
    except Exception as error:
        raise DataError(f"{path}: damaged ({one_line(error)}){remedy}") from None


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file, uncompressed if it is a gzip file.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    import gzip

    with reading(path):
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


@dataclass(frozen=True)
class Download:
    """A file to download: its name, its published MD5 sum and the folders it lies in, tried in turn.

    Without mirrors it can only be put into place by hand.
    """

    file: str
    md5: str = ""
    mirrors: tuple[str, ...] = ()


def locate(
    name: str,
    find: Callable[[Path], Found | None],
    folders: tuple[str, ...],
    downloads: tuple[Download, ...],
    data_dir: str | Path | None,
) -> Found:
    """Return what `find` finds: in `data_dir`, or in TINYGRAPH_DATA_DIR, the cache, or by download.

    Parameters
    ----------
    name : str
        The data set's name, which is its folder in the cache.
    find : callable
        Takes a folder; returns the data set's files, or None if it does not hold them.
    folders : tuple of str
        The names its folder may have in a folder of several data sets.
    downloads : tuple of Download
        The files to download.
    data_dir : path, optional
        If given, only this folder is searched.

    Raises
    ------
    DataError
        If the files are nowhere and cannot be downloaded.
    """
    expected = ", ".join(d.file for d in downloads)
    if data_dir is not None:
        root = Path(data_dir).expanduser()
        if not root.is_dir():
            raise DataError(f"data_dir: there is no folder {root}")
        found = _search(root, find, folders)
        if found is None:
            raise DataError(f"data_dir: no {name} in {root}: expected {expected} there or in {folders[0]}/")
        return found
    if os.environ.get(ENVIRONMENT):
        found = _search(Path(os.environ[ENVIRONMENT]).expanduser(), find, folders)
        if found is not None:
            return found
    remedy = f"put {expected} into a folder and name it by data_dir or {ENVIRONMENT}"
    if not all(d.mirrors for d in downloads):
        raise DataError(f"{name}: there is no address to download it from; {remedy}")
    cache = _download(name, downloads, remedy)
    found = find(cache)
    if found is None:
        raise DataError(f"{cache}: does not hold {name}: expected {expected}")
    return found


def _search(root: Path, find: Callable[[Path], Found | None], folders: tuple[str, ...]) -> Found | None:
    for folder in (root / folders[0], root, *(root / other for other in folders[1:])):
        with reading(folder):
            found = find(folder)
        if found is not None:
            return found
    return None


def cache() -> Path:
    """Return the folder in which every downloaded data set has one of its own; it need not exist."""
    return Path(importlib.import_module("pooch").os_cache("tinygraph"))


def _download(name: str, downloads: tuple[Download, ...], remedy: str) -> Path:
    """Fetch what the cache does not hold yet (pooch compares the sums); return the cache's folder."""
    try:
        pooch = importlib.import_module("pooch")
    except ImportError:
        raise DataError(f"{name}: downloading needs pooch (pip install pooch); or {remedy}") from None
    folder = cache() / name
    for wanted in downloads:
        reason = ""
        for mirror in wanted.mirrors:
            try:
                pooch.retrieve(mirror + wanted.file, f"md5:{wanted.md5}", fname=wanted.file, path=folder)
                break
            except (
                OSError,
                ValueError,
            ) as error:  # no network, a refusing server; another sum than published
                reason = one_line(error)
        else:
            raise DataError(f"{name}: {wanted.file} could not be downloaded ({reason:.200}); {remedy}")
    return folder
