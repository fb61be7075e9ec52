"""The plans that a compiled function keeps: found by their arguments, bounded in bytes, one memory for all."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator

from ..backend import Backend
from .arenas import Arenas
from .arguments import Arguments
from .entry import CacheEntry

FEW = 4  # plans that a call tries before its arguments are looked through
OFTEN = 8  # uses after which a plan is one of these; its code for the usual call takes milliseconds to make
MOST_ALIKE = 64  # plans that differ in Python values only, and not in the shapes of arguments


class Cache:
    """Plans, the latest used last.

    Parameters
    ----------
    max_bytes : int, optional
        What they may take; by default a quarter of the memory there is. The latest is kept whatever it takes.

    Attributes
    ----------
    often : list of CacheEntry
        The latest that are used often, and have code for the usual call.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self.arenas = Arenas()
        self._entries: dict[CacheEntry, None] = {}
        self._by_specs: dict[Hashable, list[CacheEntry]] = {}
        self._latest: CacheEntry | None = None
        self.often: list[CacheEntry] = []

    def __iter__(self) -> Iterator[CacheEntry]:
        return iter(sorted(self._entries, key=lambda entry: entry.number))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What all plans take."""
        memories = {entry.plan.memory for entry in self._entries}
        return sum(memory.bytes for memory in memories) + sum(entry.bytes for entry in self._entries)

    def find(self, arguments: Arguments) -> CacheEntry | None:
        """Return the plan that computes what the function would now."""
        latest = self._latest
        if latest is not None and latest.matches(arguments):
            return self._found(latest)
        for entry in reversed(self._by_specs.get(arguments.specs, ())):
            if entry is not latest and entry.matches(arguments):
                self.use(entry)
                return self._found(entry)
        return None

    def _found(self, entry: CacheEntry) -> CacheEntry:
        """Note that a plan is used again; one that is used often is tried first from then on."""
        entry.uses += 1
        if entry.uses >= OFTEN and entry not in self.often and entry.is_usual:
            self.often = [entry, *self.often[: FEW - 1]]
        return entry

    def alike(self, arguments: Arguments) -> list[CacheEntry]:
        """Return the plans for such arguments, Python values aside, the latest used last."""
        return list(self._by_specs.get(arguments.specs, ()))

    def add(self, entry: CacheEntry) -> None:
        """Keep a plan; those that have not been used for longest go where there are too many bytes."""
        if self.max_bytes is None:
            self.max_bytes = quarter_of_memory(entry.plan.program.backend)
        alike = self._by_specs.setdefault(entry.specs, [])
        if len(alike) >= MOST_ALIKE:
            self._drop(alike[0])
        self._by_specs.setdefault(entry.specs, []).append(entry)
        self._entries[entry] = None
        self._latest = entry
        while len(self._entries) > 1 and self.bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    def use(self, entry: CacheEntry) -> None:
        """Note that a plan is the latest used."""
        self._entries[entry] = self._entries.pop(entry)
        alike = self._by_specs[entry.specs]
        alike.remove(entry)
        alike.append(entry)
        self._latest = entry

    def _drop(self, entry: CacheEntry) -> None:
        del self._entries[entry]
        self.often = [kept for kept in self.often if kept is not entry]
        alike = self._by_specs[entry.specs]
        alike.remove(entry)
        if not alike:
            del self._by_specs[entry.specs]


def quarter_of_memory(backend: Backend) -> int:
    """Return a quarter of the bytes that are free on a device, or that this machine has."""
    free = backend.free_memory()
    if free is None:
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):  # not on every system
            free = 1 << 32
    return free // 4
