"""Whether a plan's tasks are shared with helping threads, as its own replays measure it.

Threads that have to wait for a processor cost more than they help; which it is depends on the machine and on what else
runs there. It makes no difference to the bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

TRIALS = 3  # replays of either way that are timed in a row, of which the median counts
WARM_UP = 1  # replays before the first trial
WINDOW = 8  # replays that are looked at together afterwards, without the slowest
SLOWER = 1.5  # times what was usual, from which it is tried anew
SOONEST, LATEST = 256, 16384  # replays after which it is tried anew in any case
SOONEST_ALONE = 32  # the same after a choice to work alone, which other work that ends makes a bad one


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
        self._usual, self._began = 0.0, 0
        self._window: list[int] = []

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
        self._window.append(took)
        if len(self._window) == WINDOW:
            if self._usual and sum(self._window) - max(self._window) > SLOWER * (WINDOW - 1) * self._usual:
                self._left = 0
                self._until_trial = SOONEST
            self._window.clear()
        if self._left <= 0:
            self._trials = {True: [], False: []}
            self.is_shared = True

    def _try(self, took: int) -> None:
        """Note the time of a replay that tries one way; choose after the last of them.

        The first of a row is left out, for which sleeping threads have to be woken.
        """
        assert self._trials is not None
        row = self._trials[self.is_shared]
        row.append(took)
        if len(row) <= TRIALS:
            return
        if self.is_shared:
            self.is_shared = False
            return
        alone, shared = (median(self._trials[way][1:]) for way in (False, True))
        better = shared < alone
        soonest = SOONEST if better else SOONEST_ALONE
        self._until_trial = min(2 * self._until_trial, LATEST) if better is self._chosen else soonest
        self._chosen = self.is_shared = better
        self._usual = min(alone, shared)
        self._left, self._trials = self._until_trial, None
        self._window.clear()
