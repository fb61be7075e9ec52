"""`Tensor`: a value, the operation that made it, and that operation's inputs.

Tensors form the graph: following `Tensor.inputs` leads back to the leaves. A tensor's value never changes,
except that a leaf's may, through `Tensor.assign_`, and with it that of its twins, made by `Tensor.detach`. Every
tensor carries its place in the order of creation, which is also an order of evaluation, since inputs exist before
what is made from them.

Views and twins lie in the memory of the leaf they were made of, which knows them. Before the leaf is assigned, its
views get memory of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

import numpy as np

from .backend import Backend, get_backend
from .errors import GraphError, ShapeError
from .mode import mode
from .operators import Operators
from .structure import Scope
from .typing import Array, DType, DTypeLike

if TYPE_CHECKING:  # a tensor and an operation are defined by each other
    from .op import Op

__all__ = ["Tensor"]

Role = Literal["weight", "bias", "scale"]

# `Tensor.modified` of what is not written to:
CONSTANT = -1  # a number made a tensor beside another one; its memory is shared
RESULT = -2  # the result of an operation; one that is a leaf gets memory of its own when it is assigned
VIEW = -3  # a result in the memory of another tensor
next_index = itertools.count(1).__next__  # places in the order of creation
_new = object.__new__


class Sharing:
    """Who lies in the memory of a leaf.

    Attributes
    ----------
    twins : set of weak references to Tensor
        The leaf and those detached from it: what is assigned to one of them is assigned to all.
    views : set of weak references to Tensor
        Results in this memory, which keep their values.
    """

    __slots__ = ("twins", "views")

    def __init__(self, leaf: Tensor) -> None:
        self.twins: set[ref[Tensor]] = set()
        self.views: set[ref[Tensor]] = set()
        self.add(leaf, self.twins)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a tensor that is sent lies in memory of its own

    def add(self, t: Tensor, among: set[ref[Tensor]]) -> None:
        """Note a tensor that was made, until it is gone."""
        t._sharing = self
        among.add(ref(t, among.discard))

    def alive(self, among: set[ref[Tensor]]) -> list[Tensor]:
        """Return those that are there, and lie in this memory still."""
        return [t for t in [reference() for reference in list(among)] if t is not None and t._sharing is self]


@dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
class Tensor(Operators):
    """An array on a backend, and how it came about.

    Make one with `tinygraph.tensor` or `tinygraph.parameter`; operations make the others.
    """

    data: Array
    """The value, an array of its backend's; not to be written to: `assign_` does, and nobody would notice."""
    backend: Backend
    """Where `data` lives."""
    _: KW_ONLY
    requires_grad: bool = False
    """Whether `backward` computes a gradient for it."""
    name: str | None = None
    """Shown in drawings and errors."""
    role: Role | None = None
    """Of a parameter: "weight", "bias" or "scale"."""
    op: Op | None = field(default=None, init=False)
    """What made it; None for a leaf."""
    inputs: tuple[Tensor, ...] = field(default=(), init=False)
    """What `op` was applied to."""
    scope: Scope | None = field(default_factory=partial(getattr, mode, "scope"), init=False)
    """The call of a module it was made in."""
    index: int = field(default_factory=next_index, init=False)
    """Its place in the order of creation."""
    modified: int = field(default=0, init=False)
    """The place of its last assignment in that order, 0 before; below 0 for what is not written to."""
    _grad: Tensor | GraphError | None = field(default=None, init=False)  # the error says why it cannot be read
    _kept: list[Array] | None = field(default=None, init=False)  # what `op.forward` had on the way, see `Op.keeps`
    _sharing: Sharing | None = field(default=None, init=False)  # None: nobody else lies in its memory, as far as known

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        shape: tuple[int, ...] = self.data.shape
        return shape

    @property
    def dtype(self) -> DType:
        """The elements' type."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        size: int = self.data.size
        return size

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.op is None

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated in this leaf; None before.

        Raises
        ------
        GraphError
            If a compiled function computed it for itself only.
        """
        for watcher in mode.watchers:
            watcher.reads_grad(self)
        grad = self._grad
        if grad is None or grad.__class__ is Tensor:
            return grad  # pyright: ignore[reportReturnType] - which does not know `__class__`
        raise GraphError(str(grad))

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        for watcher in mode.watchers:
            watcher.writes_grad(self)
        self._grad = value

    def __len__(self) -> int:
        if not self.data.shape:
            raise ShapeError("len(tensor): a tensor with no axes has no length; use .item() for its number")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        if not isinstance(self.data, self.backend.array_type):
            return f"tensor(shape={self.shape}, dtype={self.dtype}, known when the compiled function runs)"
        text = np.array2string(self._host("repr()"), separator=", ", prefix="tensor(", threshold=100)
        facts = f", dtype={self.dtype}"
        if self.backend.name != "numpy":
            facts += f", backend={self.backend.name}"
        if self.name:
            facts += f", name={self.name!r}"
        if self.op is not None:
            facts += f", op={self.op.label}"
        elif self.requires_grad:
            facts += ", requires_grad=True"
        return f"tensor({text}{facts})"

    # -- to the host ----------------------------------------------------------------------------------

    def _host(self, how: str) -> np.ndarray:
        """Return the value on the host, read there by the method `how`."""
        for watcher in mode.watchers:
            watcher.reads(self, how)
        return self.backend.to_host(self.data)

    def numpy(self) -> np.ndarray:
        """Return a copy of the value as a NumPy array."""
        return np.array(self._host("numpy()"))

    def item(self) -> float | int | bool:
        """Return the only element as a Python number.

        Raises
        ------
        ShapeError
            If there is not exactly one element.
        """
        if self.size != 1:
            raise ShapeError(f"item: expected a tensor with one element, got shape {self.shape}; use .numpy()")
        value: float | int | bool = self._host("item()").item()
        return value

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"bool(tensor): the truth of {self.size} elements is ambiguous; use .numpy().any() or .numpy().all(), "
                "or choose element by element with tg.where"
            )
        return bool(self.item())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, **kwargs: Any) -> object:
        for watcher in mode.watchers:
            watcher.reads(self, "__dlpack__()")
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> object:
        return self.data.__dlpack_device__()

    # -- as a leaf ------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return a leaf with the same value that knows nothing of how it was made.

        That of a leaf is its twin: they share their memory, and what is assigned to one is assigned to both.
        """
        leaf = Tensor(self.data, self.backend, name=self.name)
        leaf.modified = self.modified
        self.share(leaf)
        for watcher in mode.watchers:
            watcher.shares(self, leaf)
        return leaf

    def share(self, other: Tensor) -> None:
        """Note a tensor made in the memory of this one, if that is written to: its twin if it is a leaf, or a view."""
        if self.modified >= 0 or self._sharing is not None:
            sharing = self._sharing or Sharing(self)
            sharing.add(other, sharing.views if other.modified < 0 else sharing.twins)

    def keep_views(self) -> None:
        """Give the views of this leaf memory of their own, since it is about to be written to."""
        if self._sharing is not None:
            for view in self._sharing.alive(self._sharing.views):
                if isinstance(view.data, view.backend.array_type):  # not one of a recording
                    view.own()

    def own(self) -> None:
        """Take memory of its own, which the same value is copied to."""
        self.data, self._sharing = self.data.copy(), None

    def mark_modified(self, place: int) -> None:
        """Note that this leaf, and with it its twins, was last assigned at a place in the order of creation."""
        self.modified = place
        if self._sharing is not None:
            for twin in self._sharing.alive(self._sharing.twins):
                twin.modified = place

    def __copy__(self) -> Tensor:
        """Return a tensor that came about as this one did, in the same memory: the twin of a leaf."""
        copy = self.detach()
        for name in ("requires_grad", "role", "op", "inputs", "scope", "_grad"):
            setattr(copy, name, getattr(self, name))
        return copy

    def __deepcopy__(self, memo: dict[int, object]) -> Tensor:
        """Return a leaf of its own with a copy of the data, for ``copy.deepcopy`` of a network."""
        if self.op is not None:
            raise GraphError(f"deepcopy: only leaves can be copied; this tensor was made by {self.op.label}; detach it")
        for watcher in mode.watchers:
            watcher.reads(self, "deepcopy")
        copy = Tensor(self.data.copy(), self.backend, requires_grad=self.requires_grad, name=self.name, role=self.role)
        memo[id(self)] = copy
        return copy

    def __setstate__(self, state: tuple[None, dict[str, object]]) -> None:
        """Take what was pickled, at a place of its own in this process's order of creation."""
        for name, value in state[1].items():
            setattr(self, name, value)
        self.index, self.modified = next_index(), min(self.modified, 0)

    def to(self, backend: str | Backend) -> Tensor:
        """Return a leaf with the same value on `backend` (this tensor, if it lives there already)."""
        target = get_backend(backend)
        if target is self.backend:
            return self
        data = target.asarray(self._host("to()"))
        return Tensor(data, target, requires_grad=self.requires_grad, name=self.name, role=self.role)


def leaf_of(data: Array, backend: Backend) -> Tensor:
    """Return ``Tensor(data, backend)``, without the cost of calling it."""
    t: Tensor = _new(Tensor)
    t.data, t.backend = data, backend
    t.requires_grad = False
    t.name = t.role = t.op = t._grad = t._sharing = t._kept = None
    t.inputs = ()
    t.scope = mode.scope
    t.index = next_index()
    t.modified = 0
    return t


def read_grads(tensors: Collection[Tensor]) -> list[Tensor | None]:
    """Return `grad` of every tensor; where nobody watches, without a call of the property for each."""
    if mode.watchers:
        return [t.grad for t in tensors]
    values = [grad if (grad := t._grad) is None or grad.__class__ is Tensor else t.grad for t in tensors]
    return values  # pyright: ignore[reportReturnType]


def write_grads(tensors: Collection[Tensor], values: Collection[Tensor | None]) -> None:
    """Set `grad` of every tensor to the value at its place."""
    if mode.watchers:
        for t, value in zip(tensors, values, strict=True):
            t.grad = value
    else:
        for t, value in zip(tensors, values, strict=True):
            t._grad = value


def describe(t: Tensor) -> str:
    """Return words for a tensor in an error: its name, or the operation that made it, and where."""
    words = repr(t.name) if t.name else f"the result of {t.op.label}" if t.op is not None else "a leaf"
    return f"{words} in {t.scope.path}" if t.scope is not None and t.scope.path else words
