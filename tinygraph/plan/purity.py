"""What a function can reach besides its arguments, read off its code: whether running it once tells all its runs."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

import numpy as np

from ..op import Op
from .bytecode import codes, names_of
from .places import MISSING, cell_value
from .program import is_ours

FIXED = (bool, int, float, complex, str, bytes, type(None), type(...), np.dtype, np.generic, np.ufunc)
MODULES = ("builtins", "math", "numpy")  # whose functions give the same for the same, but for `numpy.random`
WRITES = ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "IMPORT_NAME")  # instructions that change, or fetch, something
LOOSE = {"random", "__setattr__", "setattr", "vars", "globals", "eval", "exec", "open", "input", "id"}


def instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """Yield the instructions of a code and of what is defined in it."""
    for one in codes(code):
        yield from dis.get_instructions(one)


def outer_values(function: FunctionType) -> Iterator[object]:
    """Yield what a function's code refers to by name: globals, and variables of enclosing functions."""
    space = function.__globals__
    for name in names_of(function.__code__, function.__module__ or "").variables:
        if name in space:
            yield space[name]
    for cell in function.__closure__ or ():
        value = cell_value(cell)
        if value is not MISSING:
            yield value


def is_pure(op: Op) -> bool:
    """Whether `forward` depends on its arrays and on what never changes, and changes nothing.

    Not so if it may reach what changes, or is not sure not to: a generator, a list, an object, a write.
    """
    if is_ours(type(op)):
        return True
    classes = [vars(c) for c in type(op).__mro__ if not is_ours(c)]
    functions: list[FunctionType] = []
    names, seen = ["forward"], {"backward"}
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            for member in (space[name] for space in classes if name in space):
                function = getattr(member, "fget", getattr(member, "__func__", member))
                if not _is_fixed(function, functions):
                    return False
                if isinstance(function, FunctionType):
                    names += [i.argval for i in instructions(function.__code__) if isinstance(i.argval, str)]
    return all(_is_fixed(x, functions) for x in vars(op).values())


def _is_fixed(x: object, functions: list[FunctionType]) -> bool:
    """Whether an object never changes, and calling it changes nothing; note the functions among them."""
    if isinstance(x, tuple | frozenset):
        return all(_is_fixed(item, functions) for item in x)
    if isinstance(x, ModuleType):
        return x.__name__ in MODULES
    if isinstance(x, type):
        return x.__module__ in MODULES or issubclass(x, Op)
    if isinstance(x, BuiltinFunctionType):
        return getattr(x.__self__, "__name__", "") in MODULES and x.__name__ not in LOOSE
    if not isinstance(x, FunctionType):
        return isinstance(x, FIXED)
    if x in functions:
        return True
    functions.append(x)
    outer = x.__code__.co_freevars
    for i in instructions(x.__code__):
        if i.opname in WRITES or i.argval in LOOSE or (i.opname == "STORE_DEREF" and i.argval in outer):
            return False
    values = [*outer_values(x), *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
    return all(_is_fixed(value, functions) for value in values)
