"""`compile`: a function that works on tensors, recorded once and replayed as a plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from functools import update_wrapper
from types import MethodType
from typing import Any, cast

import numpy as np

from ..backend import Backend, current
from ..backend.random import seeding
from ..errors import ArgumentError, CompileError, GraphError
from ..ops.random import refresh_streams
from ..tensor import INSIDE_PLAN, InsidePlan, Tensor, mode, next_index
from .guards import Surroundings, Unwatched
from .passes import NAMES
from .plan import Plan
from .trace import Trace, fill, is_array

MOST_PLANS = 64  # that a compiled function keeps


class Compiled(Unwatched):
    """A compiled function; made by `compile`.

    Attributes
    ----------
    plan : Plan
        What the latest call ran: print it, draw it.
    plans : list of Plan
        One for each kind of arguments and state.
    """

    def __init__(self, function: Callable[..., Any], check: bool, passes: Collection[str] | None) -> None:
        update_wrapper(self, function)
        self.function, self.check, self.passes = function, check, passes
        self._latest: Plan | None = None
        self._replays: list[_Bound] = []
        self._lock = threading.RLock()
        self._generation = -1  # of the seed of random masks, as last seen

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the compiled function as a method of `instance`."""
        return self if instance is None else MethodType(self, instance)

    @property
    def plans(self) -> list[Plan]:
        """The plans that are kept, in the order in which they were made."""
        return [bound.plan for bound in self._replays]

    @property
    def plan(self) -> Plan:
        """The plan of the latest call."""
        if self._latest is None:
            raise GraphError("plan: the compiled function has not been called yet; call it once with real arguments")
        return self._latest

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns, computed by a plan if one fits, recorded otherwise."""
        if mode.observer is not None:  # part of another compiled function, or someone wants to see every operation
            return self.function(*args, **kwargs)
        with self._lock:
            if seeding.generation != self._generation:
                refresh_streams()
                self._generation = seeding.generation
            given: list[Any] = []
            shape = [_flatten(x, given) for x in args]
            if kwargs:
                shape.append(_flatten(kwargs, given))
            if self.check:
                return self._checked(args, kwargs, shape, given)
            for bound in self._replays:
                if bound.fits(shape, given):
                    self._latest = bound.plan
                    return bound.replay(given)
            return self._record(args, kwargs, shape, given)

    def _checked(self, args: Any, kwargs: Any, shape: Any, given: list[Any]) -> Any:
        """Run the function itself and take it back, replay, and compare."""
        trace = Trace()
        try:
            form = trace.outcome(trace.run(self.function, args, kwargs))
            expected = trace.final_values()
            fresh = _Bound(self.function, trace, form, shape, given, self.passes)
        finally:
            trace.undo()
        bound = next((b for b in self._replays if b.fits(shape, given)), None)
        if bound is None:
            bound = fresh
            self._keep(bound)
        self._latest = bound.plan
        result = bound.replay(given)
        self._compare(bound, fresh, expected)
        return result

    def _compare(self, bound: _Bound, fresh: _Bound, expected: tuple[list[Any], dict[Tensor, Any]]) -> None:
        """Raise an error unless a replay gave what the function itself gave."""
        outputs, stores = expected
        pairs = [(f"result {k}", a, b) for k, (a, b) in enumerate(zip(outputs, bound.latest, strict=False))]
        pairs += [(leaf.name or "a leaf", data, leaf) for leaf, data in stores.items()]
        if (
            repr(fresh.form) != repr(bound.form)
            or len(outputs) != len(bound.latest)
            or set(stores) != set(bound.assigned)
        ):
            raise CompileError(
                "compile: check: the function returned or assigned other things than when it was recorded"
            )
        for name, host, t in pairs:
            scale = 1e-4 if host.dtype.itemsize < 8 else 1e-9
            if not np.allclose(host, t.numpy(), scale, scale, equal_nan=True):
                worst = float(np.nanmax(np.abs(host - t.numpy())))
                raise CompileError(
                    f"compile: check: {name} differs from what the function itself gives by {worst:.3g}; something "
                    "that is no tensor changed between calls: pass it as an argument"
                )

    def _record(self, args: Any, kwargs: Any, shape: Any, given: list[Any]) -> Any:
        """Record the function's run as a plan, take the run back, and let the plan do it: every call is a replay."""
        trace = Trace()
        try:
            form = trace.outcome(trace.run(self.function, args, kwargs))
            bound = _Bound(self.function, trace, form, shape, given, self.passes)
        finally:
            trace.undo()
        self._keep(bound)
        return bound.replay(given)

    def _keep(self, bound: _Bound) -> None:
        """Add a plan; the oldest goes when there are many, as where a number among the arguments changes every time."""
        self._replays = [*self._replays[1 - MOST_PLANS :], bound]
        self._latest = bound.plan


class _Bound:
    """A plan with the conditions under which it holds, and the way from arguments to results."""

    def __init__(
        self,
        function: Callable[..., Any],
        trace: Trace,
        form: Any,
        shape: Any,
        given: list[Any],
        passes: Collection[str] | None,
    ) -> None:
        self.shape, self.form = shape, form
        self.specs = [_spec(x) for x in given]
        self.backend, self.recording = current(), mode.recording
        arguments = {id(a.tensor): a.position for a in trace.inputs}
        for array in (a.tensor for a in trace.inputs if a.soft):  # an array has no gradient outside
            trace.grads.pop(array, None)
        self.grads = [
            (arguments.get(id(leaf), leaf), access.before) for leaf, access in trace.grads.items() if access.read_first
        ]
        self.grad_targets = [arguments.get(id(leaf), leaf) for leaf, _ in trace.grad_outputs]
        handed_out = {leaf for leaf, _ in trace.grad_outputs}
        hidden = [leaf for leaf in trace.grads if leaf not in handed_out]
        self.hidden = [(arguments.get(id(leaf), leaf), INSIDE_PLAN[leaf._grad is None]) for leaf in hidden]
        positions = [a.position for a, _ in trace.arguments]
        program = trace.program()
        self.surroundings = Surroundings(function, _others(shape), trace.modules)
        states = dict.fromkeys([v.leaf for v in program.states() if v.leaf is not None] + list(program.stores))
        self.leaves = [(leaf, leaf.data, leaf.requires_grad) for leaf in states]
        self.plan = Plan(program, passes)
        self.assigned = list(program.stores)
        arrays = self.plan.replay.arrays
        self.copy_in = [
            (position, arrays[v]) for position, v in zip(positions, program.arguments, strict=False) if v in arrays
        ]
        self.grads_in = [(arguments.get(id(leaf), leaf), arrays[v]) for leaf, v in trace.grad_values if v in arrays]
        count = len(program.outputs) - len(self.grad_targets)
        self.latest: list[Tensor] = []
        self.results = [arrays[v] for v in self.plan.program.outputs[:count]]
        self.grad_results = [arrays[v] for v in self.plan.program.outputs[count:]]

    def fits(self, shape: Any, given: list[Any]) -> bool:
        """Whether the plan computes what the function would now."""
        if shape != self.shape or mode.recording is not self.recording or current() is not self.backend:
            return False
        for x, spec in zip(given, self.specs, strict=True):
            if x.__class__ is Tensor:
                if (x.data.shape, x.data.dtype, x.backend, x.requires_grad) != spec:
                    return False
            elif (x.shape, x.dtype, x.__class__) != spec:
                return False
        for leaf, data, requires_grad in self.leaves:
            if leaf.data is not data or leaf.requires_grad is not requires_grad:
                return False
        return self.surroundings.hold() and all(
            _same_grad(_at(target, given)._grad, before) for target, before in self.grads
        )

    def replay(self, given: list[Any]) -> Any:
        """Compute the results for these arguments."""
        backend = self.plan.program.backend
        copyto = backend.xp.copyto
        for position, array in self.copy_in:
            _copy_in(backend, copyto, array, given[position])
        for target, array in self.grads_in:
            copyto(array, cast(Tensor, _at(target, given)._grad).data)
        self.plan.replay.run()
        now = next_index()
        for leaf in self.assigned:
            leaf.modified = now
        for target, array in zip(self.grad_targets, self.grad_results, strict=True):
            _at(target, given)._grad = Tensor(array.copy(), backend)
        for target, inside in self.hidden:
            _at(target, given)._grad = inside
        self.latest = [Tensor(array.copy(), backend) for array in self.results]
        return fill(self.form, self.latest)


def _at(target: Tensor | int, given: list[Any]) -> Tensor:
    """Return a leaf, or the tensor at a position among the arguments."""
    return target if target.__class__ is Tensor else given[target]  # type: ignore[index]


def _copy_in(backend: Backend, copyto: Any, array: Any, x: Any) -> None:
    """Write an argument to its place in the plan."""
    if isinstance(x, Tensor):
        copyto(array, x.data)
    elif isinstance(x, backend.array_type):
        copyto(array, x)
    else:
        copyto(array, backend.asarray(np.asarray(x, array.dtype)))


def _same_grad(grad: Tensor | InsidePlan | None, before: Tensor | InsidePlan | None) -> bool:
    """Whether a function that reads a gradient first finds it as it did when it was recorded: there, or not."""
    if isinstance(before, Tensor):
        return isinstance(grad, Tensor)
    return grad is None or (isinstance(grad, InsidePlan) and grad.dropped)


def _flatten(tree: Any, given: list[Any]) -> Any:
    """Append the tensors and arrays in nested arguments to `given`; return what else the arguments are."""
    kind = tree.__class__
    if kind is Tensor or (kind is np.ndarray and tree.ndim) or is_array(tree):
        given.append(tree)
        return None
    if isinstance(tree, list | tuple):
        return (type(tree), *[_flatten(item, given) for item in tree])
    if isinstance(tree, dict):
        return (dict, *[(key, _flatten(item, given)) for key, item in tree.items()])
    return (type(tree), tree.item() if isinstance(tree, np.ndarray) else tree)


def _others(shape: Any) -> Iterator[Any]:
    """Yield the arguments in what `_flatten` returned: all but tensors and arrays."""
    if isinstance(shape, tuple) and shape[0] not in (list, tuple, dict) and isinstance(shape[0], type):
        yield shape[1]
    elif isinstance(shape, list | tuple):
        for part in shape:
            yield from _others(part)


def _spec(x: Any) -> Any:
    """Return what must be the same of an argument for a plan to fit."""
    if isinstance(x, Tensor):
        return x.data.shape, x.data.dtype, x.backend, x.requires_grad
    return x.shape, x.dtype, type(x)


def compile(fn: Callable[..., Any], *, check: bool = False, passes: Collection[str] | None = None) -> Compiled:
    """Return a function that computes what `fn` does by replaying a recording of it.

    The first call with arguments of a new kind runs `fn` once, records every operation, gradient and assignment,
    and takes that run back; this call and all later ones are replays. A replay does what the run did, on new
    arguments and on what parameters, running averages and random keys hold now. It is recorded anew when shapes,
    dtypes, backends, training modes, `requires_grad`, attributes of modules or Python arguments change.

    Parameters
    ----------
    fn : callable
        Takes and returns tensors, arrays and other objects, in nested tuples, lists and dicts. Tensors and arrays
        are inputs; all other arguments, and whatever else `fn` uses, are taken as they are when it is recorded.
    check : bool
        Whether every call also runs `fn` itself, compares results and assignments, and raises if they differ by
        more than rounding; to find what a recording cannot see.
    passes : collection of str, optional
        The names of the passes to use, of `tinygraph.plan.NAMES`; by default all. Speed depends on it, results do
        not.

    Returns
    -------
    Compiled
        Called like `fn`. What it returns has no graph to differentiate; gradients are taken inside `fn`. If `fn`
        clears `grad` before or after `backward`, gradients stay inside, and reading `grad` raises an error.

    Raises
    ------
    CompileError
        At a call: if `fn` reads values on the host, makes tensors of host values, or keeps results elsewhere.
        Nothing has changed then.
    ArgumentError
        If a pass is not known.

    Examples
    --------
    >>> W = tg.parameter(np.ones((3, 2), np.float32), name="W")
    >>> def step(x):
    ...     loss = tg.sum((x @ W) ** 2)
    ...     (dW,) = tg.grad(loss, [W])
    ...     W.assign_(W - 0.01 * dW)
    ...     return loss
    >>> fast = tg.compile(step)
    >>> x = np.ones((1, 3), np.float32)
    >>> [round(float(fast(x)), 2) for _ in range(3)]
    [18.0, 15.9, 14.05]
    """
    if not callable(fn):
        raise ArgumentError(f"compile: expected a function, got {type(fn).__name__}")
    unknown = [name for name in passes or () if name not in NAMES]
    if unknown:
        raise ArgumentError(f"compile: pass {unknown[0]!r} is not known; known: {', '.join(NAMES)}")
    return Compiled(fn, check, passes)
