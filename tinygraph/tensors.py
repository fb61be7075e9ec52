"""`Tensor`: a value, the operation that made it, and that operation's inputs.

Tensors form the graph: following `Tensor.inputs` leads back to the leaves. A tensor's value never changes,
except that a leaf's may, through `Tensor.assign_`. Every tensor carries its place in the order of creation,
which is also an order of evaluation, since inputs exist before what is made from them.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np

from .backend import Array, Backend, current, get_backend
from .errors import ArgumentError, BackendError, DTypeError, GraphError, ShapeError

if TYPE_CHECKING:
    from .op import Op

__all__ = ["Tensor", "enable_grad", "no_grad", "parameter", "tensor"]

Role = Literal["weight", "bias", "scale"]
Operand = Any  # a Tensor, a NumPy array, a number, or nested lists of numbers
Axis = int | tuple[int, ...] | None
F = TypeVar("F", bound=Callable[..., Any])

CONSTANT = -1  # `Tensor.modified` of a number made a tensor beside another one; its memory is shared
next_index = itertools.count(1).__next__  # places in the order of creation


class Scope(Protocol):
    """Where in a network a tensor was made: the path of a module and the number of its call."""

    @property
    def path(self) -> str:
        """The names of the modules from the outermost inwards, joined by dots."""

    @property
    def kind(self) -> str:
        """The class of the module."""

    @property
    def call(self) -> int:
        """Which call of the module it was, from 1."""

    @property
    def parent(self) -> Scope | None:
        """The call during which this one happened."""


class Tracer(Protocol):
    """Hooks through which the recording of a compiled function observes everything that is not an operation."""

    def applies(self, op: Op, inputs: tuple[Tensor, ...]) -> Array:
        """Return what stands for the array of an operation's result; called in the place of `Op.forward`."""

    def reads(self, t: Tensor, how: str) -> None:
        """Observe that the value of `t` is read on the host."""

    def assigns(self, t: Tensor, source: Tensor) -> None:
        """Observe that the leaf `t` takes the value of `source`."""

    def adopts(self, array: Any, t: Tensor) -> None:
        """Observe that a host array became the leaf `t`."""

    def shares(self, t: Tensor) -> None:
        """Observe that another tensor is about to share the memory of `t`."""

    def makes(self) -> None:
        """Observe that `tensor` or `parameter` makes a leaf of host values."""

    def reads_grad(self, t: Tensor) -> None:
        """Observe that the attribute `grad` of `t` is read."""

    def writes_grad(self, t: Tensor) -> None:
        """Observe that the attribute `grad` of `t` is about to be set."""

    def enters(self, module: Any, inputs: tuple[Any, ...], like: Tensor | None) -> tuple[Any, ...]:
        """Observe that a module is called; return its inputs, plain arguments of the function made like `like`."""


class _Mode(threading.local):
    """What holds for the operations that the current thread applies."""

    recording: bool = True  # whether results remember their operation and inputs
    scope: Scope | None = None  # the module call under way
    observer: Callable[[Op, tuple[Tensor, ...], Tensor], None] | None = None  # is shown every application
    tracer: Tracer | None = None  # the recording of a compiled function under way


@dataclass(frozen=True)
class InsidePlan:
    """Stands for a gradient that a compiled function computed and did not give out."""

    dropped: bool  # the function set it to None afterwards, so the next `backward` inside starts anew


INSIDE_PLAN = {dropped: InsidePlan(dropped) for dropped in (False, True)}


mode = _Mode()


Operator = Callable[["Tensor", Any], "Tensor"]
functions: dict[str, Callable[..., Tensor]] = {}  # the operations behind Tensor's operators and methods, by name


def offers(function: F) -> F:
    """Let Tensor's operators and methods find a function of a higher layer by its name."""
    functions[function.__name__] = function
    return function


def _infix(name: str) -> tuple[Operator, Operator]:
    """Return the two methods of an operator, the second for a tensor on the right."""
    return lambda a, b: functions[name](a, b), lambda a, b: functions[name](b, a)


@dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
class Tensor:
    """An array on a backend, and how it came about.

    Make one with `tinygraph.tensor` or `tinygraph.parameter`; operations make the others.
    """

    data: Array
    """The value, an array of its backend's; not to be written to, see `assign_`."""
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
    """The place of its last assignment in that order, 0 before; `CONSTANT` for a number, which has no other value."""
    _grad: Tensor | InsidePlan | None = field(default=None, init=False)

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        shape: tuple[int, ...] = self.data.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The entries' type."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
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
        if mode.tracer is not None:
            mode.tracer.reads_grad(self)
        grad = self._grad
        if grad.__class__ is InsidePlan:
            raise GraphError(
                f"grad: the gradient of {describe(self)} stayed inside a compiled function that calls zero_grad; "
                "return it from there to see it, or call zero_grad() to start anew"
            )
        return grad  # type: ignore[return-value]

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if mode.tracer is not None:
            mode.tracer.writes_grad(self)
        self._grad = value

    def __len__(self) -> int:
        if not self.data.shape:
            raise ShapeError("len(tensor): a tensor with no axes has no length; use .item() for its number")
        return self.shape[0]

    def __repr__(self) -> str:
        if not isinstance(self.data, self.backend.array_type):
            return f"tensor(shape={self.shape}, dtype={self.dtype}, known when the compiled function runs)"
        text = np.array2string(self.backend.to_host(self.data), separator=", ", prefix="tensor(", threshold=100)
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

    def numpy(self) -> np.ndarray:
        """Return a copy of the value as a NumPy array."""
        if mode.tracer is not None:
            mode.tracer.reads(self, "numpy()")
        return np.array(self.backend.to_host(self.data))

    def item(self) -> float | int | bool:
        """Return the only entry as a Python number.

        Raises
        ------
        ShapeError
            If there is not exactly one entry.
        """
        if mode.tracer is not None:
            mode.tracer.reads(self, "item()")
        if self.size != 1:
            raise ShapeError(f"item: expected a tensor with one entry, got shape {self.shape}; use .numpy()")
        value: float | int | bool = self.backend.to_host(self.data).item()
        return value

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, **kwargs: Any) -> Any:
        if mode.tracer is not None:
            mode.tracer.reads(self, "__dlpack__()")
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    # -- as a leaf ------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return a leaf with the same data that knows nothing of how it was made."""
        if mode.tracer is not None:
            mode.tracer.shares(self)
        return Tensor(self.data, self.backend, name=self.name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Return a leaf of its own with a copy of the data, for ``copy.deepcopy`` of a network."""
        if self.op is not None:
            raise GraphError(f"deepcopy: only leaves can be copied; this tensor was made by {self.op.label}; detach it")
        copy = Tensor(self.data.copy(), self.backend, requires_grad=self.requires_grad, name=self.name, role=self.role)
        memo[id(self)] = copy
        return copy

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """Take what was pickled, at a place of its own in this process's order of creation."""
        for name, value in state[1].items():
            setattr(self, name, value)
        self.index, self.modified = next_index(), min(self.modified, 0)

    def to(self, backend: str | Backend) -> Tensor:
        """Return a leaf with the same value on `backend` (this tensor, if it lives there already)."""
        target = get_backend(backend)
        if target is self.backend:
            return self
        if mode.tracer is not None:
            mode.tracer.reads(self, "to()")
        data = target.asarray(self.backend.to_host(self.data))
        return Tensor(data, target, requires_grad=self.requires_grad, name=self.name, role=self.role)

    def assign_(self, value: Operand) -> Tensor:
        """Write `value` into this leaf's own memory; the only way a tensor's value changes.

        A graph recorded before and read by `backward` afterwards is then refused, not silently wrong.

        Parameters
        ----------
        value : tensor, array or number
            Of this tensor's shape and dtype, or a number.

        Raises
        ------
        GraphError
            If an operation made this tensor.
        ShapeError, DTypeError, BackendError
            If `value` does not fit.
        """
        if self.op is not None:
            raise GraphError(f"assign_: only leaves can be assigned; this tensor was made by {self.op.label}")
        if self.modified == CONSTANT:
            raise GraphError("assign_: cannot assign to a constant; make a leaf of it with tinygraph.tensor")
        source = matching("assign_", "the value", value, self, or_number=True)
        if mode.tracer is None:
            self.backend.xp.copyto(self.data, source.data)
        else:
            mode.tracer.assigns(self, source)
        self.modified = next_index()
        return self

    # -- operations, found by their names in `functions` ---------------------------------------------------

    __array_ufunc__ = None  # NumPy arrays then leave `array + tensor` to Tensor.__radd__
    __array_priority__ = 1000
    __add__, __radd__ = _infix("add")
    __sub__, __rsub__ = _infix("subtract")
    __mul__, __rmul__ = _infix("multiply")
    __truediv__, __rtruediv__ = _infix("divide")
    __pow__, __rpow__ = _infix("power")
    __matmul__, __rmatmul__ = _infix("matmul")
    __lt__, __gt__ = _infix("less")[0], _infix("greater")[0]
    __le__, __ge__ = _infix("less_equal")[0], _infix("greater_equal")[0]

    def __neg__(self) -> Tensor:
        return functions["negative"](self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return functions["abs"](self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return functions["equal"](self, other) if _is_operand(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return functions["not_equal"](self, other) if _is_operand(other) else NotImplemented

    __hash__ = object.__hash__  # a tensor is a node of a graph: as a key it is itself, whatever its value

    def __getitem__(self, key: Any) -> Tensor:
        return functions["getitem"](self, key)

    def __iter__(self) -> Iterator[Tensor]:
        return (functions["getitem"](self, i) for i in range(len(self)))

    @property
    def T(self) -> Tensor:
        """The transpose: all axes in reverse order."""
        return functions["transpose"](self)

    def transpose(self, *axes: int) -> Tensor:
        """Return the tensor with its axes in the order `axes` (none: reversed)."""
        return functions["transpose"](self, axes or None)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the same entries in another shape, given as ``reshape(2, 3)`` or ``reshape((2, 3))``."""
        return functions["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over `axis`; see `tinygraph.sum`."""
        return functions["sum"](self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over `axis`; see `tinygraph.mean`."""
        return functions["mean"](self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the maximum over `axis`; see `tinygraph.max`."""
        return functions["max"](self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the minimum over `axis`; see `tinygraph.min`."""
        return functions["min"](self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Return the variance over `axis`; see `tinygraph.var`."""
        return functions["var"](self, axis, keepdims, ddof)

    def argmax(self, axis: int = -1) -> Tensor:
        """Return the positions of the largest entries along `axis`; see `tinygraph.argmax`."""
        return functions["argmax"](self, axis)

    def astype(self, dtype: Any) -> Tensor:
        """Return the tensor converted to `dtype`; a gradient is converted back."""
        return functions["astype"](self, dtype)

    def backward(self, dy: Operand = None) -> None:
        """Add the gradient of this tensor to `grad` of every leaf that requires one.

        Parameters
        ----------
        dy : tensor or array, optional
            The gradient with respect to this tensor, of its shape; 1 for a tensor with one entry.
        """
        functions["backward"](self, dy)


def filled_like(t: Tensor, number: float) -> Tensor:
    """Return a leaf of the shape, dtype and backend of `t` that holds a number everywhere."""
    return Tensor(t.backend.xp.full(t.shape, number, t.dtype), t.backend)


def describe(t: Tensor) -> str:
    """Return words for a tensor in an error: its name, or the operation that made it, and where."""
    what = repr(t.name) if t.name else f"the result of {t.op.label}" if t.op is not None else "a leaf"
    return f"{what} in {t.scope.path}" if t.scope is not None and t.scope.path else what


def matching(what: str, argument: str, value: Operand, t: Tensor, or_number: bool = False) -> Tensor:
    """Return `value` as a tensor of the backend, shape and dtype of `t`, or with one element if that is allowed.

    Raises
    ------
    BackendError, ShapeError, DTypeError
        If it is not; `what` asks, and `argument` is what it calls the value.
    """
    v = as_tensor(value, t)
    if v.backend is not t.backend:
        raise mixed_backends(what, t, v)
    if v.shape != t.shape and not (or_number and v.size == 1):
        raise ShapeError(f"{what}: {argument} must have the shape of {describe(t)}, {t.shape}, got {v.shape}")
    if v.dtype != t.dtype:
        raise DTypeError(f"{what}: {argument} must be {t.dtype}, as {describe(t)} is, got {v.dtype}")
    return v


def mixed_backends(what: str, a: Tensor, b: Tensor) -> BackendError:
    """Return the error for two tensors of different backends in one operation."""
    return BackendError(
        f"{what}: operands live on two backends: {describe(a)} on {a.backend.name!r}, {describe(b)} on "
        f'{b.backend.name!r}; move one with .to("{a.backend.name}")'
    )


def as_tensor(value: Operand, like: Tensor | None = None) -> Tensor:
    """Return `value` as a tensor; a number takes dtype and backend of `like`, an array keeps its dtype.

    Raises
    ------
    DTypeError
        If `value` holds anything but numbers.
    """
    if isinstance(value, Tensor):
        return value
    backend = current() if like is None else like.backend
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    if isinstance(value, backend.array_type):
        made = Tensor(value, backend)
        if mode.tracer is not None:
            mode.tracer.adopts(value, made)
        return made
    if like is not None and isinstance(value, bool | int | float | np.generic):
        dtype = like.data.dtype
        if dtype.kind == "f" or isinstance(value, bool | int | np.integer | np.bool_):
            made = Tensor(_constant(value, math.copysign(1.0, value), dtype, backend), backend)
            made.modified = CONSTANT
            return made
    made = Tensor(backend.asarray(_host_array(value)), backend)
    if mode.tracer is not None and isinstance(value, np.ndarray):
        mode.tracer.adopts(value, made)
    return made


def _is_operand(value: object) -> bool:
    """Whether `value` can stand beside a tensor in an operation; None and strings, say, cannot."""
    return isinstance(value, Tensor | np.ndarray | np.generic | int | float | list | tuple)


@lru_cache(maxsize=4096, typed=True)
def _constant(value: Any, sign: float, dtype: Any, backend: Backend) -> Array:
    """Return a number as an array, made once; `sign` keeps 0.0 and -0.0 apart."""
    return backend.asarray(np.array(value, dtype))


def _host_array(value: Any) -> np.ndarray:
    """Return `value` as a host array: Python floats become float32, arrays keep their dtype."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"tensor: expected numbers in rows of equal length; {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    if array.dtype == np.float64 and not hasattr(value, "dtype") and not _has_float64(value):
        array = array.astype(np.float32)
    return array


def _has_float64(value: Any) -> bool:
    """Whether nested lists hold NumPy float64 values, which keep their dtype."""
    if isinstance(value, list | tuple):
        return any(_has_float64(v) for v in value)
    return isinstance(value, np.ndarray | np.float64) and value.dtype == np.float64


def find_dtype(dtype: Any) -> np.dtype:
    """Return the dtype called `dtype`, or raise a `DTypeError` if there is none."""
    try:
        found: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError):
        raise DTypeError(f"dtype {dtype!r} is not known; name one such as 'float32' or 'float64'") from None
    return found


def tensor(array_like: Operand, dtype: Any = None, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """Return a new leaf with a copy of `array_like` on the current backend.

    Parameters
    ----------
    array_like : array, number or nested lists of numbers, of any shape
        Python floats become float32; arrays keep their dtype.
    dtype : dtype, optional
        Convert to this dtype.
    requires_grad : bool
        Whether `backward` computes a gradient for it; floating dtypes only.
    name : str, optional
        Shown in drawings and errors.

    Raises
    ------
    DTypeError
        If `array_like` holds anything but numbers, `requires_grad` is asked of integers, or `dtype` is unknown.
    """
    backend = current()
    if mode.tracer is not None:
        mode.tracer.makes()
    if isinstance(array_like, Tensor):
        array_like = array_like.to(backend).data
    data: Any
    if isinstance(array_like, backend.array_type):
        own: Any = array_like
        data = own.copy() if dtype is None else own.astype(find_dtype(dtype))
    else:
        host = _host_array(array_like)
        data = backend.asarray(np.array(host, host.dtype if dtype is None else find_dtype(dtype), order="C"))
    if requires_grad and data.dtype.kind != "f":
        raise DTypeError(f"tensor: only floating tensors have gradients, got {data.dtype}; pass dtype='float32'")
    return Tensor(data, backend, requires_grad=requires_grad, name=name)


def parameter(array_like: Operand, name: str | None = None, role: Role = "weight", dtype: Any = None) -> Tensor:
    """Return a leaf to be learned: a tensor that requires a gradient and has a role.

    Parameters
    ----------
    array_like : array, number or nested lists of numbers
        Its first value; Python floats become float32, arrays keep their dtype.
    name : str, optional
        Shown in drawings and errors.
    role : {"weight", "bias", "scale"}
        L1 and L2 regularisation count weights only; optimisers may treat biases apart.
    dtype : dtype, optional
        Convert to this dtype.
    """
    if role not in ("weight", "bias", "scale"):
        raise ArgumentError(f'parameter: role must be "weight", "bias" or "scale", got {role!r}')
    made = tensor(array_like, dtype, requires_grad=True, name=name)
    made.role = role
    return made


class _Recording:
    __slots__ = ("_outer",)
    recording: ClassVar[bool]

    def __enter__(self) -> None:
        self._outer, mode.recording = mode.recording, self.recording

    def __exit__(self, *error: object) -> None:
        mode.recording = self._outer


class no_grad(_Recording):
    """A ``with`` block in which operations record nothing: values only, no graph."""

    __slots__ = ()
    recording = False


class enable_grad(_Recording):
    """A ``with`` block in which operations are recorded, even inside `no_grad`."""

    __slots__ = ()
    recording = True
