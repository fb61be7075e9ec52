"""`compile`: a function that works on tensors, recorded once and replayed as a plan."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection
from functools import update_wrapper
from types import MethodType
from typing import Any, cast
from weakref import WeakSet

import numpy as np

from ..backend import Backend, current
from ..backend.random import seeding
from ..errors import ArgumentError, CompileError, GraphError
from ..mode import mode
from ..ops.random import reseed_streams
from ..tensors import Tensor, describe, next_index
from .guards import Guards, Unguarded
from .passes import NAMES
from .plan import Plan
from .trace import GradientNotMaterialized, Output, Trace
from .trees import fixed, flatten, unflatten

MOST_PLANS = 64  # that a compiled function keeps


_all: WeakSet[Compiled] = WeakSet()


def _unlock() -> None:
    """Give every compiled function a new lock: in a child process nobody is left to release the old one."""
    for compiled in list(_all):
        compiled._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class Compiled(Unguarded):
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
        self._entries: list[CacheEntry] = []
        self._lock = threading.RLock()
        self._generation = -1  # of the seed of random masks, as last seen
        _all.add(self)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Return what a copy is made of, in this process or another: the function and how it is compiled, no plans.

        A compiled function that its module knows by its name, such as a decorated one, is sent as that name.
        """
        name = str(getattr(self, "__qualname__", ""))
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Compiled, (self.function, self.check, self.passes))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the compiled function as a method of `instance`."""
        return self if instance is None else MethodType(self, instance)

    @property
    def plans(self) -> list[Plan]:
        """The plans that are kept, in the order in which they were made."""
        return [entry.plan for entry in self._entries]

    @property
    def plan(self) -> Plan:
        """The plan of the latest call."""
        if self._latest is None:
            raise GraphError("plan: the compiled function has not been called yet; call it once with real arguments")
        return self._latest

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns, computed by a plan if one fits, recorded otherwise."""
        if mode.watchers:  # in another one, or every operation is watched
            return self.function(*args, **kwargs)
        with self._lock:
            if seeding.generation != self._generation:
                reseed_streams()
                self._generation = seeding.generation
            flat_args: list[Any] = []
            in_tree = [flatten(x, flat_args) for x in args]
            if kwargs:
                in_tree.append(flatten(kwargs, flat_args))
            if self.check:
                return self._checked(args, kwargs, in_tree, flat_args)
            for entry in self._entries:
                if entry.matches(in_tree, flat_args):
                    self._latest = entry.plan
                    return entry.replay(flat_args)
            return self._record(args, kwargs, in_tree, flat_args)

    def _checked(self, args: Any, kwargs: Any, in_tree: Any, flat_args: list[Any]) -> Any:
        """Record the function anew, compute what was recorded operation by operation, replay, and compare."""
        fresh = self._recorded(args, kwargs, in_tree, flat_args)
        expected, stores = fresh.computed(flat_args)
        entry = next((e for e in self._entries if e.matches(in_tree, flat_args)), None)
        if entry is None:
            entry = fresh
            self._keep(entry)
        self._latest = entry.plan
        result = entry.replay(flat_args)
        if (
            repr((fresh.out_tree, fresh.out_leaves)) != repr((entry.out_tree, entry.out_leaves))
            or len(expected) != len(entry.latest)
            or set(stores) != set(entry.assigned)
        ):
            raise CompileError("compile: check: the outputs or assignments differ from the recorded ones")
        pairs = [(f"result {k}", a, b) for k, (a, b) in enumerate(zip(expected, entry.latest, strict=True))]
        pairs += [(leaf.name or "a leaf", data, leaf) for leaf, data in stores.items()]
        for name, host, t in pairs:
            scale = 1e-4 if host.dtype.itemsize < 8 else 1e-9
            if not np.allclose(host, t.numpy(), scale, scale, equal_nan=True):
                worst = float(np.nanmax(np.abs(host - t.numpy())))
                raise CompileError(
                    f"compile: check: {name} differs from what the function itself gives by {worst:.3g}; something "
                    "that is no tensor changed between calls: pass it as an argument"
                )
        return result

    def _record(self, args: Any, kwargs: Any, in_tree: Any, flat_args: list[Any]) -> Any:
        """Record the function as a plan, and let the plan do it: every call is a replay."""
        entry = self._recorded(args, kwargs, in_tree, flat_args)
        self._keep(entry)
        return entry.replay(flat_args)

    def _recorded(self, args: Any, kwargs: Any, in_tree: Any, flat_args: list[Any]) -> CacheEntry:
        trace = Trace()
        try:
            trace.run(self.function, args, kwargs)
            return CacheEntry(self.function, trace, in_tree, flat_args, self.passes)
        finally:
            trace.undo()

    def _keep(self, entry: CacheEntry) -> None:
        """Add a plan; the oldest goes when there are many, as where a number among the arguments changes every time."""
        self._entries = [*self._entries[1 - MOST_PLANS :], entry]
        self._latest = entry.plan


class CacheEntry:
    """A plan with the conditions under which it holds, and the way from arguments to results.

    Parameters
    ----------
    function : callable
    trace : Trace
        Of a run that has ended.
    in_tree : list
        The structure of the arguments.
    flat_args : list
        Their leaves.
    passes : collection of str, optional
    """

    def __init__(
        self,
        function: Callable[..., Any],
        trace: Trace,
        in_tree: Any,
        flat_args: list[Any],
        passes: Collection[str] | None,
    ) -> None:
        self.in_tree, self.out_tree, self.out_leaves = in_tree, trace.out_tree, trace.out_leaves
        self.specs = [_spec(x) for x in flat_args]
        self.backend, self.recording = current(), mode.recording
        position = {t: n for n, t in enumerate(trace.inputs)}
        for t, v in zip(trace.inputs, trace.arguments, strict=True):
            if v in trace.weak_dtype:  # an array has no gradient outside
                trace.grads.pop(t, None)
        handed_out = {leaf for leaf, _ in trace.grad_outputs}
        self.grads = [(position.get(t, t), access.before) for t, access in trace.grads.items() if access.read_first]
        self.grad_targets = [position.get(t, t) for t, _ in trace.grad_outputs]
        self.hidden = [
            (position.get(t, t), GradientNotMaterialized(describe(t), cleared=t._grad is None))
            for t in trace.grads
            if t not in handed_out
        ]
        self.argument_values = list(enumerate(trace.arguments))
        self.grad_values = [(position.get(t, t), v) for t, v in trace.grad_values]
        program = trace.program()
        self.guards = Guards(function, fixed((list, *in_tree)), trace.modules, program)
        states = dict.fromkeys([v.leaf for v in program.states() if v.leaf is not None] + list(program.stores))
        self.leaves = [(leaf, leaf.data, leaf.requires_grad) for leaf in states]
        self.plan = Plan(program, passes)
        self.assigned = list(program.stores)
        arrays = self.plan.replay.arrays
        self.copy_in = [(n, arrays[v]) for n, v in self.argument_values if v in arrays]
        self.grads_in = [(target, arrays[v]) for target, v in self.grad_values if v in arrays]
        outputs = [arrays[v] for v in self.plan.program.outputs]
        count = len(outputs) - len(self.grad_targets)
        self.results, self.grad_results = outputs[:count], outputs[count:]
        self.latest: list[Tensor] = []

    def matches(self, in_tree: Any, flat_args: list[Any]) -> bool:
        """Whether the plan computes what the function would now."""
        if in_tree != self.in_tree or mode.recording is not self.recording or current() is not self.backend:
            return False
        for x, spec in zip(flat_args, self.specs, strict=True):
            if x.__class__ is Tensor:
                if (x.data.shape, x.data.dtype, x.backend, x.requires_grad) != spec:
                    return False
            elif (x.shape, x.dtype, x.__class__) != spec:
                return False
        for leaf, data, requires_grad in self.leaves:
            if leaf.data is not data or leaf.requires_grad is not requires_grad:
                return False
        return self.guards.check() and all(
            _same_grad(_at(target, flat_args)._grad, before) for target, before in self.grads
        )

    def computed(self, flat_args: list[Any]) -> tuple[list[np.ndarray], dict[Tensor, np.ndarray]]:
        """Return on the host what the function returns and assigns, computed as it was recorded."""
        program = self.plan.traced
        arrays = [_array_of(flat_args[n], program.backend, v.dtype) for n, v in self.argument_values]
        arrays += [cast(Tensor, _at(target, flat_args)._grad).data for target, _ in self.grad_values]
        outputs, stores = program.evaluate(arrays)
        return outputs[: len(self.results)], stores

    def replay(self, flat_args: list[Any]) -> Any:
        """Compute the results for these arguments."""
        backend = self.plan.program.backend
        copyto = backend.xp.copyto
        for position, array in self.copy_in:
            copyto(array, _array_of(flat_args[position], backend, array.dtype))
        for target, array in self.grads_in:
            copyto(array, cast(Tensor, _at(target, flat_args)._grad).data)
        self.plan.replay.run()
        now = next_index()
        for leaf in self.assigned:
            leaf.modified = now
        for target, array in zip(self.grad_targets, self.grad_results, strict=True):
            _at(target, flat_args)._grad = Tensor(array.copy(), backend)
        for target, inside in self.hidden:
            _at(target, flat_args)._grad = inside
        self.latest = [Tensor(array.copy(), backend) for array in self.results]
        leaves = (self.latest[x.number] if x.__class__ is Output else x for x in self.out_leaves)
        return unflatten(self.out_tree, leaves)


def _at(target: Tensor | int, flat_args: list[Any]) -> Tensor:
    """Return a leaf, or the tensor at a position among the arguments."""
    return target if target.__class__ is Tensor else flat_args[target]  # type: ignore[index]


def _array_of(x: Any, backend: Backend, dtype: np.dtype[Any]) -> Any:
    """Return the array of an argument, on the backend of the plan."""
    if isinstance(x, Tensor):
        return x.data
    return x if isinstance(x, backend.array_type) else backend.asarray(np.asarray(x, dtype))


def _same_grad(grad: Tensor | GraphError | None, before: Tensor | GraphError | None) -> bool:
    """Whether a function that reads a gradient first finds it as it did when it was recorded: there, or not."""
    if isinstance(before, Tensor):
        return isinstance(grad, Tensor)
    return grad is None or (isinstance(grad, GradientNotMaterialized) and grad.cleared)


def _spec(x: Any) -> Any:
    """Return what must be the same of an argument for a plan to fit."""
    if isinstance(x, Tensor):
        return x.data.shape, x.data.dtype, x.backend, x.requires_grad
    return x.shape, x.dtype, type(x)


def compile(fn: Callable[..., Any], *, check: bool = False, passes: Collection[str] | None = None) -> Compiled:
    """Return a function that computes what `fn` does by replaying a recording of it.

    The first call with arguments of a new kind runs `fn` once on tensors without content and records every operation,
    gradient and assignment; nothing is computed then. This call and all later ones are replays: they do what was
    recorded, on new arguments and on what parameters, running averages and random keys hold now. It is recorded anew
    when shapes, dtypes, backends, training modes, `requires_grad`, attributes of modules or Python arguments change.

    Parameters
    ----------
    fn : callable
        Takes and returns tensors, arrays and other objects, in nested tuples, lists and dicts. Tensors and arrays
        are inputs; all other arguments, and whatever else `fn` uses, are taken as they are when it is recorded.
    check : bool
        Whether every call also runs `fn` anew, operation by operation, compares results and assignments, and raises
        if they differ by more than rounding; to find what a recording cannot see.
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
