"""The words for a node: the lines in it, and those shown when a reader points at it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..describe import shape_text
from ..record import Node

COMPARED = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or", "logical_xor")
SIGNS: dict[str, str] = dict(zip(("add", "subtract", "multiply", "divide", "power"), "+−×÷^", strict=True))  # noqa: RUF001
SIGNS |= dict(zip((*COMPARED, *LOGICAL), "<≤>≥=≠&|^", strict=True))
COMMUTATIVE = {"add", "multiply", "equal", "not_equal", *LOGICAL}
RULE_WIDTH, RULE_LINES = 34, 4  # characters of a line of a rule, and lines


def inlined_constants(nodes: Iterable[Node]) -> dict[int, str]:
    """Return the numbers that are written into the operation instead of being drawn."""
    return {n.id: n.label for n in nodes if n.kind == "constant" and not (n.shape or n.name or n.is_output)}


def operation_text(node: Node, inlined: Mapping[int, str]) -> str:
    """Return the operation with its constant operands: ``multiply × 2``."""
    if inlined.keys().isdisjoint(node.inputs):
        return node.label
    operands = [inlined.get(i, "·") for i in node.inputs]
    if node.op not in SIGNS or len(operands) != 2:
        return f"{node.label} ({', '.join(operands)})"
    (a, b), sign = operands, SIGNS[node.op]
    if b == "·" and node.op in COMMUTATIVE:
        a, b = b, a
    return f"{node.label} {sign} {b}" if a == "·" else f"{node.label} {a} {sign} {b}"


def without_constants(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes with the numbers that are not drawn in the labels of the operations, and not among their inputs."""
    inlined = inlined_constants(nodes)
    return [
        replace(node, label=operation_text(node, inlined), inputs=tuple([i for i in node.inputs if i not in inlined]))
        if not inlined.keys().isdisjoint(node.inputs)
        else node
        for node in nodes
        if node.id not in inlined
    ]


def lines_of(node: Node, inlined: Mapping[int, str]) -> list[str]:
    """Return the lines in a node."""
    shape = shape_text(node.shape)
    if node.kind == "op":
        return [operation_text(node, inlined), f"{node.name}  {shape}" if node.name else shape]
    if node.kind == "constant" and not node.shape:
        return [f"{node.name} = {node.label}" if node.name else node.label]
    return [node.owner or node.label, f"{shape}  frozen" if node.is_frozen else shape]


def hint_of(node: Node) -> list[str]:
    """Return the lines shown when a reader points at a node."""
    kind = node.label if node.kind == "op" else f"frozen {node.kind}" if node.is_frozen else node.kind
    name = node.owner or node.name
    lines = [f"{name}: {kind}" if name else kind]
    if node.rule:
        lines.append(f"backward: {node.rule}")
    lines.append(f"{node.dtype} {shape_text(node.shape)}" + (f" in {node.scope}" if node.scope else ""))
    return lines


def rule_lines(node: Node) -> list[str]:
    """Return the backward rule of an operation, with its equation, in lines of a drawing's width."""
    rule = " ".join(node.rule.split()) or f"rule of {node.label}"
    lines = textwrap.wrap(rule[: 2 * RULE_WIDTH * RULE_LINES], RULE_WIDTH)
    if len(lines) > RULE_LINES:
        lines = [*lines[: RULE_LINES - 1], f"{lines[RULE_LINES - 1]} …"]
    if node.equation and len(lines[-1]) + len(node.equation) < RULE_WIDTH:
        lines[-1] += f"  {node.equation}"
    elif node.equation:
        lines.append(node.equation)
    return lines


def joined(words: Sequence[str]) -> str:
    """Return different words in a row, the first three of many."""
    different = list(dict.fromkeys(words))
    return ", ".join(different[:3]) + (", …" if len(different) > 3 else "")
