"""What a function can reach besides its arguments, read off its code: whether running it once tells all its runs."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..op import Op
from .program import is_ours

FIXED = (bool, int, float, complex, str, bytes, type(None), type(...), np.dtype, np.generic, np.ufunc)
MODULES = ("builtins", "math", "numpy")  # whose functions give the same for the same, but for `numpy.random`
WRITES = ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "IMPORT_NAME")  # instructions that change, or fetch, something
LOOSE = {"random", "__setattr__", "setattr", "vars", "globals", "eval", "exec", "open", "input", "id"}


def instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """Yield the instructions of a code and of what is defined in it."""
    yield from dis.get_instructions(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from instructions(inner)


def globals_of(function: FunctionType) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield the namespace, the name and the value of every global name that a function's code reads."""
    space = function.__globals__
    yield from ((space, name, space[name]) for name in _global_names(function.__code__) if name in space)


@lru_cache(maxsize=256)
def _global_names(code: CodeType) -> list[str]:
    return sorted({i.argval for i in instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")})


def cells_of(function: FunctionType) -> Iterator[tuple[CellType, str, Any]]:
    """Yield the variables of enclosing functions that a function uses, with their names and values."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield cell, name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def is_pure(op: Op) -> bool:
    """Whether `forward` depends on its arrays and on what never changes, and changes nothing."""
    return is_ours(type(op)) or reached(op) is not None


def reached(op: Op) -> list[FunctionType] | None:
    """Return the functions that `forward` of a user's operation may run, itself included.

    None if it may reach what changes, or is not sure not to: a generator, a list, an object, a write.
    """
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
                    return None
                if isinstance(function, FunctionType):
                    names += [i.argval for i in instructions(function.__code__) if isinstance(i.argval, str)]
    return functions if all(_is_fixed(x, functions) for x in vars(op).values()) else None


def _is_fixed(x: Any, functions: list[FunctionType]) -> bool:
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
    values = [value for _, _, value in globals_of(x)] + [value for _, _, value in cells_of(x)]
    values += [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
    return all(_is_fixed(value, functions) for value in values)
