"""The samples to train on and to evaluate, as batches; arrays are checked here, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..arguments import REAL, whole_number
from ..data import Batches, Dataset, check_finite, split
from ..data.checks import check_weights, one_array
from ..data.minibatches import set_epoch
from ..errors import ArgumentError, BackendError, DataError
from ..mode import no_grad
from ..parallel import processes_of
from ..parallel.layers import is_partitioned
from ..parallel.shares import Shares
from ..tensors import Tensor
from ..typing import ArrayLike
from .objective import Objective

MAX_MEMORY_FRACTION = 0.5  # of a device's free memory, that a data set may take
EVALUATION_BATCH = 1024  # rows at a time, where nothing is learned from them
PARTS = ("X", "Y", "weights")  # of a data set given as arrays


class Steps:
    """Batches of one's own, so many an epoch: each goes on where the last ended, and where they end they start anew.

    Parameters
    ----------
    batches : iterable
    n : int
        How many batches an epoch has.
    """

    def __init__(self, batches: Iterable[object], n: int) -> None:
        self.batches = batches
        self.n = whole_number("fit: steps_per_epoch", n, 1)
        self.passes = 0
        self._iterator: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return self.n

    def skip(self, n: int) -> None:
        """Go past `n` batches, which were trained before."""
        for _ in range(n):
            self._next()

    def __iter__(self) -> Iterator[object]:
        for _ in range(self.n):
            yield self._next()

    def _next(self) -> object:
        for batch in self._iterator:
            return batch
        if self.passes and isinstance(self.batches, Iterator):
            raise DataError(
                "fit: the training set was exhausted before the last epoch; pass a generator without an end, or a list"
            )
        set_epoch(self.batches, self.passes)
        self.passes += 1
        self._iterator = iter(self.batches)
        for batch in self._iterator:
            return batch
        raise DataError("fit: the training set yielded no batch")


def held_out_rows(train_set: Any, validation: object, seed: int) -> tuple[object, object]:
    """Return training and validation set, where the latter may be a share of the former, or of a `Dataset`.

    Raises
    ------
    ArgumentError
        If there are no arrays to take a share of.
    """
    if isinstance(train_set, Dataset):
        train_set = train_set.train
    if isinstance(validation, Dataset):
        return train_set, validation.test
    if not isinstance(validation, REAL):
        return train_set, validation
    if not _are_arrays(train_set):
        raise ArgumentError("fit: validation: a share is taken of arrays; give a set of its own beside batches")
    arrays = [_on_host(a, f"train_set: {part}") for a, part in zip(train_set, PARTS, strict=False)]
    if any(a.ndim < 1 or len(a) != len(arrays[0]) for a in arrays):
        return train_set, None  # told where the arrays are checked
    rows = np.arange(len(arrays[0]))
    share: Any = validation
    (train, _), (held_out, _) = split(rows, rows, share, seed=seed)
    return tuple(a[train] for a in arrays), tuple(a[held_out] for a in arrays)


def training_batches(
    objective: Objective,
    train_set: object,
    batch_size: int,
    seed: int,
    replacement: bool,
    steps_per_epoch: int | None = None,
) -> Iterable[object]:
    """Return the training set of `fit` as batches; on a device if there is one.

    Raises
    ------
    DataError
        If the arrays cannot be used.
    ArgumentError
        If it is neither arrays nor an iterable.
    """
    if _are_arrays(train_set):
        if steps_per_epoch is not None:
            raise ArgumentError("fit: steps_per_epoch is for batches of your own; limit arrays by max_iterations")
        X, Y, weights = _checked_arrays(objective, train_set, "train_set")
        batches = Batches(X, Y, batch_size, seed=seed, replacement=replacement, check_finite=False, weights=weights)
        return on_device(objective, batches)
    if replacement:
        raise ArgumentError("fit: replacement draws from a pair of arrays; batches of your own come as they are")
    if not isinstance(train_set, Iterable):
        raise ArgumentError(f"fit: train_set must be a pair (X, Y) or an iterable of batches, got {train_set!r:.60}")
    if isinstance(train_set, list) and any(isinstance(part, np.ndarray | Tensor) for part in train_set):
        raise ArgumentError("fit: train_set is a list of arrays; give a pair of arrays as a tuple (X, Y)")
    return train_set if steps_per_epoch is None else Steps(train_set, steps_per_epoch)


def shared_batches(objective: Objective, batches: Iterable[object], parallel: str | None) -> Shares | None:
    """Return what gives this process its rows of every batch; None if there is one process.

    Raises
    ------
    BackendError
        If MPI is not there, or the network is on another backend than "numpy".
    ArgumentError
        If a batch has fewer rows than there are processes, or `freeze_sleeping` is asked for.
    """
    processes = processes_of(parallel)
    if processes is None:
        return None
    if is_partitioned(objective.net):
        raise ArgumentError("fit: parallel: the network's nodes are shared out, so its samples cannot be: leave it out")
    if objective.backend.name != "numpy":
        raise BackendError(
            f"fit: parallel: processes add up gradients on the numpy backend only, and the network is on "
            f"{objective.backend.name!r}; move it with net.to('numpy'), or train in one process"
        )
    if objective.freeze_sleeping:
        raise ArgumentError("fit: freeze_sleeping looks at the masks of whole batches: train in one process")
    return Shares(batches, processes)


def on_device(objective: Objective, batches: Iterable[object]) -> Iterable[object]:
    """Return batches of arrays on the parameters' device: moved there now if they fit, else one after the other."""
    free = objective.backend.free_memory()
    if free is None or not isinstance(batches, Batches) or objective.like is None or objective.loss is None:
        return batches  # a loss of one's own gets what it was given: host arrays
    fits = sum(a.nbytes for a in batches.host_arrays()) <= MAX_MEMORY_FRACTION * free
    return batches.moved(objective.backend) if fits else batches.sent(objective.backend)


def evaluation_batches(
    objective: Objective, samples: object, name: str, batch_size: int = EVALUATION_BATCH
) -> Iterable[object]:
    """Return samples in their order: the rows of arrays, checked, or batches, without shuffling.

    `name` is what an error calls them. Batches must be there at every look, so an iterator is refused.
    """
    if isinstance(samples, Dataset):
        samples = samples.test
    if isinstance(samples, Batches):
        return samples.in_order(samples.batch_size)
    if not isinstance(samples, tuple) and _are_batches(samples):
        batches: Any = samples
        return batches  # type: ignore[no-any-return]
    X, Y, weights = _checked_arrays(objective, samples, name)
    return Batches(X, Y, batch_size, shuffle=False, check_finite=False, weights=weights)


def _are_arrays(samples: object) -> bool:
    """Whether samples are given as arrays ``(X, Y)`` or ``(X, Y, weights)``; else they are batches."""
    return isinstance(samples, tuple) and len(samples) in (2, 3) and not isinstance(samples[0], tuple)


def _are_batches(samples: object) -> bool:
    """Whether samples are batches that can be gone through again: an iterable, of lists those of tuples."""
    if isinstance(samples, list):
        return bool(samples) and isinstance(samples[0], tuple)
    return isinstance(samples, Iterable) and not isinstance(samples, (Iterator, np.ndarray, Tensor, str, bytes, dict))


def _on_host(values: ArrayLike, name: str) -> np.ndarray:
    """Return a tensor, an array or lists as an array on the host."""
    if isinstance(values, Tensor):
        return values.numpy()
    if callable(getattr(values, "toarray", None)):
        raise DataError(f"{name} is a sparse {type(values).__name__}; pass the array that its .toarray() returns")
    return one_array(values, name)


def _checked_arrays(
    objective: Objective, arrays: object, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the arrays of a data set on the host, in the parameters' dtype; labels as the loss takes them."""
    if not isinstance(arrays, tuple | list) or len(arrays) not in (2, 3):
        got = f"{len(arrays)} of them" if isinstance(arrays, tuple | list) else f"a {type(arrays).__name__}"
        remedy = "; batches must be a list, or another iterable to go through again" * isinstance(arrays, Iterator)
        raise DataError(f"{name}: expected a pair of arrays (X, Y), got {got}{remedy}")
    X, Y, *more = (_on_host(a, f"{name}: {part}") for a, part in zip(arrays, PARTS, strict=False))
    if X.ndim < 1 or Y.ndim < 1 or len(X) != len(Y):
        raise DataError(f"{name}: X and Y must have one row a sample, got shapes {X.shape} and {Y.shape}")
    if not X.size:
        raise DataError(f"{name}: the data set is empty: X has shape {X.shape}")
    check_finite(X, f"{name}: X")
    weights = more[0] if more else None
    if weights is not None:
        objective.check_weights()
        check_weights(weights, len(X), f"{name}: weights")
    like = objective.like
    if like is not None and X.dtype.kind == "f":
        X = X.astype(like.dtype, copy=False)
    if objective.loss is None:
        check_finite(Y, f"{name}: Y", missing=True)
        return X, Y, weights

    def first_output() -> Tensor:
        with no_grad(), objective.net._in_mode(False):
            output: Tensor = objective.net(X[:1])
        return output

    Y = objective.loss.labels.checked(Y, first_output, name)
    if like is None:
        return X, Y, weights
    return X, Y.astype(like.dtype, copy=False), None if weights is None else weights.astype(like.dtype, copy=False)
