"""A program as the nodes of a graph, for tables and drawings."""

from __future__ import annotations

from collections.abc import Mapping

from ..backend import Backend
from ..describe import unique_names
from ..measured import NOTHING, Measured
from ..record import Kind, Node, number_text
from .program import Program, Value


def nodes_of(program: Program, measured: Mapping[Value, Measured] | None = None) -> dict[Value, Node]:
    """Return the node of every value in the order of evaluation, at the end those that are given back as they came."""
    makers, results = program.makers(), program.results
    values = [v for i in program.instructions for v in (*i.inputs, i.output)]
    nodes: dict[Value, Node] = {}
    for v in dict.fromkeys([*values, *results]):
        maker = makers.get(v)
        kind, label = _leaf(v, program.backend) if maker is None else ("op", maker.op.label)
        nodes[v] = Node(
            id=len(nodes),
            kind=kind,
            label=label,
            name=v.name,
            op="" if maker is None else maker.op.name,
            shape=v.shape,
            dtype=str(v.dtype),
            scope=v.scope,
            inputs=() if maker is None else tuple([nodes[x].id for x in maker.inputs]),
            is_output=v in results,
            measured=(measured or {}).get(v, NOTHING),
        )
    return nodes


def names_of(program: Program) -> dict[Value, str]:
    """Return what every value is called in tables."""
    nodes = nodes_of(program)
    return dict(zip(nodes, unique_names(nodes.values()), strict=True))


def _leaf(v: Value, backend: Backend) -> tuple[Kind, str]:
    """Return the kind and the label of a value that no instruction makes."""
    if v.kind == "constant":
        return "constant", number_text(backend.to_host(v.array).item()) if v.size == 1 else v.name or v.kind
    learned = v.kind == "state" and v.leaf is not None and v.leaf.role is not None
    return "parameter" if learned else "input", v.name or v.kind
