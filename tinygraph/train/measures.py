"""What is measured after each epoch: loss and error on the validation set, metrics of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..data import Batches
from ..errors import ArgumentError
from .history import COLUMNS
from .objective import Objective, Predicted
from .samples import EVALUATION_BATCH

Metric = Callable[[np.ndarray, np.ndarray], Any]


class Measures:
    """Loss and error on the validation set, and functions of all predictions and targets, computed in one pass.

    Parameters
    ----------
    objective : Objective
    metrics : mapping of str to callable, or None
        As for `fit`.
    batches : iterable
        The training set.
    held_out : iterable or None
        The validation set, which takes its place for `metrics`.
    """

    def __init__(
        self,
        objective: Objective,
        metrics: Mapping[str, Metric] | None,
        batches: Iterable[object],
        held_out: Iterable[object] | None,
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
        self.objective, self.held_out = objective, held_out
        self.batches = batches.in_order(EVALUATION_BATCH) if isinstance(batches, Batches) else batches
        if self.functions and held_out is None and isinstance(batches, Iterator):
            raise ArgumentError(
                "fit: metrics go through the training set again: give a list, not an iterator, or a validation set"
            )

    def values(self) -> dict[str, float | None]:
        """Return what is measured, by the names of the columns.

        Raises
        ------
        ArgumentError
            If one is no number.
        """
        values: dict[str, float | None] = {}
        predicted: list[Predicted] = []
        if self.held_out is not None:
            found = self.objective.means(self.held_out, predicted if self.functions else None)
            values["validation_loss"], values["validation_error"] = found
        if not self.functions:
            return values
        if self.held_out is None:
            predicted = self.objective.predictions(self.batches)
        prediction, target = map(np.concatenate, zip(*predicted, strict=True))
        for name, function in self.functions.items():
            value = function(prediction, target)
            try:
                values[name] = float(value)
            except (TypeError, ValueError):
                raise ArgumentError(f"fit: metrics: {name} must return a number, got {value!r:.60}") from None
        return values
