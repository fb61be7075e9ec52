"""Mini-batches, reshuffled in each pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import generator
from ..errors import ArgumentError, DataError
from .checks import check_finite


class Batches:
    """Mini-batches of ``(X, Y)``; every iteration over it is one pass, in another order.

    The order of pass k depends on the seed and on k alone, so a pass can be repeated and training resumed.

    Parameters
    ----------
    X, Y : arrays of shape (n, ...)
        One sample a row.
    batch_size : int
        The last batch of a pass is smaller if n is not a multiple of it.
    shuffle : bool
        Whether to take the rows in a new random order each pass.
    seed : int
    allow_missing : bool
        Whether NaN in `Y` stands for a missing label; otherwise it is an error.

    Attributes
    ----------
    epoch : int
        The number of the pass that the next iteration is, from 0.

    Raises
    ------
    DataError
        If there is no row, lengths differ, or values are not finite.
    ArgumentError
        If `batch_size` is not a whole number of at least 1.
    """

    def __init__(
        self,
        X: Any,
        Y: Any,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        *,
        allow_missing: bool = False,
    ) -> None:
        self.X, self.Y = np.asarray(X), np.asarray(Y)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ArgumentError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        if self.X.ndim < 1 or self.Y.ndim < 1 or len(self.X) != len(self.Y):
            raise DataError(f"X and Y must have one row a sample, got shapes {self.X.shape} and {self.Y.shape}")
        if not len(self.X):
            raise DataError(f"the data set is empty: X has shape {self.X.shape}")
        check_finite(self.X, "X")
        if not allow_missing:
            check_finite(self.Y, "Y")
        self.batch_size, self.shuffle, self.seed, self.epoch = int(batch_size), shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be pass number `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.X) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows = len(self.X)
        order = generator(self.seed, "order", self.epoch).permutation(rows) if self.shuffle else None
        self.epoch += 1
        for start in range(0, rows, self.batch_size):
            picked = slice(start, start + self.batch_size) if order is None else order[start : start + self.batch_size]
            yield self.X[picked], self.Y[picked]


def batches(X: Any, Y: Any, batch_size: int, shuffle: bool = True, seed: int = 0) -> Batches:
    """Return the mini-batches of ``(X, Y)``, in a new order at each iteration; see `Batches`."""
    return Batches(X, Y, batch_size, shuffle, seed)
