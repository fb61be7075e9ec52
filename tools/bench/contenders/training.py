"""What a contender offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygraph.tools.bench.workloads import Workload


@dataclass(frozen=True)
class Training:
    """A training step and the batches to feed it with.

    Attributes
    ----------
    step : callable
        Takes a batch's inputs and labels, updates the parameters and returns the loss of that batch before.
    batches : list of pairs
        In the contender's own kind of arrays.
    value : callable
        Takes what `step` returned, waits until the update is done and returns the loss as a number.
    """

    step: Callable[[Any, Any], Any]
    batches: list[tuple[Any, Any]]
    value: Callable[[Any], float] = float


Make = Callable[[Workload], Training]


class Unsuitable(Exception):
    """Raised for a workload that a contender cannot express; the text says why."""
