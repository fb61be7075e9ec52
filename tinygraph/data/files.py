"""Finding the files of a data set: in a folder that is named, in the cache, or by download."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import DataError
from ..files import cache_folder
from .downloads import Download, fetch
from .opening import as_path, one_line, reading

ENVIRONMENT = "TINYGRAPH_DATA_DIR"
Found = TypeVar("Found")


def present(path: Path) -> bool:
    """Return whether there is something at `path`; what is no file is told when it is opened."""
    with reading(path):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def files_like(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder whose names match, sorted; none if there is no such folder."""
    with reading(folder):
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
    return [folder / name for name in sorted(names) if Path(name).match(pattern)]


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
        If a folder that is named is none, or the files are nowhere and cannot be downloaded.
    """
    expected = ", ".join(d.file for d in downloads)
    if data_dir is not None:
        root = _folder(data_dir, "data_dir")
        files = _search(root, find, folders)
        if files is None:
            raise DataError(f"data_dir: no {name} in {root}: expected {expected} there or in {folders[0]}/")
        return files
    if os.environ.get(ENVIRONMENT):
        files = _search(_folder(os.environ[ENVIRONMENT], ENVIRONMENT), find, folders)
        if files is not None:
            return files
    remedy = f"put {expected} into a folder and name it by data_dir or {ENVIRONMENT}"
    if not all(d.mirrors for d in downloads):
        raise DataError(f"{name}: there is no address to download it from; {remedy}")
    folder = _download(name, downloads, remedy)
    files = find(folder)
    if files is None:
        raise DataError(f"{folder}: does not hold {name}: expected {expected}")
    return files


def _folder(value: object, name: str) -> Path:
    """Return `value` as a folder that exists, or raise an error that calls it `name`."""
    root = as_path(value, name)
    try:
        root = root.expanduser()
        is_folder = stat.S_ISDIR(os.stat(root).st_mode)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # RuntimeError: the home of nobody
        is_folder = False
    except OSError as error:
        raise DataError(f"{name}: {root} cannot be read ({error.strerror})") from None
    if not is_folder:
        raise DataError(f"{name}: there is no folder {root}")
    return root


def _search(root: Path, find: Callable[[Path], Found | None], folders: tuple[str, ...]) -> Found | None:
    for folder in (root / folders[0], root, *(root / other for other in folders[1:])):
        with reading(folder):
            files = find(folder)
        if files is not None:
            return files
    return None


def cache() -> Path:
    """Return the folder in which every downloaded data set has one of its own; it need not exist."""
    return cache_folder()


def _download(name: str, downloads: tuple[Download, ...], remedy: str) -> Path:
    """Fetch what the cache does not hold yet; return the cache's folder."""
    try:
        folder = cache() / name
        for wanted in downloads:
            reason = ""
            for mirror in wanted.mirrors:
                try:
                    fetch(mirror + wanted.file, folder / wanted.file, wanted)
                    break
                except OSError as error:  # no network, a refusing server; another sum than published
                    reason = one_line(error)
            else:
                raise DataError(f"{name}: {wanted.file} could not be downloaded ({reason:.200}); {remedy}")
    except ImportError as error:
        raise DataError(f"{name}: downloading needs {error.name} (pip install {error.name}); or {remedy}") from None
    return folder
