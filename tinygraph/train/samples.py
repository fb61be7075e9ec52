"""The samples to train on and to evaluate, as batches; arrays are checked here, once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..data import Batches, check_finite
from ..data.checks import one_array
from ..errors import ArgumentError, DataError
from ..mode import no_grad
from ..tensors import Tensor
from .objective import Objective

MAX_MEMORY_FRACTION = 0.5  # of a device's free memory, that a data set may take
EVALUATION_BATCH = 1024  # rows at a time, where nothing is learned from them


def training_batches(
    objective: Objective, train_set: Any, batch_size: int, seed: int, replacement: bool
) -> Iterable[Any]:
    """Return the training set of `fit` as batches; its arrays are moved to a device where they fit.

    Raises
    ------
    DataError
        If the arrays cannot be used.
    ArgumentError
        If it is neither a pair of arrays nor an iterable.
    """
    if isinstance(train_set, tuple) and len(train_set) == 2 and not isinstance(train_set[0], tuple):
        X, Y = _checked_pair(objective, train_set, "train_set")
        batches = Batches(X, Y, batch_size, seed=seed, replacement=replacement, check_finite=False)
        if objective.like is None or objective.loss is None:
            return batches  # a loss of one's own gets what it was given: host arrays
        free = objective.backend.free_memory()
        fits = free is not None and MAX_MEMORY_FRACTION * free >= X.nbytes + Y.nbytes
        return batches.moved(objective.backend) if fits else batches
    if replacement:
        raise ArgumentError("fit: replacement draws from a pair of arrays; batches of your own come as they are")
    if not isinstance(train_set, Iterable):
        raise ArgumentError(f"fit: train_set must be a pair (X, Y) or an iterable of batches, got {train_set!r:.60}")
    if isinstance(train_set, list) and any(isinstance(part, np.ndarray | Tensor) for part in train_set):
        raise ArgumentError("fit: train_set is a list of arrays; give a pair of arrays as a tuple (X, Y)")
    return train_set


def evaluation_batches(objective: Objective, pair: Any, name: str, batch_size: int = EVALUATION_BATCH) -> Batches:
    """Return the rows of a pair of arrays, checked, in their order; `name` is what an error calls them."""
    return Batches(*_checked_pair(objective, pair, name), batch_size, shuffle=False, check_finite=False)


def _on_host(values: Any, name: str) -> np.ndarray:
    """Return a tensor, an array or lists as an array on the host."""
    if isinstance(values, Tensor):
        return values.numpy()
    if callable(getattr(values, "toarray", None)):
        raise DataError(f"{name} is a sparse {type(values).__name__}; pass the array that its .toarray() returns")
    return one_array(values, name)


def _checked_pair(objective: Objective, pair: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of a data set on the host, in the parameters' dtype; labels as the loss takes them."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = f"{len(pair)} of them" if isinstance(pair, tuple | list) else f"a {type(pair).__name__}"
        raise DataError(f"{name}: expected a pair of arrays (X, Y), got {got}")
    X, Y = (_on_host(a, f"{name}: {part}") for a, part in zip(pair, "XY", strict=True))
    if X.ndim < 1 or Y.ndim < 1 or len(X) != len(Y):
        raise DataError(f"{name}: X and Y must have one row a sample, got shapes {X.shape} and {Y.shape}")
    if not X.size:
        raise DataError(f"{name}: the data set is empty: X has shape {X.shape}")
    check_finite(X, f"{name}: X")
    like = objective.like
    if like is not None and X.dtype.kind == "f":
        X = X.astype(like.dtype, copy=False)
    if objective.loss is None:
        check_finite(Y, f"{name}: Y", missing=True)
        return X, Y

    def first_output() -> Tensor:
        with no_grad(), objective.net._in_mode(False):
            output: Tensor = objective.net(X[:1])
        return output

    Y = objective.loss.labels.checked(Y, first_output, name)
    return X, Y if like is None else Y.astype(like.dtype, copy=False)
