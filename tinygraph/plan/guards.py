"""What a plan takes for granted: the objects around a function are those there were when it was recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

from .. import structure
from ..structure import Stateful
from ..tensors import Tensor
from .program import Program, is_ours
from .purity import cells_of, globals_of, reached

NUMBERS = (int, float, complex, str, bytes, type(None))
LONGEST = 1000  # members of a list that is watched; looking through longer ones would take longer than a step


class Unguarded:
    """An object that is taken as it is: what it holds changes on purpose."""


class Guards:
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
    program : Program
        What was recorded: the code of operations of the user's own refers to things as well.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Iterable[Any], modules: Iterable[Any], program: Program
    ) -> None:
        inner = inspect.unwrap(function)
        own = [f for i in program.instructions if not is_ours(type(i.op)) for f in reached(i.op) or ()]
        functions = [f for f in dict.fromkeys((getattr(inner, "__func__", inner), *own)) if isinstance(f, FunctionType)]
        self.names = [
            entry for f in functions for entry in globals_of(f) if not isinstance(entry[2], ModuleType | type)
        ]
        self.cells = [entry for f in functions for entry in cells_of(f)]
        values = [value for _, _, value in (*self.names, *self.cells)]
        holders = [*arguments, getattr(function, "__self__", None), *values]
        self.names += [entry for x in _different(holders) for entry in _attributes(x)]
        self.modules = [(vars(m), tuple(vars(m).values())) for m in modules]
        held = [x for _, items in self.modules for x in items] + values
        lists = [x for x in _different(held) if isinstance(x, list | dict) and len(x) <= LONGEST]
        self.members = [(x, _items(x)) for x in lists]
        self.changes = structure.changes

    def check(self) -> bool:
        """Return whether all is as it was."""
        for space, name, value in self.names:
            if space.get(name) is not value:
                return False
        for cell, _, value in self.cells:
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


def _attributes(x: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield the attributes of an object that is neither a number nor a module of a network, numbers left out."""
    if not isinstance(x, (*NUMBERS, type, ModuleType, FunctionType, Tensor, Unguarded, Stateful)) and hasattr(
        x, "__dict__"
    ):
        yield from ((vars(x), name, value) for name, value in vars(x).items() if not isinstance(value, NUMBERS))


def _items(members: list[Any] | dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(members.values()) if isinstance(members, dict) else tuple(members)


def _different(objects: Iterable[Any]) -> list[Any]:
    """Return the objects, each once."""
    return list({id(x): x for x in objects}.values())
