"""Checks of data, made once, on the host, before training."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError


def check_finite(array: Any, what: str = "data") -> None:
    """Raise an error if `array` holds NaN or an infinite value.

    Parameters
    ----------
    array : array of any shape
    what : str
        What the error calls it.

    Raises
    ------
    DataError
        Names the first such entry and counts them.
    """
    host = np.asarray(array)
    if host.dtype.kind not in "fiub":
        raise DataError(f"{what}: expected numbers, got dtype {host.dtype}")
    if host.dtype.kind == "f" and not np.isfinite(host).all():
        bad = np.argwhere(~np.isfinite(host))
        at = tuple(bad[0].tolist())
        raise DataError(
            f"{what}: {host[at]} at {list(at)}, {len(bad)} of {host.size} entries are not finite; "
            "fill or drop them first"
        )


def check_labels(labels: Any, n_classes: int) -> np.ndarray:
    """Return class labels as int64, checked.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0 to ``n_classes - 1``.

    Raises
    ------
    DataError
        Names the first wrong label and its row.
    """
    host = np.asarray(labels)
    if host.ndim != 1 or (host.dtype.kind not in "iu" and host.size):
        raise DataError(f"labels: expected whole numbers of shape (n,), got {host.dtype} of shape {host.shape}")
    wrong = np.flatnonzero((host < 0) | (host >= n_classes))
    if len(wrong):
        raise DataError(f"labels: {host[wrong[0]]} in row {wrong[0]} is outside 0 to {n_classes - 1}")
    return host.astype(np.int64)


def one_hot(labels: Any, n_classes: int | None = None, dtype: Any = np.float32) -> np.ndarray:
    """Return class labels as basis vectors, one a row.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0.
    n_classes : int, optional
        How many classes there are; by default the largest label and one.
    dtype : dtype

    Returns
    -------
    array of shape (n, n_classes)

    Raises
    ------
    DataError
        If a label is out of range.
    """
    if n_classes is None:
        n_classes = int(np.max(labels)) + 1 if np.size(labels) else 0
    checked = check_labels(labels, n_classes)
    rows = np.zeros((len(checked), n_classes), dtype)
    rows[np.arange(len(checked)), checked] = 1
    return rows
