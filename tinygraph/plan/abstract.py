"""Arrays without content: an operation's own `forward`, run on them, says which instructions it is made of.

So an operation is stated once, and one of a user's own is taken apart like those of the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, partialmethod
from typing import Any

import numpy as np

from ..backend import Backend
from ..backend.base import DTYPES, EdgeList, scaled_difference
from ..errors import CompileError
from ..op import Op
from ..ops.elementwise import Cast
from ..ops.indexing import Index
from ..ops.products import MatMul
from ..ops.random import Uniform
from ..ops.reduce import BroadcastTo, Max, Mean, Min, Prod, Sum
from ..ops.shape import Concatenate, Reshape, Transpose
from ..typing import Axis, DTypeLike
from .primitives import PRIMITIVES
from .profile_hook import Unprofiled
from .program import Builder, Instruction, Value, axes_of, broadcast, constant, is_ours
from .purity import is_pure
from .trial import shape_and_dtype

Shape = tuple[int, ...]
METHODS = ("sum", "prod", "mean", "max", "min", "reshape", "transpose", "swapaxes", "squeeze", "clip")  # of arrays


REDUCTIONS: dict[str, Any] = {"sum": Sum, "prod": Prod, "mean": Mean, "max": Max, "min": Min}
KEPT = {  # plans know them as they are
    *("matmul", "reshape", "transpose", "broadcast_to", "index", "cast", "concatenate", "uniform"),
}


class _Shaped:
    """What is known of a value's array before it is computed: the length of every axis, and the elements' type."""

    def __init__(self, value: Value) -> None:
        self.value, self.shape, self.dtype = value, value.shape, value.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.value.size

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.value.shape)


class Unknown(_Shaped):
    """Stands for the array of a tensor while a function is recorded: only shape and dtype are known."""

    def __init__(self, value: Value, owner: object) -> None:
        super().__init__(value)
        self.owner = owner  # the recording it belongs to

    def _refuse(self, *args: object, **kwargs: object) -> Any:
        raise CompileError(
            "compile: the array of a tensor made while a compiled function was recorded has no content; use operations "
            "on tensors, and return what you need"
        )

    __array__ = __array_ufunc__ = __array_function__ = __getattr__ = _refuse


class Evaluation:
    """Applies operations to values, with their parts and an output of the right shape and dtype.

    Parts there are unless `forward` does what no primitive is, looks at values, or depends on more than its arrays
    and fixed numbers. Then it is run on arrays of zeros, for the shape, unseen: what it reads there it reads in every
    replay too.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Instruction] = {}  # what operations of the library are made of

    def __call__(self, op: Op, inputs: tuple[Value, ...], backend: Backend, scope: str) -> Instruction:
        """Return an operation applied to values."""
        if op.random or not is_ours(type(op)) or not _is_plain(fields := tuple(vars(op).values())):
            return self._found(op, inputs, backend, scope)
        key = type(op), repr(fields), *[(v.shape, v.dtype) for v in inputs]
        known = self._known.get(key)
        if known is None:
            stand_ins = tuple([Value(v.shape, v.dtype) for v in inputs])
            known = self._known[key] = self._found(op, stand_ins, backend, "")
        return known.applied(inputs, scope)

    def _found(self, op: Op, inputs: tuple[Value, ...], backend: Backend, scope: str) -> Instruction:
        taken = taken_apart(op, inputs, backend, scope)
        if taken is not None:
            return taken
        with Unprofiled():
            shape, dtype = shape_and_dtype(op, inputs, backend)
        return Instruction(op, inputs, Value(shape, dtype, scope=scope))


def taken_apart(op: Op, inputs: tuple[Value, ...], backend: Backend, scope: str) -> Instruction | None:
    """Return an operation applied to values, with its parts if it has any; None if its `forward` does not tell."""
    if op.random or not is_pure(op):
        return None
    build = Builder(backend, scope)
    try:
        xp: Any = Namespace(build)
        y: Any = op.forward(xp, *(AbstractArray(build, v) for v in inputs))
    except Exception:  # whatever a stranger's code raises where it finds no content
        return None
    if not isinstance(y, AbstractArray):
        return None
    output, parts = y.value, tuple(build.instructions)
    instruction = Instruction(op, inputs, output, parts)
    made = {part.output for part in parts}
    told = all(v in made or v in inputs or v.kind == "constant" for part in parts for v in part.inputs)
    if told and output in made:
        is_stack_of_rows = isinstance(op, MatMul) and op.joins_rows(*[v.shape for v in inputs])
        return instruction if is_stack_of_rows or instruction.kind not in KEPT else Instruction(op, inputs, output)
    return Instruction(op, inputs, Value(y.shape, y.dtype, scope=scope))


def _is_plain(x: object) -> bool:
    """Whether the text of a value says all of it."""
    if type(x) is tuple:
        return all(map(_is_plain, x))
    return x is None or type(x) in (int, float, bool, str)


def _widened(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which NumPy adds up and multiplies: whole numbers and truth values in 64 bits."""
    return np.dtype({"b": "int64", "i": "int64", "u": "uint64"}.get(dtype.kind, dtype))


class AbstractArray(_Shaped):
    """An array that `forward` computes with; what is done to it is written down.

    Parameters
    ----------
    build : Builder
        Takes the instructions.
    value : Value
    shared : bool
        Whether others see the memory: writing to it would change them. Then it is refused.
    """

    __array_ufunc__ = None  # an operator of NumPy's arrays gives way to those here

    def __init__(self, build: Builder, value: Value, shared: bool = True) -> None:
        super().__init__(value)
        self.build, self.shared = build, shared

    @property
    def T(self) -> AbstractArray:
        """The axes in reverse order."""
        return Functions(self.build).transpose(self)

    def __getattr__(self, name: str) -> object:
        if name not in METHODS:
            raise AttributeError(f"{name}: not known of an array without content")
        return partial(getattr(Namespace(self.build), name), self)

    def astype(self, dtype: DTypeLike) -> AbstractArray:
        """Return the elements converted."""
        kind = np.dtype(dtype)
        value = self.value if kind == self.dtype else self.build(Cast(kind.name), (self.value,), self.shape, kind)
        return AbstractArray(self.build, value, shared=False)

    def __getitem__(self, key: object) -> AbstractArray:
        parts: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, AbstractArray) and k.dtype.kind == "b" for k in parts):
            raise TypeError("how many elements a mask picks depends on its content")
        picks = (np.broadcast_to(np.intp(0), k.shape) if isinstance(k, AbstractArray) else k for k in parts)
        shape = np.broadcast_to(np.empty((), bool), self.shape)[tuple(picks)].shape
        if any(isinstance(k, AbstractArray) for k in parts):
            return AbstractArray(self.build, Value(shape, self.dtype))
        return self.seen_as(Index(parts if ... in parts else (*parts, ...)), shape)

    def seen_as(self, op: Op, shape: Shape) -> AbstractArray:
        """Return a view: the same memory with another shape."""
        self.shared = True
        return AbstractArray(self.build, self.build(op, (self.value,), shape, self.dtype))

    def write(self, result: AbstractArray) -> AbstractArray:
        """Take the content of another array, as ``out=`` or ``+=`` let it."""
        if self.shared or not self.value.like(result.value):
            raise TypeError("an array that others see, or of another kind, is not written to")
        self.value = result.value
        return self

    def __bool__(self) -> bool:
        raise TypeError("an array without content is neither true nor false")


for _sign, _name in {
    **{"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul"},
    **{"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"},
}.items():

    def _operator(a: AbstractArray, b: object, name: str = _name) -> object:
        return getattr(Namespace(a.build), name)(a, b)

    def _swapped(a: AbstractArray, b: object, name: str = _name) -> object:
        return getattr(Namespace(a.build), name)(b, a)

    def _in_place(a: AbstractArray, b: object, name: str = _name) -> object:
        return getattr(Namespace(a.build), name)(a, b, out=a)

    for _prefix, _method in {"": _operator, "r": _swapped, "i": _in_place}.items():
        setattr(AbstractArray, f"__{_prefix}{_sign}__", _method)
for _name in ("negative", "abs"):
    setattr(
        AbstractArray, f"__{_name[:3]}__", partialmethod(lambda a, name: getattr(Namespace(a.build), name)(a), _name)
    )
for _sign, _name in {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}.items():

    def _of_truth_values(a: Any, b: Any, name: str = _name) -> object:
        if a.dtype.kind != "b" or not (type(b) is bool or (isinstance(b, AbstractArray) and b.dtype.kind == "b")):
            raise TypeError("of numbers these are other operations")
        return getattr(Namespace(a.build), name)(a, b)

    for _prefix in ("", "r"):  # they are symmetric
        setattr(AbstractArray, f"__{_prefix}{_sign}__", _of_truth_values)


class Namespace:
    """What `forward` takes for the backend's `xp`: `Functions`, which take ``out=`` as well."""

    def __init__(self, build: Builder) -> None:
        self._functions = Functions(build)

    def __getattr__(self, name: str) -> object:
        if name in DTYPES:
            return getattr(np, name)
        function = getattr(self._functions, name)

        def call(*arguments: object, out: AbstractArray | None = None, **options: object) -> AbstractArray:
            y: AbstractArray = function(*arguments, **options)
            return y if out is None else out.write(y)

        return call


class Functions:
    """Functions of abstract arrays, under the names they have in `xp`.

    One that is not here, or takes what it does not take here, raises an error; the operation is kept whole.
    """

    def __init__(self, build: Builder) -> None:
        self.build = build

    def __getattr__(self, name: str) -> Callable[..., AbstractArray]:
        if name in REDUCTIONS:
            return partial(self._reduction, REDUCTIONS[name])
        if name not in PRIMITIVES:
            raise AttributeError(f"{name}: not known of arrays without content")
        return partial(self._primitive, name)

    def _new(self, value: Value) -> AbstractArray:
        return AbstractArray(self.build, value, shared=False)

    def _primitive(self, name: str, *operands: AbstractArray | float) -> AbstractArray:
        if not all(isinstance(x, AbstractArray) or type(x) in (bool, int, float) for x in operands):
            raise TypeError("an array of the operation's own may be another at each call")
        return self._new(
            self.build.elementwise(name, *(x.value if isinstance(x, AbstractArray) else x for x in operands))
        )

    def where(
        self, condition: AbstractArray | float, a: AbstractArray | float, b: AbstractArray | float
    ) -> AbstractArray:
        if isinstance(condition, AbstractArray):
            condition = condition.astype(bool)  # what is not 0 is true
        return self._primitive("where", condition, a, b)

    def scaled_difference(self, x: AbstractArray, b: AbstractArray | float, y: AbstractArray, a: float = 1.0) -> Any:
        return scaled_difference(Namespace(self.build), x, b, y, a)

    def clip(self, x: AbstractArray, low: object = None, high: object = None) -> AbstractArray:
        y = x if low is None else self.maximum(x, low)
        return y if high is None else self.minimum(y, high)

    def _reduction(
        self, op: Callable[..., Op], x: AbstractArray, axis: Axis = None, keepdims: bool = False
    ) -> AbstractArray:
        if op is Mean and x.dtype.kind != "f":
            raise TypeError("NumPy makes another dtype of it")
        axes = axes_of(axis, x.ndim)
        kept = tuple(n for a, n in enumerate(x.shape) if a not in axes)
        joined = None if len(axes) == x.ndim else axes[0] if len(axes) == 1 else axes
        dtype = _widened(x.dtype) if op in (Sum, Prod) else x.dtype
        y = self._new(self.build(op(joined), (x.value,), kept, dtype))
        return self.reshape(y, tuple(1 if a in axes else n for a, n in enumerate(x.shape))) if keepdims else y

    def reshape(self, x: AbstractArray, *shape: Any) -> AbstractArray:
        lengths = shape[0] if isinstance(shape[0], tuple | list) else shape
        known = math.prod(n for n in lengths if n != -1)
        full = tuple(int(n) if n != -1 else x.size // known for n in lengths)
        if math.prod(full) != x.size:
            raise ValueError("another number of elements")
        return x.seen_as(Reshape(full), full)

    def squeeze(self, x: AbstractArray, axis: Axis = None) -> AbstractArray:
        axes = axes_of(axis, x.ndim) if axis is not None else tuple(a for a, n in enumerate(x.shape) if n == 1)
        return self.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))

    def expand_dims(self, x: AbstractArray, axis: int) -> AbstractArray:
        at = axis % (x.ndim + 1)
        return self.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))

    def transpose(self, x: AbstractArray, *axes: Any) -> AbstractArray:
        order = axes[0] if len(axes) == 1 else axes or None
        places = range(x.ndim)[::-1] if order is None else [a % x.ndim for a in order]
        return x.seen_as(Transpose(None if order is None else tuple(order)), tuple(x.shape[a] for a in places))

    def swapaxes(self, x: AbstractArray, first: int, second: int) -> AbstractArray:
        order = list(range(x.ndim))
        order[first], order[second] = order[second], order[first]
        return self.transpose(x, order)

    def broadcast_to(self, x: AbstractArray, shape: Sequence[int]) -> AbstractArray:
        if broadcast(x.shape, tuple(shape)) != tuple(shape):
            raise ValueError("shapes do not broadcast")
        return x.seen_as(BroadcastTo(tuple(shape)), tuple(shape))

    def matmul(self, a: AbstractArray, b: AbstractArray) -> AbstractArray:
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2] or a.dtype != b.dtype:
            raise ValueError("no product of matrices of one dtype")
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return self._new(self.build(MatMul(), (a.value, b.value), shape, a.dtype))

    def concatenate(self, arrays: Sequence[AbstractArray], axis: int = 0) -> AbstractArray:
        at = axis % arrays[0].ndim
        ((before, after, dtype),) = {(x.shape[:at], x.shape[at + 1 :], x.dtype) for x in arrays}
        shape = (*before, sum(x.shape[at] for x in arrays), *after)
        return self._new(self.build(Concatenate(axis), tuple(x.value for x in arrays), shape, dtype))

    def uniform(self, key: AbstractArray, shape: Shape, dtype: str) -> AbstractArray:
        return self._new(self.build(Uniform(shape, dtype), (key.value,), shape, np.dtype(dtype)))

    def full_like(self, x: AbstractArray, number: float) -> AbstractArray:
        return self._new(constant(self.build.backend, np.full(x.shape, number, x.dtype)))

    def arange(self, n: int) -> AbstractArray:
        return self._new(constant(self.build.backend, np.arange(n)))

    def zeros_like(self, x: AbstractArray) -> AbstractArray:
        return self.full_like(x, 0)

    def ones_like(self, x: AbstractArray) -> AbstractArray:
        return self.full_like(x, 1)

    # -- of which only the shape is told: what calls them is kept whole ------------------------------------

    def _whole(self, shape: Sequence[int], dtype: DTypeLike) -> AbstractArray:
        return self._new(Value(tuple(shape), np.dtype(dtype)))

    def index_add(self, shape: Shape, key: object, x: AbstractArray) -> AbstractArray:
        return self._whole(shape, x.dtype)

    def bernoulli(self, key: AbstractArray, p_off: float, shape: Shape, dtype: DTypeLike) -> AbstractArray:
        return self._whole(shape, dtype)

    def on_host(self, function: object, shape: Shape, *arrays: AbstractArray) -> AbstractArray:
        return self._whole(shape, arrays[0].dtype)

    def spmm(self, y: AbstractArray, w: AbstractArray, edges: EdgeList, transposed: bool = False) -> AbstractArray:
        return self._whole((y.shape[0], edges.n_in if transposed else edges.n_out), y.dtype)

    def sddmm(self, y: AbstractArray, z: AbstractArray, edges: EdgeList) -> AbstractArray:
        return self._whole((edges.n_edges,), y.dtype)

    def argmax(self, x: AbstractArray, axis: int) -> AbstractArray:
        return self._whole(np.delete(x.shape, axis).tolist(), np.int64)

    argmin = argmax

    def argsort(self, x: AbstractArray, axis: int, kind: str) -> AbstractArray:
        return self._whole(x.shape, np.int64)

    def cumsum(self, x: AbstractArray, axis: int) -> AbstractArray:
        return self._whole(x.shape, _widened(x.dtype))

    def pad(self, x: AbstractArray, widths: Any, constant_values: float) -> AbstractArray:
        return self._whole([n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)], x.dtype)
