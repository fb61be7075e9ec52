"""Programs as text, run by themselves and compiled, and whether the two tell the same story.

A program is a module of its own: it defines `f`, which is called `CALLS` times, and may define

- `args`, a function from the number of the call to the arguments; without it `f` is given `x`,
- `state`, a function that returns what else is to be compared after every call,
- `undo`, a function that puts back what no other program should find changed, besides the environment, the current
  folder, builtins, `sys.argv`, `sys.path` and the settings in `tinygraph.plan.outside`, which are put back anyway,
- `tell`, a function of the results of all calls, true if they are right: for what no two runs share, such as clocks.

Where it compiles something itself, a decorated method say, it does so by `compiled` and sets ``by_itself = True``.
A change is a text as well, run in the program's namespace between calls, with `k`, 1 or 2, the number of the change.
"""

import asyncio
import builtins
import inspect
import linecache
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np

import tinygraph as tg
from tinygraph.errors import CompileError, GraphError
from tinygraph.plan.outside import SETTINGS

CALLS = 6
CHANGES = {2: 1, 4: 2}  # before call 2 comes change 1: every plan is replayed before it can be stale
PRELUDE = """
import array, asyncio, builtins, collections, contextlib, contextvars, copy, dataclasses, datetime, enum, fractions
import functools, gc, io, itertools, math, operator, os, pickle, queue, random, secrets, sys, threading, time, types
import uuid, weakref
import numpy as np
import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected

x = tg.tensor([1.0, 2.0, -3.0])
"""
TOLERANCE = {2: (4e-3, 1e-3), 4: (2e-5, 1e-6), 8: (1e-9, 1e-12)}  # relative and absolute, by the bytes of a number


@dataclass
class Story:
    """What came of a program: its results, or errors, call by call."""

    results: list = field(default_factory=list)
    plans: list = field(default_factory=list)  # how many there were, call by call
    compiled: list = field(default_factory=list)
    tell: Callable | None = None


def lived(name, source, change="", *, compile_with=None, calls=CALLS, changes=CHANGES):
    """Run a program and return its story; `compile_with` holds options of `tg.compile`, None: it runs by itself."""
    story = Story()

    def compiled(function):
        if compile_with is None:
            return function
        story.compiled.append(tg.compile(function, **compile_with))
        return story.compiled[-1]

    with _module(name, source, compiled) as space:
        steps = _code(change, f"<{name}: change>")
        call = space["f"] if space.get("by_itself") else compiled(space["f"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k in range(calls):
                if k in changes:
                    space["k"] = changes[k]
                    exec(steps, space)
                try:
                    result = call(*space["args"](k))
                    story.results.append((seen(result), seen(space["state"]())))
                except Exception as error:
                    story.results.append(error)
                story.plans.append(sum(len(c.plans) for c in story.compiled if hasattr(c, "plans")))
        story.tell = space["tell"]
    return story


def first_call(source):
    """Call a program's function once, compiled, and return the compiled function."""
    with _module("program", source, tg.compile) as space, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = tg.compile(space["f"])
        function(*space["args"](0))
        return function


@contextmanager
def _module(name, source, compiled):
    """The names of a program, in a module that can be imported as long as this lasts."""
    module = types.ModuleType(f"program_{abs(hash((name, source)))}")
    space = vars(module)
    space.update(compiled=compiled, args=lambda k: (space["x"],), state=lambda: None, tell=None, undo=lambda: None)
    sys.modules[module.__name__] = module
    with _as_before():
        try:
            exec(PRELUDE, space)
            exec(_code(source, f"<{name}>"), space)
            yield space
        finally:
            space["undo"]()
            del sys.modules[module.__name__]
            if hasattr(space.get("file"), "close"):
                space["file"].close()


@contextmanager
def _as_before():
    """A ``with`` block after which the process is set as it was."""
    environment, folder, lists = dict(os.environ), os.getcwd(), [(x, list(x)) for x in (sys.argv, sys.path)]
    names = dict(vars(builtins))
    settings = [(setting, setting.get()) for setting in set(SETTINGS.values())]
    try:
        yield
    finally:
        vars(builtins).update(names)
        for name in set(vars(builtins)) - set(names):
            delattr(builtins, name)
        for x, before in lists:
            x[:] = before
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        for setting, value in settings:
            setting.put(value)


def _code(text, name):
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name  # tracebacks show the line
    return compile(text, name, "exec")


def seen(x):
    """What a caller sees of a result, and no more: numbers copied, generators and coroutines run."""
    if isinstance(x, tg.Tensor):
        return "tensor", np.array(x.numpy())
    if isinstance(x, np.ndarray | np.generic):
        return "array", np.array(x)
    if isinstance(x, bool | int | float | complex | str | bytes | type(None)):
        return type(x).__name__, x
    if inspect.iscoroutine(x):
        return "coroutine", seen(asyncio.run(x))
    if isinstance(x, Mapping):
        return type(x).__name__, [(seen(key), seen(value)) for key, value in x.items()]
    if isinstance(x, Set):
        return type(x).__name__, sorted(map(repr, x))
    if isinstance(x, Sequence | Iterator | types.MappingProxyType):
        return type(x).__name__, [seen(item) for item in x]
    if is_dataclass(x) and not isinstance(x, type):
        return type(x).__name__, [seen(getattr(x, f.name)) for f in fields(x)]
    return type(x).__name__, None


def same(a, b):
    """Whether two results look alike, numbers up to rounding."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind in "fc":
            relative, absolute = TOLERANCE[min(a.dtype.itemsize, 8)]
            with np.errstate(all="ignore"):
                return np.allclose(a, b, relative, absolute, equal_nan=True)
        return np.array_equal(a, b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, 1e-5, 1e-6, equal_nan=True))
    return type(a) is type(b) and a == b


def verdict(plain, compiled):
    """What came of the compiled run beside the plain one: "equal", "recorded anew", "raised", or "wrong: why"."""
    for k, (expected, got) in enumerate(zip(plain.results, compiled.results, strict=True)):
        text = str(got)
        kept = (
            isinstance(got, GraphError) and "stayed inside a compiled function" in text
        )  # a gradient that is asked for
        if (isinstance(got, CompileError) or kept) and not isinstance(expected, CompileError):
            return "raised" if "\n" not in text and len(text) > 20 else f"wrong: an error that says nothing: {text!r}"
        if isinstance(expected, Exception) or isinstance(got, Exception):
            if type(expected) is not type(got):
                return f"wrong: call {k}: by itself {_short(expected)}, compiled {_short(got)}"
        elif plain.tell is None and not same(expected, got):
            return f"wrong: call {k}: by itself {_short(expected)}, compiled {_short(got)}"
    if plain.tell is not None:
        assert plain.tell([r[0] for r in plain.results]), "the program does not do what it says"
        if not plain.tell([r[0] for r in compiled.results]):
            return f"wrong: {_short(compiled.results)}"
    first = compiled.plans[0] if compiled.plans else 0
    return "recorded anew" if compiled.plans[-1] > first else "equal"


def _short(x):
    return (f"{type(x).__name__}: {x}" if isinstance(x, Exception) else repr(x)).replace("\n", " ")[:300]
