"""Data sets larger than memory: shards in a folder, of which the rows of a mini-batch are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import PathLike
from .files import files_like
from .minibatches import Batches
from .opening import as_path, one_line


class ShardBatches:
    """Mini-batches of the rows in a folder's files ``X*.npy`` and ``Y*.npy``, in the order that `Batches` has.

    The files, by NumPy's `save` or by `write_shards`, are taken in the order of their names, the first X with the first
    Y and so on. They are memory-mapped: what is read are the rows of a mini-batch, and where processes share it, each
    process's own.

    Parameters
    ----------
    folder : path
    batch_size, shuffle, seed
        As for `Batches`.

    Yields
    ------
    tuple of arrays
        ``(X[rows], Y[rows])``.

    Raises
    ------
    DataError
        If there are no files, one cannot be read, or their rows do not belong together.
    """

    def __init__(self, folder: PathLike, batch_size: int = 32, shuffle: bool = True, seed: int = 0) -> None:
        self.folder = as_path(folder, "ShardBatches: folder")
        self._arrays = [_opened(files_like(self.folder, f"{letter}*.npy"), letter) for letter in "XY"]
        X, Y = self._arrays
        if not X or [len(a) for a in X] != [len(a) for a in Y]:
            counts = f"X {[len(a) for a in X]} and Y {[len(a) for a in Y]}"
            raise DataError(
                f"{self.folder}: expected files X*.npy and Y*.npy, as many, with as many rows each, got {counts:.100}"
            )
        self._ends = np.cumsum([len(a) for a in X])
        numbers = np.arange(int(self._ends[-1]))
        self._rows = Batches(numbers, None, batch_size, shuffle, seed, check_finite=False)
        self.batch_size, self.seed, self.samples = self._rows.batch_size, self._rows.seed, len(numbers)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return self.picked([slice(None)] * len(self))

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be epoch number `epoch`."""
        self._rows.set_epoch(epoch)

    def lengths(self) -> list[int]:
        """Return how many rows each batch of an epoch has."""
        return self._rows.lengths()

    def picked(self, parts: Sequence[slice]) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches of the next epoch with some of their rows: those in a slice for each, of step 1."""
        for (rows,) in self._rows.picked(parts):
            yield tuple(self._read(arrays, rows) for arrays in self._arrays)

    def _read(self, arrays: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Return rows, by their numbers over all shards."""
        read = np.empty((len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
        shards = np.searchsorted(self._ends, rows, side="right")
        for k in np.unique(shards):
            here = shards == k
            start = self._ends[k] - len(arrays[k])
            read[here] = arrays[k][rows[here] - start]
        return read


def write_shards(folder: PathLike, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Write pairs of arrays ``(X, Y)``, one row a sample, to a folder as `ShardBatches` reads them; return how many.

    Parameters
    ----------
    folder : path
        Made if it is not there; files of shards in it are an error.
    parts : iterable of pairs of arrays
        One pair a shard, taken one after the other.

    Raises
    ------
    DataError
        If the folder holds shards, a pair does not have as many rows, or a file cannot be written.
    """
    path = as_path(folder, "write_shards: folder")
    if files_like(path, "[XY]*.npy"):
        raise DataError(f"{path}: holds shards already; choose another folder")
    count = 0
    try:
        path.mkdir(parents=True, exist_ok=True)
        for count, (X, Y) in enumerate(parts, 1):
            if len(X) != len(Y):
                raise DataError(f"write_shards: shard {count}: X has {len(X)} rows, Y has {len(Y)}")
            for letter, array in (("X", X), ("Y", Y)):
                np.save(path / f"{letter}-{count:06d}.npy", np.asarray(array), allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {one_line(error)}") from None
    return count


def _opened(paths: list[Path], letter: str) -> list[np.ndarray]:
    """Return files as memory-mapped arrays whose rows have one shape and dtype."""
    arrays: list[np.ndarray] = []
    for path in paths:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as an array: {one_line(error)}") from None
        if not isinstance(array, np.ndarray) or not array.ndim or array.dtype.kind not in "fiub":
            raise DataError(f"{path}: expected an array of numbers, one row a sample")
        first = arrays[0] if arrays else array
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            raise DataError(
                f"{path}: rows of shape {array.shape[1:]} and dtype {array.dtype}, where the first {letter} has "
                f"{first.shape[1:]} and {first.dtype}"
            )
        arrays.append(array)
    return arrays
