"""A recorded graph as an object: list its nodes, sum it up, draw it.

A `Graph` is a description. It keeps numbers and words, no tensors, so it holds no memory of the computation
and stays as it is while training goes on. Nothing depends on addresses or hashes: the same computation gives
the same description, to the byte.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import render as drawing
from .autodiff import ancestors, grad
from .backend import current
from .errors import ArgumentError, GraphError, RenderError
from .leaves import filled_like
from .mode import mode
from .op import Op
from .ops.random import preserved_streams
from .ops.state import preserved
from .structure import Scope
from .tensors import Tensor

__all__ = ["Graph", "graph"]

Kind = Literal["input", "parameter", "constant", "op"]
Size = int | str  # the length of an axis: a number, or "B", "2B", ... for one that follows the batch
TRIAL_BATCHES = (2, 3)  # what follows the batch is what differs between these two
NOTEBOOK_LIMIT = 1000  # nodes; laying out more takes a notebook too long


@dataclass(frozen=True)
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
    shape : tuple
        Lengths of the axes; ``"B"`` for one that follows the batch.
    dtype : str
        The entries' type.
    scope : str
        The dotted path of the module in whose call it was made, with the number of the call where there are
        several: ``"branch#2.layer1"``; "" outside of modules.
    cluster : int or None
        The place of that call in `Graph.clusters`.
    inputs : tuple of int
        The ids of what it was made from, in the operation's order.
    bytes : int
        The size of its value; for one sample where the shape follows the batch.
    parameters : int
        How many numbers to learn it holds.
    is_gradient, is_output : bool
        Whether it belongs to the backward pass, and whether the graph was asked for it.
    """

    id: int
    kind: Kind
    label: str
    name: str
    op: str
    rule: str
    shape: tuple[Size, ...]
    dtype: str
    scope: str
    cluster: int | None
    inputs: tuple[int, ...]
    bytes: int
    parameters: int
    is_gradient: bool = False
    is_output: bool = False


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


class Graph:
    """A computational graph to look at; made by `tinygraph.graph`.

    Attributes
    ----------
    nodes : tuple of Node
        In order of creation.
    clusters : tuple of Cluster
        The module calls, in order.
    """

    def __init__(self, nodes: Iterable[Node], clusters: Iterable[Cluster] = ()) -> None:
        self.nodes = tuple(nodes)
        self.clusters = tuple(clusters)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"Graph({len(self):,} nodes, {sum(n.parameters for n in self.nodes):,} parameters)"

    def __str__(self) -> str:
        return self.summary()

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The pairs (from, to) of ids, in order; twice where an operation uses a tensor twice."""
        return [(source, node.id) for node in self.nodes for source in node.inputs]

    def summary(self, max_rows: int | None = 200) -> str:
        """Return the graph as a text table: operation, name, module, shape, parameters, bytes, and totals.

        Parameters
        ----------
        max_rows : int, optional
            A longer table loses its middle, and says how many rows that was; None: all rows.

        Raises
        ------
        ArgumentError
            If `max_rows` is below 2.
        """
        if max_rows is not None and max_rows < 2:
            raise ArgumentError(f"summary: max_rows must be None or at least 2, got {max_rows!r}")
        head, tail = self.nodes, self.nodes[:0]
        if max_rows is not None and len(self) > max_rows:
            head, tail = self.nodes[: (max_rows + 1) // 2], self.nodes[len(self) - max_rows // 2 :]
        by_batch = any(isinstance(n, str) for node in self.nodes for n in node.shape)
        total = (
            f"{len(self):,} nodes",
            "",
            "",
            "",
            f"{sum(n.parameters for n in self.nodes):,}",
            f"{sum(n.bytes for n in self.nodes):,}",
        )
        header = ("op", "name", "module", "shape", "parameters", "bytes at B = 1" if by_batch else "bytes")
        rows = [header, *map(_row, head), *map(_row, tail), total]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_aligned(row, widths) for row in rows]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines[-1:] = [rule, lines[-1]]
        lines[1:1] = [rule]
        if tail:
            left_out = len(self) - len(head) - len(tail)
            note = f"... {left_out:,} more nodes; summary(max_rows=None) lists them all"
            lines.insert(2 + len(head), note)
        return "\n".join(lines)

    def to_dot(self) -> str:
        """Return the drawing as source for Graphviz; complete at any size, and made without a renderer."""
        return drawing.to_dot(self.nodes, self.clusters)

    def render(self, path: str | Path) -> Path:
        """Draw the graph to a file and return its path.

        Parameters
        ----------
        path : str or Path
            Ends in .svg, .png or .pdf; .dot writes the source and needs no renderer.

        Raises
        ------
        ArgumentError
            If the name ends in anything else.
        RenderError
            If no renderer is there (the text says how to get one), or the file cannot be written. A file that
            was there before is then left as it was.
        """
        return drawing.render(self.nodes, self.clusters, path)

    def _repr_svg_(self) -> str | None:
        """Return the drawing for a notebook; None, which shows the text instead, if that cannot be made."""
        if len(self) > NOTEBOOK_LIMIT:
            return None
        try:
            return drawing.draw(self.nodes, self.clusters, "svg").decode()
        except RenderError:
            return None


def _row(node: Node) -> tuple[str, ...]:
    return (
        drawing.printable(node.label if node.kind in ("op", "constant") else node.kind),
        drawing.printable(node.name),
        drawing.printable(node.scope),
        drawing.shape_text(node.shape),
        f"{node.parameters:,}" if node.kind == "parameter" else "",
        f"{node.bytes:,}",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    texts = [f"{text:<{width}}" for text, width in zip(row[:4], widths[:4], strict=True)]
    numbers = [f"{text:>{width}}" for text, width in zip(row[4:], widths[4:], strict=True)]
    return "  ".join(texts + numbers).rstrip()


# -- from tensors to nodes ------------------------------------------------------------------------------


def graph(
    target: Tensor | Sequence[Tensor] | Callable[..., Any],
    *,
    backward: bool = False,
    input_shape: Sequence[Any] | None = None,
    wrt: Sequence[Tensor] | Tensor | None = None,
) -> Graph:
    """Return the graph that leads to `target`, as an object to list, sum up and draw.

    Parameters
    ----------
    target : tensor, sequence of tensors, module or callable
        What was computed; or what computes it, to be called on zeros of `input_shape`.
    backward : bool
        Whether the graph of the gradients is part of it.
    input_shape : tuple, or a tuple of tuples for several inputs
        For a module or callable only. None as the first length is the batch, which the graph calls B. All
        state of the module is left as it was.
    wrt : tensor or sequence of tensors, optional
        What the gradients are taken with respect to; by default all leaves that require one.

    Raises
    ------
    ArgumentError
        If `target` and `input_shape` do not fit together.
    GraphError
        If there is nothing to take a gradient with respect to.

    Examples
    --------
    >>> import tinygraph as tg
    >>> W = tg.parameter([[1.0], [2.0]], name="W")
    >>> g = tg.graph(tg.matmul([[3.0, 4.0]], W))
    >>> [node.label for node in g.nodes]
    ['W', 'input', 'matmul']
    """
    if wrt is not None and not backward:
        raise ArgumentError("graph: wrt says what to take gradients with respect to; it needs backward=True")
    leaves = None if wrt is None else [wrt] if isinstance(wrt, Tensor) else list(wrt)
    if isinstance(target, Tensor | list | tuple):
        if input_shape is not None:
            raise ArgumentError("graph: input_shape is for a module or function; a tensor has its graph already")
        with _looking(None):
            return _describe(_record(_tensors(target, "target"), backward, leaves), None)
    if not callable(target):
        raise ArgumentError(
            f"graph: expected a tensor, a list of tensors, a module or a function, got {type(target).__name__}"
        )
    if input_shape is None:
        raise ArgumentError("graph: a module or function needs input_shape, (None, 784) say; None is the batch")
    shapes = _input_shapes(input_shape)
    follows_batch = any(shape and shape[0] is None for shape in shapes)
    with _looking(target):
        records = []
        for batch in TRIAL_BATCHES[: 1 + follows_batch]:
            inputs = _zeros(target, shapes, batch)
            records.append(_record(_tensors(target(*inputs), "the result"), backward, leaves))
    return _describe(records[0], records[1] if follows_batch else None)


@dataclass
class _Record:
    """The tensors of one graph in the order of its nodes, and what is known about them."""

    tensors: list[Tensor]
    outputs: set[Tensor]
    forward: set[Tensor]  # those of the forward pass; the others are gradients
    names: dict[Tensor, str]  # of gradients and other nodes that have a name

    def __post_init__(self) -> None:
        self.ids = {t: i for i, t in enumerate(self.tensors)}

    def structure(self) -> list[tuple[type[Op] | None, list[int]]]:
        """Return what is the same in two records of one computation."""
        return [(None if t.op is None else type(t.op), [self.ids[x] for x in t.inputs]) for t in self.tensors]


@contextmanager
def _looking(target: Any) -> Iterator[None]:
    """Return a ``with`` block that records, whatever goes on around it, and leaves all state as it was."""
    outer = mode.recording, mode.scope, mode.watchers
    mode.recording, mode.scope, mode.watchers = True, None, ()
    try:
        state = [t for _, t in target.named_tensors() if t.role is None] if hasattr(target, "named_tensors") else []
        with preserved(state), preserved_streams():
            yield
    finally:
        mode.recording, mode.scope, mode.watchers = outer


def _tensors(value: Any, what: str) -> list[Tensor]:
    """Return a tensor or a sequence of tensors as a list without repetitions."""
    found = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, list | tuple) else []
    if not found or not all(isinstance(t, Tensor) for t in found):
        raise ArgumentError(f"graph: {what} must be a tensor or a sequence of tensors, got {type(value).__name__}")
    return list(dict.fromkeys(found))


def _input_shapes(given: Any) -> list[tuple[int | None, ...]]:
    """Return the shapes of all inputs, checked."""
    several = isinstance(given, list | tuple) and given and all(isinstance(s, list | tuple) for s in given)
    shapes = [tuple(s) if isinstance(s, list | tuple) else s for s in (given if several else [given])]
    for shape in shapes:
        fits = isinstance(shape, tuple) and all(
            (n is None and axis == 0) or (isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0)
            for axis, n in enumerate(shape)
        )
        if not fits:
            raise ArgumentError(
                "graph: input_shape must be a tuple of positive whole numbers, the first of which may be None for "
                f"the batch, or a tuple of such tuples, got {given!r}"
            )
    return shapes


def _zeros(target: Any, shapes: list[tuple[int | None, ...]], batch: int) -> list[Tensor]:
    """Return inputs for `target`: zeros of the dtype and on the backend of its first parameter."""
    parameters = list(target.parameters()) if hasattr(target, "parameters") else []
    backend = parameters[0].backend if parameters else current()
    dtype = parameters[0].dtype if parameters else np.dtype(np.float32)
    inputs = []
    for i, shape in enumerate(shapes):
        size = tuple(batch if n is None else int(n) for n in shape)
        name = "x" if len(shapes) == 1 else f"x{i + 1}"
        inputs.append(Tensor(backend.asarray(np.zeros(size, dtype)), backend, name=name))
    return inputs


def _record(outputs: list[Tensor], backward: bool, wrt: list[Tensor] | None) -> _Record:
    """Return the tensors that lead to `outputs`, and those of the gradients if they are wanted."""
    forward = ancestors(outputs)
    names = {t: t.name for t in forward if t.name}
    found = forward
    asked = outputs
    if backward:
        if len(outputs) > 1:
            raise ArgumentError(f"graph: backward=True differentiates one tensor, got {len(outputs)}")
        gradients, names_of_gradients = _gradients(outputs[0], forward, wrt)
        asked = outputs + gradients
        found = ancestors(asked)
        names |= names_of_gradients
    return _Record(found, set(asked), set(forward), names)


def _gradients(y: Tensor, forward: list[Tensor], wrt: list[Tensor] | None) -> tuple[list[Tensor], dict[Tensor, str]]:
    """Return the gradients of `y` with respect to the leaves, and names for these and all on the way."""
    leaves = [t for t in forward if t.op is None and t.requires_grad] if wrt is None else wrt
    if not leaves:
        raise GraphError(
            "graph: backward=True found no leaf that requires a gradient; make one with tg.parameter or "
            "requires_grad=True, or pass wrt=[...]"
        )
    reached = set(leaves)
    for t in forward:
        if t.op is not None and t.op.differentiable and not reached.isdisjoint(t.inputs):
            reached.add(t)
    asked = set(leaves)
    inner = [t for t in forward if t in reached and t not in asked and t.name and t is not y]
    wanted = [*leaves, *(t for t in inner if t.dtype.kind == "f")]
    dy = filled_like(y, 1)
    dy.scope = y.scope
    found = grad(y, wanted, dy)
    loss, of_y = (y.name or "Q", y.name or "Q") if y.size == 1 else ("Q", y.name or "y")
    said: dict[Tensor, list[str]] = {dy: [f"d{loss}/d{of_y}"]}
    for i, (t, gradient) in enumerate(zip(wanted, found, strict=True), 1):
        said.setdefault(gradient, []).append(f"d{loss}/d{t.name or f'leaf {i}'}")
    names = {t: ", ".join(of[:3]) + (", ..." if len(of) > 3 else "") for t, of in said.items()}
    return list(dict.fromkeys(found[: len(leaves)])), names


def _describe(record: _Record, other: _Record | None) -> Graph:
    """Return the graph of a record; `other` is the same computation with another batch."""
    if other is not None and other.structure() != record.structure():
        other = None  # a computation that depends on the batch is shown for the batch it was called with
    homes, clusters = _clusters(record)
    nodes = []
    for i, (t, home) in enumerate(zip(record.tensors, homes, strict=True)):
        twin = t if other is None else other.tensors[i]
        shape = _by_batch(t.shape, twin.shape)
        kind = _kind(t, record)
        name = record.names.get(t, "")
        node = Node(
            id=i,
            kind=kind,
            label=_label(t, twin, kind, name),
            name=name,
            op="" if t.op is None else t.op.name,
            rule="" if t.op is None else t.op.rule,
            shape=shape,
            dtype=str(t.dtype),
            scope="" if home is None else clusters[home].scope,
            cluster=home,
            inputs=tuple([record.ids[x] for x in t.inputs]),
            bytes=math.prod([n if isinstance(n, int) else int(n[:-1] or 1) for n in shape]) * t.dtype.itemsize,
            parameters=t.size if kind == "parameter" else 0,
            is_gradient=t not in record.forward,
            is_output=t in record.outputs,
        )
        nodes.append(node)
    return Graph(nodes, clusters)


def _kind(t: Tensor, record: _Record) -> Kind:
    if t.op is not None:
        return "op"
    if t.role is not None:
        return "parameter"
    made_on_the_way = t.scope is not None or t not in record.forward
    nameless_number = not (t.name or t.requires_grad or t.shape)
    return "constant" if made_on_the_way or nameless_number else "input"


def _label(t: Tensor, twin: Tensor, kind: Kind, name: str) -> str:
    if t.op is not None:  # settings that follow the batch are left out; the shape tells them
        return t.op.label if twin.op is not None and twin.op.label == t.op.label else t.op.name
    if kind == "constant" and not t.shape:
        return _number(t, twin)
    return name or (t.role if t.role is not None else kind)


def _number(t: Tensor, twin: Tensor) -> str:
    """Return a constant's value in words; one that is inversely proportional to the batch as ``1/B``."""
    value = t.backend.to_host(t.data).item()
    if not isinstance(value, float):
        return str(value)
    small, large = TRIAL_BATCHES
    if value and math.isfinite(value) and math.isclose(float(twin) * large, value * small, rel_tol=1e-6):
        return f"{value * small:.6g}/B"
    return f"{value:.6g}"


def _by_batch(shape: tuple[int, ...], other: tuple[int, ...]) -> tuple[Size, ...]:
    """Return a shape with ``"B"`` (or ``"2B"``, ...) for the lengths that follow the batch."""
    if len(shape) != len(other):
        return shape
    small, large = TRIAL_BATCHES
    return tuple(
        m if m == n or n * small != m * large else "B" if m == small else f"{m // small}B"
        for m, n in zip(shape, other, strict=True)
    )


# -- module calls ---------------------------------------------------------------------------------------


def _clusters(record: _Record) -> tuple[list[int | None], list[Cluster]]:
    """Return for each tensor the place of its module call in the list of clusters, and that list."""
    homes = _homes(record)
    found: dict[Scope, None] = {}
    for home in homes:
        found.update((call, None) for call in reversed(_chain(home)))
    outermost = [call for call in found if call.parent is None]
    if len(outermost) == 1 and any(call.parent is outermost[0] for call in found):
        del found[outermost[0]]  # the whole network needs no box around it
    places = {call: i for i, call in enumerate(found)}
    names = {call: _own_name(call) for call in found}
    several = Counter((call.parent, names[call]) for call in found)
    outermost_so_far: Counter[str] = Counter()
    clusters: list[Cluster] = []
    for call, place in places.items():
        title = names[call]
        if several[call.parent, title] > 1:
            outermost_so_far[title] += call.parent is None  # each outermost call counts from 1 again
            title += f" #{outermost_so_far[title] if call.parent is None else call.call}"
        parent = None if call.parent is None else places.get(call.parent)
        around = "" if parent is None else f"{clusters[parent].scope}."
        clusters.append(Cluster(place, title, call.kind, around + title.replace(" #", "#"), parent))
    return [None if home is None else places.get(home) for home in homes], clusters


def _own_name(call: Scope) -> str:
    """Return the name of a module inside the one around it; the class of the outermost."""
    if call.parent is None:
        return call.kind
    return call.path.removeprefix(f"{call.parent.path}.") if call.parent.path else call.path


def _homes(record: _Record) -> list[Scope | None]:
    """Return the call that each tensor is drawn in.

    That is the call it was made in, but for a parameter the innermost one that holds all its uses by modules.
    """
    users: dict[Tensor, dict[Scope | None, None]] = {}
    for t in record.tensors:
        for x in t.inputs:
            if x.role is not None:
                users.setdefault(x, {})[t.scope] = None
    return [_around([call for call in users[t] if call is not None]) if t in users else t.scope for t in record.tensors]


def _around(calls: list[Scope]) -> Scope | None:
    """Return the innermost call that holds all of `calls`."""
    if not calls:
        return None
    chain = _chain(calls[0])
    for call in calls[1:]:
        others = set(_chain(call))
        chain = [c for c in chain if c in others]
    return chain[0] if chain else None


def _chain(call: Scope | None) -> list[Scope]:
    """Return a call and those around it, innermost first."""
    chain = []
    while call is not None:
        chain.append(call)
        call = call.parent
    return chain
