"""A process that ends while others wait for it: those say so and end too, where MPI would wait for ever."""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

PERIOD = 1.0  # seconds between looks
PATIENCE = 3.0  # seconds to wait in vain: what ended that process may be about to end this one


class Ends:
    """Knows which processes have ended; each tells the others.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``. Where its library cannot be called by several threads, nobody looks.
    give_up : callable
        Called with a text, in a thread of its own, where this process waits for one that has ended.

    Attributes
    ----------
    reason : str
        What the others are told if this process ends.
    """

    def __init__(self, mpi: Any, give_up: Callable[[str], object]) -> None:
        self._mpi, self._give_up = mpi, give_up
        self.reason = ""
        self._waits_since = math.inf
        self._reasons: dict[int, str] = {}  # of those that have ended
        self._leaves = threading.Event()

    def start(self) -> None:
        """Look out for the others, and tell them when this process ends."""
        if self._mpi.Query_thread() != self._mpi.THREAD_MULTIPLE:
            return
        self._messages = self._mpi.COMM_WORLD.Dup()
        self._thread = threading.Thread(target=self._look, daemon=True, name="tinygraph ends")
        self._thread.start()
        atexit.register(self._leave)

    def wait(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what a function returns that waits for all processes."""
        self._waits_since = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self._waits_since = math.inf

    def _look(self) -> None:
        status = self._mpi.Status()
        while not self._leaves.wait(PERIOD):
            while self._messages.iprobe(status=status):
                self._reasons[status.source] = self._messages.recv(source=status.source)
            if self._reasons and time.monotonic() - self._waits_since > PATIENCE:
                rank, reason = next(iter(self._reasons.items()))
                why = f" ({reason})" if reason else ""
                self._give_up(f"process {rank} has ended{why}, and this one waits for it; all must train equally long")

    def _leave(self) -> None:
        """Tell the others, and wait until they end too, as MPI does."""
        self._leaves.set()
        self._thread.join()
        if self._mpi.Is_finalized():
            return
        here = self._messages.Get_rank()
        others = [rank for rank in range(self._messages.Get_size()) if rank != here]
        sent = [self._messages.isend(self.reason, rank) for rank in others]
        for rank in others:
            if rank not in self._reasons:
                self._messages.recv(source=rank)
        self._mpi.Request.waitall(sent)
