"""What the layers below `nn` know of modules: the calls in which tensors are made, and that they hold tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """What holds tensors under names, as a module does."""

    def named_tensors(self) -> Iterator[tuple[str, Any]]:
        """Yield parameters and other state with their dotted paths; a shared tensor once."""
        ...


@dataclass(slots=True, eq=False)
class Scope:
    """One call of a module; the tensors made during the call carry it."""

    module: object
    """What was called."""
    path: str
    """The names of the modules from the outermost inwards, joined by dots; "" for one that is no part of another."""
    kind: str
    """The class of the module."""
    parent: Scope | None
    """The call during which this one happened; None for the outermost."""
    call: int
    """1 for the first call of this module during the outermost call, 2 for the second, ..."""
    calls: dict[object, int]
    """How many times each module has been called during the outermost call."""
