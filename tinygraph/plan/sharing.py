"""Whether a plan's tasks are shared with helping threads, as its own replays measure it.

Threads that have to wait for a processor cost more than they help; which it is depends on the machine and on what else
runs there. It makes no difference to the bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

TRIALS = 3  # replays of either way, of which the median counts
WARM_UP = 1  # replays before the first trial
WINDOW = 8  # replays that are looked at together afterwards
SLOWER = 1.5  # times what was usual, from which it is tried anew
SOONEST, LATEST = 256, 16384  # replays after which it is tried anew in any case


class Sharing:
    """A choice that is made by the first replays and looked after, one replay at a time.

    Parameters
    ----------
    clock : callable
        Returns nanoseconds.

    Attributes
    ----------
    is_shared : bool
        Whether the next replay is to be shared.
    """

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.clock = clock
        self.is_shared = True
        self._chosen: bool | None = None
        self._until_trial = SOONEST
        self._left = WARM_UP  # replays until it is tried
        self._trials: dict[bool, list[int]] | None = None
        self._usual = self._in_window = self._began = 0.0
        self._count = 0

    def begin(self) -> bool:
        """Return whether the replay that begins now is shared."""
        self._began = self.clock()
        return self.is_shared

    def end(self) -> None:
        """Note that the replay has ended."""
        took = self.clock() - self._began
        if self._trials is not None:
            self._try(took)
            return
        self._left -= 1
        self._in_window += took
        self._count += 1
        if self._count == WINDOW:
            if self._usual and self._in_window > SLOWER * WINDOW * self._usual:
                self._left = 0
                self._until_trial = SOONEST
            self._in_window, self._count = 0.0, 0
        if self._left <= 0:
            self._trials = {True: [], False: []}
            self.is_shared = True

    def _try(self, took: float) -> None:
        """Note the time of a replay that tries one way; choose after the last of them."""
        assert self._trials is not None
        self._trials[self.is_shared].append(int(took))
        self.is_shared = not self.is_shared
        if len(self._trials[False]) < TRIALS:
            return
        alone, shared = (median(self._trials[way]) for way in (False, True))
        better = shared < alone
        self._until_trial = min(2 * self._until_trial, LATEST) if better is self._chosen else SOONEST
        self._chosen = self.is_shared = better
        self._usual = min(alone, shared)
        self._left, self._trials = self._until_trial, None
        self._in_window, self._count = 0.0, 0
