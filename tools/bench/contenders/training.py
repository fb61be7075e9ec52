"""What a contender offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Events:
    """How a device itself takes the time: marks between the pieces of work it was asked for.

    Attributes
    ----------
    mark : callable
        Asks the device for a mark after all that it was asked for before, and returns it without waiting.
    seconds : callable
        Takes an earlier and a later mark, waits for the later, and returns the seconds between them.
    """

    mark: Callable[[], Any]
    seconds: Callable[[Any, Any], float]


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
    events : Events, optional
        Where the library offers them on the device it works on.
    memory : callable
        Returns the bytes of the device that the library has counted at the peak; None where it counts none.
    """

    step: Callable[[Any, Any], Any]
    batches: list[tuple[Any, Any]]
    value: Callable[[Any], float] = float
    events: Events | None = None
    memory: Callable[[], int | None] = lambda: None


Make = Callable[..., Training]  # takes a workload, and where the contender can use a GPU, the device


class Unsuitable(Exception):
    """Raised for what a contender cannot do, a workload or a device; the text says why."""
