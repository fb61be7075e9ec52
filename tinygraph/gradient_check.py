"""`gradcheck`: gradients held against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .autodiff import ancestors
from .backend import current, generator
from .derivatives import grad_or_zero
from .errors import ArgumentError, GradientError
from .leaves import filled_like
from .ops.random import preserved_streams
from .ops.reduce import sum as total
from .structure import Stateful
from .tensors import Tensor

__all__ = ["gradcheck"]

STEP = 6e-6  # about the cube root of float64's precision: balances truncation against rounding

Leaves = dict[str, Tensor]


def gradcheck(
    fn: Callable[..., Any], *tensors: Any, rtol: float = 1e-6, atol: float = 1e-8, second: bool = False
) -> float:
    """Check gradients against central differences, element by element, in float64.

    ``gradcheck(fn, *tensors)`` checks any function of tensors - an op, a loss - with respect to every
    floating tensor. ``gradcheck(net, x, target, loss_fn)`` checks ``loss_fn(net(x), target)`` with respect
    to the parameters of a module and `x`. Everything is computed on float64 copies; parameters, modes and
    other state are afterwards as they were.

    Parameters
    ----------
    fn : callable
        Must return the same for the same input (random masks are held fixed); a tensor of any shape.
    *tensors : tensors or arrays
        Whole numbers and truth values are passed on unchecked.
    rtol, atol : float
        An element passes if both values differ by at most ``atol + rtol * max(|both|)``.
    second : bool
        Check the gradient of the gradient likewise, to a hundred times the tolerance.

    Returns
    -------
    float
        The largest difference found, relative to the larger of both values and 1.

    Raises
    ------
    GradientError
        At the first element that fails; it names the parameter or input, the element, both values, and the op
        whose own rule is wrong, where there is one.
    """
    if isinstance(fn, Stateful) and len(tensors) == 3 and callable(tensors[2]):
        x, target, loss_fn = tensors
        with _in_float64(fn) as parameters:
            point = _float64(x)
            goal = _float64(target)
            leaves = {name: t for name, t in parameters.items() if t.role is not None}
            if point.requires_grad:
                leaves["the input"] = point
            return _check(lambda: loss_fn(fn(point), goal), leaves, rtol, atol, second)
    points = [_float64(t) for t in tensors]
    leaves = {t.name or f"input {i}": t for i, t in enumerate(points) if t.requires_grad}
    if not leaves:
        raise ArgumentError("gradcheck: expected at least one floating tensor to check, got none")
    return _check(lambda: fn(*points), leaves, rtol, atol, second)


def _check(compute: Callable[[], Tensor], leaves: Leaves, rtol: float, atol: float, second: bool) -> float:
    def value() -> Tensor:
        with preserved_streams():  # the same masks each time
            return _as_number(compute())

    def slope() -> Tensor:
        gradients = grad_or_zero(value(), list(leaves.values()))
        terms = [_as_number(g, name) for name, g in zip(leaves, gradients, strict=True) if g.requires_grad]
        return sum(terms[1:], terms[0]) if terms else _as_number(filled_like(y, 0))

    y = value()
    failure = _first_difference(value, leaves, rtol, atol)
    if isinstance(failure, str):
        raise GradientError(f"gradcheck: {failure}{_blame(y, rtol, atol)}")
    worst = failure
    if second:
        failure = _first_difference(slope, leaves, 100 * rtol, 100 * atol)
        if isinstance(failure, str):
            raise GradientError(f"gradcheck, second derivative: {failure}")
        worst = max(worst, failure)
    return worst


def _first_difference(value: Callable[[], Tensor], leaves: Leaves, rtol: float, atol: float) -> float | str:
    """Return the largest relative difference, or words for the first element that fails."""
    gradients = grad_or_zero(value(), list(leaves.values()))
    worst = 0.0
    for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        analytic = gradient.numpy()
        for at, numeric in _central_differences(value, leaf):
            ours = float(analytic[at])
            difference = abs(ours - numeric)
            if not difference <= atol + rtol * max(abs(ours), abs(numeric)):
                return f"{name} at {list(at)}: the rule gives {ours:.10g}, central differences give {numeric:.10g}"
            worst = max(worst, difference / max(1.0, abs(ours), abs(numeric)))
    return worst


def _central_differences(value: Callable[[], Tensor], leaf: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield every element's place in `leaf` with the derivative of `value` by central differences."""
    data, host = leaf.data, leaf.numpy()
    try:
        for at in np.ndindex(host.shape):
            x = float(host[at])
            h = STEP * max(1.0, abs(x))
            ends = []
            for moved in (x + h, x - h):
                host[at] = moved
                leaf.data = leaf.backend.asarray(host.copy())
                ends.append(float(value()))
            host[at] = x
            yield at, (ends[0] - ends[1]) / ((x + h) - (x - h))
    finally:
        leaf.data = data


def _as_number(y: Tensor, salt: str = "") -> Tensor:
    """Return a tensor's elements added up with fixed random weights, so that each one matters differently."""
    if y.size == 1 and not salt:
        return total(y)
    weights = generator(0, "gradcheck", salt).uniform(0.5, 1.5, y.shape)
    return total(y * Tensor(y.backend.asarray(np.asarray(weights)), y.backend))


def _blame(y: Tensor, rtol: float, atol: float) -> str:
    """Return words for the first op in the graph of `y` whose own rule fails on its own inputs."""
    for node in ancestors([y]):
        op = node.op
        if op is None or not op.differentiable:
            continue
        points = [_float64(t) for t in node.inputs]
        leaves = {f"input {i}": t for i, t in enumerate(points) if t.requires_grad}
        failure = _first_difference(lambda op=op, at=points: _as_number(op(*at)), leaves, rtol, atol)  # type: ignore[misc]
        if isinstance(failure, str):
            where = f" in {node.scope.path}" if node.scope is not None and node.scope.path else ""
            return f"; the backward rule of {op.label}{where} is wrong ({failure})"
    return ""


def _float64(value: Any) -> Tensor:
    """Return a leaf with a copy of `value`, in float64 and requiring a gradient if it is floating."""
    host = value.numpy() if isinstance(value, Tensor) else np.array(value)
    backend = value.backend if isinstance(value, Tensor) else current()
    floating = host.dtype.kind == "f"
    data = backend.asarray(host.astype(np.float64) if floating else host)
    name = value.name if isinstance(value, Tensor) and value.op is None else None
    return Tensor(data, backend, requires_grad=floating, name=name)


@contextmanager
def _in_float64(net: Stateful) -> Iterator[Leaves]:
    """Give a module float64 copies of its tensors inside a ``with`` block; yield them by path."""
    tensors: Leaves = {name: t for name, t in net.named_tensors() if t.dtype.kind == "f"}
    before = [(t, t.data, t.requires_grad) for t in tensors.values()]
    try:
        for t, data, _ in before:
            t.data = t.backend.asarray(t.backend.to_host(data).astype(np.float64))
        yield tensors
    finally:
        for t, data, requires_grad in before:
            t.data, t.requires_grad = data, requires_grad
