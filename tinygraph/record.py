"""The record of a graph: its nodes and the module calls around them, in numbers and words.

Tensors are described by it, and so are the programs of plans; tables and drawings are made of it alone. It holds no
tensors, so it keeps no memory and stays as it is while training goes on. Nothing depends on addresses or hashes: the
same computation gives the same record, to the byte.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .measured import NOTHING, Measured, measured
from .structure import Scope
from .tensors import Tensor

Kind = Literal["input", "parameter", "constant", "op"]
Size = int | str  # the length of an axis: a number, or "B", "2B", ... for one that follows the batch
TRIAL_BATCHES = (2, 3)  # what follows the batch is what differs between these two


@dataclass(frozen=True, kw_only=True)
class Node:
    """One tensor of a graph.

    Attributes
    ----------
    id : int
        Its place in the graph: 0, 1, ... in order of creation, inputs before what is made from them.
    kind : {"input", "parameter", "constant", "op"}
        "op" for what an operation made; the others are leaves.
    label : str
        What the drawing calls it: the operation with its settings, a leaf's name, a constant's value.
    name : str
        The tensor's name; for a gradient what it is the gradient of, ``"dQ/dW1"``; "" for none.
    op : str
        The operation's name, "" for a leaf.
    rule : str
        The operation's local backward rule in words.
    equation : str
        The number of the chapter's equation for that rule, ``"(65.7)"`` for tanh; "" for none.
    shape : tuple
        Lengths of the axes; ``"B"`` for one that follows the batch.
    dtype : str
        The elements' type.
    scope : str
        The dotted path of the module in whose call it was made, with the number of the call where there are
        several: ``"branch#2.layer1"``; "" outside of modules.
    cluster : int or None
        The place of that call in `Graph.clusters`.
    inputs : tuple of int
        The ids of what it was made from, in the operation's order.
    owner : str
        Of a parameter that several module calls share: its dotted path in the network, ``"branch.layer1.W"``.
    sensitivity : str or None
        What the gradient that arrives here in the backward pass is called: ``"delta_3"`` for a layer's signal,
        ``"dQ/dW"`` for a parameter, "" where it has no name; None where none arrives.
    is_gradient, is_output : bool
        Whether it belongs to the backward pass, and whether the graph was asked for it.
    is_frozen : bool
        Whether it is a parameter that no training changes.
    is_differentiable : bool
        Whether gradients can pass through its operation.
    part_of : int or None
        In `Graph.primitives`: the id in `Graph.nodes` of what it is, or is a part of.
    measured : Measured
        Norms, shares, numbers and times, where these were asked for.
    """

    id: int
    kind: Kind
    label: str
    name: str = ""
    op: str = ""
    rule: str = ""
    equation: str = ""
    shape: tuple[Size, ...]
    dtype: str
    scope: str = ""
    cluster: int | None = None
    inputs: tuple[int, ...]
    owner: str = ""
    sensitivity: str | None = None
    is_gradient: bool = False
    is_output: bool = False
    is_frozen: bool = False
    is_differentiable: bool = True
    part_of: int | None = None
    measured: Measured = NOTHING

    @property
    def size(self) -> int:
        """The number of elements; for one sample where the shape follows the batch."""
        return math.prod(n if isinstance(n, int) else int(n[:-1] or 1) for n in self.shape)

    @property
    def bytes(self) -> int:
        """The size of its value; for one sample where the shape follows the batch."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def parameters(self) -> int:
        """How many numbers to learn it holds."""
        return self.size if self.kind == "parameter" else 0


@dataclass(frozen=True)
class Cluster:
    """One call of a module: the box around the nodes made during it.

    Attributes
    ----------
    id : int
        Its place in `Graph.clusters`; the call around it comes before it.
    title : str
        The module's name, with the number of the call where there are several: ``"branch #2"``.
    kind : str
        The module's class.
    scope : str
        Its dotted path, as in `Node.scope`.
    parent : int or None
        The cluster around it.
    """

    id: int
    title: str
    kind: str
    scope: str
    parent: int | None


@dataclass(frozen=True)
class Network:
    """The outermost module call, which has no box of its own.

    Attributes
    ----------
    kind : str
        The module's class.
    nodes : frozenset of int
        The ids of what was made during the call, and of its parameters.
    """

    kind: str
    nodes: frozenset[int]


# -- of tensors -----------------------------------------------------------------------------------------


@dataclass
class Run:
    """The tensors of one run of a computation, in order of creation, and what is known of them.

    Attributes
    ----------
    tensors : list of Tensor
    forward, outputs : set of Tensor
        Those that are no gradients, and those that were asked for.
    names : dict of Tensor to str
        What tensors are called, gradients among them.
    sensitivities : dict of Tensor to str
        What the gradients are called that arrive at tensors of the forward pass, "" for one without a name.
    arriving : dict of Tensor to Tensor
        These gradients, where they are measured.
    """

    tensors: list[Tensor]
    forward: set[Tensor]
    outputs: set[Tensor]
    names: dict[Tensor, str]
    sensitivities: dict[Tensor, str] = field(default_factory=dict)
    arriving: dict[Tensor, Tensor] = field(default_factory=dict)

    def edges(self) -> list[tuple[type, tuple[int, ...]]]:
        """Return for every tensor the class of its operation, and the places of its inputs."""
        places = {t: i for i, t in enumerate(self.tensors)}
        return [(type(t.op), tuple([places[x] for x in t.inputs])) for t in self.tensors]


def record(
    runs: Sequence[Run], whole: Run | None = None, with_numbers: bool = False
) -> tuple[list[Node], list[Cluster], Network | None]:
    """Return nodes, clusters and network of a computation.

    Parameters
    ----------
    runs : sequence of Run
        One, or the same with each of the `TRIAL_BATCHES`. What depends on the batch by more than its lengths and
        numbers is shown as the first did it.
    whole : Run, optional
        The same with all samples, to be measured.
    with_numbers : bool
        Whether the elements of what is measured are to be written out.
    """
    run, edges = runs[0], runs[0].edges()
    runs = runs if all(other.edges() == edges for other in runs[1:]) else [run]
    figures = [NOTHING] * len(edges)
    if whole is not None:
        seen = whole if whole.edges() == edges else run
        figures = [measured(t, seen.arriving.get(t), with_numbers) for t in seen.tensors]
    homes, clusters, network = _clusters(run.tensors)
    owners = _owners(run.tensors)
    nodes: list[Node] = []
    for i, same in enumerate(zip(*(r.tensors for r in runs), strict=True)):
        t, home = same[0], homes[i]
        kind, name = _kind(t, run), run.names.get(t, "")
        node = Node(
            id=len(nodes),
            kind=kind,
            label=_label(same, kind, name),
            name=name,
            op="" if t.op is None else t.op.name,
            rule="" if t.op is None else t.op.rule,
            equation="" if t.op is None else t.op.equation,
            shape=shape_of(*(x.shape for x in same)),
            dtype=str(t.dtype),
            scope="" if home is None else clusters[home].scope,
            cluster=home,
            inputs=edges[i][1],
            owner=owners.get(t, ""),
            sensitivity=run.sensitivities.get(t),
            is_gradient=t not in run.forward,
            is_output=t in run.outputs,
            is_frozen=kind == "parameter" and not t.requires_grad,
            is_differentiable=t.op is None or t.op.differentiable,
            measured=figures[i],
        )
        nodes.append(node)
    return nodes, clusters, network


def _kind(t: Tensor, run: Run) -> Kind:
    if t.op is not None:
        return "op"
    if t.role is not None:
        return "parameter"
    made_on_the_way = t.scope is not None or t not in run.forward
    nameless_number = not (t.name or t.requires_grad or t.shape)
    return "constant" if made_on_the_way or nameless_number else "input"


def _label(same: Sequence[Tensor], kind: Kind, name: str) -> str:
    t = same[0]
    if t.op is not None:  # settings that follow the batch are left out; the shape tells them
        return t.op.label if all(x.op is not None and x.op.label == t.op.label for x in same) else t.op.name
    if kind == "constant" and not t.shape:
        return number_text(*(x.backend.to_host(x.data).item() for x in same))
    return name or t.role or kind


def number_text(*values: float) -> str:
    """Return a number in words: one that is proportional to the batch or to its inverse as ``2B`` or ``2/B``.

    Parameters
    ----------
    *values : numbers
        The number; or what it is for each of the `TRIAL_BATCHES`.
    """
    for factors, mark in ((TRIAL_BATCHES, "/B"), ([1 / batch for batch in TRIAL_BATCHES], "B")):
        scaled = [value * factor for value, factor in zip(values, factors, strict=False)]
        if len(scaled) > 1 and 0 < abs(scaled[0]) < math.inf and math.isclose(*scaled, rel_tol=1e-6):
            text = f"{scaled[0]:.6g}{mark}"
            return {"1B": "B", "-1B": "-B"}.get(text, text)
    return f"{values[0]:.6g}" if isinstance(values[0], float) else str(values[0])


def shape_of(*shapes: tuple[int, ...]) -> tuple[Size, ...]:
    """Return a shape with ``"B"`` (or ``"2B"``, ...) for the lengths that follow the batch."""
    if len({len(shape) for shape in shapes}) > 1:
        return shapes[0]
    return tuple(_length(*lengths) for lengths in zip(*shapes, strict=True))


def _length(m: int, n: int = 0) -> Size:
    small, large = TRIAL_BATCHES
    if m * large != n * small or not m:
        return m
    return "B" if m == small else f"{m // small}B"


# -- module calls ---------------------------------------------------------------------------------------


def _clusters(tensors: Sequence[Tensor]) -> tuple[list[int | None], list[Cluster], Network | None]:
    """Return for each tensor the place of its module call in the list of clusters, that list, and the network."""
    homes = _homes(tensors)
    calls = dict.fromkeys(call for home in homes for call in reversed(list(_chain(home))))
    outermost = [call for call in calls if call.parent is None]
    network = None
    if len(outermost) == 1 and not outermost[0].path and any(call.parent is outermost[0] for call in calls):
        del calls[outermost[0]]  # the whole network needs no box around it
        network = Network(outermost[0].kind, frozenset(i for i, home in enumerate(homes) if home is not None))
    places = {call: i for i, call in enumerate(calls)}
    names = {call: _own_name(call) for call in calls}
    several = Counter((call.parent, names[call]) for call in calls)
    networks: Counter[str] = Counter()
    clusters: list[Cluster] = []
    for call, place in places.items():
        title = names[call]
        if several[call.parent, title] > 1:
            networks[title] += call.parent is None  # each outermost call counts from 1 again
            title += f" #{networks[title] if call.parent is None else call.call}"
        parent = None if call.parent is None else places.get(call.parent)
        around = "" if parent is None else f"{clusters[parent].scope}."
        clusters.append(Cluster(place, title, call.kind, around + title.replace(" #", "#"), parent))
    return [None if home is None else places.get(home) for home in homes], clusters, network


def _own_name(call: Scope) -> str:
    """Return the name of a module inside the one around it; of the outermost its path in a network, or its class."""
    if call.parent is None:
        return call.path or call.kind
    return call.path.removeprefix(f"{call.parent.path}.") if call.parent.path else call.path


def _owners(tensors: Sequence[Tensor]) -> dict[Tensor, str]:
    """Return for parameters that several module calls use the path of the first of them, and their name."""
    users: dict[Tensor, dict[Scope, None]] = {}
    for t in tensors:
        for x in t.inputs:
            if x.role is not None and t.scope is not None:
                users.setdefault(x, {})[t.scope] = None
    firsts = {x: next(iter(calls)).path for x, calls in users.items() if len(calls) > 1}
    return {x: f"{path}.{x.name or x.role}" if path else x.name or "" for x, path in firsts.items()}


def _homes(tensors: Sequence[Tensor]) -> list[Scope | None]:
    """Return the call that each tensor is drawn in.

    That is the call it was made in, but for a parameter the innermost one that holds all its uses by modules.
    """
    users: dict[Tensor, dict[Scope, None]] = {}
    for t in tensors:
        for x in t.inputs:
            if x.role is not None:
                users.setdefault(x, {}).update({} if t.scope is None else {t.scope: None})
    return [_around(users[t]) if t in users else t.scope for t in tensors]


def _around(calls: Iterable[Scope]) -> Scope | None:
    """Return the innermost call that holds all of `calls`."""
    chains = [list(_chain(call)) for call in calls]
    return next((c for c in (chains or [[]])[0] if all(c in chain for chain in chains)), None)


def _chain(call: Scope | None) -> Iterator[Scope]:
    """Yield a call and those around it, innermost first."""
    while call is not None:
        yield call
        call = call.parent
