"""The backward pass beside modules: for each box one with the gradients that it gives its parameters, and passes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..describe import shape_text
from ..record import Node
from .levels import gradient_item, rule_item, seed_item, trunk_of
from .picture import Arrow, Item, Picture
from .words import joined


def add_gradients(
    picture: Picture, nodes: Sequence[Node], stands_for: Callable[[int], int], shown_by: Mapping[int, str]
) -> None:
    """Put the backward pass beside the items of a picture of modules.

    Parameters
    ----------
    picture : Picture
    nodes : sequence of Node
        Of the forward pass.
    stands_for : callable
        Returns the node that is drawn for a node.
    shown_by : dict of int to str
        The ids of the items that show the nodes that are drawn; a parameter that closed modules share has none.
    """
    by_id = {node.id: node for node in nodes}
    reached = {node.id for node in nodes if node.sensitivity is not None}
    ruled = {node.id for node in nodes if node.id in reached and not reached.isdisjoint(node.inputs)}
    forward = list(picture.items)
    beside: dict[str, Item] = {}
    uses: Counter[int] = Counter()  # by how many items a node gets parts of its gradient
    passed: dict[str, dict[int, None]] = {item.id: {} for item in forward}
    arrows: dict[tuple[str, str], bool] = {}
    trunk = trunk_of(nodes)
    for node in nodes:
        if node.id not in ruled or stands_for(node.id) != node.id:
            continue
        target = shown_by[node.id]
        for i in reached.intersection(node.inputs):
            source = shown_by.get(stands_for(i))
            if source not in (None, target):
                if i in ruled and i not in passed[target]:
                    passed[target][i] = None
                    uses[i] += 1
                way = _beside(target), _beside(source)
                arrows[way] = arrows.get(way, False) or trunk.get(node.id) == i
    for item in forward:
        inside = [by_id[i] for i in item.nodes]
        goes_on = [by_id[i] for i in sorted(passed[item.id])]
        if item.kind == "module" and not ruled.isdisjoint(item.nodes):
            used = dict.fromkeys(i for node in inside for i in (node.id, *node.inputs) if i in reached)
            learned = [by_id[i] for i in used if by_id[i].kind == "parameter"]
            beside[item.id] = _module(item, learned, goes_on, uses)
        elif item.kind != "module" and not reached.isdisjoint(item.nodes):
            (node,) = inside
            beside[item.id] = rule_item(node, goes_on, uses) if node.id in ruled else gradient_item(node)
            beside[item.id].frame = item.frame
    _extend_rows(picture, beside, forward)
    picture.items += beside.values()
    ends = {item.id for item in beside.values()}
    picture.arrows += [Arrow(s, t, "gradient", on) for (s, t), on in arrows.items() if s in ends and t in ends]
    for node in nodes:
        if node.is_output and node.id in ruled:
            picture.items.append(seed_item(node))
            start = _beside(shown_by[stands_for(node.id)])
            picture.arrows.append(Arrow(f"seed{node.id}", start, "gradient", True))


def _module(item: Item, learned: Sequence[Node], passed: Sequence[Node], uses: Mapping[int, int]) -> Item:
    """Return the backward pass of a closed module as an item."""
    lines = []
    for words, own in (("part of ", [n for n in learned if n.owner]), ("", [n for n in learned if not n.owner])):
        if own:
            names = joined([node.sensitivity or f"d{node.label}" for node in own])
            lines.append(f"{words}{names}  {joined([shape_text(node.shape) for node in own])}")
    named = [f"part of {n.sensitivity}" if uses[n.id] > 1 else str(n.sensitivity) for n in passed if n.sensitivity]
    if named:
        lines.append(f"{joined(named)}  {joined([shape_text(n.shape) for n in passed if n.sensitivity])}")
    hint = [f"backward pass of {item.lines[0]}", f"gradients of {sum(n.parameters for n in learned):,} parameters"]
    return Item(
        id=_beside(item.id),
        kind="rule",
        lines=lines or ["backward"],
        hint=hint,
        frame=item.frame,
        is_output=bool(learned),
        is_backward=True,
        nodes=item.nodes,
        gives=item.gives,
    )


def _extend_rows(picture: Picture, beside: Mapping[str, Item], forward: Sequence[Item]) -> None:
    """Put what is beside an item into its row, in the reverse order, so that rules stand outside of their gradients."""
    rows = {row[0]: row for row in picture.rows}
    in_rows = {name for row in picture.rows for name in row}
    for item in forward:
        if item.id in beside and (item.id in rows or item.id not in in_rows):
            row = rows.get(item.id, [item.id])
            gradients = [_beside(name) for name in row[1:] if name in beside]
            if not gradients:
                picture.arrows.append(Arrow(row[-1], _beside(item.id), "pair"))
            rows[item.id] = [*row, *gradients, _beside(item.id)]
    picture.rows = list(rows.values())


def _beside(item: str) -> str:
    """Return the id of what stands beside an item."""
    return f"d{item[1:]}"
