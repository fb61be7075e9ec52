"""Places that a function may read: what is there, whether it is the same as before, and how it is put back."""

from __future__ import annotations

import collections
import contextvars
import functools
import types
from dataclasses import dataclass
from typing import Any

import numpy as np

from .generators import GENERATORS, set_state
from .outside import Setting

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()


@dataclass(slots=True, eq=False)
class Read:
    """A place that a function may read, and what was there before the function ran.

    Attributes
    ----------
    kind : {"item", "class", "attribute", "cell", "members", "content", "state"}
        "item": of a namespace; "class": of the namespace of a class; "members": all of a container; "content": of an
        array or buffer; "state": what the function `key` gives.
    holder : object
        What holds it.
    key : str or callable or None
    value : object
        `MISSING` where there was nothing.
    name : str
        What an error calls it.
    """

    kind: str
    holder: Any
    key: Any
    value: Any
    name: str

    def now(self) -> object:
        """Return what is there now."""
        if self.kind == "item":
            return self.holder.get(self.key, MISSING)
        if self.kind == "class":
            return vars(self.holder).get(self.key, MISSING)
        if self.kind == "attribute":
            return getattr(self.holder, self.key, MISSING)
        if self.kind == "cell":
            return cell_value(self.holder)
        if self.kind == "members":
            return members(self.holder)
        if self.kind == "content":
            return content(self.holder)
        return self.key(self.holder)

    def changed(self) -> bool:
        """Whether it is no longer what it was."""
        return not self.alike(self.now(), self.value)

    def alike(self, a: object, b: object) -> bool:
        """Whether it makes no difference which of two values is there."""
        if self.kind == "content" and isinstance(a, np.ndarray | np.void) and isinstance(b, type(a)):
            return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())
        return same(a, b)

    def restore(self) -> None:
        """Put back what was there, as far as this is possible."""
        holder, key, value = self.holder, self.key, self.value
        if self.kind == "item":
            if value is MISSING:
                holder.pop(key, None)
            else:
                holder[key] = value
        elif self.kind in ("class", "attribute"):
            if value is MISSING:
                delattr(holder, key)
            else:
                setattr(holder, key, value)
        elif self.kind == "cell" and value is not MISSING:
            holder.cell_contents = value
        elif self.kind == "members":
            _refill(holder, value)
        elif self.kind == "content" and isinstance(holder, np.ndarray) and holder.shape == value.shape:
            holder[...] = value
        elif self.kind == "content" and isinstance(holder, np.void):
            for field in holder.dtype.names or ():
                holder[field] = value[field]
        elif isinstance(holder, contextvars.ContextVar):
            holder.set(value)
        elif isinstance(holder, Setting):
            holder.put(value)
        elif isinstance(holder, functools._lru_cache_wrapper):
            holder.cache_clear()
        elif isinstance(holder, GENERATORS):
            set_state(holder, value)


def same(a: Any, b: Any) -> bool:
    """Whether two values are one object, or numbers, texts or tuples that cannot be told apart."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is float:
        return bool(a.hex() == b.hex())
    if kind in (int, bool, str, bytes, np.dtype):
        return bool(a == b)
    if kind is complex:
        return repr(a) == repr(b)
    if kind in (tuple, frozenset):  # a frozenset has an order too, in which it is gone through
        return len(a) == len(b) and all(map(same, a, b))
    if kind is types.MethodType:
        return a.__func__ is b.__func__ and a.__self__ is b.__self__
    if isinstance(a, np.generic) and not isinstance(a, np.void):  # which can be written to
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return False


def is_only_itself(x: object) -> bool:
    """Whether nothing else is the `same` as an object."""
    kinds = (float, int, str, bytes, complex, tuple, frozenset, np.dtype, np.generic, types.MethodType)
    return not isinstance(x, kinds) or isinstance(x, bool)


def cell_value(cell: types.CellType) -> object:
    """Return what a cell holds."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def members(x: Any) -> tuple[object, ...]:
    """Return what is in a container, in its order, of dicts keys and values."""
    if isinstance(x, dict | types.MappingProxyType):
        if isinstance(x, dict) and not isinstance(x, collections.OrderedDict):  # which has an order of its own
            return (*dict.keys(x), *dict.values(x))
        return (*x.keys(), *x.values())
    return tuple(list.__iter__(x)) if isinstance(x, list) else tuple(x)


def content(x: Any) -> object:
    """Return a copy of what is in an array or a buffer."""
    if isinstance(x, np.void):
        return x.copy()
    return np.array(x, subok=False) if isinstance(x, np.ndarray) else bytes(x)


def _refill(x: object, old: tuple[object, ...]) -> None:
    if isinstance(x, dict):
        half = len(old) // 2
        dict.clear(x)
        dict.update(x, zip(old[:half], old[half:], strict=True))
    elif isinstance(x, set):
        x.clear()
        x.update(old)
    elif isinstance(x, list):
        list.__setitem__(x, slice(None), old)
    elif isinstance(x, collections.deque):
        x.clear()
        x.extend(old)
