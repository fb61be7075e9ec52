"""The level of detail at which a module is one box, and equal blocks in a row are drawn once.

A graph is taken apart into units (`units.py`); which of them repeat is found in `folding.py`. Here they become items
and frames: a closed module is an item, an open one a frame, and of repeats the first is drawn for all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..describe import shape_text
from ..record import Cluster, Network, Node
from .folding import Run, runs, side_by_side
from .levels import forward_only, frames_of, item_of, trunk_of
from .module_gradients import add_gradients
from .picture import Arrow, ArrowKind, Frame, Item, Picture
from .units import Unit, taken_apart, users_of
from .words import joined, without_constants


def modules(
    nodes: Sequence[Node], clusters: Sequence[Cluster], network: Network | None, depth: int, fold: bool
) -> Picture:
    """Return a picture in which modules are open down to `depth`; 0 is the network as one box.

    Beside each stand the gradients, if there are any. Equal blocks in a row, or side by side, are drawn once if they
    are to `fold`.
    """
    drawing = _Drawing(without_constants(forward_only(nodes)), clusters, network, fold)
    stack: list[tuple[list[Unit], int | None]] = [(taken_apart(drawing.nodes, clusters, network, depth), None)]
    while stack:
        units, frame = stack.pop()
        stack.extend(drawing.add(units, frame))
    drawing.connect()
    if any(node.is_gradient for node in nodes):
        add_gradients(drawing.picture, drawing.nodes, drawing.drawn, drawing.shown_by)
    return drawing.picture


class _Drawing:
    """A picture while it is made."""

    def __init__(
        self,
        nodes: list[Node],
        clusters: Sequence[Cluster],
        network: Network | None,
        fold: bool,
    ) -> None:
        self.nodes, self.clusters, self.network, self.fold = nodes, clusters, network, fold
        self.picture = Picture()
        self.by_id = {node.id: node for node in nodes}
        self.users = users_of(nodes)
        self.frames: dict[int | None, Frame] = {frame.id: frame for frame in frames_of(clusters)}
        self.shown_by: dict[int, str] = {}  # the item that shows a node
        self.twin: dict[int, int] = {}  # of a node in a repeat that is not drawn: the one that is drawn for it

    def add(self, units: list[Unit], frame: int | None) -> list[tuple[list[Unit], int]]:
        """Draw units that stand beside each other in a frame; return the parts of the open ones, with their frames."""
        below: list[tuple[list[Unit], int]] = []
        found = runs(units, self.users) if self.fold else []
        repeated = {run.start: run for run in found}
        beside = self._beside(units, found) if self.fold else {}
        start = 0
        while start < len(units):
            run = repeated.get(start)
            if run is None:
                below += self._add_beside(beside.get(start, [units[start]]), frame)
                start += 1
                continue
            repeats = units[start : start + run.period * run.times]
            kept = repeats[: run.period]
            for place, unit in enumerate(repeats):
                self._stands_for(kept[place % run.period], unit)
            if len(kept) == 1 and not kept[0].parts:
                self._add_closed(kept[0], frame, run.times, repeats[-1])
            else:
                around = self._frame_of(run.times, "in a row", frame)
                for place, unit in enumerate(kept, start):
                    below += self._add_beside(beside.get(place, [unit]), around)
            start += len(repeats)
        return below

    def _beside(self, units: list[Unit], found: Sequence[Run]) -> dict[int, list[Unit]]:
        """Return by place the units that are drawn there: several equal ones in the place of the first, none of others.

        Those of a run are folded among the first of its repeats.
        """
        segments = [0] * len(units)
        for number, run in enumerate(found, 1):
            places = range(run.start, run.start + run.period * run.times)
            for place in places:
                segments[place] = number if place < run.start + run.period else -place
        groups: dict[int, list[Unit]] = {}
        for first, *others in side_by_side(units, self.users, segments):
            groups |= {place: [] for place in others}
            groups[first] = [units[place] for place in (first, *others)]
        return groups

    def _add_beside(self, units: Sequence[Unit], frame: int | None) -> list[tuple[list[Unit], int]]:
        """Draw equal units that stand side by side, or a single one, or none."""
        if not units:
            return []
        first, times = units[0], len(units)
        if times == 1:
            return self._add_unit(first, frame)
        for unit in units:
            self._stands_for(first, unit)
        if not first.parts:
            self._add_closed(first, frame, times, units[-1], " in parallel")
            return []
        return self._add_unit(first, self._frame_of(times, "in parallel", frame))

    def _frame_of(self, times: int, how: str, frame: int | None) -> int:
        """Draw a frame around what is drawn once for several."""
        around = len(self.clusters) + len(self.picture.frames)
        title = f"× {times}" + (" in parallel" if how == "in parallel" else "")  # noqa: RUF001
        self.picture.frames.append(Frame(around, title, f"{times} equal blocks {how}", frame))
        return around

    def _stands_for(self, drawn: Unit, unit: Unit) -> None:
        """Note that a unit is drawn for an equal one."""
        for node, twin in zip(unit.nodes, drawn.nodes, strict=True):
            self.twin[node.id] = twin.id

    def _add_unit(self, unit: Unit, frame: int | None) -> list[tuple[list[Unit], int]]:
        if not unit.parts:
            self._add_closed(unit, frame)
            return []
        module = self.frames[unit.cluster]
        self.picture.frames.append(Frame(module.id, module.title, module.hint, frame))
        return [(unit.parts, module.id)]

    def _add_closed(
        self, unit: Unit, frame: int | None, times: int = 1, last: Unit | None = None, how: str = ""
    ) -> None:
        """Draw a closed module, an operation with its parameters, or a leaf; `times` of them up to `last`."""
        marks = f"  × {times}{how}" if times > 1 else ""  # noqa: RUF001
        if unit.is_module:
            items = [self._module(unit, marks, last or unit)]
            self.shown_by |= {node.id: items[0].id for node in unit.nodes}
        elif unit.is_hidden:
            return
        else:
            items = [item_of(node, {}) for node in unit.nodes]
            self.shown_by |= {node.id: item.id for node, item in zip(unit.nodes, items, strict=True)}
            items[-1].lines = [f"{items[-1].lines[0]}{marks}", *items[-1].lines[1:]]
            parameters = [item.id for item in items[:-1]]
            if parameters:
                self.picture.rows.append([items[-1].id, *parameters])
        for item in items:
            item.frame = frame
        self.picture.items += items

    def _module(self, unit: Unit, marks: str, last: Unit) -> Item:
        """Return a closed module as an item; `marks` say how many equal ones up to `last` it is drawn for."""
        kind, title = self._titles(unit)
        if marks:
            title = f"{title} … {self._titles(last)[1]}"
            kind += marks
        heading = [f"{title}  {kind}"] if title.split(" ")[0].isdecimal() else [title, kind]
        own = {i: self.by_id[i] for node in unit.nodes for i in (node.id, *node.inputs) if i in self.by_id}
        learned = [node for node in own.values() if node.kind == "parameter"]
        size = sum(node.parameters for node in learned)
        frozen = sum(node.parameters for node in learned if node.is_frozen)
        words = f"{size:,} parameters" + (" each" if marks else "")
        if frozen:
            words += ", frozen" if frozen == size else f", {frozen:,} frozen"
        if any(node.owner for node in learned):
            words += ", shared"
        inside = {node.id for node in unit.nodes}
        given = [n for n in unit.nodes if n.is_output or not inside.issuperset(self.users.get(n.id, ()))]
        shape = joined([shape_text(node.shape) for node in given if node.kind == "op"])
        return Item(
            id=f"n{unit.nodes[-1].id}",
            kind="module",
            lines=[line for line in (*heading, words if learned else "", shape) if line],
            hint=[f"{kind} {title}", "operations: " + joined([n.label for n in unit.nodes if n.kind == "op"])],
            is_frozen=bool(size) and frozen == size,
            nodes=[node.id for node in unit.nodes],
            gives=[node.id for node in given],
        )

    def _titles(self, unit: Unit) -> tuple[str, str]:
        """Return the class and the name of a module."""
        if unit.cluster is None:
            return (self.network.kind if self.network else ""), "network"
        cluster = self.clusters[unit.cluster]
        return cluster.kind, cluster.title

    def drawn(self, node: int) -> int:
        """Return the node that is drawn for a node; repeats may lie in repeats."""
        while (twin := self.twin.get(node, node)) != node:
            node = twin
        return node

    def connect(self) -> None:
        """Draw the arrows between what was drawn, and mark what was asked for."""
        asked_for: set[str] = set()
        folded: dict[str, list[int]] = defaultdict(list)
        arrows: dict[tuple[str, str, ArrowKind], bool] = {}
        trunk = trunk_of(self.nodes)
        for node in self.nodes:
            if self.drawn(node.id) == node.id and node.id in self.shown_by:
                target = self.shown_by[node.id]
                for i in node.inputs:
                    source = self.shown_by.get(self.drawn(i))
                    if source is not None and source != target:
                        kind: ArrowKind = "parameter" if self.by_id[i].kind == "parameter" else "data"
                        way = source, target, kind
                        arrows[way] = arrows.get(way, False) or trunk.get(node.id) == i
            if node.is_output:
                asked_for.add(self.shown_by[self.drawn(node.id)])
            if self.drawn(node.id) != node.id:
                folded[self.shown_by.get(self.drawn(node.id), "")].append(node.id)
        self.picture.arrows += [Arrow(*way, is_trunk) for way, is_trunk in arrows.items()]
        for item in self.picture.items:
            item.is_output = item.id in asked_for
            item.folded = folded[item.id]
