"""`compile`: a function that works on tensors, recorded once and replayed as a plan."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial, update_wrapper
from types import MethodType
from typing import Any, Generic, Literal, Self, TypeVar, overload
from weakref import WeakSet

import numpy as np

from ..backend.random import seeding
from ..errors import ArgumentError, GraphError
from ..mode import mode
from ..ops.random import reseed_streams
from .arguments import Arguments
from .cache import Cache
from .comparison import compared
from .entry import REFUSED, CacheEntry
from .guards import Unguarded
from .number_inputs import NumberInput, may_be_input
from .passes import NAMES
from .plan import Plan
from .trace import Trace
from .trees import LEAF

R = TypeVar("R")  # what a function returns; where it says that it takes a tensor, it is called on arrays as well
Check = bool | Literal["spot"]
NEW_VALUES = 3  # after which a number among the arguments is made an input
RECORDED_OFTEN = 8  # calls in a row that make a new plan, after which there is a warning


_all: WeakSet[Compiled[Any]] = WeakSet()


def _unlock() -> None:
    """Give every compiled function a new lock: in a child process nobody is left to release the old one."""
    for compiled in list(_all):
        compiled._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class Compiled(Unguarded, Generic[R]):
    """A compiled function; made by `compile`.

    Attributes
    ----------
    plan : Plan
        What the latest call ran: print it, draw it.
    plans : list of Plan
        One for each kind of arguments and state.
    """

    def __init__(
        self,
        function: Callable[..., R],
        check: Check = False,
        passes: Collection[str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        update_wrapper(self, function)
        self.function, self.check, self.passes, self.max_bytes = function, check, passes, max_bytes
        self._latest: Plan | None = None
        self._cache = Cache(max_bytes)
        self._no_inputs: set[int] = set()  # numbers, by position, with which the function does more than arithmetic
        self._warned = False
        self._lock = threading.RLock()
        self._generation = -1  # of the seed of random masks, as last seen
        _all.add(self)

    def __reduce__(self) -> str | tuple[object, ...]:
        """Return what a copy is made of, in this process or another: the function and how it is compiled, no plans.

        A compiled function that its module knows by its name, such as a decorated one, is sent as that name.
        """
        name = str(getattr(self, "__qualname__", ""))
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Compiled, (self.function, self.check, self.passes, self.max_bytes))

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Self | Callable[..., R]:
        """Return the compiled function as a method of `instance`."""
        return self if instance is None else MethodType(self, instance)

    @property
    def plans(self) -> list[Plan]:
        """The plans that are kept, in the order in which they were made."""
        return [entry.plan for entry in self._cache]

    @property
    def plan(self) -> Plan:
        """The plan of the latest call."""
        if self._latest is None:
            raise GraphError("plan: the compiled function has not been called yet; call it once with real arguments")
        return self._latest

    def __call__(self, *args: object, **kwargs: object) -> R:
        """Return what the function returns, computed by a plan if one fits, recorded otherwise."""
        if mode.watchers:  # in another one, or every operation is watched
            return self.function(*args, **kwargs)
        with self._lock:
            if seeding.generation != self._generation:
                reseed_streams()
                self._generation = seeding.generation
            if not (kwargs or self.check):
                for often in self._cache.often:
                    result = often.usual(args)
                    if result is not REFUSED:
                        if often.plan is not self._latest:
                            self._latest = often.plan
                            self._cache.use(often)
                        return result  # type: ignore[no-any-return]
            arguments = Arguments.of(args, kwargs)
            entry = self._cache.find(arguments)
            if entry is None:
                entry = self._record(arguments)
            self._latest = entry.plan
            if (self.check or entry.unseen) and self._is_checked(entry):
                return compared(entry, self.function, arguments)  # type: ignore[no-any-return]
            return entry.replay(arguments)  # type: ignore[no-any-return]

    def _is_checked(self, entry: CacheEntry) -> bool:
        """Whether this call of a plan is compared with the function itself: all, or the 2nd, 4th, 8th, ..."""
        entry.calls += 1
        return self.check is True or (entry.calls > 1 and entry.calls & (entry.calls - 1) == 0)

    def _record(self, arguments: Arguments) -> CacheEntry:
        """Record the function as a plan for such arguments."""
        alike = self._cache.alike(arguments)
        numbers = self._changing_numbers(arguments, alike)
        entry = self._recorded_with(numbers, arguments) if numbers else self._recorded(arguments)
        recent = alike[1 - RECORDED_OFTEN :]
        if len(recent) == RECORDED_OFTEN - 1 and not any(e.uses for e in recent):
            self._warn_once(
                f"was recorded anew at each of its last {RECORDED_OFTEN} calls, which takes longer than running it: "
                "a Python value that it uses, or a tensor that it assigns, is another one each time; make a number a "
                "tensor, and let it be the same tensor at every call"
            )
        self._cache.add(entry)
        return entry

    def _recorded(self, arguments: Arguments, numbers: Mapping[int, NumberInput] | None = None) -> CacheEntry:
        """Record the function, anew if an argument turns out to be a leaf that it reaches or changes."""
        bound: set[int] = set()
        while True:
            trace = Trace()
            try:
                trace.run(self.function, arguments, bound, numbers)
                if not trace.bind - bound:
                    opened = numbers or ()
                    return CacheEntry(self.function, trace, arguments, bound, opened, self.passes, self._cache.arenas)
                bound |= trace.bind
            finally:
                trace.undo()

    def _changing_numbers(self, arguments: Arguments, alike: list[CacheEntry]) -> list[int]:
        """Return the positions of the numbers among the arguments that have had several values."""
        tree = arguments.tree
        places = [n for n, part in enumerate(tree.parts) if tree.tokens[n] is not LEAF and may_be_input(part)]
        same = [
            tokens for tokens in (e.tokens for e in alike) if _masked(tokens, places) == _masked(tree.tokens, places)
        ]
        values = {n: {tokens[n] for tokens in (*same, tree.tokens)} for n in places}
        return [n for n in places if len(values[n]) >= NEW_VALUES and n not in self._no_inputs]

    def _recorded_with(self, places: list[int], arguments: Arguments) -> CacheEntry:
        """Record the function with numbers as inputs where it allows that, and with their values elsewhere."""
        plain = self._recorded(arguments)
        paths = arguments.tree.paths(arguments.names(self.function))
        while places:
            refusals: list[str] = []
            numbers = {n: NumberInput(paths[n], partial(_number_at, n), refusals) for n in places}
            try:
                entry = self._recorded(arguments, numbers)
                if not refusals and entry.does_what(plain, arguments):
                    return entry
            except Exception:  # whatever the function raises where it finds no number
                pass
            refused = [n for n in places if paths[n] in refusals] or places
            self._no_inputs.update(refused)
            floats = [n for n in refused if isinstance(arguments.tree.parts[n], float | np.floating)]
            if floats:
                self._warn_once(
                    f"is recorded anew for each value of the number {paths[floats[0]]!r}, since it does more with it "
                    "than arithmetic with tensors and numbers; pass a tensor, or an array with an axis, if it changes "
                    "at every call"
                )
            places = [n for n in places if n not in refused]
        return plain

    def _warn_once(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            warnings.warn(f"compile: {name} {text}", RuntimeWarning, stacklevel=5)


def _number_at(n: int, numbers: Mapping[int, object]) -> object:
    return numbers[n]


def _masked(tokens: list[Any], places: list[int]) -> list[object]:
    """Return the tokens without the values of the numbers at these places."""
    tokens = tokens.copy()
    for n in places:
        if n < len(tokens) and tokens[n] is not LEAF:
            tokens[n] = tokens[n][0]
    return tokens


def compile(
    fn: Callable[..., R],
    *,
    check: Check = False,
    passes: Collection[str] | None = None,
    max_bytes: int | None = None,
) -> Compiled[R]:
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
    check : bool or "spot"
        Whether every call also runs `fn` itself, with everything put back afterwards, and raises if results,
        assignments or gradients differ by more than rounding; "spot": the 2nd, 4th, 8th, ... call of each plan.
        Where a recording runs code whose reads cannot be seen, spot checks are made in any case.
    passes : collection of str, optional
        The names of the passes to use, of `tinygraph.plan.NAMES`; by default all. Speed depends on it, results do
        not.

    max_bytes : int, optional
        What all plans together may take, by default a quarter of the memory there is; those that have not been used
        for longest go first.

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
    if check not in (False, True, "spot"):
        raise ArgumentError(f'compile: check must be False, True or "spot", got {check!r}')
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 0):
        raise ArgumentError(f"compile: max_bytes must be a whole number, 0 or more, got {max_bytes!r}")
    return Compiled(fn, check, passes, max_bytes)
