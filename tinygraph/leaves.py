"""Leaves: tensors that numbers and arrays become, and the writing to them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import check_name
from .backend import Backend, current
from .backend.conversion import NATIVE, constant, find_dtype, host_array, number_array
from .errors import BackendError, DTypeError, GraphError, ShapeError
from .mode import mode
from .operand_checks import check_dtypes
from .operators import Operand, functions, offers
from .promotion import NUMBERS, beyond, common_dtype, comparable, of_numbers, with_number
from .tensors import CONSTANT, RESULT, Role, Tensor, describe, next_index
from .typing import Array, DType, DTypeLike

if TYPE_CHECKING:  # an operation makes leaves of its operands
    from .op import Op

__all__ = ["parameter", "tensor"]


def tensor(
    array_like: Operand, dtype: DTypeLike | None = None, requires_grad: bool = False, name: str | None = None
) -> Tensor:
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
    for watcher in mode.watchers:
        watcher.copies()
    wanted = None if dtype is None else find_dtype(dtype, "tensor")
    if isinstance(array_like, Tensor):
        for watcher in mode.watchers:
            watcher.reads(array_like, "tg.tensor")
        array_like = array_like.to(backend).data
    given: Any = array_like
    data: Array
    if _is_device_array(given, backend):
        find_dtype(given.dtype, "tensor")
        data = given.copy() if wanted is None else given.astype(wanted)
    else:
        host = host_array(given)
        data = backend.asarray(np.array(host, host.dtype if wanted is None else wanted, order="C"))
    if requires_grad and data.dtype.kind != "f":
        raise DTypeError(f"tensor: only floating tensors have gradients, got {data.dtype}; pass dtype='float32'")
    return Tensor(data, backend, requires_grad=requires_grad, name=name)


def _is_device_array(value: object, backend: Backend) -> bool:
    """Whether `value` is an array of the backend, and not of NumPy."""
    return isinstance(value, backend.array_type) and not isinstance(value, np.ndarray)


def parameter(
    array_like: Operand, name: str | None = None, role: Role = "weight", dtype: DTypeLike | None = None
) -> Tensor:
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
    check_name("parameter: role", role, ("weight", "bias", "scale"))
    leaf = tensor(array_like, dtype, requires_grad=True, name=name)
    leaf.role = role
    return leaf


def as_tensor(value: Operand, like: Tensor | None = None) -> Tensor:
    """Return `value` as a tensor on the backend of `like`.

    A number adapts to the dtype of `like`, and Python floats in lists do if that is floating; an array keeps its own.

    Raises
    ------
    DTypeError
        If `value` holds anything but numbers, or is one that the dtype does not hold.
    """
    if isinstance(value, Tensor):
        return value
    backend, beside = (current(), None) if like is None else (like.backend, like.data.dtype)
    given: Any = value
    kind: Any = type(given)
    if kind is backend.array_type and given.dtype in NATIVE and (given.ndim or beside is None):
        return made_of(given, given, backend)
    if _is_device_array(given, backend):
        find_dtype(given.dtype, "tensor")
        return made_of(given, given, backend)
    if beside is not None and is_number(value):
        return _of_number(value, beside, backend)
    floating = np.float32 if beside is None or beside.kind != "f" else beside
    return made_of(value, backend.asarray(host_array(value, floating)), backend)


def is_number(value: object) -> bool:
    """Whether an operand adapts to the dtype of others: a number of Python's or NumPy's, or an array with no axes."""
    return isinstance(value, NUMBERS) or (isinstance(value, np.ndarray) and not value.ndim)


def _of_number(source: object, beside: DType, backend: Backend, op: Op | None = None) -> Tensor:
    """Return a number, or an array with no axes, as a leaf that adapts to operands of the dtype `beside`."""
    if type(source) is float and beside.kind == "f" and op is not None and not (mode.recording or mode.watchers):
        return _unrecorded(source, math.copysign(1.0, source), beside, backend)
    number: Any = source[()] if isinstance(source, np.ndarray) else source
    for watcher in mode.watchers:
        stand_in: Tensor | None = watcher.takes(number, beside, backend)
        if stand_in is not None:
            return stand_in
    compared = op is not None and op.compares
    if compared:
        number = comparable(number, beside)
    dtype = beside if beside.kind == "f" else with_number(beside, number, compared)
    if isinstance(number, np.generic):
        number = number_array(number).item()
    try:
        data = constant(number, dtype, backend)
    except OverflowError:
        raise beyond(number, dtype, "tensor" if op is None else op.label) from None
    leaf = made_of(source, data.copy() if isinstance(source, np.ndarray) else data, backend)
    leaf.modified = CONSTANT
    return leaf


@lru_cache(maxsize=4096)
def _unrecorded(number: float, sign: float, dtype: DType, backend: Backend) -> Tensor:
    """Return a number as a leaf, made once: operations that are not recorded read it and forget it."""
    leaf = Tensor(constant(number, dtype, backend), backend)
    leaf.modified, leaf.scope = CONSTANT, None
    return leaf


def made_of(source: object, data: Array, backend: Backend) -> Tensor:
    """Return a leaf that holds `data`, which is `source` as an array of the backend; watchers are shown an array.

    What lies in the memory of `source` is copied, so that the leaf keeps its value, whatever happens to that.
    """
    leaf = Tensor(data, backend)
    followed = False
    if mode.watchers and isinstance(source, np.ndarray | backend.array_type):
        for watcher in mode.watchers:
            followed = watcher.shares(source, leaf) or followed
    if not followed and (data is source or getattr(data, "base", None) is not None):
        leaf.data = data.copy()
    return leaf


def as_operands(op: Op, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the operands of an operation with arrays as tensors; if there are none, with numbers as tensors.

    Numbers adapt to the tensors from `op.promotes_from` on, which are to meet in one dtype; where that is None, to the
    first of all.
    """
    dtypes: list[np.dtype[Any]] = []
    numbers = []
    backend = None
    for place, x in enumerate(operands):
        if x.__class__ is Tensor:
            backend = backend or x.backend
            if place >= (op.promotes_from or 0) and x.data.dtype not in dtypes:
                dtypes.append(x.data.dtype)
        elif isinstance(x, NUMBERS) or (isinstance(x, np.ndarray) and not x.ndim):
            numbers.append(place)
        else:
            return _arrays_as_tensors(operands)
    beside: Any = dtypes[0] if dtypes else of_numbers([operands[place] for place in numbers])
    if len(dtypes) > 1 and op.promotes_from is not None:
        beside = common_dtype(dtypes)
        if beside is None:
            check_dtypes(op, tuple([x for x in operands if x.__class__ is Tensor]))
    inputs = list(operands)
    for place in numbers:
        inputs[place] = _of_number(operands[place], beside, backend or current(), op)  # pyright: ignore[reportArgumentType]
    return tuple(inputs)


def _arrays_as_tensors(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the operands with arrays as tensors, and with lists where there are no arrays: they adapt to these."""
    tensors = [x for x in operands if x.__class__ is Tensor]
    like = next((t for t in tensors if t.data.dtype.kind == "f"), tensors[0] if tensors else None)
    left = (list, tuple) if any(isinstance(x, np.ndarray) and x.ndim for x in operands) else ()
    return tuple([x if is_number(x) or isinstance(x, left) else as_tensor(x, like) for x in operands])


def in_common_dtype(op: Op, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the inputs of an operation, from `op.promotes_from` on converted to the dtype in which they meet.

    Raises
    ------
    DTypeError
        If two of these are of different floating dtypes.
    """
    start = op.promotes_from
    meeting = inputs[start:]
    dtypes = {t.data.dtype for t in meeting}
    if len(dtypes) == 1:
        return inputs
    dtype = common_dtype(list(dtypes))
    if dtype is None:
        check_dtypes(op, meeting)
    return (*inputs[:start], *[t if t.data.dtype == dtype else functions["astype"](t, dtype) for t in meeting])


def as_tensors(op: Op, operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Return the operands as the tensors that an operation is applied to, by `as_operands` and `in_common_dtype`."""
    while not all(isinstance(x, Tensor) for x in operands):
        operands = as_operands(op, operands)
    return in_common_dtype(op, operands)


def matching(caller: str, argument: str, value: Operand, t: Tensor, or_number: bool = False) -> Tensor:
    """Return `value` as a tensor of the backend, shape and dtype of `t`, or with one element if that is allowed.

    What meets `t` in its dtype, as whole numbers beside a floating tensor do, is converted.

    Raises
    ------
    BackendError, ShapeError, DTypeError
        If it does not fit; `caller` asks, and `argument` is what it calls the value.
    """
    v = as_tensor(value, t)
    if v.backend is not t.backend:
        raise mixed_backends(caller, t, v)
    if v.data.shape != t.data.shape and not (or_number and v.data.size == 1):
        raise ShapeError(f"{caller}: {argument} must have the shape of {describe(t)}, {t.shape}, got {v.shape}")
    if v.data.dtype != t.data.dtype:
        if common_dtype([v.data.dtype, t.data.dtype]) is not t.data.dtype:
            raise DTypeError(f"{caller}: {argument} must be {t.dtype}, as {describe(t)} is, got {v.dtype}")
        v = functions["astype"](v, t.data.dtype)
    return v


def filled_like(t: Tensor, number: float) -> Tensor:
    """Return a leaf of the shape, dtype and backend of `t` that holds a number everywhere."""
    return Tensor(t.backend.xp.full(t.data.shape, number, t.data.dtype), t.backend)


def mixed_backends(caller: str, a: Tensor, b: Tensor) -> BackendError:
    """Return the error for two tensors of different backends in one operation."""
    return BackendError(
        f"{caller}: operands live on two backends: {describe(a)} on {a.backend.name!r}, {describe(b)} on "
        f'{b.backend.name!r}; move one with .to("{a.backend.name}")'
    )


@offers
def assign_(t: Tensor, value: Operand) -> Tensor:
    """Write `value` into the memory of the leaf `t`; see `Tensor.assign_`."""
    if t.op is not None:
        raise GraphError(f"assign_: only leaves can be assigned; this tensor was made by {t.op.label}")
    if t.modified == CONSTANT:
        raise GraphError("assign_: cannot assign to a constant; make a leaf of it with tinygraph.tensor")
    source = matching("assign_", "the value", value, t, or_number=True)
    for watcher in mode.watchers:
        if watcher.assigns(t, source):
            break
    else:
        xp = t.backend.xp
        if t.modified <= RESULT:
            t.data, t._sharing = xp.empty_like(t.data), None
        elif t._sharing is not None:
            t.keep_views()
        xp.copyto(t.data, source.data)
    t.modified = place = next_index()
    if t._sharing is not None:
        t.mark_modified(place)
    return t
