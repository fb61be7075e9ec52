"""The memory in which plans compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..backend import Backend


@dataclass(eq=False)
class Memory:
    """An arena that plans use one after the other.

    Attributes
    ----------
    arena : Any
        As a backend makes it.
    bytes : int
        How large it is.
    turn : callable or None
        Called before it is used, where a device has streams.
    holds : Any
        The plan that ran in it last.
    """

    arena: Any
    bytes: int
    turn: Callable[[], None] | None = None
    holds: Any = None


class Arenas:
    """Memory in which plans of one compiled function compute, one at a time: what they return is copied out.

    The first is as large as the plan needs; a larger one is made with room to spare, so that many growing shapes need
    few.
    """

    def __init__(self) -> None:
        self._latest: dict[Backend, Memory] = {}

    def __call__(self, backend: Backend, size: int) -> Memory:
        """Return memory of at least `size` bytes."""
        latest = self._latest.get(backend)
        if latest is None or latest.bytes < size:
            size = size if latest is None else max(size, 2 * latest.bytes)
            latest = self._latest[backend] = Memory(backend.arena(size), size, backend.turn())
        return latest
