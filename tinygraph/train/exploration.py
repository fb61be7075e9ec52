"""`explore`: a page that steps through a computation with its numbers, and through steps of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses
from ..arguments import whole_number
from ..autodiff import grad
from ..data import Dataset
from ..data.checks import numbers as numbers_in
from ..drawing import View
from ..errors import ArgumentError, GraphError
from ..graphs import Graph, apart, run_of
from ..mode import no_grad
from ..nn import Module
from ..optim import SGD, Optimizer
from ..record import Run, record
from ..tensors import Tensor, read_grads, write_grads
from ..walkthrough import Numbers, Page, numbers_of, page_of
from ..walkthrough.page import checked
from .objective import LossFunction, Objective

__all__ = ["explore"]

LOSSES: dict[str, LossFunction] = {  # by output activation
    "softmax": losses.cross_entropy,
    "sigmoid": losses.binary_cross_entropy,
}
LEARNING_RATE = 0.1


def explore(
    target: Module | Callable[..., object],
    data: object,
    loss_fn: LossFunction | None = None,
    *,
    steps: int = 0,
    optimizer: Optimizer | None = None,
    batch_size: int = 32,
    path: str | Path | None = None,
    level: str | None = None,
    depth: int | None = None,
    theme: str = "light",
    title: str = "",
) -> Page:
    """Return a page that steps through a computation on data forwards and backwards; a notebook shows it.

    It is one HTML file that needs no server and no network. The network is called in the mode it is in;
    parameters, state and gradients are left as they were.

    Parameters
    ----------
    target : Module or callable
        A network, of whose loss on data ``(X, Y)`` the page shows the computation; or a function that is called with
        the arrays, such as ``lambda x, y: losses.squared_error(net(x), y)``.
    data : tuple of arrays, `data.Dataset`, or array
        The arrays, samples along the first axis; of a `Dataset` the training set. One array alone: the network or
        function is called on it, with no loss.
    loss_fn : callable, optional
        Of a network; as for `fit`. By default `losses.cross_entropy` where the output activation is softmax,
        `losses.binary_cross_entropy` where it is a sigmoid, and `losses.squared_error` elsewhere.
    steps : int
        How many updates of the parameters are recorded: the page then shows a forward and a backward pass for each
        of them, one more at the end, and how the parameters move in between.
    optimizer : Optimizer, optional
        What updates the parameters; by default `optim.SGD` of all that learn, with a learning rate of 0.1.
    batch_size : int
        Of more samples than this the page shows the first ones, and of several training steps one batch after the
        other; what is left over at the end is left out.
    path : str or Path, optional
        Where to write the page; ends in .html.
    level, depth, theme
        What is shown first, as for `Graph.render`; other levels can be chosen on the page, as far as they have no more
        than 400 boxes.
    title : str
        The heading; by default the network's class.

    Raises
    ------
    ArgumentError
        If `data` is neither of these, its arrays differ in length, or for an unknown or impossible option.
    DataError
        If an array holds something else than numbers.
    GraphError
        If training is to be recorded, and the result is not one number that depends on parameters, or two steps do
        not compute the same.
    RenderError
        If no renderer was found, it takes longer than two minutes, there is more than it can lay out, or the file
        cannot be written.
    """
    view = View(level=level, depth=depth, theme=theme)  # a wrong one is told before the work
    path = None if path is None else checked(path)
    steps = whole_number("explore: steps", steps, 0)
    batch_size = whole_number("explore: batch_size", batch_size, 1)
    if not callable(target):
        raise ArgumentError(f"explore: expected a network or a function, got {type(target).__name__}")
    if loss_fn is not None and not callable(loss_fn):
        raise ArgumentError(f"explore: loss_fn must be a function, got {type(loss_fn).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"explore: optimizer must be an Optimizer, got {type(optimizer).__name__}")
    if optimizer is not None and not steps:
        raise ArgumentError("explore: an optimizer is for steps=, how many updates are recorded")
    arrays, alone = _arrays(data)
    function = target  # pyright: ignore[reportAssignmentType] - the function below
    if isinstance(target, Module) and not alone:
        if len(arrays) != 2:
            raise ArgumentError(
                f"explore: a network needs (X, Y), got {len(arrays)} arrays; give a function of them, such as "
                "lambda a, b, t: loss(net(a, b), t)"
            )
        objective = Objective(target, loss_fn or LOSSES.get(target.output or "", losses.squared_error))
        targets: list[Any] = [objective.targets(x) for x in arrays]
        arrays = targets

        def function(x: Tensor, y: Tensor) -> Tensor:
            return objective(x, y)[0]

    elif loss_fn is not None:
        raise ArgumentError("explore: loss_fn is for a network and data (X, Y); a function returns its loss itself")
    with apart():
        run, numbers, update = _recorded(function, _batches(arrays, batch_size), steps, optimizer)
        graph = Graph(*record([run]))
    if not title and isinstance(target, Module):
        title = type(target).__name__
    page = page_of(graph, numbers, view, title=str(title), update=update)
    if path is not None:
        page.save(path)
    return page


def _arrays(data: object) -> tuple[list[Tensor | np.ndarray], bool]:
    """Return the arrays of `data`, and whether it is one alone."""
    if isinstance(data, Dataset):
        data = data.train
    alone = isinstance(data, np.ndarray | Tensor)
    if alone:
        data = (data,)
    if not isinstance(data, tuple | list) or not data:
        given = "none" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
        raise ArgumentError(f"explore: data must be a tuple of arrays, (X, Y) for a network, got {given}")
    arrays = [x if isinstance(x, Tensor) else numbers_in(x, "explore: data") for x in data]
    lengths = {x.shape[:1] for x in arrays}
    if len(lengths) > 1 or lengths & {(), (0,)}:
        raise ArgumentError(
            "explore: the arrays of data must have the same number of samples, at least 1, along their first axis, got "
            f"shapes {', '.join(str(x.shape) for x in arrays)}"
        )
    return arrays, alone


def _batches(arrays: Sequence[Tensor | np.ndarray], size: int) -> list[list[Tensor | np.ndarray]]:
    """Return the arrays as batches of one size, no more than there are samples."""
    count = len(arrays[0])
    size = min(size, count)
    return [[x[start : start + size] for x in arrays] for start in range(0, count - size + 1, size)]


def _recorded(
    function: Callable[..., object],
    batches: Sequence[Sequence[Tensor | np.ndarray]],
    steps: int,
    optimizer: Optimizer | None,
) -> tuple[Run, list[Numbers], str]:
    """Return the first run with its numbers and those after every update, and in words what an update is."""
    run = first = run_of(function, batches[0], True if steps else None, is_measured=True)
    numbers = [numbers_of(run)]
    if not steps:
        return first, numbers, ""
    if optimizer is None:
        learning = [t for t in run.tensors if t.op is None and t.requires_grad and t.role is not None]
        optimizer = SGD(learning, LEARNING_RATE)
    before = read_grads(optimizer.params)
    try:
        for step in range(1, steps + 1):
            _update(run, optimizer)
            run = run_of(function, batches[step % len(batches)], True, is_measured=True)
            if run.edges() != first.edges():
                raise GraphError(f"explore: after {step} updates other operations are computed; record fewer steps")
            numbers.append(numbers_of(run))
    finally:
        write_grads(optimizer.params, before)
    return first, numbers, f"{type(optimizer).__name__} with a learning rate of {optimizer.lr:g}"


def _update(run: Run, optimizer: Optimizer) -> None:
    """Update the parameters by the gradients of a run's result."""
    (y,) = run.outputs & run.forward
    if y.size != 1:
        raise GraphError(f"explore: steps need a loss, a tensor with one element, got shape {y.shape}")
    reached = [p for p in optimizer.params if p in run.sensitivities]
    if not reached:
        raise GraphError("explore: the loss depends on none of the optimizer's parameters")
    optimizer.zero_grad()
    with no_grad():
        write_grads(reached, grad(y, reached))
    optimizer.step()
