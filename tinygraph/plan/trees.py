"""Arguments and results as trees, written as a flat list of tokens: nothing recurses, however deep they are.

Tensors and arrays are leaves. Lists, tuples, dicts, deques, dataclasses and simple namespaces branch, with the
attributes of their subclasses. All else is fixed, and told apart by its value where that cannot change or is cheap to
copy, by its identity otherwise: what such an object holds is watched as everything else that a function reaches.
"""

from __future__ import annotations

import copyreg
import dataclasses
import dis
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, NoneType, SimpleNamespace
from typing import Any, cast

import numpy as np

from ..backend import current
from ..errors import ArgumentError
from ..op import Op
from ..tensors import Tensor
from .program import is_ours

LEAF = None  # the token of a tensor or an array
PLAIN = (int, str, bool, bytes, NoneType)  # types of which equal objects are the same
WRITTEN = (Fraction, Decimal, date, datetime, time, timedelta)  # types of which objects of one text are the same
BUFFERS = (bytearray, array, memoryview)
CONTAINERS = (list, tuple, dict, deque)
MUTABLE = (set, bytearray, array)  # which do not branch


class Same:
    """Compares equal if it holds the very same object."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


def key_of(x: Any) -> Hashable:
    """Return what is equal for objects that are the same to a function: the type, with the value or the identity."""
    kind = type(x)
    if kind in PLAIN:
        return kind, x
    if kind is float:
        return kind, x.hex()  # 0.0 is equal to -0.0, and NaN to nothing
    if kind is complex:
        return kind, x.real.hex(), x.imag.hex()
    if isinstance(x, np.generic | np.ndarray):
        return (kind, Same(x)) if x.dtype.hasobject else (kind, x.dtype.str, x.shape, x.tobytes())
    if kind in (tuple, set, frozenset):
        return kind, *map(key_of, x)
    if kind in (range, slice):
        return kind, key_of(x.start), key_of(x.stop), key_of(x.step)
    if kind in BUFFERS:
        return kind, getattr(x, "typecode", ""), bytes(x)
    if kind in WRITTEN:
        return kind, repr(x)
    if kind is MethodType:
        return kind, Same(x.__self__), Same(x.__func__)
    if kind is BuiltinFunctionType:
        return kind, Same(x.__self__), x.__name__
    return kind, Same(x)


def is_told_by_identity(token: Any, x: object) -> bool:
    """Whether an object has this token, and has it as long as it is of the same type."""
    return token[0] is type(x) and (type(x) in (*PLAIN, float, complex) or token == (type(x), Same(x)))


class Branch:
    """How an object is made of its branches.

    Parameters
    ----------
    x : object

    Attributes
    ----------
    origin : object
        That object, as long as it is needed.
    """

    __slots__ = ("attributes", "extra", "items", "keys", "kind", "origin")

    def __init__(self, x: object) -> None:
        kind = self.kind = type(x)
        self.origin: Any = x
        self.keys = tuple(x) if isinstance(x, dict) else None
        self.items = len(x) if isinstance(x, CONTAINERS) else 0
        self.attributes: tuple[str, ...] = ()
        self.extra = x.maxlen if isinstance(x, deque) else x.default_factory if isinstance(x, defaultdict) else None
        if kind not in CONTAINERS:
            slots = [name for name in copyreg._slotnames(kind) if hasattr(x, name)]  # type: ignore[attr-defined]
            self.attributes = (*slots, *getattr(x, "__dict__", ()))

    @property
    def size(self) -> int:
        """The number of branches."""
        return self.items + len(self.attributes)

    def of(self, x: object) -> list[object]:
        """Return the branches of the object: its elements, then its attributes."""
        elements = x.values() if isinstance(x, dict) else x if isinstance(x, CONTAINERS) else ()
        return [*elements, *(getattr(x, name) for name in self.attributes)]

    def token(self) -> Hashable:
        """Return what is equal for objects that differ in their branches only."""
        keys = None if self.keys is None else tuple(map(key_of, self.keys))
        return self.kind, self.items, keys, self.attributes, key_of(self.extra)

    def made_of(self, branches: list[object]) -> object:
        """Return such an object with other branches."""
        kind, items = self.kind, branches[: self.items]
        if kind is list:
            return items
        x: Any
        if issubclass(kind, tuple):
            x = tuple.__new__(kind, items)
        else:
            new: Any = kind.__new__
            x = new(kind)
            if issubclass(kind, list):
                list.extend(x, items)
            elif issubclass(kind, deque):
                deque.__init__(x, items, cast(Any, self.extra))
            elif issubclass(kind, dict):
                if issubclass(kind, defaultdict):
                    x.default_factory = self.extra
                put = OrderedDict.__setitem__ if issubclass(kind, OrderedDict) else dict.__setitem__
                for key, item in zip(self.keys or (), items, strict=True):
                    put(x, key, item)
        for name, value in zip(self.attributes, branches[self.items :], strict=True):
            object.__setattr__(x, name, value)
        return x

    def names(self, path: str) -> Iterator[str]:
        """Yield how the branches are reached from `path`: ``batch[0]``, ``views.left``."""
        fields = getattr(self.kind, "_fields", None)
        for n in range(self.items):
            if self.keys is not None:
                yield f"{path}[{self.keys[n]!r}]"
            else:
                yield f"{path}[{n}]" if fields is None else f"{path}.{fields[n]}"
        yield from (f"{path}.{name}" for name in self.attributes)


def branches(x: Any) -> bool:
    """Whether an object is looked into, and made anew around stand-ins for the leaves in it."""
    kind = type(x)
    if kind in CONTAINERS:
        return True
    if is_ours(kind) or isinstance(x, Op) or hasattr(kind, "named_tensors"):
        return False
    return isinstance(x, (*CONTAINERS, SimpleNamespace)) or (dataclasses.is_dataclass(x) and not isinstance(x, type))


def keeps_state(x: object) -> bool:
    """Whether an object is a function with variables of an enclosing one that it may change."""
    if not isinstance(x, FunctionType) or not x.__closure__:
        return False
    inside = (cell.cell_contents for cell in x.__closure__ if cell != CellType())
    outer = x.__code__.co_freevars
    sets = any(i.opname == "STORE_DEREF" and i.argval in outer for i in dis.get_instructions(x.__code__))
    return sets or any(isinstance(held, (list, dict, deque, *MUTABLE)) for held in inside)


def tells_identity(kind: type) -> bool:
    """Whether objects that branch are equal only to themselves, so that they may be looked for in a list or dict."""
    return dataclasses.is_dataclass(kind) and kind.__eq__ is object.__eq__


class Tree:
    """Arguments or results.

    Attributes
    ----------
    tokens : list
        One for each object in it, outer before inner; equal for trees that differ in leaves only.
    parts : list
        Beside each token the `Branch`, or the fixed object.
    leaves : list
        The tensors and arrays, in order.
    """

    __slots__ = ("leaves", "parts", "tokens")

    def __init__(self, roots: Sequence[object]) -> None:
        self.leaves: list[Any] = [x for x in roots if type(x) is Tensor or (type(x) is np.ndarray and x.ndim)]
        if len(self.leaves) == len(roots):  # the usual call
            self.tokens: list[Any] = [LEAF] * len(roots)
            self.parts: list[Any] = [None] * len(roots)
        else:
            self._look_into(roots)

    def _look_into(self, roots: Sequence[object]) -> None:
        self.tokens = []
        self.parts = []
        self.leaves = []
        inside: list[tuple[int, Iterator[Any]]] = [(0, iter(roots))]  # the objects looked into at the moment
        within: set[int] = set()
        while inside:
            for x in inside[-1][1]:
                kind = type(x)
                if kind is Tensor or (kind is np.ndarray and x.ndim) or _is_array(x):
                    self.tokens.append(LEAF)
                    self.parts.append(None)
                    self.leaves.append(x)
                elif kind in PLAIN or not branches(x):
                    self.tokens.append(key_of(x))
                    self.parts.append(x)
                else:
                    if id(x) in within:
                        raise ArgumentError(f"compile: a {kind.__name__} among the arguments or results holds itself")
                    branch = Branch(x)
                    self.tokens.append(branch.token())
                    self.parts.append(branch)
                    within.add(id(x))
                    inside.append((id(x), iter(branch.of(x))))
                    break
            else:
                within.discard(inside.pop()[0])

    def filled(
        self,
        leaves: Iterator[object],
        instead: Mapping[int, object] | None = None,
        kept: Mapping[int, object] | None = None,
    ) -> list[object]:
        """Return the roots with these leaves, in their order.

        Parameters
        ----------
        leaves : iterator
        instead : dict of int to object, optional
            Others for fixed objects, by position.
        kept : dict of int to object, optional
            What takes the place of an object that branches, by position; others are made anew.
        """
        roots: list[Any] = []
        unfinished: list[tuple[Branch | None, list[Any], int]] = [(None, roots, -1)]
        for position, (token, part) in enumerate(zip(self.tokens, self.parts, strict=True)):
            if token is LEAF:
                x = next(leaves)
            elif part.__class__ is Branch:
                unfinished.append((part, [], position))
                x = None
            else:
                x = part if instead is None else instead.get(position, part)
            if part.__class__ is not Branch:
                unfinished[-1][1].append(x)
            while True:
                branch, items, place = unfinished[-1]
                if branch is None or len(items) < branch.size:
                    break
                unfinished.pop()
                is_kept = kept is not None and place in kept
                unfinished[-1][1].append(kept[place] if is_kept else branch.made_of(items))  # type: ignore[index]
        return roots

    def paths(self, names: Iterable[str]) -> list[str]:
        """Return for each token how the object is reached from the roots, which have these names."""
        result: list[str] = []
        inside = [iter(names)]
        for part in self.parts:
            path = None
            while path is None:
                path = next(inside[-1], None)
                if path is None:
                    inside.pop()
            result.append(path)
            if isinstance(part, Branch):
                inside.append(part.names(path))
        return result

    def without_leaves(self, others: Collection[int] = ()) -> dict[int, object]:
        """Return the objects that branch and hold no leaf and none of the `others`, by their positions."""
        found: dict[int, Any] = {}
        inside: list[list[int]] = []  # the position of a branch, and how many of its branches are to come
        for position, (token, part) in enumerate(zip(self.tokens, self.parts, strict=True)):
            if part.__class__ is Branch:
                found[position] = part.origin
                if part.size:
                    inside.append([position, part.size])
                    continue
            elif token is LEAF or position in others:
                for outer, _ in inside:
                    found.pop(outer, None)
            while inside:
                inside[-1][1] -= 1
                if inside[-1][1]:
                    break
                inside.pop()
        return found

    def fixed(self) -> Iterator[object]:
        """Yield the objects that are neither leaves nor branches."""
        pairs = zip(self.tokens, self.parts, strict=True)
        return (part for token, part in pairs if token is not LEAF and part.__class__ is not Branch)


def _is_array(x: Any) -> bool:
    """Whether an object is an array with axes; one without is a number."""
    kinds: Any = np.ndarray, current().array_type
    return isinstance(x, kinds) and len(x.shape) > 0
