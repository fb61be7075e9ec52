"""Pairs of samples with the answer to "same class or not?", for Siamese networks (Problems 65.22-65.24)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import generator
from ..errors import ArgumentError, DataError
from .checks import check_labels, whole_number


def balanced_pairs(
    X: Any, labels: Any, n_pairs: int, *, seed: int = 0, different: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of samples, one half of a class, the other half of two classes, in random order.

    Classes are drawn evenly, whatever their sizes, then samples within them; a sample is never paired with
    itself.

    Parameters
    ----------
    X : array of shape (n, ...)
        One sample a row.
    labels : array of shape (n,) or (n, classes)
        Class indices, or basis vectors.
    n_pairs : int
        How many pairs to draw; of an odd number the larger half is of a class.
    seed : int
        Equal seeds give equal pairs.
    different : {0, -1}
        The label of a pair of two classes: 0 for a sigmoid's score (Problems 65.23, 65.24), -1 for a cosine
        (Problem 65.22).

    Returns
    -------
    pairs : array of shape (n_pairs, 2, ...)
    same : float32 array of shape (n_pairs,)
        1 for two samples of a class, `different` otherwise.

    Raises
    ------
    DataError
        If there is a single class, or none with two samples, or numbers of rows differ.
    ArgumentError
        If `n_pairs` is not a whole number of at least 1, or `different` neither 0 nor -1.
    """
    n_pairs = whole_number("balanced_pairs: n_pairs", n_pairs, 1)
    if different not in (0, -1):
        raise ArgumentError(f"balanced_pairs: different is the label 0 or -1, got {different!r}")
    X, labels = np.asarray(X), np.asarray(labels)
    classes = check_labels(labels.argmax(axis=1) if labels.ndim == 2 else labels, what="balanced_pairs: labels")
    if X.ndim < 1 or len(X) != len(classes):
        raise DataError(f"balanced_pairs: X and labels must have one row a sample, got {X.shape} and {labels.shape}")
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    several = [rows for rows in members if len(rows) > 1]
    if len(members) < 2:
        raise DataError(f"balanced_pairs: pairs of two classes need at least 2 classes, the labels have {len(members)}")
    if not several:
        raise DataError("balanced_pairs: pairs of one class need a class with at least 2 samples, none has")
    rng = generator(seed, "pairs")
    same = np.zeros(n_pairs, np.float32)
    same[: (n_pairs + 1) // 2] = 1
    rows = np.array([_of_one_class(rng, several) if s else _of_two_classes(rng, members) for s in same])
    order = rng.permutation(n_pairs)
    return X[rows[order]], np.where(same[order] == 1, 1, different).astype(np.float32)


def _of_one_class(rng: np.random.Generator, members: list[np.ndarray]) -> tuple[int, int]:
    """Return the rows of two different samples of a class."""
    rows = members[rng.integers(len(members))]
    i = rng.integers(len(rows))
    j = (i + rng.integers(1, len(rows))) % len(rows)
    return int(rows[i]), int(rows[j])


def _of_two_classes(rng: np.random.Generator, members: list[np.ndarray]) -> tuple[int, int]:
    """Return the rows of a sample of one class and one of another."""
    i = rng.integers(len(members))
    j = (i + rng.integers(1, len(members))) % len(members)
    return int(rng.choice(members[i])), int(rng.choice(members[j]))
