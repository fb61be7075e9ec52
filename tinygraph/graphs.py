"""A recorded graph as an object: list its nodes, sum it up, draw it.

A `Graph` is a record (`record.py`), made of what was computed; its text is made in `describe.py`, its picture in
`drawing`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from . import drawing
from .autodiff import ancestors, depending_on, grad
from .backend import Backend, current
from .backend.conversion import find_dtype
from .describe import summary
from .errors import ArgumentError, GraphError
from .leaves import filled_like, tensor
from .mode import mode, no_grad
from .notebook import SVG, Displayed
from .operators import functions
from .ops.random import preserved_streams
from .ops.state import preserved
from .record import TRIAL_BATCHES, Cluster, Network, Node, Run, record
from .structure import Stateful
from .tensors import Tensor
from .typing import ArrayLike, DType, DTypeLike
from .walkthrough import Numbers, Page, numbers_of, page_of
from .walkthrough.numbers import is_small
from .walkthrough.page import checked

__all__ = ["Graph", "graph"]

SMALL_DATA = 100_000  # numbers in the inputs up to which all samples are computed for a page
NOTEBOOK_LIMIT = 150  # nodes; of more, a notebook shows modules, and equal ones in a row once
PLAIN = drawing.View()
SAME = ("linear", "signed")  # outputs whose prediction is the signal itself


class Graph(Displayed):
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
    view : View
        How it is drawn unless something else is asked for.
    numbers : Numbers or None
        What was computed, of a graph of no more than 500 nodes and 2,000,000 elements; `explore` shows it.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        clusters: Iterable[Cluster] = (),
        network: Network | None = None,
        *,
        prediction: str = "",
        view: drawing.View = PLAIN,
        numbers: Numbers | None = None,
        primitives: Callable[[], Sequence[Node]] | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.clusters = tuple(clusters)
        self.network = network
        self.prediction = prediction
        self.view = view
        self.numbers = numbers
        self._primitives = primitives

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

    @property
    def primitives(self) -> Sequence[Node]:
        """The nodes with every operation taken apart into those that its `forward` calls, as plans run them.

        What does not tell its parts stays whole: random operations, and those of one's own that do more than call
        functions of arrays.
        """
        return self.nodes if self._primitives is None else self._primitives()

    @property
    def level(self) -> str | None:
        """How much is drawn, and `depth`, how far modules are open, unless another is asked for; see `render`."""
        return self.view.level

    @property
    def depth(self) -> int | None:
        """See `level`."""
        return self.view.depth

    def to_dot(self, **options: Unpack[drawing.Options]) -> str:
        """Return the drawing as source for Graphviz; complete at any size, and made without a renderer.

        Options and errors about them are those of `render`.
        """
        return drawing.to_dot(self, self.view.changed(options))

    def render(self, path: str | Path, **options: Unpack[drawing.Options]) -> Path:
        """Draw the graph to a file and return its path.

        Parameters
        ----------
        path : str or Path
            Ends in .svg, .png or .pdf; .dot writes the source and needs no renderer.
        **options
            Those that are not given are what `graph` was told, and what stands here otherwise:

            - `level`: how much is drawn. "modules": a module is one box, and equal ones in a row are one, marked
              "x 48". "operations": every operation of the forward pass; the default without gradients. "rules":
              beside each of them its local backward rule, and beside the parameters their gradients, as in
              Fig. 65.9; the default with gradients. "primitives": all operations, those of the backward pass too,
              each as the functions of arrays that it calls.
            - `depth`: for the level "modules", which it implies: 0 is the network as one box, 1 (the default) has a
              box for each of its modules, 2 opens those that consist of modules, and so on.
            - `direction`: where the forward pass runs, "down" (the default), "up", "right" or "left".
            - `theme`: the colours, "light" (the default), "dark" or "print".
            - `font_size`: in points, from 4 to 72; 11.
            - `color_by`: what the colours of boxes tell, with a legend. "values" and "gradients": the Euclidean norm
              of what is computed there, and of the gradient that arrives there; "dead" and "saturated": the share of
              an activation's nodes whose slope is 0 for all samples, and is below 5 % of the steepest one; these are
              known where `graph` was told so, or told `values=True`. "bytes": the size. "time": how long it takes, of
              the graph that `Profile.graph` returns. None (the default): the kind of box.
            - `values`: whether the numbers of all arrays are written into the boxes; known where `graph` was told so.

        Raises
        ------
        ArgumentError
            If the name ends in anything else, for an unknown or impossible value, or for what was not measured.
        RenderError
            If no renderer was found (the text says how to get one), it takes longer than two minutes, there is more
            than it can lay out, or the file cannot be written. A file that was there before is then left as it was.
        """
        return drawing.render(self, path, self.view.changed(options))

    def explore(
        self,
        path: str | Path | None = None,
        *,
        level: str | None = None,
        depth: int | None = None,
        theme: str | None = None,
        title: str = "",
    ) -> Page:
        """Return a page that steps through the computation forwards and backwards; a notebook shows it.

        It is one HTML file that needs no server and no network. It shows the numbers of the computation, where that has
        no more than 500 nodes and 2,000,000 elements: of a module or function those for all samples of `inputs`, of
        large ones the first two. `tinygraph.explore` shows the numbers of any, and steps of training.

        Parameters
        ----------
        path : str or Path, optional
            Where to write it; ends in .html.
        level, depth, theme
            What is shown first, as for `render`. Other levels can be chosen on the page, as far as they have no more
            than 400 boxes, and a dark theme is chosen by itself where the reader's system asks for one.
        title : str
            The heading; by default the network's class.

        Raises
        ------
        ArgumentError
            If the name ends in anything else, or for an unknown or impossible value.
        RenderError
            If no renderer was found, it takes longer than two minutes, there is more than it can lay out, or the file
            cannot be written.
        """
        view = self.view.changed({"level": level, "depth": depth, "theme": theme or self.view.theme})
        path = None if path is None else checked(path)
        page = page_of(self, [] if self.numbers is None else [self.numbers], view, title=title)
        if path is not None:
            page.save(path)
        return page

    def _display(self) -> dict[str, str]:
        """Return the drawing; of a large graph that of its modules, unless another level was asked for."""
        view = self.view
        if view.level is None and view.depth is None and len(self) > NOTEBOOK_LIMIT:
            view = view.changed({"level": "modules"})
        return {SVG: drawing.draw(self, view, "svg").decode()}


# -- from tensors to nodes ------------------------------------------------------------------------------


def graph(
    target: Tensor | Sequence[Tensor] | Callable[..., object],
    *,
    backward: bool = False,
    input_shape: Sequence[int | None] | Sequence[Sequence[int | None]] | None = None,
    dtype: DTypeLike | Sequence[DTypeLike] | None = None,
    inputs: Sequence[ArrayLike] | None = None,
    wrt: Sequence[Tensor] | Tensor | None = None,
    **options: Unpack[drawing.Options],
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
    dtype : dtype, or a tuple of one for each input, optional
        Of the zeros: "int64" where indices are expected; by default that of the parameters.
    inputs : tuple of arrays, optional
        In the place of `input_shape`: what to call it on, where zeros would not do, as for labels. The
        first axis of each is the batch; of 3 samples or more the first 2 and the first 3 are taken, and of no more
        than 100,000 numbers all, which `Graph.explore` shows.
    wrt : tensor or sequence of tensors, optional
        What the gradients are taken with respect to; by default all leaves that require one.
    **options
        How it is drawn unless `Graph.render` is told otherwise, in notebooks too: `level`, `depth`, `color_by`,
        `values` and the others; see there. What `color_by` and `values` show of tensors is measured here, on the
        tensors of `target` or on all samples of `inputs`.

    Raises
    ------
    ArgumentError
        If `target` and `input_shape` do not fit together, for an option that is not known or out of range, or one
        that shows what cannot be measured.
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
    if dtype is not None and input_shape is None:
        raise ArgumentError("graph: dtype is that of the zeros of input_shape, and there is no input_shape")
    if wrt is not None and not backward:
        raise ArgumentError("graph: wrt says what to take gradients with respect to; it needs backward=True")
    view = _checked_view(options, backward, input_shape)  # before the work
    leaves = None if wrt is None else [wrt] if isinstance(wrt, Tensor) else list(wrt)
    if isinstance(target, Tensor | list | tuple):
        if input_shape is not None or inputs is not None:
            given = "inputs are" if input_shape is None else "input_shape is"
            raise ArgumentError(f"graph: {given} for a module or function; a tensor has its graph already")
        with apart():
            run = _run(_tensors(target, "target"), backward, leaves, view.is_measured)
            parts = record([run], run if view.is_measured else None, view.values)
            return Graph(*parts, view=view, numbers=_kept(run), primitives=_taken_apart(parts[0], [run]))
    if not callable(target):
        raise ArgumentError(
            f"graph: expected a tensor, a list of tensors, a module or a function, got {type(target).__name__}"
        )
    if (input_shape is None) == (inputs is None):
        raise ArgumentError(
            "graph: a module or function needs input_shape, (None, 784) say; None is the batch"
            + ("" if inputs is None else "; or inputs, not both")
        )
    batches = _samples(inputs) if inputs is not None else _zeros(target, input_shape or (), dtype)
    with apart():
        runs = [run_of(target, arrays, backward, leaves, view.is_measured) for arrays in batches]
        whole = None
        if inputs is not None and (view.is_measured or sum(np.size(x) for x in inputs) <= SMALL_DATA):
            whole = run_of(target, _arrays(inputs), backward, leaves, view.is_measured)
        parts = record(runs, whole if view.is_measured else None, view.values)
        numbers = _kept(whole if whole is not None and whole.edges() == runs[0].edges() else runs[0])
    output = getattr(target, "output", None) if isinstance(target, Stateful) else None
    prediction = output if isinstance(output, str) and output not in SAME else ""
    primitives = _taken_apart(parts[0], runs)
    return Graph(*parts, prediction=prediction, view=view, numbers=numbers, primitives=primitives)


def run_of(
    target: Callable[..., object],
    arrays: Sequence[ArrayLike],
    backward: bool | None,
    wrt: list[Tensor] | None = None,
    is_measured: bool = False,
) -> Run:
    """Return what a module or function computes of arrays; inputs are called as the call names them.

    With `backward` the gradients are part of it; None: if the result is one number that parameters lead to. Where it
    `is_measured`, the gradients that arrive at all tensors on the way are kept.
    """
    names = names_of_inputs(target, len(arrays))
    result = _tensors(target(*(_input(x, name) for x, name in zip(arrays, names, strict=True))), "the result")
    if backward is None:
        backward = len(result) == 1 and result[0].size == 1 and result[0].requires_grad
    return _run(result, backward, wrt, is_measured)


def _kept(run: Run) -> Numbers | None:
    """Return the numbers of a run that is small."""
    return numbers_of(run) if is_small(run) else None


def _taken_apart(nodes: Sequence[Node], runs: Sequence[Run]) -> Callable[[], Sequence[Node]]:
    """Return a function that takes the operations of a graph apart; it keeps these, and no tensors."""
    alike = [run for run in runs if len(run.tensors) == len(nodes)]
    ops = [[t.op for t in run.tensors] for run in alike]
    backend = runs[0].tensors[0].backend
    return lambda: functions["primitives_of"](nodes, ops, backend)


def _checked_view(options: drawing.Options, backward: bool, input_shape: object) -> drawing.View:
    """Return options as a view, checked for what cannot be measured."""
    view = PLAIN.changed(options)
    asked = "values=True" if view.values and view.color_by is None else f"color_by={view.color_by!r}"
    if view.color_by == "gradients" and not backward:
        raise ArgumentError(f"graph: {asked} needs backward=True")
    if view.color_by == "time":
        raise ArgumentError(
            f"graph: {asked} is for plans: profile().graph() of the plan of a compiled function draws its times"
        )
    if view.is_measured and input_shape is not None:
        raise ArgumentError(f"graph: {asked} needs samples; give them by inputs=(x, ...) in the place of input_shape")
    return view


@contextmanager
def apart() -> Iterator[None]:
    """Return a ``with`` block that records, whatever goes on around it, and leaves all leaves as they were."""
    outer = mode.recording, mode.scope, mode.watchers
    mode.recording, mode.scope, mode.watchers = True, None, ()
    try:
        with preserved_streams(), preserved():
            yield
    finally:
        mode.recording, mode.scope, mode.watchers = outer


def _tensors(value: object, name: str) -> list[Tensor]:
    """Return a tensor or a sequence of tensors as a list without repetitions."""
    tensors = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, list | tuple) else []
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        raise ArgumentError(f"graph: {name} must be a tensor or a sequence of tensors, got {type(value).__name__}")
    return list(dict.fromkeys(tensors))


def input_shapes(caller: str, input_shape: Any) -> list[tuple[int | None, ...]]:
    """Return the shapes of all inputs, checked; errors begin with the name of the caller."""
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
                f"{caller}: input_shape must be a tuple of positive whole numbers, the first of which may be None for "
                f"the batch, or a tuple of such tuples, got {input_shape!r}"
            )
    return shapes


def inputs_of(
    caller: str, target: Callable[..., object], count: int, dtype: DTypeLike | Sequence[DTypeLike] | None
) -> tuple[Backend, list[DType]]:
    """Return the backend and the dtypes of the inputs that a target is called on: those of its parameters, if any.

    Parameters
    ----------
    caller : str
        Who asks; errors begin with it.
    target : module or callable
    count : int
        How many inputs there are.
    dtype : dtype, sequence of dtypes, or None
        What was asked for in the place of the parameters' dtype, for all inputs or for each.

    Raises
    ------
    ArgumentError
        If there is not one dtype for each input.
    DTypeError
        If something is no dtype.
    """
    held: Iterable[tuple[str, Tensor]] = target.named_tensors() if isinstance(target, Stateful) else ()
    like = next((t for _, t in held if t.role is not None), None)
    backend, usual = (current(), np.dtype(np.float32)) if like is None else (like.backend, like.dtype)
    asked: list[Any] = list(dtype) if isinstance(dtype, list | tuple) else [usual if dtype is None else dtype] * count
    if len(asked) != count:
        raise ArgumentError(f"{caller}: input_shape has {count} inputs, dtype has {len(asked)}: {dtype!r}")
    return backend, [find_dtype(d, caller) for d in asked]


def _zeros(
    target: Callable[..., object], input_shape: Sequence[Any], dtype: DTypeLike | Sequence[DTypeLike] | None
) -> list[list[Tensor]]:
    """Return inputs of zeros for one batch or two."""
    shapes = input_shapes("graph", input_shape)
    backend, dtypes = inputs_of("graph", target, len(shapes), dtype)
    follows_batch = any(shape and shape[0] is None for shape in shapes)
    return [
        [
            Tensor(backend.asarray(np.zeros(tuple(batch if n is None else int(n) for n in shape), kind)), backend)
            for shape, kind in zip(shapes, dtypes, strict=True)
        ]
        for batch in TRIAL_BATCHES[: 1 + follows_batch]
    ]


def _samples(inputs: object) -> list[list[Tensor | np.ndarray]]:
    """Return the first samples of arrays, for one batch or two."""
    if not isinstance(inputs, list | tuple) or not inputs:
        given = "none" if isinstance(inputs, list | tuple) else f"a {type(inputs).__name__}"
        raise ArgumentError(f"graph: inputs must be a tuple of arrays, one for each argument, got {given}")
    arrays = _arrays(inputs)
    if any(not x.shape or len(x) < max(TRIAL_BATCHES) for x in arrays):
        return [arrays]
    return [[x[:batch] for x in arrays] for batch in TRIAL_BATCHES]


def _arrays(inputs: Iterable[ArrayLike]) -> list[Tensor | np.ndarray]:
    return [x if isinstance(x, Tensor) else np.asarray(x) for x in inputs]


def _input(x: ArrayLike, name: str) -> Tensor:
    """Return an input as a tensor with its name in the call."""
    if isinstance(x, Tensor):
        return Tensor(x.data, x.backend, requires_grad=x.requires_grad, name=x.name or name)
    return tensor(x, name=name)


def names_of_inputs(target: Callable[..., object], count: int) -> list[str]:
    """Return what the first arguments are called by who is called; x1, x2, ... where that cannot be told."""
    called: Any = getattr(target, "forward", target) if isinstance(target, Stateful) else target
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    if len(names) < count:
        return ["x"] if count == 1 else [f"x{i + 1}" for i in range(count)]
    return names


def _run(outputs: list[Tensor], backward: bool, wrt: list[Tensor] | None, is_measured: bool) -> Run:
    """Return the tensors that lead to `outputs`, and those of the gradients if they are wanted.

    Where it `is_measured`, or small, with the gradients that arrive at all tensors on the way.
    """
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
    run = Run(ancestors(asked), set(forward), set(asked), names | names_of_gradients, sensitivities)
    if is_measured or is_small(run):
        passed = [t for t in sensitivities if t.dtype.kind == "f"]
        with no_grad():
            run.arriving = dict(zip(passed, grad(y, passed, filled_like(y, 1)), strict=True))
    return run


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
