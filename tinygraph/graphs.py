"""A recorded graph as an object: list its nodes, sum it up, draw it.

A `Graph` is a record (`record.py`), made of what was computed; its text is made in `describe.py`, its picture in
`drawing`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import drawing
from .autodiff import ancestors, depending_on, grad
from .backend import current
from .describe import summary
from .errors import ArgumentError, GraphError, RenderError
from .leaves import filled_like, tensor
from .mode import mode
from .ops.random import preserved_streams
from .ops.state import preserved
from .record import TRIAL_BATCHES, Cluster, Network, Node, Run, record
from .structure import Stateful
from .tensors import Tensor

__all__ = ["Graph", "graph"]

NOTEBOOK_LIMIT = 150  # nodes; of more, a notebook shows modules, and equal ones in a row once
SAME = ("linear", "signed")  # outputs whose prediction is the signal itself


class Graph:
    """A computational graph to look at; made by `tinygraph.graph`.

    Attributes
    ----------
    nodes : tuple of Node
        In order of creation.
    clusters : tuple of Cluster
        The module calls, in order.
    network : Network or None
        The call around all of these.
    prediction : str
        The output activation that the network's `predict` applies to the outputs; "" for none.
    level, depth
        What is drawn unless another is asked for; see `render`.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        clusters: Iterable[Cluster] = (),
        network: Network | None = None,
        *,
        prediction: str = "",
        level: str | None = None,
        depth: int | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.clusters = tuple(clusters)
        self.network = network
        self.prediction = prediction
        self.level, self.depth = level, depth

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

    def to_dot(
        self,
        *,
        level: str | None = None,
        depth: int | None = None,
        direction: str = "down",
        theme: str = "light",
        font_size: float = 11,
    ) -> str:
        """Return the drawing as source for Graphviz; complete at any size, and made without a renderer.

        Parameters and errors about them are those of `render`.
        """
        return drawing.to_dot(self, self._view(level, depth, direction, theme, font_size))

    def render(
        self,
        path: str | Path,
        *,
        level: str | None = None,
        depth: int | None = None,
        direction: str = "down",
        theme: str = "light",
        font_size: float = 11,
    ) -> Path:
        """Draw the graph to a file and return its path.

        Parameters
        ----------
        path : str or Path
            Ends in .svg, .png or .pdf; .dot writes the source and needs no renderer.
        level : {"modules", "rules", "operations", "primitives"}, optional
            How much is drawn. "modules": a module is one box, and equal ones in a row are one, marked "x 48".
            "operations": every operation of the forward pass. "rules": beside each of them its local backward rule,
            and beside the parameters their gradients, as in Fig. 65.9. "primitives": all operations, those of the
            backward pass too. By default what `graph` was told; otherwise "rules" with gradients, "operations"
            without.
        depth : int, optional
            For the level "modules", which it implies: 0 is the network as one box, 1 (by default) has a box for each
            of its modules, 2 opens those that consist of modules, and so on.
        direction : {"down", "up", "right", "left"}
            Where the forward pass runs.
        theme : {"light", "dark", "print"}
            The colours.
        font_size : float
            In points.

        Raises
        ------
        ArgumentError
            If the name ends in anything else, or for an unknown or impossible value.
        RenderError
            If no renderer was found (the text says how to get one), it takes longer than two minutes, there is more
            than it can lay out, or the file cannot be written. A file that was there before is then left as it was.
        """
        return drawing.render(self, path, self._view(level, depth, direction, theme, font_size))

    def _view(
        self,
        level: str | None = None,
        depth: int | None = None,
        direction: str = "down",
        theme: str = "light",
        font_size: float = 11,
    ) -> drawing.View:
        if level is None and depth is None:
            level, depth = self.level, self.depth
        return drawing.View(level=level, depth=depth, direction=direction, theme=theme, font_size=font_size)

    def _repr_svg_(self) -> str | None:
        """Return the drawing for a notebook; None, which shows the text instead, if that cannot be made.

        Of a large graph the modules are drawn, unless another level was asked for.
        """
        view = self._view()
        if view.level is None and view.depth is None and len(self) > NOTEBOOK_LIMIT:
            view = self._view("modules")
        try:
            return drawing.draw(self, view, "svg").decode()
        except RenderError:
            return None


# -- from tensors to nodes ------------------------------------------------------------------------------


def graph(
    target: Tensor | Sequence[Tensor] | Callable[..., Any],
    *,
    backward: bool = False,
    input_shape: Sequence[Any] | None = None,
    inputs: Sequence[Any] | None = None,
    wrt: Sequence[Tensor] | Tensor | None = None,
    level: str | None = None,
    depth: int | None = None,
) -> Graph:
    """Return the graph that leads to `target`, as an object to list, sum up and draw.

    Parameters
    ----------
    target : tensor, sequence of tensors, module or callable
        What was computed; or what computes it, to be called on zeros of `input_shape`, or on `inputs`.
    backward : bool
        Whether the graph of the gradients is part of it.
    input_shape : tuple, or a tuple of tuples for several inputs
        For a module or callable only. None as the first length is the batch, which the graph calls B. What the
        call assigns, such as running averages, is left as it was. Inputs are called as the call names them.
    inputs : tuple of arrays, optional
        In the place of `input_shape`: what to call it on, where zeros would not do, as for indices or labels. The
        first axis of each is the batch; of 3 samples or more the first 2 and the first 3 are taken.
    wrt : tensor or sequence of tensors, optional
        What the gradients are taken with respect to; by default all leaves that require one.
    level, depth : str and int, optional
        What is drawn unless `Graph.render` is told otherwise, in notebooks too; see there.

    Raises
    ------
    ArgumentError
        If `target` and `input_shape` do not fit together, or for an unknown level or a depth below 0.
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
    drawing.View(level=level, depth=depth)  # a wrong one is told before the work
    leaves = None if wrt is None else [wrt] if isinstance(wrt, Tensor) else list(wrt)
    if isinstance(target, Tensor | list | tuple):
        if input_shape is not None or inputs is not None:
            given = "inputs are" if input_shape is None else "input_shape is"
            raise ArgumentError(f"graph: {given} for a module or function; a tensor has its graph already")
        with _apart():
            return Graph(*record(_run(_tensors(target, "target"), backward, leaves)), level=level, depth=depth)
    if not callable(target):
        raise ArgumentError(
            f"graph: expected a tensor, a list of tensors, a module or a function, got {type(target).__name__}"
        )
    if (input_shape is None) == (inputs is None):
        raise ArgumentError(
            "graph: a module or function needs input_shape, (None, 784) say; None is the batch"
            + ("" if inputs is None else "; or inputs, not both")
        )
    batches = _samples(inputs) if inputs is not None else _zeros(target, _input_shapes(input_shape))
    with _apart():
        runs = []
        for arrays in batches:
            names = _names_of_inputs(target, len(arrays))
            result = target(*(_input(x, name) for x, name in zip(arrays, names, strict=True)))
            runs.append(_run(_tensors(result, "the result"), backward, leaves))
    output = getattr(target, "output", None) if isinstance(target, Stateful) else None
    prediction = output if isinstance(output, str) and output not in SAME else ""
    return Graph(*record(*runs), prediction=prediction, level=level, depth=depth)


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


def _zeros(target: Callable[..., Any], shapes: list[tuple[int | None, ...]]) -> list[list[Tensor]]:
    """Return inputs of zeros for one batch or two; of the dtype and on the backend of the parameters, if any."""
    held: Iterable[tuple[str, Tensor]] = target.named_tensors() if isinstance(target, Stateful) else ()
    like = next((t for _, t in held if t.role is not None), None)
    backend, dtype = (current(), np.dtype(np.float32)) if like is None else (like.backend, like.dtype)
    follows_batch = any(shape and shape[0] is None for shape in shapes)
    return [
        [
            Tensor(backend.asarray(np.zeros(tuple(batch if n is None else int(n) for n in shape), dtype)), backend)
            for shape in shapes
        ]
        for batch in TRIAL_BATCHES[: 1 + follows_batch]
    ]


def _samples(inputs: Any) -> list[list[Any]]:
    """Return the first samples of arrays, for one batch or two."""
    if not isinstance(inputs, list | tuple) or not inputs:
        given = "none" if isinstance(inputs, list | tuple) else f"a {type(inputs).__name__}"
        raise ArgumentError(f"graph: inputs must be a tuple of arrays, one for each argument, got {given}")
    arrays = [x if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    if any(not x.shape or len(x) < max(TRIAL_BATCHES) for x in arrays):
        return [arrays]
    return [[x[:batch] for x in arrays] for batch in TRIAL_BATCHES]


def _input(x: Any, name: str) -> Tensor:
    """Return an input as a tensor with its name in the call."""
    if isinstance(x, Tensor):
        return Tensor(x.data, x.backend, requires_grad=x.requires_grad, name=x.name or name)
    return tensor(x, name=name)


def _names_of_inputs(target: Callable[..., Any], count: int) -> list[str]:
    """Return what the first arguments are called by who is called; x1, x2, ... where that cannot be told."""
    called = getattr(target, "forward", target) if isinstance(target, Stateful) else target
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    if len(names) < count:
        return ["x"] if count == 1 else [f"x{i + 1}" for i in range(count)]
    return names


def _run(outputs: list[Tensor], backward: bool, wrt: list[Tensor] | None) -> Run:
    """Return the tensors that lead to `outputs`, and those of the gradients if they are wanted."""
    forward = ancestors(outputs)
    names = {t: t.name for t in forward if t.name}
    if not backward:
        return Run(forward, set(forward), set(outputs), names)
    if len(outputs) > 1:
        raise ArgumentError(f"graph: backward=True differentiates one tensor, got {len(outputs)}")
    leaves = [t for t in forward if t.op is None and t.requires_grad] if wrt is None else wrt
    if not leaves:
        raise GraphError(
            "graph: backward=True found no leaf that requires a gradient; make one with tg.parameter or "
            "requires_grad=True, or pass wrt=[...]"
        )
    y = outputs[0]
    reached = depending_on(leaves, y)
    sensitivities = _sensitivities(y, [t for t in forward if t in reached])
    gradients, names_of_gradients = _gradients(y, leaves, sensitivities)
    asked = outputs + gradients
    return Run(ancestors(asked), set(forward), set(asked), names | names_of_gradients, sensitivities)


def _sensitivities(y: Tensor, reached: list[Tensor]) -> dict[Tensor, str]:
    """Return what the gradients of `y` with respect to tensors are called; "" where these have no name.

    Those of a layer's signal are the chapter's sensitivities, delta_2 to delta_L (65.52); under batch normalisation
    they are taken at the normalised signal (65.200).
    """
    loss, of_y = (y.name or "Q", y.name or "Q") if y.size == 1 else ("Q", y.name or "y")
    signals = {t for t in reached if t.name == "z" and t.scope is not None}
    normalised = {t.inputs[0]: t for t in reached if t.op is not None and t.op.name == "batch_norm"}
    of_layers = {normalised.get(z, z) for z in signals}
    layers: dict[Tensor, int] = {}
    names: dict[Tensor, str] = {}
    for t in reached:
        layers[t] = max((layers[x] for x in t.inputs if x in layers), default=1) + (t in signals)
        names[t] = f"delta_{layers[t]}" if t in of_layers else f"d{loss}/d{t.name}" if t.name else ""
    names[y] = f"d{loss}/d{of_y}"
    return names


def _gradients(
    y: Tensor, leaves: list[Tensor], sensitivities: dict[Tensor, str]
) -> tuple[list[Tensor], dict[Tensor, str]]:
    """Return the gradients of `y` with respect to the leaves, and names for these and all on the way."""
    on_the_way = [t for t in sensitivities if t not in {y, *leaves} and t.name and t.dtype.kind == "f"]
    wanted = [*leaves, *on_the_way]
    dy = filled_like(y, 1)
    dy.scope = y.scope
    gradients = grad(y, wanted, dy)
    loss = (y.name or "Q") if y.size == 1 else "Q"
    names: dict[Tensor, list[str]] = {dy: [sensitivities[y]]}
    for i, (t, gradient) in enumerate(zip(wanted, gradients, strict=True), 1):
        names.setdefault(gradient, []).append(f"d{loss}/d{t.name or f'leaf {i}'}")
    joined = {t: ", ".join(of[:3]) + (", ..." if len(of) > 3 else "") for t, of in names.items()}
    return list(dict.fromkeys(gradients[: len(leaves)])), joined
