"""`gradcheck`: gradients held against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np

from .autodiff import ancestors
from .backend import current, generator
from .derivatives import grad_or_zero
from .errors import ArgumentError, DTypeError, GradientError
from .leaves import as_tensor, filled_like
from .mode import enable_grad
from .op import Op
from .ops.random import preserved_streams
from .ops.reduce import sum as total
from .ops.state import preserved
from .structure import Stateful
from .tensors import Tensor
from .typing import Array, ArrayLike
from .watchers import Watcher, watching

__all__ = ["gradcheck"]

STEP = 6e-6  # about the cube root of float64's precision: balances truncation against rounding
NARROW = ("float16", "float32")  # what is computed in float64 instead

Leaves = dict[str, Tensor]


def gradcheck(
    fn: Callable[..., Any], *tensors: Any, rtol: float = 1e-6, atol: float = 1e-8, second: bool = False
) -> float:
    """Check gradients against central differences, element by element, in float64.

    ``gradcheck(fn, *tensors)`` checks any function of tensors - an op, a loss, a module - with respect to every
    floating tensor. ``gradcheck(net, x, target, loss_fn)`` checks ``loss_fn(net(x), target)`` with respect
    to the parameters of a module and `x`.

    Everything is computed in float64: `tensors`, the parameters and constants that the function reaches, arrays and
    random numbers that it makes. Only a tensor that it makes by ``tg.tensor`` keeps its dtype. Parameters, modes and
    other state are afterwards as they were, whatever happens.

    Parameters
    ----------
    fn : callable
        Must return the same for the same input: a tensor of any shape. Random numbers of tinygraph's, as those of
        dropout, are held fixed.
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
        If two calls differ, as those of a function with random numbers of its own do. Else at the first element that
        fails; it names the parameter or input, the element, both values, and the op whose own rule is wrong, where
        there is one.
    ArgumentError
        If there is nothing to check, or `fn` returns anything but a tensor.
    """
    net, compute = None, fn
    if isinstance(fn, Stateful) and len(tensors) == 3 and callable(tensors[2]):
        *tensors, loss_fn = tensors  # pyright: ignore[reportAssignmentType]
        net, compute = fn, lambda x, target: loss_fn(fn(x), target)  # pyright: ignore[reportCallIssue]
    with enable_grad(), _widened([*_tensors_of(fn).values(), *_reached(compute, tensors)]), watching(_InFloat64()):
        points = [_float64(t) for t in tensors]
        if net is None:
            leaves = {t.name or f"input {i}": t for i, t in enumerate(points) if t.requires_grad}
        else:
            leaves = {name: t for name, t in _tensors_of(net).items() if t.role is not None}
            if points[0].requires_grad:
                leaves["the input"] = points[0]
        if not leaves:
            raise ArgumentError("gradcheck: expected at least one floating tensor to check, got none")
        return _check(lambda: compute(*points), leaves, rtol, atol, second)


def _check(compute: Callable[[], Tensor], leaves: Leaves, rtol: float, atol: float, second: bool) -> float:
    def value() -> Tensor:
        with preserved_streams(), preserved():  # the same masks and the same state each time
            return _as_number(_result(compute()))

    def slope() -> Tensor:
        gradients = grad_or_zero(value(), list(leaves.values()))
        terms = [_as_number(g, name) for name, g in zip(leaves, gradients, strict=True) if g.requires_grad]
        return sum(terms[1:], terms[0]) if terms else _as_number(filled_like(y, 0))

    y = value()
    first, again = float(y), float(value())
    if not np.isclose(first, again, rtol=1e-12, atol=0, equal_nan=True):
        raise GradientError(
            f"gradcheck: two calls differ: the same input gives {first:.10g}, then {again:.10g}; the network draws "
            "random numbers that are not tinygraph's, or keeps state that no tensor holds; draw with tg.bernoulli, "
            "tg.uniform or tg.normal, which are held fixed"
        )
    if not np.isfinite(first):
        raise GradientError(f"gradcheck: the function gives {first} at these inputs; check where it is finite")
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


def _float64(value: object) -> Tensor:
    """Return a leaf with a copy of `value`, in float64 and requiring a gradient if it is floating."""
    host = value.numpy() if isinstance(value, Tensor) else np.array(value)
    backend = value.backend if isinstance(value, Tensor) else current()
    floating = host.dtype.kind == "f"
    data = backend.asarray(host.astype(np.float64) if floating else host)
    name = value.name if isinstance(value, Tensor) and value.op is None else None
    return Tensor(data, backend, requires_grad=floating, name=name)


def _result(y: ArrayLike) -> Tensor:
    """Return what a function gave, if it is a tensor."""
    if not isinstance(y, Tensor):
        raise ArgumentError(f"gradcheck: fn must return one tensor, got {type(y).__name__}")
    return y


def _tensors_of(fn: object) -> Leaves:
    """Return what a module holds by path, parameters and other state; nothing of another function."""
    return dict(fn.named_tensors()) if isinstance(fn, Stateful) else {}


def _reached(compute: Callable[..., Any], tensors: Sequence[Any]) -> list[Tensor]:
    """Return the leaves that a function computes with, besides `tensors`.

    It is run with these as they are, or if their dtype does not fit what it holds, in single precision.
    """
    for in_single in (False, True):
        points = [as_tensor(t) for t in tensors]
        points = [t.astype(np.float32) if in_single and t.dtype.kind == "f" else t for t in points]
        try:
            with preserved_streams(), preserved():
                made = ancestors([_result(compute(*points))])
        except DTypeError:
            continue  # where neither fits, the run in float64 says why
        return [t for t in made if t.op is None]
    return []


@contextmanager
def _widened(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Return a ``with`` block in which leaves hold copies in float64; afterwards they are as they were."""
    before = [(t, t.data, t.requires_grad) for t in dict.fromkeys(tensors) if t.dtype.kind == "f"]
    try:
        for t, data, _ in before:
            t.data = t.backend.asarray(t.backend.to_host(data).astype(np.float64))
        yield
    finally:
        for t, data, requires_grad in before:
            t.data, t.requires_grad = data, requires_grad


class _InFloat64(Watcher):
    """Makes float64 of what a function makes in a narrower dtype: of arrays, random numbers and conversions."""

    def computes(self, op: Op, inputs: tuple[Tensor, ...]) -> Array | None:
        if not any(f.name == "dtype" and getattr(op, f.name) in NARROW for f in fields(op)):
            return None
        backend, wide = inputs[0].backend, replace(op, dtype="float64")  # type: ignore[call-arg]
        return backend.asarray(wide.forward(backend.xp, *[t.data for t in inputs]))

    def shares(self, source: Tensor | Array, leaf: Tensor) -> bool:
        if isinstance(source, Tensor) or leaf.dtype.name not in NARROW:
            return False
        leaf.data = leaf.data.astype(np.float64)
        return True
