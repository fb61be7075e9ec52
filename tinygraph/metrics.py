"""Figures of merit, from decisions and probabilities on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DataError
from .tensor import Tensor


def _host(values: Any) -> np.ndarray:
    return values.numpy() if isinstance(values, Tensor) else np.asarray(values)


def _classes(values: Any, what: str) -> np.ndarray:
    """Return class indices (n,) from class indices, or from rows of which the largest entry counts."""
    host = _host(values)
    if host.ndim == 2:
        return np.asarray(host.argmax(axis=1))
    if host.ndim != 1 or (host.size and host.dtype.kind not in "iub"):
        raise DataError(f"{what}: expected class indices (n,) or rows (n, classes), got {host.dtype} {host.shape}")
    return host.astype(np.int64)


def _pair(decision: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = _classes(decision, "decision"), _classes(target, "target")
    if len(a) != len(b) or not len(a):
        raise DataError(f"decision and target must have the same number of rows, at least 1: got {len(a)} and {len(b)}")
    return a, b


def error_rate(decision: Any, target: Any) -> float:
    """Return the fraction of samples that were put in the wrong class.

    Parameters
    ----------
    decision, target : tensors or arrays
        Class indices of shape (n,), or rows of shape (n, classes) of which the largest entry counts.

    Raises
    ------
    DataError
        If the numbers of rows differ or are 0.
    """
    a, b = _pair(decision, target)
    return float((a != b).mean())


def accuracy(decision: Any, target: Any) -> float:
    """Return the fraction of samples that were put in the right class; see `error_rate`."""
    return 1.0 - error_rate(decision, target)


def confusion_matrix(decision: Any, target: Any, n_classes: int | None = None) -> np.ndarray:
    """Return how often class i was decided to be class j, at [i, j].

    Parameters
    ----------
    decision, target : tensors or arrays
        As for `error_rate`.
    n_classes : int, optional
        By default the number of columns, or the largest index and one.

    Returns
    -------
    array of shape (n_classes, n_classes), int64
    """
    a, b = _pair(decision, target)
    columns = [h.shape[1] for h in (_host(decision), _host(target)) if h.ndim == 2]
    n = n_classes if n_classes is not None else max([*columns, int(max(a.max(), b.max())) + 1])
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= n:
        raise DataError(f"confusion_matrix: classes must be from 0 to {n - 1}")
    counts = np.bincount(b * n + a, minlength=n * n)
    return counts.reshape(n, n).astype(np.int64)


def precision_recall(decision: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall of every label of a multilabel decision.

    Parameters
    ----------
    decision, target : tensors or arrays of shape (n, labels)
        0 or 1; NaN in `target` marks a missing label, which is left out.

    Returns
    -------
    precision, recall : arrays of shape (labels,)
        NaN where a label was never decided, or never true.
    """
    d, t = _host(decision).astype(float), _host(target).astype(float)
    if d.ndim != 2 or d.shape != t.shape:
        raise DataError(f"precision_recall: expected two arrays (n, labels), got {d.shape} and {t.shape}")
    hits = ((d == 1) & (t == 1)).sum(axis=0).astype(float)
    decided, true = ((d == 1) & ~np.isnan(t)).sum(axis=0), (t == 1).sum(axis=0)
    return _ratio(hits, decided), _ratio(hits, true)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b > 0, a / np.maximum(b, 1), np.nan)


def log_loss(probabilities: Any, target: Any) -> float:
    """Return the mean of ``-log`` of the probability given to the true class (65.138).

    Parameters
    ----------
    probabilities : tensor or array of shape (n, classes), or (n,) for the probability of class 1 of two
    target : tensor or array
        Class indices (n,) or basis vectors (n, classes).

    Returns
    -------
    float
        Infinite if a true class was given probability 0.
    """
    p = _host(probabilities).astype(float)
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    labels = _classes(target, "target")
    if p.ndim != 2 or len(p) != len(labels) or not len(p):
        raise DataError(f"log_loss: expected probabilities of {len(labels)} samples, got shape {p.shape}")
    if (p < 0).any() or (p > 1).any() or labels.min() < 0 or labels.max() >= p.shape[1]:
        raise DataError("log_loss: probabilities must be from 0 to 1, and classes from 0 to the number of columns - 1")
    with np.errstate(divide="ignore"):
        return float(-np.log(p[np.arange(len(p)), labels]).mean())
