"""Splitting samples into those to learn from and those held out."""

from __future__ import annotations

import numpy as np

from ..arguments import whole_number
from ..backend import generator
from ..errors import ArgumentError, DataError
from ..typing import ArrayLike
from .checks import one_array
from .dataset import Pair


def split(X: ArrayLike, Y: ArrayLike, n_validation: int | float, *, seed: int = 0) -> tuple[Pair, Pair]:
    """Split samples at random into a training and a validation set without common samples, as (65.94) begins.

    Parameters
    ----------
    X, Y : arrays of shape (n, ...)
        One sample a row.
    n_validation : int or float
        The size N_V of the validation set: how many samples; or a fraction of them, between 0 and 1, rounded to
        whole samples.
    seed : int
        Equal seeds give equal sets.

    Returns
    -------
    training, validation : pairs of arrays
        ``(X, Y)`` of N_T = n - N_V and of N_V rows, each in the order they had.

    Raises
    ------
    DataError
        If numbers of rows differ, or the samples of a set have unequal shapes.
    ArgumentError
        If one of the sets would be empty.

    Examples
    --------
    >>> training, validation = split(np.arange(10), np.arange(10) ** 2, 0.3, seed=1)
    >>> [x.tolist() for x in (*training, *validation)]
    [[0, 2, 3, 4, 7, 8, 9], [0, 4, 9, 16, 49, 64, 81], [1, 5, 6], [1, 25, 36]]
    """
    X, Y = one_array(X, "split: X"), one_array(Y, "split: Y")
    if X.ndim < 1 or Y.ndim < 1 or len(X) != len(Y):
        raise DataError(f"split: X and Y must have one row a sample, got shapes {X.shape} and {Y.shape}")
    n = len(X)
    if isinstance(n_validation, float | np.floating):
        if not 0 < n_validation < 1:
            raise ArgumentError(f"split: as a fraction, n_validation must be between 0 and 1, got {n_validation!r}")
        size = round(n * float(n_validation))
    else:
        size = whole_number("split: n_validation", n_validation, 1)
    if not 0 < size < n:
        raise ArgumentError(
            f"split: both sets need a sample, n_validation {n_validation!r} would hold out {size} of {n} samples"
        )
    held_out = np.zeros(n, bool)
    held_out[generator(seed, "split").permutation(n)[:size]] = True
    return (X[~held_out], Y[~held_out]), (X[held_out], Y[held_out])
