"""Rows of arrays on the host, copied to a device while it works on those before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..typing import Array

ALIGNMENT = 64  # bytes


def prefetch(cupy: ModuleType, arrays: Sequence[np.ndarray], rows: Iterable[object]) -> Iterator[tuple[Array, ...]]:
    """Yield rows of `arrays` on the device, which the current stream waits for; those to come are on their way.

    They are picked into pinned memory, of which there are two pieces, and copied by a stream of its own. The copy that
    is asked for while one batch is worked on is that of the batch after the next.
    """
    stream = cupy.cuda.Stream(non_blocking=True)
    pieces = [_Pinned(cupy, arrays, stream) for _ in range(2)]
    ahead: tuple[tuple[Array, ...], Any] | None = None
    try:
        for n, picked in enumerate(rows):
            sent = pieces[n % 2].send(picked)
            if ahead is not None:
                yield _ready(cupy, ahead)
            ahead = sent
        if ahead is not None:
            yield _ready(cupy, ahead)
    finally:
        stream.synchronize()  # before memory that is copied from or to may be used for something else


def _ready(cupy: ModuleType, sent: tuple[tuple[Array, ...], object]) -> tuple[Array, ...]:
    """Return what was sent; the current stream goes on when it has arrived."""
    batch, arrived = sent
    cupy.cuda.get_current_stream().wait_event(arrived)
    return batch


class _Pinned:
    """Pinned memory that rows are picked into, and sent from."""

    def __init__(self, cupy: ModuleType, arrays: Sequence[np.ndarray], stream: Any) -> None:
        self.cupy, self.arrays, self.stream = cupy, arrays, stream
        self.memory = np.empty(0, np.uint8)
        self.arrived: Any = None  # an event, when all that was sent last has

    def send(self, picked: Any) -> tuple[tuple[Array, ...], object]:
        """Return rows on the device, on their way there, and an event that they have arrived."""
        count = len(range(len(self.arrays[0]))[picked]) if isinstance(picked, slice) else len(picked)
        if self.arrived is not None:
            self.arrived.synchronize()
        hosts = self._views([(count, *a.shape[1:]) for a in self.arrays])
        for a, host in zip(self.arrays, hosts, strict=True):
            if isinstance(picked, slice):
                host[...] = a[picked]
            else:
                np.take(
                    a, picked, axis=0, out=host, mode="clip"
                )  # in range; "raise" would pick into other memory first
        batch = tuple(self.cupy.empty(host.shape, host.dtype) for host in hosts)
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())  # what was in that memory may be in use
        for a, host in zip(batch, hosts, strict=True):
            a.set(host, self.stream)
        self.arrived = self.stream.record()
        return batch, self.arrived

    def _views(self, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """Return arrays of these shapes in the pinned memory, which grows if need be."""
        sizes = [int(np.prod(shape)) * a.itemsize for shape, a in zip(shapes, self.arrays, strict=True)]
        starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)])
        total = max(int(starts[-1]), 1)
        if self.memory.size < total:
            self.memory = np.frombuffer(self.cupy.cuda.alloc_pinned_memory(total), np.uint8, total)
        return [
            self.memory[start : start + size].view(a.dtype).reshape(shape)
            for start, size, shape, a in zip(starts, sizes, shapes, self.arrays, strict=False)
        ]
