"""A graph taken apart into units: closed modules, open modules made of units, and operations between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..record import Cluster, Network, Node

Chain = tuple[object, ...]  # keys of units from the outermost inwards: a cluster, "network", or ("node", id)


@dataclass(eq=False)
class Unit:
    """A module, an operation with the parameters that only it uses, or a leaf.

    Attributes
    ----------
    is_module : bool
    cluster : int or None
        The place of the module's call in the clusters of the graph; None for the whole network.
    nodes : list of Node
        All in it, leaves before the operation that uses them first, and otherwise in order of creation.
    parts : list of Unit
        Of an open module.
    is_hidden : bool
        Whether it is a leaf that closed modules share, which are drawn without their leaves.
    """

    is_module: bool
    cluster: int | None = None
    nodes: list[Node] = field(default_factory=list)
    parts: list[Unit] = field(default_factory=list)
    is_hidden: bool = False


def users_of(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Return for every node the ids of the nodes that it is an input of."""
    users: dict[int, list[int]] = defaultdict(list)
    for node in nodes:
        for i in node.inputs:
            users[i].append(node.id)
    return users


def taken_apart(nodes: Sequence[Node], clusters: Sequence[Cluster], network: Network | None, depth: int) -> list[Unit]:
    """Return the outermost units of a graph: leaves that are used several times, then in order of computation.

    Parameters
    ----------
    nodes, clusters, network
        The graph's record.
    depth : int
        Down to which depth modules are open; at 0 the network is one unit.
    """
    chains = _chains_of_operations(nodes, clusters, network, depth)
    users = users_of(nodes)
    by_id = {node.id: node for node in nodes}
    units: dict[Chain, Unit] = {(): Unit(is_module=True)}

    def place(node: Node, chain: Chain, is_hidden: bool = False) -> None:
        for length in range(len(chain) + 1):
            unit = units.get(chain[:length])
            if unit is None:
                key = chain[length - 1]
                unit = Unit(not isinstance(key, tuple), key if isinstance(key, int) else None, is_hidden=is_hidden)
                units[chain[:length]] = unit
                units[chain[: length - 1]].parts.append(unit)
            unit.nodes.append(node)

    placed: set[int] = set()
    for node in nodes:
        for i in node.inputs if node.kind == "op" else ():
            leaf = by_id.get(i)
            if leaf is not None and leaf.kind != "op" and i not in placed:
                placed.add(i)
                place(leaf, *_home(leaf, list(dict.fromkeys(chains[u] for u in users[i]))))
        if node.kind == "op":
            place(node, chains[node.id])
    for node in nodes:
        if node.kind != "op" and node.id not in placed:  # it was asked for, and no operation uses it
            place(node, (("node", node.id),))
    for unit in units.values():  # what repeats use in common stands before them, not in the first
        unit.parts.sort(key=lambda part: part.nodes[-1].kind == "op" or len(users[part.nodes[-1].id]) < 2)
    return units[()].parts


def _chains_of_operations(
    nodes: Sequence[Node], clusters: Sequence[Cluster], network: Network | None, depth: int
) -> dict[int, Chain]:
    """Return for every operation the units that it is in; a module without modules in it stays closed."""
    around = {cluster.parent for cluster in clusters}
    paths: list[Chain] = []
    for cluster in clusters:
        paths.append((*(() if cluster.parent is None else paths[cluster.parent]), cluster.id))
    chains: dict[int, Chain] = {}
    for node in nodes:
        if node.kind == "op":
            path = () if node.cluster is None else paths[node.cluster]
            if depth == 0 and network is not None and node.id in network.nodes:
                path = ("network",)
            inside = path[: max(depth, 1)]
            is_closed = inside and (len(path) >= max(depth, 1) or inside[-1] not in around)
            chains[node.id] = inside if is_closed else (*inside, ("node", node.id))
    return chains


def _home(leaf: Node, chains: Sequence[Chain]) -> tuple[Chain, bool]:
    """Return the units that a leaf is in, given those of the operations that use it, and whether it is hidden."""
    alone: Chain = (("node", leaf.id),)
    if leaf.kind == "input":
        return alone, False
    if len(chains) == 1:
        return chains[0], False
    around = 0
    while len({chain[: around + 1] for chain in chains}) == 1:
        around += 1
    return (*chains[0][:around], *alone), not any(isinstance(chain[-1], tuple) for chain in chains)


def positions(units: Sequence[Unit]) -> Mapping[int, tuple[int, int]]:
    """Return for every node of units the place of its unit among them, and its own place in the unit."""
    return {node.id: (i, place) for i, unit in enumerate(units) for place, node in enumerate(unit.nodes)}
