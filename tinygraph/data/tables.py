"""Tables of numbers from files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .checks import check_finite
from .files import one_line, reading

SUFFIXES = (".csv", ".npy", ".npz")


def read_table(path: str | Path) -> np.ndarray:
    """Return the numbers of a ``.csv``, ``.npy`` or ``.npz`` file, one sample a row, as float32.

    Parameters
    ----------
    path : path
        CSV: numbers separated by commas, with or without one line of names. NPZ: the array ``X``, or the
        only one. An array of one axis is one sample.

    Returns
    -------
    float32 array of shape (n, ...)

    Raises
    ------
    DataError
        If the file is missing, damaged, empty, or holds anything but finite numbers. Pickled objects are
        never loaded.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: expected a name ending in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    array = _read_csv(path) if path.suffix.lower() == ".csv" else _read_numpy(path)
    if not array.size or not array.ndim:
        raise DataError(f"{path}: holds no rows")
    check_finite(array, str(path))
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    check_finite(array, f"{path} as float32")
    return array[None] if array.ndim == 1 else array


def _read_csv(path: Path) -> np.ndarray:
    with reading(path):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    start = 1 if lines and _are_names(lines[0]) else 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file without rows is told by read_table
            return np.loadtxt(lines[start:], delimiter=",", ndmin=2)
    except ValueError as error:
        names = " (rows counted from 0, after the line of names)" if start else " (rows counted from 0)"
        raise DataError(f"{path}: cannot be read as numbers: {one_line(error).rstrip('.')}{names}") from None


def _are_names(line: str) -> bool:
    """Return whether no field is empty or a number: a row with one wrong field is a mistake, not names."""
    return not any(_is_number(field) or not field.strip() for field in line.split(","))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _read_numpy(path: Path) -> np.ndarray:
    with reading(path), path.open("rb") as file:
        try:
            loaded: Any = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = loaded.files
            if "X" not in names and len(names) != 1:
                raise DataError(f"{path}: expected an array called X, found {', '.join(names) or 'none'}")
            picked: np.ndarray = loaded["X" if "X" in names else names[0]]
            return picked
        except ValueError as error:
            if "pickle" in str(error):
                raise DataError(f"{path}: holds pickled objects, which are never loaded") from None
            raise
