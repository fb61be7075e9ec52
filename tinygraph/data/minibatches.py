"""Mini-batches, reshuffled in each epoch or drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..arguments import whole_number
from ..backend import Backend
from ..backend.random import check_seed
from ..errors import ArgumentError, DataError
from ..tensors import Tensor
from ..typing import Array, ArrayLike
from .checks import check_finite, check_weights


class Batches:
    """Mini-batches of ``(X, Y)``; every iteration over it is one epoch, in another order.

    The order of epoch k depends on the seed and on k alone, so an epoch can be repeated and training resumed.
    Without shuffling the batches are views of `X` and `Y`, not copies.

    Parameters
    ----------
    X : array of shape (n, ...)
        Finite numbers of any dtype, one sample a row.
    Y : array of shape (n, ...), optional
        The targets, one a row.
    batch_size : int
        The last batch of an epoch is smaller if n is not a multiple of it.
    shuffle : bool
        Whether to take the rows in a new random order each epoch.
    seed : int
        From 0 to 2**64 - 1.
    replacement : bool
        Whether to draw each row at random from all of them, whatever was drawn before, instead of going through all in
        a new order: the random data pairs of the listing (65.82). An epoch is n draws.
    drop_last : bool
        Whether to leave out the last batch of an epoch if it is smaller than the others.
    allow_missing : bool
        Whether NaN in `Y` stands for a missing label; otherwise it is an error.
    check_finite : bool
        Whether to look through all values once; False for data that are known to be finite.
    weights : array of shape (n,), optional
        What each sample counts in the loss, at least 0; beside a `Y`.

    Yields
    ------
    tuple of arrays
        ``(X[rows], Y[rows])``, with ``weights[rows]`` if there are any, or ``(X[rows],)`` if there is no `Y`.

    Raises
    ------
    DataError
        If there is no row, lengths differ, or values are not finite (the first row and column are named).
    ArgumentError
        If `batch_size`, `seed` or the number of an epoch is not a whole number in range, `drop_last` leaves no
        batch, or `replacement` is asked for without `shuffle`.
    """

    def __init__(
        self,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        *,
        replacement: bool = False,
        drop_last: bool = False,
        allow_missing: bool = False,
        check_finite: bool = True,
        weights: ArrayLike | None = None,
    ) -> None:
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.seed = check_seed(seed)
        self.shuffle, self.drop_last, self.replacement = bool(shuffle), bool(drop_last), bool(replacement)
        if self.replacement and not self.shuffle:
            raise ArgumentError("replacement draws rows at random, shuffle=False keeps their order: choose one")
        self.X, self.Y = np.asarray(X), None if Y is None else np.asarray(Y)
        self.weights = None if weights is None else np.asarray(weights)
        self._check(allow_missing, check_finite)
        self._rows = len(self.X)
        self._epoch = 0
        self._backend: Backend | None = None
        self._moved = False  # whether the whole set is on the backend

    def moved(self, backend: Backend) -> Batches:
        """Return the same batches as tensors of `backend`, where the whole set is moved now."""
        other = self.sent(backend)
        other._moved = True
        for name in ("X", "Y", "weights"):
            array = getattr(self, name)
            setattr(other, name, None if array is None else backend.asarray(array))
        return other

    def sent(self, backend: Backend) -> Batches:
        """Return the same batches as tensors of `backend`, to which each is sent before it is needed."""
        other = copy(self)
        other._backend = backend
        return other

    def host_arrays(self) -> list[np.ndarray]:
        """Return `X`, and `Y` and `weights` if there are any, as arrays on the host."""
        arrays = self._arrays()
        if self._backend is None or not self._moved:
            return arrays
        return [self._backend.to_host(a) for a in arrays]

    def _arrays(self) -> list[np.ndarray]:
        return [a for a in (self.X, self.Y, self.weights) if a is not None]

    def in_order(self, batch_size: int) -> Batches:
        """Return the same samples, each once, as batches of another size that are not shuffled."""
        other = copy(self)
        other.batch_size, other._epoch = whole_number("batch_size", batch_size, 1), 0
        other.shuffle = other.drop_last = other.replacement = False
        return other

    def _check(self, allow_missing: bool, finite: bool) -> None:
        X, Y = self.X, self.Y
        if X.ndim < 1 or (Y is not None and (Y.ndim < 1 or len(X) != len(Y))):
            shapes = f"{X.shape}" if Y is None else f"{X.shape} and {Y.shape}"
            raise DataError(f"X and Y must have one row a sample, got shapes {shapes}")
        if not X.size:
            raise DataError(f"the data set is empty: X has shape {X.shape}")
        if self.drop_last and self.batch_size > len(X):
            raise ArgumentError(
                f"batch_size: {self.batch_size} is more than the {len(X)} rows, so drop_last leaves no batch"
            )
        if finite:
            check_finite(X, "X")
            if Y is not None:
                check_finite(Y, "Y", missing=allow_missing)
        if self.weights is not None:
            if Y is None:
                raise ArgumentError("weights count in a loss: give a Y beside them")
            check_weights(self.weights, len(X), "weights")

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next iteration is, from 0; set it to resume or repeat."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number("epoch", epoch, 0, 2**64)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be epoch number `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(self._rows, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        return self.picked([slice(None)] * len(self))

    def lengths(self) -> list[int]:
        """Return how many rows each batch of an epoch has."""
        return [min(self.batch_size, self._rows - k * self.batch_size) for k in range(len(self))]

    def picked(self, parts: Sequence[slice]) -> Iterator[tuple[Any, ...]]:
        """Return the batches of the next epoch with some of their rows: those in a slice for each, of step 1."""
        order = self._order(self._epoch) if self.shuffle else None
        self._epoch += 1
        return self._walk(order, parts)

    def _order(self, epoch: int) -> np.ndarray:
        """Return the rows in the order of epoch number `epoch`: Philox with the key (seed, epoch)."""
        key = np.array([self.seed, epoch], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        return rng.integers(self._rows, size=self._rows) if self.replacement else rng.permutation(self._rows)

    def _walk(self, order: np.ndarray | None, parts: Sequence[slice]) -> Iterator[tuple[Array | Tensor, ...]]:
        arrays, backend = self._arrays(), self._backend
        if backend is not None and self._moved and order is not None:
            order = backend.asarray(order)
        all_rows, starts = range(self._rows), range(0, len(self) * self.batch_size, self.batch_size)

        def rows_of_batches() -> Iterator[Any]:
            for start, part in zip(starts, parts, strict=True):
                own = all_rows[start : start + self.batch_size][part]
                span = slice(own.start, own.stop)
                yield span if order is None else order[span]

        rows = rows_of_batches()
        if backend is not None and not self._moved:
            picked: Iterator[tuple[Any, ...]] = backend.prefetch(arrays, rows)
        else:
            by_index = order is not None and not self._moved  # of NumPy's ways to pick rows `take` is the fastest
            picked = (tuple([a.take(some, 0) if by_index else a[some] for a in arrays]) for some in rows)
        for batch in picked:
            yield batch if backend is None else tuple(Tensor(a, backend) for a in batch)


def set_epoch(batches: object, epoch: int) -> None:
    """Let the next iteration over batches be epoch number `epoch`, where they have a method of this name."""
    method = getattr(batches, "set_epoch", None)
    if callable(method):
        method(epoch)


batches = Batches
"""The mini-batches of ``(X, Y)``, in a new order at each iteration: `Batches`, called as a function is."""
