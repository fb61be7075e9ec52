"""Ctrl-C and the request to end: as an exception of the command line's own, or, in training, after the update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygraph import Callback, Training


class Stopped(BaseException):
    """A signal that ends the program; no handler of ordinary errors takes it.

    Attributes
    ----------
    status : int
        The exit status: 128 and the number of the signal.
    remark : str
        What to say besides.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status, self.remark = status, ""


class StopAfterUpdate(Callback):
    """Ends training after the update during which a signal came, when its checkpoint is written, by `Stopped`.

    Attributes
    ----------
    number : int or None
        Of the signal, once it has come.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def handle(self, number: int, frame: Any) -> None:
        """Take a signal; the second one ends the program at once."""
        if self.number is not None:
            raise Stopped(128 + number)
        self.number = number

    def batch(self, training: Training) -> None:
        """Let training end after this update."""
        if self.number is not None:
            training.stop("stopped by a signal")

    epoch = batch

    def end(self, training: Training) -> None:
        """Leave, when all is written."""
        if self.number is not None:
            raise Stopped(128 + self.number)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` where SIGINT or SIGTERM arrives inside a ``with`` block."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(128 + number)

    with _handled(stop):
        yield


@contextmanager
def stopped_after_update() -> Iterator[StopAfterUpdate]:
    """Yield a callback for `fit` that ends it where SIGINT or SIGTERM arrives inside a ``with`` block."""
    callback = StopAfterUpdate()
    with _handled(callback.handle):
        yield callback


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let both signals call `handler` inside a ``with`` block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
