"""Which units repeat: equal ones in a row, each repeat fed by the one before, as the blocks of a deep network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .units import Unit, positions

LONGEST_PERIOD = 24  # units that repeat together
FEWEST = 3  # repeats that are folded

Ref = tuple[int, int]  # where an input comes from: the place of the unit, and of the node in it; (-1, id) from outside


@dataclass(frozen=True)
class Run:
    """Repeats in a row: `times` times the `period` units from `start` on."""

    start: int
    period: int
    times: int


def runs(units: Sequence[Unit], users: Mapping[int, Sequence[int]]) -> list[Run]:
    """Return the repeats among units that stand beside each other in order of computation; they do not overlap.

    Parameters
    ----------
    units : sequence of Unit
    users : dict of int to sequence of int
        For every node the ids of the nodes that it is an input of.
    """
    where = positions(units)
    known: dict[object, int] = {}
    kinds = [known.setdefault(_structure(unit), len(known)) for unit in units]
    refs = [_refs(unit, where) for unit in units]
    last_use = [_last_use(unit, where, users, len(units)) for unit in units]
    found = []
    start = 0
    while start < len(units):
        best = Run(start, 1, 1)
        for period in range(1, min(LONGEST_PERIOD, (len(units) - start) // FEWEST) + 1):
            if _is_repetition(kinds[start : start + period]):
                continue
            run = Run(start, period, _times(start, period, kinds, refs, last_use))
            if run.times >= FEWEST and run.period * run.times > best.period * best.times:
                best = run
        if best.times > 1:
            found.append(best)
        start += best.period * best.times
    return found


def _is_repetition(kinds: list[int]) -> bool:
    """Return whether a sequence is a shorter one several times."""
    n = len(kinds)
    return any(n % part == 0 and kinds == kinds[:part] * (n // part) for part in range(1, n))


def _structure(unit: Unit) -> object:
    """Return what is the same for equal units: their operations and shapes, and how these are connected."""
    inside = {node.id: place for place, node in enumerate(unit.nodes)}
    of_nodes = [
        (
            n.kind,
            n.label,
            n.shape,
            n.dtype,
            n.is_frozen,
            n.cluster is None,
            tuple([inside.get(i, -1) for i in n.inputs]),
        )
        for n in unit.nodes
    ]
    return unit.is_module, unit.is_hidden, bool(unit.parts), tuple(of_nodes)


def _refs(unit: Unit, where: Mapping[int, Ref]) -> list[Ref]:
    """Return where the inputs of a unit come from that are not in it."""
    inside = {node.id for node in unit.nodes}
    return [where.get(i, (-1, i)) for node in unit.nodes for i in node.inputs if i not in inside]


def _last_use(unit: Unit, where: Mapping[int, Ref], users: Mapping[int, Sequence[int]], beyond: int) -> int:
    """Return the place of the last unit that uses something of `unit`; `beyond` where that is none of them."""
    if any(node.is_output for node in unit.nodes):
        return beyond
    return max(
        (where[u][0] if u in where else beyond for node in unit.nodes for u in users.get(node.id, ())), default=-1
    )


def _times(start: int, period: int, kinds: list[int], refs: list[list[Ref]], last_use: list[int]) -> int:
    """Return how often the `period` units from `start` on repeat."""
    times = 1
    while _repeats(start, period, times, kinds, refs):
        times += 1
    while times > 1:  # only what the last repeat gives may be used behind it
        end = start + period * times
        leaving = [i for i in range(start, end - period) if last_use[i] >= end]
        if not leaving:
            break
        times = (leaving[0] - start) // period + 1
    return times


def _repeats(start: int, period: int, time: int, kinds: list[int], refs: list[list[Ref]]) -> bool:
    """Return whether the units of repeat number `time` are those of the one before, fed in the same way."""
    first = start + period * time
    if first + period > len(kinds):
        return False
    is_fed = False
    for i in range(first, first + period):
        j = i - period
        if kinds[i] != kinds[j] or len(refs[i]) != len(refs[j]):
            return False
        for now, before in zip(refs[i], refs[j], strict=True):
            is_fed = is_fed or first - period <= now[0] < first
            moved = before[0] >= 0 and now == (before[0] + period, before[1])
            enters = (
                time == 1 and before[0] < start and first - period <= now[0] < first
            )  # the first is fed from outside
            if now != before and not moved and not enters:
                return False
    return is_fed
