"""Ctrl-C and the request to end, as an exception of the command line's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` where SIGINT or SIGTERM arrives inside a ``with`` block."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
