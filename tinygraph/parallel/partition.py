"""Which process has which nodes of a graph, and what it has to get from others for its own neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, Self

import numpy as np

from ..arguments import whole_number
from ..errors import ArgumentError, BackendError, DataError
from ..ops.neighborhood import Neighborhoods, edge_rows

INSTALL = 'pip install ".[metis]" in the project\'s folder'


class Partition:
    """Nodes 0 to n - 1, of which each process has a range.

    Parameters
    ----------
    bounds : sequence of int
        Process p has the nodes ``bounds[p]`` to ``bounds[p + 1] - 1``; the first is 0, the last the number of nodes.

    Raises
    ------
    ArgumentError
        If the bounds do not begin with 0 and rise.
    """

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = tuple(whole_number("Partition: bounds", b, 0) for b in bounds)
        if len(self.bounds) < 2 or self.bounds[0] or any(a >= b for a, b in pairwise(self.bounds)):
            raise ArgumentError(
                "Partition: expected bounds that begin with 0 and rise, so that every process has a node; got "
                f"{list(bounds)!s:.60}"
            )

    @classmethod
    def even(cls, nodes: int, processes: int) -> Self:
        """Return ranges of as many nodes each, to within one.

        Raises
        ------
        ArgumentError
            If there are more processes than nodes.
        """
        nodes = whole_number("Partition: nodes", nodes, 1)
        if whole_number("Partition: processes", processes, 1) > nodes:
            raise ArgumentError(f"Partition: {processes} processes for {nodes} nodes: use at most one a node")
        return cls([nodes * p // processes for p in range(processes + 1)])

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return self.bounds[-1]

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return len(self.bounds) - 1

    def own(self, process: int) -> slice:
        """Return the nodes of a process."""
        process = whole_number("Partition: process", process, 0, self.processes)
        return slice(self.bounds[process], self.bounds[process + 1])

    def owners(self, nodes: np.ndarray) -> np.ndarray:
        """Return the process that has each of these nodes."""
        return np.searchsorted(self.bounds, nodes, side="right") - 1

    def __repr__(self) -> str:
        sizes = [b - a for a, b in pairwise(self.bounds)]
        return f"Partition({self.nodes} nodes, {min(sizes)} to {max(sizes)} in each of {self.processes})"


class LocalNeighborhoods:
    """The neighbourhoods of one process's nodes, numbered as its own array of signals is.

    That array has, in the order of all nodes, the process's own and those of others that feed them; so edges are in the
    order in which one process that had the whole graph would keep them.

    Parameters
    ----------
    edges : array of shape (E, 2)
        Rows (from, to) in the numbers of all nodes, leading to nodes of this process, in any order.
    inputs, outputs : Partition
        Of the nodes of the layer before and of this one.
    process : int

    Attributes
    ----------
    graph : Neighborhoods
        From the array's nodes to the process's own.
    needed : list of arrays
        For each process the nodes of it that are needed here, in its own numbers; none of this process itself.
    before, own, after : int
        How many nodes of the array come from processes before, are the process's own, and come from those after.

    Raises
    ------
    DataError
        If an edge leads to a node that is not this process's, or from one that is not there, or is named twice.
    """

    def __init__(self, edges: Any, inputs: Partition, outputs: Partition, process: int) -> None:
        pairs = edge_rows(edges, "LocalNeighborhoods")
        mine, kept = outputs.own(process), inputs.own(process)
        wrong = np.flatnonzero((pairs[:, 1] < mine.start) | (pairs[:, 1] >= mine.stop))
        if len(wrong):
            source, target = pairs[wrong[0]]
            raise DataError(
                f"LocalNeighborhoods: edge {source} -> {target} leads to a node that process {process} does not have: "
                f"it has {mine.start} to {mine.stop - 1}"
            )
        wrong = np.flatnonzero((pairs[:, 0] < 0) | (pairs[:, 0] >= inputs.nodes))
        if len(wrong):
            source, target = pairs[wrong[0]]
            raise DataError(
                f"LocalNeighborhoods: edge {source} -> {target} leads from node {source}, which is outside 0 to "
                f"{inputs.nodes - 1}"
            )
        is_foreign = (pairs[:, 0] < kept.start) | (pairs[:, 0] >= kept.stop)
        foreign = np.unique(pairs[is_foreign, 0])
        owners = inputs.owners(foreign)
        self.needed = [foreign[owners == p] - inputs.bounds[p] for p in range(inputs.processes)]
        self.before = int(np.searchsorted(foreign, kept.start))
        self.own, self.after = kept.stop - kept.start, len(foreign) - self.before
        array = np.concatenate([foreign[: self.before], np.arange(kept.start, kept.stop), foreign[self.before :]])
        sources = np.searchsorted(array, pairs[:, 0])
        self.graph = Neighborhoods.from_edges(
            np.stack([sources, pairs[:, 1] - mine.start], axis=1), len(array), mine.stop - mine.start
        )

    @classmethod
    def of(cls, graph: Neighborhoods, inputs: Partition, outputs: Partition, process: int) -> Self:
        """Return the part of a graph that a process has the whole of."""
        if (graph.n_in, graph.n_out) != (inputs.nodes, outputs.nodes):
            raise DataError(f"LocalNeighborhoods: {graph!r} does not fit {inputs!r} and {outputs!r}")
        own = outputs.own(process)
        edges = slice(graph.starts[own.start], graph.starts[own.stop])
        return cls(np.stack([graph.sources[edges], graph.targets[edges]], axis=1), inputs, outputs, process)

    def __repr__(self) -> str:
        return f"LocalNeighborhoods({self.own} nodes and {self.before + self.after} of others, {self.graph!r})"


def metis(graph: Neighborhoods, processes: int) -> tuple[np.ndarray, Partition]:
    """Cut a graph into parts with few edges between them, by METIS.

    Parameters
    ----------
    graph : Neighborhoods
        With as many nodes before as after.
    processes : int

    Returns
    -------
    order : array of shape (n,), int64
        The nodes, part by part: ``order[k]`` is the old number of the node that is called k from now on.
        `renumbered` numbers the graph so; ``x[:, order]`` the signals.
    partition : Partition

    Raises
    ------
    BackendError
        If pymetis is not installed.
    ArgumentError
        If there are more processes than nodes, or METIS leaves a process without any.
    DataError
        If the layers have different nodes.
    """
    try:
        pymetis = import_module("pymetis")
    except ImportError:
        raise BackendError(f"metis: pymetis is not installed; {INSTALL}, or use Partition.even") from None
    n = _square(graph)
    if whole_number("metis: processes", processes, 1) > n:
        raise ArgumentError(f"metis: {processes} processes for {n} nodes: use at most one a node")
    pairs = np.stack([graph.sources, graph.targets], axis=1).astype(np.int64)
    both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)  # METIS wants each edge in both directions
    both = both[both[:, 0] != both[:, 1]]
    starts = np.searchsorted(both[:, 0], np.arange(n + 1))
    parts = np.zeros(n, np.int64)
    if processes > 1:
        _, found = pymetis.part_graph(processes, pymetis.CSRAdjacency(starts.tolist(), both[:, 1].tolist()))
        parts = np.asarray(found)
    sizes = np.bincount(parts, minlength=processes)
    if not sizes.all():
        raise ArgumentError(f"metis: process {int(sizes.argmin())} gets no node of {n}: use fewer than {processes}")
    return np.argsort(parts, kind="stable"), Partition([0, *np.cumsum(sizes).tolist()])


def renumbered(graph: Neighborhoods, order: np.ndarray) -> Neighborhoods:
    """Return a graph whose node k is the one that was called ``order[k]``."""
    n = _square(graph)
    if sorted(order) != list(range(n)):
        raise ArgumentError(f"renumbered: expected each of the nodes 0 to {n - 1} once, got {order!r:.60}")
    new = np.empty(n, np.int64)
    new[order] = np.arange(n)
    return Neighborhoods.from_edges(np.stack([new[graph.sources], new[graph.targets]], axis=1), n, n)


def _square(graph: Neighborhoods) -> int:
    if not isinstance(graph, Neighborhoods) or graph.n_in != graph.n_out:
        raise DataError(f"expected a graph whose layers have the same nodes, got {graph!r}")
    return graph.n_in
