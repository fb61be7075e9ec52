"""Levels of detail that show every operation: all of them, or those of the forward pass, each with its rule.

At "rules" an operation stands in the forward column, and beside it its local backward rule, as in Fig. 65.9: what the
rule gives runs to the rules of the operations above it, and ends in the gradients beside the parameters. The backward
column so has the shape of the forward one, whatever the rules expand to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..describe import shape_text
from ..record import Cluster, Node
from .picture import Arrow, ArrowKind, Frame, Item, Picture
from .words import hint_of, inlined_constants, joined, lines_of, rule_lines


def operations(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> Picture:
    """Return every node of a graph as a picture; gradients keep together beside what they are gradients of."""
    inlined = inlined_constants(nodes)
    by_id = {node.id: node for node in nodes}
    trunk = trunk_of(nodes)
    picture = Picture(frames=frames_of(clusters), backward_apart=any(node.is_gradient for node in nodes))
    picture.items = [item_of(node, inlined) for node in nodes if node.id not in inlined]
    picture.rows = [[_id(i) for i in row] for row in _rows(nodes).values()]
    for node in nodes:
        for i in node.inputs:
            if i not in inlined:
                kind = _kind(by_id[i], node)
                picture.arrows.append(Arrow(_id(i), _id(node.id), kind, kind == "data" and trunk.get(node.id) == i))
    picture.arrows += _frames_below(nodes, clusters)
    return picture


def rules(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> Picture:
    """Return the forward pass of a graph as a picture, with the backward rule beside every operation on the way."""
    forward = forward_only(nodes)
    picture = operations(forward, clusters)
    by_id = {node.id: node for node in forward}
    trunk = trunk_of(forward)
    reached = {node.id for node in forward if node.sensitivity is not None}
    ruled = [node for node in forward if node.id in reached and not reached.isdisjoint(node.inputs)]
    has_rule = {node.id for node in ruled}
    parts = Counter(i for node in ruled for i in dict.fromkeys(node.inputs) if i in reached)

    for node in forward:
        if node.id in has_rule:
            picture.items.append(rule_item(node, [by_id[i] for i in node.inputs if i in has_rule], parts))
        elif node.id in reached:
            picture.items.append(gradient_item(node))
    rows = _rows(forward)
    placed = {i for operation, row in rows.items() for i in row if i != operation}
    picture.rows = []
    for node in forward:
        if node.id in placed:
            continue
        row = rows.get(node.id, [node.id])
        behind = row[row.index(node.id) + 1 :]
        gradients = [_gradient_id(i) for i in behind if i in reached]
        names = [*map(_id, row), *gradients]
        if node.id in has_rule and not gradients:  # beside gradients, their arrows tell whose rule it is
            picture.arrows.append(Arrow(names[-1], _gradient_id(node.id), "pair"))
        if node.id in reached:
            names.append(_gradient_id(node.id))
        if len(names) > 1:
            picture.rows.append(names)
    for node in ruled:
        for i in dict.fromkeys(node.inputs):
            if i in reached:
                arrow = Arrow(_gradient_id(node.id), _gradient_id(i), "gradient", trunk.get(node.id) == i)
                picture.arrows.append(arrow)
        if node.is_output:
            picture.items.append(seed_item(node))
            picture.arrows.append(Arrow(f"seed{node.id}", _gradient_id(node.id), "gradient", True))
    return picture


def forward_only(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes of the forward pass."""
    return [node for node in nodes if not node.is_gradient]


def item_of(node: Node, inlined: Mapping[int, str]) -> Item:
    """Return a node as an item."""
    return Item(
        id=_id(node.id),
        kind=node.kind,
        lines=lines_of(node, inlined),
        hint=hint_of(node),
        frame=node.cluster,
        is_output=node.is_output,
        is_backward=node.is_gradient,
        is_frozen=node.is_frozen,
        nodes=[node.id],
        gives=[node.id],
    )


def frames_of(clusters: Sequence[Cluster]) -> list[Frame]:
    """Return the module calls as frames."""
    frames = []
    for cluster in clusters:
        numbered = cluster.title.split(" ")[0].isdecimal()  # says nothing alone
        title = f"{cluster.title} {cluster.kind}" if numbered else cluster.title
        frames.append(Frame(cluster.id, title, f"{cluster.kind} {cluster.scope}", cluster.parent))
    return frames


def _rows(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Return for operations what stands in a row with them, from left to right: masks, themselves, parameters.

    That is beside the first operation of the same module that uses it. A mask is made of leaves and has no gradient.
    """
    by_id = {node.id: node for node in nodes}
    placed: set[int] = set()
    rows: dict[int, list[int]] = {}
    for node in nodes:
        row = [node.id]
        for i in dict.fromkeys(node.inputs):
            operand = by_id[i]
            is_mask = not operand.is_differentiable and all(by_id[x].kind != "op" for x in operand.inputs)
            if i not in placed and operand.cluster == node.cluster and (is_mask or operand.kind == "parameter"):
                placed.add(i)
                row = [i, *row] if is_mask else [*row, i]
        if len(row) > 1:
            rows[node.id] = row
    return rows


def rule_item(node: Node, passed_on: Sequence[Node], parts: Mapping[int, int]) -> Item:
    """Return the backward rule of an operation, with the gradients that it passes on to other rules."""
    lines = rule_lines(node)
    named = [x for x in passed_on if x.sensitivity]
    if named:
        names = [f"part of {x.sensitivity}" if parts[x.id] > 1 else str(x.sensitivity) for x in named]
        lines.append(f"{joined(names)}  {joined([shape_text(x.shape) for x in named])}")
    hint = [f"backward rule of {node.label}", node.rule or "no words for it", f"arrives: {node.sensitivity or 'dy'}"]
    return Item(
        id=_gradient_id(node.id),
        kind="rule",
        lines=lines,
        hint=hint,
        frame=node.cluster,
        is_backward=True,
        nodes=[node.id],
        gives=[node.id],
    )


def gradient_item(node: Node) -> Item:
    """Return the gradient with respect to a leaf, which stands beside it."""
    name = node.sensitivity or f"d{node.label}"
    if node.owner:
        name = f"{name.partition('/')[0]}/d{node.owner}"
    lines = [name, shape_text(node.shape)]
    hint = [f"{name}: gradient", f"{node.dtype} {shape_text(node.shape)}"]
    return Item(
        id=_gradient_id(node.id),
        kind="gradient",
        lines=lines,
        hint=hint,
        frame=node.cluster,
        is_output=True,
        is_backward=True,
        nodes=[node.id],
        gives=[node.id],
    )


def seed_item(node: Node) -> Item:
    """Return the gradient that the backward pass starts from."""
    lines = [f"{node.sensitivity} = 1"] if node.size == 1 else [f"{node.sensitivity} = ones {shape_text(node.shape)}"]
    hint = ["where the backward pass starts"]
    return Item(id=f"seed{node.id}", kind="constant", lines=lines, hint=hint, is_backward=True)


def trunk_of(nodes: Sequence[Node]) -> dict[int, int]:
    """Return for every operation the operand that most operations lead to, of those that gradients can pass."""
    by_id = {node.id: node for node in nodes}
    depth: dict[int, int] = {}
    trunk: dict[int, int] = {}
    for node in nodes:
        operands = [i for i in node.inputs if i in by_id and by_id[i].kind != "parameter"]
        if operands and node.is_differentiable:
            trunk[node.id] = max(operands, key=lambda i: depth.get(i, 0))
        depth[node.id] = 1 + max((depth.get(i, 0) for i in operands), default=-1) if node.is_differentiable else -1
    return trunk


def _frames_below(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> list[Arrow]:
    """Return arrows that keep a frame below the operations that feed it.

    What a module computes of no signal, a mask of dropout say, could otherwise stand beside the layer before, and so
    would its frame.
    """
    by_id = {node.id: node for node in nodes}
    around: list[set[int]] = []
    for cluster in clusters:
        around.append({cluster.id} if cluster.parent is None else {cluster.id, *around[cluster.parent]})
    forward = [node for node in nodes if node.kind == "op" and not node.is_gradient]
    feeds: dict[int, int] = {}  # by frame, the first operation outside that feeds it
    for node in forward:
        for i in node.inputs:
            source = by_id[i]
            if source.kind == "op" and node.cluster is not None:
                outside = set() if source.cluster is None else around[source.cluster]
                for frame in around[node.cluster] - outside:
                    feeds.setdefault(frame, i)
    arrows = []
    for node in forward:
        if node.cluster is not None and node.is_differentiable and not any(by_id[i].kind == "op" for i in node.inputs):
            before = [feeds[frame] for frame in around[node.cluster] if feeds.get(frame, node.id) < node.id]
            arrows += [Arrow(_id(i), _id(node.id), "below") for i in dict.fromkeys(sorted(before))]
    return arrows


def _kind(source: Node, target: Node) -> ArrowKind:
    """Return how an operand is drawn."""
    if source.is_gradient:
        return "gradient"
    if target.is_gradient:
        return "value"
    return "parameter" if source.kind == "parameter" else "data"


def _id(node: int) -> str:
    return f"n{node}"


def _gradient_id(node: int) -> str:
    return f"d{node}"


def add_prediction(picture: Picture, activation: str) -> None:
    """Put what `predict` applies to the outputs behind them: a single box for all, since it is one activation."""
    outputs = [item.id for item in picture.items if item.is_output and not item.is_backward]
    if outputs:
        hint = ["output activation", "applied by predict, not by the call"]
        picture.items.append(Item(id="predict", kind="prediction", lines=[activation, "by predict"], hint=hint))
        picture.arrows += [Arrow(output, "predict", "prediction") for output in outputs]
