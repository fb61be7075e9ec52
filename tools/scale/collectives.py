"""Allreduce by the algorithms that MPI libraries use, simulated: what every process sends, and that the sum is right.

Recursive doubling exchanges whole vectors; Rabenseifner's algorithm (reduce-scatter by halves, then allgather) and the
ring exchange parts. Where the number of processes is no power of two, the first two let the processes beyond one hand
their vectors to a partner first and get the sum last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass
class Traffic:
    """What the busiest process does while others do at most as much.

    Attributes
    ----------
    rounds : int
        Messages one after the other.
    sent : int
        Elements it sends, or gets where that is more.
    added : int
        Elements it adds.
    """

    rounds: int = 0
    sent: int = 0
    added: int = 0


Message = tuple[int, int, slice, bool]  # from, to, which elements, whether they are added there
Schedule = Callable[[int, int], Iterator[list[Message]]]


def recursive_doubling(processes: int, length: int) -> Iterator[list[Message]]:
    """Yield the messages of every round of exchanges of whole vectors at distances 1, 2, 4, ..."""
    core = _power_below(processes)
    everything = slice(0, length)
    yield from _folded(processes, core, length, _doubling(core, everything))


def rabenseifner(processes: int, length: int) -> Iterator[list[Message]]:
    """Yield the messages of every round of Rabenseifner's algorithm: halves, quarters, ..., and back."""
    core = _power_below(processes)
    yield from _folded(processes, core, length, _halving(core, length))


def ring(processes: int, length: int) -> Iterator[list[Message]]:
    """Yield the messages of every round of a ring, in which each process sends one part to the next."""
    parts = _parts(processes, length)
    for adds in (True, False):
        for k in range(processes - 1):
            shift = 0 if adds else 1
            yield [(p, (p + 1) % processes, parts[(p + shift - k) % processes], adds) for p in range(processes)]


ALGORITHMS: dict[str, Schedule] = {
    "recursive doubling": recursive_doubling,
    "Rabenseifner": rabenseifner,
    "ring": ring,
}


def simulate(schedule: Schedule, vectors: np.ndarray) -> Traffic:
    """Carry an Allreduce out on the rows of `vectors`, which hold the sum of all afterwards; return its traffic.

    Parameters
    ----------
    schedule : callable
        One of `ALGORITHMS`.
    vectors : array of shape (processes, length)
        Changed in place.
    """
    traffic = Traffic()
    for messages in schedule(*vectors.shape):
        sending = [vectors[source, part].copy() for source, _, part, _ in messages]
        moved, added = np.zeros((2, len(vectors)), int), np.zeros(len(vectors), int)
        for (source, target, part, adds), values in zip(messages, sending, strict=True):
            moved[0, source] += len(values)
            moved[1, target] += len(values)
            if adds:
                vectors[target, part] += values
                added[target] += len(values)
            else:
                vectors[target, part] = values
        traffic.rounds += 1
        traffic.sent += int(moved.max())
        traffic.added += int(added.max())
    return traffic


def _power_below(processes: int) -> int:
    return 1 << (processes.bit_length() - 1)


def _parts(count: int, length: int) -> list[slice]:
    bounds = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def _folded(processes: int, core: int, length: int, rounds: Iterator[list[Message]]) -> Iterator[list[Message]]:
    """Yield the rounds of the first `core` processes, between those in which the others take part through partners."""
    others, everything = range(core, processes), slice(0, length)
    if others:
        yield [(p, p - core, everything, True) for p in others]
    yield from rounds
    if others:
        yield [(p - core, p, everything, False) for p in others]


def _doubling(core: int, everything: slice) -> Iterator[list[Message]]:
    distance = 1
    while distance < core:
        yield [(p, p ^ distance, everything, True) for p in range(core)]
        distance *= 2


def _halving(core: int, length: int) -> Iterator[list[Message]]:
    own = [slice(0, length)] * core  # what each process goes on with
    before: list[list[slice]] = []
    distance = core // 2
    while distance:
        before.append(own)
        own = [_half(own[p], upper=bool(p & distance)) for p in range(core)]
        yield [(p, p ^ distance, own[p ^ distance], True) for p in range(core)]
        distance //= 2
    distance = 1
    while before:
        yield [(p, p ^ distance, own[p], False) for p in range(core)]
        own = before.pop()
        distance *= 2


def _half(part: slice, *, upper: bool) -> slice:
    middle = (part.start + part.stop) // 2
    return slice(middle, part.stop) if upper else slice(part.start, middle)
