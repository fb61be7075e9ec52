"""Functions of one's own that `fit` calls while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer
    from ..parallel import Communicator
    from .history import History
    from .run import Run


class Training:
    """A run of `fit`, as callbacks see it.

    Attributes
    ----------
    net : Module
    optimizer : Optimizer
    history : History
        Of the epochs that have ended; ``history.iterations`` counts the updates.
    reason : str
        Why to stop, "" to go on.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.net: Module = run.net
        self.optimizer: Optimizer = run.optimizer
        self.history: History = run.history
        self.reason = ""

    @property
    def loss(self) -> float:
        """The loss of the last batch before its update, without regularisers; it is read from the device."""
        return float(self._run.tally.latest)

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End training after the present batch or epoch; ``history.stop_reason`` is `reason`."""
        if not isinstance(reason, str) or not reason:
            raise ArgumentError(f"stop: reason must be a text, got {reason!r}")
        self.reason = reason

    def agree(self, processes: Communicator) -> None:
        """Let all processes end training if a callback wants it in one of them."""
        self.reason = next(filter(None, processes.gather(self.reason)), "")


class Callback:
    """What `fit` calls; a subclass writes the methods that it needs, each of which may call ``training.stop``."""

    def start(self, training: Training) -> None:
        """Run before the first update, after a checkpoint was read."""

    def batch(self, training: Training) -> None:
        """Run after every update; then a checkpoint is written, if one is due."""

    def epoch(self, training: Training) -> None:
        """Run after every epoch, when its row is in the history; then a checkpoint is written, if one is due."""

    def end(self, training: Training) -> None:
        """Run when training ends, by an error too."""


class _AfterEpochs(Callback):
    """A function, called after every epoch."""

    def __init__(self, function: Callable[[Training], object]) -> None:
        self.function = function

    def epoch(self, training: Training) -> None:
        self.function(training)


class Callbacks(Callback):
    """Several callbacks as one.

    Parameters
    ----------
    callbacks : iterable of Callback or function
        As for `fit`.
    """

    def __init__(self, callbacks: Iterable[Callback | Callable[[Training], object]]) -> None:
        if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
            raise ArgumentError(f"fit: callbacks must be a list of them, got {callbacks!r:.60}; write [callback]")
        self._all: list[Callback] = []
        for each in callbacks:
            if isinstance(each, type) or not (isinstance(each, Callback) or callable(each)):
                raise ArgumentError(f"fit: callbacks must be functions or tinygraph.Callback objects, got {each!r:.60}")
            self._all.append(each if isinstance(each, Callback) else _AfterEpochs(each))
        self._of_batches = [each for each in self._all if type(each).batch is not Callback.batch]

    @property
    def is_called_after_updates(self) -> bool:
        """Whether one of them wants to be called after every update."""
        return bool(self._of_batches)

    def start(self, training: Training) -> None:
        """Call all of them."""
        for each in self._all:
            each.start(training)

    def batch(self, training: Training) -> None:
        """Call those that want to be called after every update."""
        for each in self._of_batches:
            each.batch(training)

    def epoch(self, training: Training) -> None:
        """Call all of them."""
        for each in self._all:
            each.epoch(training)

    def end(self, training: Training) -> None:
        """Call all of them."""
        for each in self._all:
            each.end(training)
