"""A recorded graph as an object: list its nodes, sum it up, draw it.

A `Graph` is a record (`record.py`), made of what was computed; its text is made in `describe.py`, its picture in
`render.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import render as drawing
from .autodiff import ancestors, depending_on, grad
from .backend import current
from .describe import summary
from .errors import ArgumentError, GraphError, RenderError
from .leaves import filled_like
from .mode import mode
from .ops.random import preserved_streams
from .ops.state import preserved
from .record import TRIAL_BATCHES, Cluster, Node, Run, record
from .structure import Stateful
from .tensors import Tensor

__all__ = ["Graph", "graph"]

NOTEBOOK_LIMIT = 1000  # nodes; laying out more takes a notebook too long


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
        return summary(self.nodes, max_rows)

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
            If no renderer was found (the text says how to get one), or the file cannot be written. A file that
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
        For a module or callable only. None as the first length is the batch, which the graph calls B. What the
        call assigns, such as running averages, is left as it was.
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
        with _apart():
            return Graph(*record(_run(_tensors(target, "target"), backward, leaves)))
    if not callable(target):
        raise ArgumentError(
            f"graph: expected a tensor, a list of tensors, a module or a function, got {type(target).__name__}"
        )
    if input_shape is None:
        raise ArgumentError("graph: a module or function needs input_shape, (None, 784) say; None is the batch")
    shapes = _input_shapes(input_shape)
    follows_batch = any(shape and shape[0] is None for shape in shapes)
    held: Iterable[tuple[str, Tensor]] = target.named_tensors() if isinstance(target, Stateful) else ()
    like = next((t for _, t in held if t.role is not None), None)
    with _apart():
        runs = []
        for batch in TRIAL_BATCHES[: 1 + follows_batch]:
            result = target(*_zeros(shapes, batch, like))
            runs.append(_run(_tensors(result, "the result"), backward, leaves))
    return Graph(*record(*runs))


@contextmanager
def _apart() -> Iterator[None]:
    """Return a ``with`` block that records, whatever goes on around it, and leaves all leaves as they were."""
    outer = mode.recording, mode.scope, mode.watchers
    mode.recording, mode.scope, mode.watchers = True, None, ()
    try:
        with preserved_streams(), preserved():
            yield
    finally:
        mode.recording, mode.scope, mode.watchers = outer


def _tensors(value: Any, name: str) -> list[Tensor]:
    """Return a tensor or a sequence of tensors as a list without repetitions."""
    tensors = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, list | tuple) else []
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        raise ArgumentError(f"graph: {name} must be a tensor or a sequence of tensors, got {type(value).__name__}")
    return list(dict.fromkeys(tensors))


def _input_shapes(input_shape: Any) -> list[tuple[int | None, ...]]:
    """Return the shapes of all inputs, checked."""
    sequence = isinstance(input_shape, list | tuple)
    several = sequence and input_shape and all(isinstance(s, list | tuple) for s in input_shape)
    shapes = [tuple(s) if isinstance(s, list | tuple) else s for s in (input_shape if several else [input_shape])]
    for shape in shapes:
        fits = isinstance(shape, tuple) and all(
            (n is None and axis == 0) or (isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0)
            for axis, n in enumerate(shape)
        )
        if not fits:
            raise ArgumentError(
                "graph: input_shape must be a tuple of positive whole numbers, the first of which may be None for "
                f"the batch, or a tuple of such tuples, got {input_shape!r}"
            )
    return shapes


def _zeros(shapes: list[tuple[int | None, ...]], batch: int, like: Tensor | None) -> list[Tensor]:
    """Return inputs of zeros; of the dtype and on the backend of `like`, a parameter, if there is one."""
    backend, dtype = (current(), np.dtype(np.float32)) if like is None else (like.backend, like.dtype)
    inputs = []
    for i, shape in enumerate(shapes):
        size = tuple(batch if n is None else int(n) for n in shape)
        name = "x" if len(shapes) == 1 else f"x{i + 1}"
        inputs.append(Tensor(backend.asarray(np.zeros(size, dtype)), backend, name=name))
    return inputs


def _run(outputs: list[Tensor], backward: bool, wrt: list[Tensor] | None) -> Run:
    """Return the tensors that lead to `outputs`, and those of the gradients if they are wanted."""
    forward = ancestors(outputs)
    names = {t: t.name for t in forward if t.name}
    if not backward:
        return Run(forward, set(forward), set(outputs), names)
    if len(outputs) > 1:
        raise ArgumentError(f"graph: backward=True differentiates one tensor, got {len(outputs)}")
    gradients, names_of_gradients = _gradients(outputs[0], forward, wrt)
    asked = outputs + gradients
    return Run(ancestors(asked), set(forward), set(asked), names | names_of_gradients)


def _gradients(y: Tensor, forward: list[Tensor], wrt: list[Tensor] | None) -> tuple[list[Tensor], dict[Tensor, str]]:
    """Return the gradients of `y` with respect to the leaves, and names for these and all on the way."""
    leaves = [t for t in forward if t.op is None and t.requires_grad] if wrt is None else wrt
    if not leaves:
        raise GraphError(
            "graph: backward=True found no leaf that requires a gradient; make one with tg.parameter or "
            "requires_grad=True, or pass wrt=[...]"
        )
    on_the_way = depending_on(leaves, y) - {y, *leaves}
    wanted = [*leaves, *(t for t in forward if t in on_the_way and t.name and t.dtype.kind == "f")]
    dy = filled_like(y, 1)
    dy.scope = y.scope
    gradients = grad(y, wanted, dy)
    loss, of_y = (y.name or "Q", y.name or "Q") if y.size == 1 else ("Q", y.name or "y")
    names: dict[Tensor, list[str]] = {dy: [f"d{loss}/d{of_y}"]}
    for i, (t, gradient) in enumerate(zip(wanted, gradients, strict=True), 1):
        names.setdefault(gradient, []).append(f"d{loss}/d{t.name or f'leaf {i}'}")
    joined = {t: ", ".join(of[:3]) + (", ..." if len(of) > 3 else "") for t, of in names.items()}
    return list(dict.fromkeys(gradients[: len(leaves)])), joined
