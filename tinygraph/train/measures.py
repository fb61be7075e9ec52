"""Metrics of one's own, computed after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..data import Batches
from ..errors import ArgumentError
from .history import COLUMNS
from .objective import Objective
from .samples import EVALUATION_BATCH

Metric = Callable[[np.ndarray, np.ndarray], Any]


class Measures:
    """Functions of all predictions on a data set and their targets.

    Parameters
    ----------
    objective : Objective
    metrics : mapping of str to callable, or None
        As for `fit`.
    batches : iterable
        The training set.
    held_out : iterable or None
        The validation set, which takes its place.
    """

    def __init__(
        self,
        objective: Objective,
        metrics: Mapping[str, Metric] | None,
        batches: Iterable[Any],
        held_out: Iterable[Any] | None,
    ) -> None:
        metrics = {} if metrics is None else metrics
        if not isinstance(metrics, Mapping):
            raise ArgumentError(f"fit: metrics must be a dict of names and functions, got {metrics!r:.60}")
        prefix = "" if held_out is None else "validation_"
        self.functions = {f"{prefix}{name}": function for name, function in metrics.items()}
        for name, (key, function) in zip(self.functions, metrics.items(), strict=True):
            if not isinstance(key, str) or not key or name in COLUMNS:
                raise ArgumentError(f"fit: metrics: {key!r} is no name for a column besides {', '.join(COLUMNS)}")
            if not callable(function):
                raise ArgumentError(
                    f"fit: metrics: {key} must be a function of prediction and target, got {function!r}"
                )
        samples = batches if held_out is None else held_out
        self.batches = samples.in_order(EVALUATION_BATCH) if isinstance(samples, Batches) else samples
        if self.functions and isinstance(self.batches, Iterator):
            raise ArgumentError(
                "fit: metrics go through the training set again: give a list, not an iterator, or a validation set"
            )
        self.objective = objective

    def values(self) -> dict[str, float]:
        """Return the value of every metric, by the name of its column.

        Raises
        ------
        ArgumentError
            If one is no number.
        """
        if not self.functions:
            return {}
        prediction, target = self.objective.predictions(self.batches)
        values = {}
        for name, function in self.functions.items():
            value = function(prediction, target)
            try:
                values[name] = float(value)
            except (TypeError, ValueError):
                raise ArgumentError(f"fit: metrics: {name} must return a number, got {value!r:.60}") from None
        return values
