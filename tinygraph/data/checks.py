"""Checks of data, made once, on the host, before training. Rows and columns are counted from 0."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..arguments import whole_number
from ..backend.conversion import find_dtype
from ..errors import ArgumentError, DataError
from ..typing import ArrayLike, DTypeLike

SUM_TOLERANCE = 1e-3  # how far the sum of probabilities may be from 1: float16 rounds to this
ELEMENTS_AT_A_TIME = 4_000_000  # looked through, so that a file mapped to memory need not fit there


def one_array(values: ArrayLike, name: str) -> np.ndarray:
    """Return `values` as an array on the host, or raise an error if they are lists of unequal lengths."""
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(
            f"{name}: expected one array, got a {type(values).__name__} of unequal parts; give them one shape"
        ) from None


def numbers(values: ArrayLike, name: str, wanted: str = "numbers") -> np.ndarray:
    """Return `values` as an array of real numbers on the host, or raise an error."""
    host = one_array(values, name)
    if host.dtype.kind not in "fiub":
        raise DataError(f"{name}: expected {wanted}, got dtype {host.dtype}")
    return host


def check_finite(array: ArrayLike, name: str = "data", *, missing: bool = False) -> None:
    """Raise an error if `array` holds NaN or an infinite value.

    Parameters
    ----------
    array : array of any shape
        Real numbers, of any dtype.
    name : str
        What the error calls it.
    missing : bool
        Whether NaN stands for a missing element, and is none of these.

    Raises
    ------
    DataError
        Names row and column of the first such element and counts them; also if these are not real numbers.
    """
    host = numbers(array, name, "numbers, NaN for a missing one" if missing else "numbers")
    if host.dtype.kind != "f":
        return
    rows = host.reshape(1) if not host.ndim else host
    at_a_time = max(1, ELEMENTS_AT_A_TIME // max(1, math.prod(rows.shape[1:])))
    bad, first = 0, None
    for start in range(0, len(rows), at_a_time):
        part = rows[start : start + at_a_time]
        finite = ~np.isinf(part) if missing else np.isfinite(part)
        if finite.all():
            continue
        if first is None:
            row, *columns = np.unravel_index(int(finite.argmin()), finite.shape)
            first = (row + start, *columns)[: host.ndim]
        bad += finite.size - np.count_nonzero(finite)
    if first is None:
        return
    raise DataError(
        f"{name}: {host[first]}{_place([int(i) for i in first])}, {bad} of {host.size} elements are not "
        "finite; fill or drop them first"
    )


def check_weights(weights: ArrayLike, n: int, name: str = "weights") -> None:
    """Raise a `DataError` unless `weights` are `n` finite numbers of at least 0, one a sample."""
    host = numbers(weights, name)
    if host.shape != (n,):
        raise DataError(f"{name}: expected one number a sample, shape ({n},), got shape {host.shape}")
    check_finite(host, name)
    if n and host.min() < 0:
        raise DataError(f"{name}: expected numbers of at least 0, got {host.min()} in row {int(host.argmin())}")


def _place(index: list[int]) -> str:
    """Return the words for an element's place: its index, and which of it are row and column."""
    if not index:
        return ""
    row = f"row {index[0]}"
    return f" at {index} ({row}, column {index[1]})" if len(index) == 2 else f" at {index} ({row})"


def check_labels(labels: ArrayLike, n_classes: int | None = None, name: str = "labels") -> np.ndarray:
    """Return class labels as int64, checked.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0 to ``n_classes - 1``, of any integer dtype.
    n_classes : int, optional
        Without it labels have no upper limit.
    name : str
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
    host = one_array(labels, name)
    if host.ndim != 1:
        raise DataError(f"{name}: expected one whole number a row, shape (n,), got shape {host.shape}")
    if not host.size:
        return np.zeros(0, np.int64)
    if host.dtype.kind not in "iu":
        raise DataError(f"{name}: expected whole numbers, got dtype {host.dtype}; convert with .astype(int)")
    limit = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    wrong = np.flatnonzero((host < 0) | (host > limit))
    if len(wrong):
        allowed = "below 0" if n_classes is None else f"outside 0 to {n_classes - 1}"
        raise DataError(f"{name}: {host[wrong[0]]} in row {wrong[0]} is {allowed}")
    return host.astype(np.int64)


def one_hot(
    labels: ArrayLike, n_classes: int | None = None, dtype: DTypeLike = np.float32, *, low: float = 0
) -> np.ndarray:
    """Return class labels as label vectors, one a row: 1 for the class, `low` for every other.

    Parameters
    ----------
    labels : array of shape (n,)
        Whole numbers from 0 to ``n_classes - 1``.
    n_classes : int, optional
        How many classes there are; by default one more than the largest label.
    dtype : dtype
        Of the result.
    low : float
        0 for basis vectors, the one-hot encoding (65.125); -1 for the label vectors of +1 and -1 (65.2) that a network
        with tanh at its output learns. Any number below 1 that `dtype` holds.

    Returns
    -------
    array of shape (n, n_classes)

    Raises
    ------
    DataError
        If a label is out of range (its row is named), or there is none and `n_classes` is not given.
    ArgumentError
        If `n_classes` is not a whole number of at least 1, or `low` no such number.
    DTypeError
        If `dtype` is none of real numbers.
    """
    checked = check_labels(labels, n_classes)
    if n_classes is None:
        if not len(checked):
            raise DataError("labels: empty, so the number of classes is unknown; pass n_classes")
        n_classes = int(checked.max()) + 1
    rows = _unmarked("one_hot", len(checked), n_classes, dtype, low)
    rows[np.arange(len(checked)), checked] = 1
    return rows


def multi_hot(
    labels: Iterable[ArrayLike], n_classes: int, dtype: DTypeLike = np.float32, *, low: float = 0
) -> np.ndarray:
    """Return the properties of every sample as a label vector, one a row: 1 for each it has, `low` for every other.

    Parameters
    ----------
    labels : sequence of n sequences of int
        The properties that each sample has, whole numbers from 0 to ``n_classes - 1``; none is fine.
    n_classes : int
        How many properties there are.
    dtype : dtype
        Of the result.
    low : float
        0, or -1 for the multilabel vectors of +1 and -1 (65.2); as for `one_hot`.

    Returns
    -------
    array of shape (n, n_classes)

    Raises
    ------
    DataError
        If a label is out of range (its row is named), or `labels` is no sequence.
    ArgumentError, DTypeError
        As `one_hot`.
    """
    n_classes = whole_number("n_classes", n_classes, 1)
    try:
        samples = list(labels)
    except TypeError:
        raise DataError(f"labels: expected a list of labels for each sample, got {labels!r}") from None
    rows = _unmarked("multi_hot", len(samples), n_classes, dtype, low)
    for i, properties in enumerate(samples):
        rows[i, check_labels(properties, n_classes, f"labels of row {i}")] = 1
    return rows


def _unmarked(caller: str, n: int, n_classes: int, dtype: DTypeLike, low: float) -> np.ndarray:
    """Return label vectors without any 1 yet: all elements are `low`, checked to be a number that `dtype` holds."""
    kind = find_dtype(dtype, caller)
    fits = isinstance(low, int | float | np.integer | np.floating) and math.isfinite(low) and low < 1
    if fits and kind.kind == "f":
        fits = float(low) >= float(np.finfo(kind).min)
    elif fits:
        fits = low == int(low) and low >= (np.iinfo(kind).min if kind.kind == "i" else 0)
    if not fits:
        raise ArgumentError(f"{caller}: low must be a number below 1 that {kind} holds, got {low!r}")
    return np.full((n, n_classes), low, kind)


def task_labels(labels: ArrayLike, tasks: int, name: str = "labels") -> np.ndarray:
    """Return one label for each task of a multitask network, checked: 1 for present, 0 for absent, NaN for missing.

    Parameters
    ----------
    labels : array of shape (n, T), (n, 2 T) or (n, T, 2)
        One label a task; or the aggregate label vectors (65.160)-(65.162), a pair (present, absent) for each task that
        adds up to 1 or is missing as a whole. Probabilities may stand for 0 and 1.
    tasks : int
        T, by which the forms are told apart.
    name : str
        What the error calls them.

    Returns
    -------
    array of shape (n, T)
        Of the dtype of `labels` if that is floating, float64 otherwise.

    Raises
    ------
    DataError
        If the shape does not fit; or for the first label that is neither from 0 to 1 nor missing, or pair that does not
        add up to 1 or is missing by half, with its place.
    """
    host = numbers(labels, name, "numbers, NaN for a missing label")
    if host.dtype.kind != "f":
        host = host.astype(np.float64)
    n = len(host) if host.ndim else 0
    if host.shape not in ((n, tasks), (n, 2 * tasks), (n, tasks, 2)):
        raise DataError(
            f"{name}: expected labels of shape ({n}, {tasks}), one a task, or pairs (present, absent) of shape "
            f"({n}, {2 * tasks}) or ({n}, {tasks}, 2), got shape {host.shape}"
        )
    outside = np.argwhere(~((host >= 0) & (host <= 1) | np.isnan(host)))
    if len(outside):
        at = tuple(outside[0].tolist())
        raise DataError(f"{name}: labels must be from 0 to 1, or NaN where missing; there is {host[at]} at {list(at)}")
    if host.shape == (n, tasks):
        return host
    pairs = host.reshape(n, tasks, 2)
    wrong = np.argwhere(~((np.abs(pairs.sum(axis=2) - 1) <= SUM_TOLERANCE) | np.isnan(pairs).all(axis=2)))
    if len(wrong):
        row, task = wrong[0].tolist()
        raise DataError(
            f"{name}: a pair (present, absent) must add up to 1, or be NaN and NaN where missing; row {row} has "
            f"{pairs[row, task].tolist()} for task {task}"
        )
    return np.ascontiguousarray(pairs[:, :, 0])
