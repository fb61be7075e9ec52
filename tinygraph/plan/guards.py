"""What a plan takes for granted: the objects around a function are those there were when it was recorded."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import CellType, FunctionType, ModuleType
from typing import Any

from ..tensor import Tensor, structure

NUMBERS = (int, float, complex, str, bytes, type(None))
LONGEST = 1000  # members of a list that is watched; looking through longer ones would take longer than a step


class Unwatched:
    """An object that is taken as it is: what it holds changes on purpose."""


class Surroundings:
    """What a function refers to without being given it: globals, closure, attributes of objects, modules.

    Names must stand for the same objects as before. Of objects that are no modules, attributes that are numbers or
    texts may change: a plan takes them as they were.

    Parameters
    ----------
    function : callable
    arguments : iterable
        What it was called with that is neither a tensor nor an array.
    modules : iterable of Module
        What was called during the run; all their attributes must be as before.
    """

    def __init__(self, function: Callable[..., Any], arguments: Iterable[Any], modules: Iterable[Any]) -> None:
        plain: Any = getattr(inspect.unwrap(function), "__func__", inspect.unwrap(function))
        self.names = list(_globals(plain))
        self.cells = list(_cells(plain))
        values = [value for _, _, value in self.names] + [value for _, value in self.cells]
        holders = [*arguments, getattr(function, "__self__", None), *values]
        self.names += [entry for x in _different(holders) for entry in _attributes(x)]
        self.modules = [(vars(m), tuple(vars(m).values())) for m in modules]
        held = [x for _, items in self.modules for x in items] + values
        lists = [x for x in _different(held) if isinstance(x, list | dict) and len(x) <= LONGEST]
        self.members = [(x, _items(x)) for x in lists]
        self.changes = structure.changes

    def hold(self) -> bool:
        """Whether all is as it was."""
        for space, name, value in self.names:
            if space.get(name) is not value:
                return False
        for cell, value in self.cells:
            if cell.cell_contents is not value:
                return False
        for members, items in self.members:
            if len(members) != len(items) or not all(map(is_, _items(members), items)):
                return False
        if structure.changes != self.changes:
            for attributes, items in self.modules:
                if len(attributes) != len(items) or not all(map(is_, attributes.values(), items)):
                    return False
            self.changes = structure.changes
        return True


def _globals(function: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield the namespace, the name and the value of every global name in a function's code."""
    if isinstance(function, FunctionType):
        space = function.__globals__
        read = {i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}
        named = ((name, space[name]) for name in sorted(read) if name in space)
        yield from ((space, name, value) for name, value in named if not isinstance(value, ModuleType | type))


def _cells(function: Any) -> Iterator[tuple[CellType, Any]]:
    """Yield the variables of enclosing functions that a function uses, with their values."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _attributes(x: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield the attributes of an object that is neither a number nor a module of a network, numbers left out."""
    if (
        not isinstance(x, (*NUMBERS, type, ModuleType, FunctionType, Tensor, Unwatched))
        and hasattr(x, "__dict__")
        and not hasattr(x, "named_tensors")
    ):
        yield from ((vars(x), name, value) for name, value in vars(x).items() if not isinstance(value, NUMBERS))


def _items(members: list[Any] | dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(members.values()) if isinstance(members, dict) else tuple(members)


def _different(objects: Iterable[Any]) -> list[Any]:
    """Return the objects, each once."""
    return list({id(x): x for x in objects}.values())
