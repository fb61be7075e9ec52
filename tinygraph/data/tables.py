"""Tables of numbers from files."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .checks import check_finite


def read_table(path: str | Path) -> np.ndarray:
    """Return the numbers of a ``.csv``, ``.npy`` or ``.npz`` file, one sample a row, as float32.

    Parameters
    ----------
    path : path
        CSV: numbers separated by commas, with or without one line of names. NPZ: the array ``X``, or the
        only one.

    Returns
    -------
    array of shape (n, ...)

    Raises
    ------
    DataError
        If the file is missing, damaged, empty, or holds anything but finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        array = _read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as numbers ({error})") from None
    if not array.size:
        raise DataError(f"{path}: holds no rows")
    check_finite(array, str(path))
    return array.astype(np.float32)


def _read(path: Path) -> np.ndarray:
    if path.suffix == ".csv":
        with path.open() as file:
            first = file.readline()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is told below
            return np.loadtxt(path, delimiter=",", skiprows=0 if _is_numbers(first) else 1, ndmin=2)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"expected a name ending in .csv, .npy or .npz, got {path.name!r}")
    with path.open("rb") as file:
        loaded: Any = np.load(file, allow_pickle=False)
        if path.suffix == ".npy":
            array: np.ndarray = loaded
            return array
        names = loaded.files
        if "X" not in names and len(names) != 1:
            raise ValueError(f"expected an array called X, found {', '.join(names) or 'none'}")
        picked: np.ndarray = loaded["X" if "X" in names else names[0]]
        return picked


def _is_numbers(line: str) -> bool:
    try:
        [float(field) for field in line.split(",")]
    except ValueError:
        return not line.strip()
    return True
