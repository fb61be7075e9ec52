"""Which units repeat: equal ones in a row, as the blocks of a deep network, and side by side, as its heads.

In a row each repeat is fed by the one before, and may take another part of the same, as the steps of a sequence do.
Side by side all are fed by the same, or each by one of several equal
ones, and so are what they feed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .units import Unit, positions

LONGEST_PERIOD = 24  # units that repeat together
FEWEST = 3  # repeats that are folded
PASSES = 12  # over all units, until their kinds are clear
JOINS = ("concatenate", "stack")  # operations that take operands of one role

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
    kinds = [known.setdefault(_structure(unit, any_part=True), len(known)) for unit in units]
    refs = [_refs(unit, where) for unit in units]
    leads_to = [_leads_to(unit, units, where, users) for unit in units]
    found = []
    start = 0
    while start < len(units):
        best = Run(start, 1, 1)
        for period in range(1, min(LONGEST_PERIOD, (len(units) - start) // FEWEST) + 1):
            if _is_repetition(kinds[start : start + period]):
                continue
            run = Run(start, period, _times(start, period, kinds, refs, leads_to))
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


def _structure(unit: Unit, any_part: bool = False) -> object:
    """Return what is the same for equal units: their operations and shapes, and how these are connected.

    With `any_part`, operations that pick a part of something are equal whichever part it is.
    """
    inside = {node.id: place for place, node in enumerate(unit.nodes)}
    of_nodes = [
        (
            n.kind,
            re.sub(r"-?\d+", "", n.label) if any_part and n.op == "index" else n.label,
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


def _leads_to(
    unit: Unit, units: Sequence[Unit], where: Mapping[int, Ref], users: Mapping[int, Sequence[int]]
) -> dict[int, bool]:
    """Return the places of the units that use something of `unit`, each with whether it only joins what it is given.

    What was asked for, and what is used by none of `units`, is used behind all of them.
    """
    found: dict[int, bool] = {}
    for node in unit.nodes:
        if node.is_output:
            found[len(units)] = False
        for user in users.get(node.id, ()):
            place, way = where.get(user, (len(units), 0))
            joins = place < len(units) and units[place].nodes[way].op in JOINS
            found[place] = joins and found.get(place, True)
    return found


def _times(
    start: int, period: int, kinds: list[int], refs: list[list[Ref]], leads_to: Sequence[Mapping[int, bool]]
) -> int:
    """Return how often the `period` units from `start` on repeat."""
    times = 1
    while _repeats(start, period, times, kinds, refs):
        times += 1
    while times > 1:  # only what the last repeat gives may be used behind it, unless what all give is joined there
        end = start + period * times
        behind = [{p: joins for p, joins in leads_to[i].items() if p >= end} for i in range(start, end)]
        is_joined = [
            all(used == behind[-period:][way] and all(used.values()) for used in behind[way::period])
            for way in range(period)
        ]
        leaving = [i for i, used in enumerate(behind[:-period]) if used and not is_joined[i % period]]
        if not leaving:
            break
        times = leaving[0] // period + 1
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


def side_by_side(units: Sequence[Unit], users: Mapping[int, Sequence[int]], segments: Sequence[int]) -> list[list[int]]:
    """Return the places of units that are equal, and fed and used alike; lists of `FEWEST` or more that do not overlap.

    Parameters
    ----------
    units, users
        As for `runs`.
    segments : sequence of int
        Only units with the same number here are folded together.
    """
    where = positions(units)
    refs = [_refs(unit, where) for unit in units]
    uses = [_uses(unit, place, where, users, units) for place, unit in enumerate(units)]
    kinds: list[object] = []
    for place, unit in enumerate(units):  # leaves have names, and stand for themselves
        kinds.append((_structure(unit), segments[place]) if any(n.kind == "op" for n in unit.nodes) else place)
    for _ in range(PASSES):
        kinds = _stable(kinds, refs, uses)
        members: dict[object, list[int]] = defaultdict(list)
        for place, kind in enumerate(kinds):
            members[kind].append(place)
        groups = [places for places in members.values() if len(places) >= FEWEST]
        mixed = [place for places in groups if not _fed_by_one_or_each_by_its_own(places, refs) for place in places]
        if not mixed:
            return groups
        for place in mixed:
            kinds[place] = ("alone", place)
    return []


def _uses(
    unit: Unit, place: int, where: Mapping[int, Ref], users: Mapping[int, Sequence[int]], units: Sequence[Unit]
) -> list[tuple[Ref, object]]:
    """Return where a unit is used: by which node of which unit, and what for."""
    found: list[tuple[Ref, object]] = []
    for own, node in enumerate(unit.nodes):
        found += [((-1, own), "output")] if node.is_output else []
        for user in users.get(node.id, ()):
            at, way = where.get(user, (-1, user))
            if at != place:
                op = units[at].nodes[way] if at >= 0 else None
                role = (
                    () if op is None or op.op in JOINS else tuple([k for k, i in enumerate(op.inputs) if i == node.id])
                )
                found.append(((at, way), (own, role)))
    return found


def _stable(
    kinds: Sequence[object], refs: Sequence[Sequence[Ref]], uses: Sequence[Sequence[tuple[Ref, object]]]
) -> list[object]:
    """Return kinds of units, the same for those that are fed by, and used by, units of the same kinds."""
    known: dict[object, int] = {}

    def kind_of(at: int) -> object:
        return now[at] if at >= 0 else at

    now: list[object] = list(kinds)
    for _ in range(PASSES):
        before = len(set(now))
        for place in range(len(now)):
            fed = tuple([(kind_of(at), way) for at, way in refs[place]])
            now[place] = known.setdefault((now[place], fed), len(known))
        for place in reversed(range(len(now))):
            used = frozenset([(kind_of(at), way, role) for (at, way), role in uses[place]])
            now[place] = known.setdefault((now[place], used), len(known))
        if len(set(now)) == before:
            return now
    return list(range(len(now)))


def _fed_by_one_or_each_by_its_own(places: Sequence[int], refs: Sequence[Sequence[Ref]]) -> bool:
    """Return whether every input comes from the same for all of some units, or from another one for each."""
    return all(
        len(set(sources)) in (1, len(places)) for sources in zip(*(refs[place] for place in places), strict=True)
    )
