"""Checks of data, made once, on the host, before training. Rows and columns are counted from 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError


def whole_number(what: str, value: Any, low: int, below: int | None = None) -> int:
    """Return `value` as an int, or raise an error that says which whole numbers are allowed."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | np.integer)
        or value < low
        or (below is not None and value >= below)
    ):
        allowed = f"of at least {low}" if below is None else f"from {low} to {below - 1}"
        raise ArgumentError(f"{what} must be a whole number {allowed}, got {value!r}")
    return int(value)


def check_finite(array: Any, what: str = "data") -> None:
    """Raise an error if `array` holds NaN or an infinite value.

    Parameters
    ----------
    array : array of any shape
        Real numbers, of any dtype.
    what : str
        What the error calls it.

    Raises
    ------
    DataError
        Names row and column of the first such entry and counts them; also if these are not real numbers.
    """
    host = np.asarray(array)
    if host.dtype.kind not in "fiub":
        raise DataError(f"{what}: expected numbers, got dtype {host.dtype}")
    if host.dtype.kind != "f":
        return
    finite = np.isfinite(host)
    if finite.all():
        return
    first = np.unravel_index(int(finite.argmin()), host.shape)
    bad = host.size - np.count_nonzero(finite)
    raise DataError(
        f"{what}: {host[first]}{_place([int(i) for i in first])}, {bad} of {host.size} entries are not "
        "finite; fill or drop them first"
    )


def _place(index: list[int]) -> str:
    """Return the words for an entry's place: its index, and which of it are row and column."""
    if not index:
        return ""
    row = f"row {index[0]}"
    return f" at {index} ({row}, column {index[1]})" if len(index) == 2 else f" at {index} ({row})"


def check_labels(labels: Any, n_classes: int | None = None, what: str = "labels") -> np.ndarray:
    """Return class labels as int64, checked.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0 to ``n_classes - 1``, of any integer dtype.
    n_classes : int, optional
        Without it labels have no upper limit.
    what : str
        What the error calls them.

    Returns
    -------
    int64 array of shape (n,)

    Raises
    ------
    DataError
        Names the first wrong label, its row and what is allowed.
    ArgumentError
        If `n_classes` is not a whole number of at least 1.
    """
    if n_classes is not None:
        n_classes = whole_number("n_classes", n_classes, 1)
    host = np.asarray(labels)
    if host.ndim != 1:
        raise DataError(f"{what}: expected one whole number a row, shape (n,), got shape {host.shape}")
    if not host.size:
        return np.zeros(0, np.int64)
    if host.dtype.kind not in "iu":
        raise DataError(f"{what}: expected whole numbers, got dtype {host.dtype}; convert with .astype(int)")
    limit = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    wrong = np.flatnonzero((host < 0) | (host > limit))
    if len(wrong):
        allowed = "below 0" if n_classes is None else f"outside 0 to {n_classes - 1}"
        raise DataError(f"{what}: {host[wrong[0]]} in row {wrong[0]} is {allowed}")
    return host.astype(np.int64)


def one_hot(labels: Any, n_classes: int | None = None, dtype: Any = np.float32) -> np.ndarray:
    """Return class labels as basis vectors, one a row.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0 to ``n_classes - 1``.
    n_classes : int, optional
        How many classes there are; by default one more than the largest label.
    dtype : dtype
        Of the result.

    Returns
    -------
    array of shape (n, n_classes)

    Raises
    ------
    DataError
        If a label is out of range (its row is named), or there is none and `n_classes` is not given.
    ArgumentError
        If `n_classes` is not a whole number of at least 1.
    """
    checked = check_labels(labels, n_classes)
    if n_classes is None:
        if not len(checked):
            raise DataError("labels: there are none, so the number of classes is unknown; pass n_classes")
        n_classes = int(checked.max()) + 1
    rows = np.zeros((len(checked), n_classes), dtype)
    rows[np.arange(len(checked)), checked] = 1
    return rows
