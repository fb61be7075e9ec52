"""Leaves: tensors that numbers and arrays become, and the writing to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import check_name
from .backend import Backend, current
from .backend.conversion import constant, find_dtype, host_array
from .errors import BackendError, DTypeError, GraphError, ShapeError
from .mode import mode
from .operators import Operand, offers
from .tensors import CONSTANT, RESULT, Role, Tensor, describe, next_index

__all__ = ["parameter", "tensor"]


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
    for watcher in mode.watchers:
        watcher.copies()
    if isinstance(array_like, Tensor):
        array_like = array_like.to(backend).data
    data: Any
    if isinstance(array_like, backend.array_type):
        array: Any = array_like
        data = array.copy() if dtype is None else array.astype(find_dtype(dtype))
    else:
        host = host_array(array_like)
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
    check_name("parameter: role", role, ("weight", "bias", "scale"))
    leaf = tensor(array_like, dtype, requires_grad=True, name=name)
    leaf.role = role
    return leaf


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
    number = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
    if isinstance(number, bool | int | float | np.generic) and like is not None:
        for watcher in mode.watchers:
            stand_in: Tensor | None = watcher.takes(number, like)
            if stand_in is not None:
                return stand_in
        dtype = like.data.dtype
        if dtype.kind == "f" or isinstance(number, bool | int | np.integer | np.bool_):
            data = constant(number, dtype, backend)
            leaf = made_of(value, data if number is value else data.copy(), backend)
            leaf.modified = CONSTANT
            return leaf
    return made_of(
        value, number if isinstance(number, backend.array_type) else backend.asarray(host_array(number)), backend
    )


def made_of(source: Any, data: Any, backend: Backend) -> Tensor:
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


def as_tensors(operands: tuple[Operand, ...]) -> tuple[Tensor, ...]:
    """Return the operands as tensors; numbers take the dtype of the first tensor among them."""
    like = None
    for t in operands:
        if t.__class__ is Tensor:
            like = t
            break
    return tuple([as_tensor(t, like) for t in operands])


def matching(caller: str, argument: str, value: Operand, t: Tensor, or_number: bool = False) -> Tensor:
    """Return `value` as a tensor of the backend, shape and dtype of `t`, or with one element if that is allowed.

    Raises
    ------
    BackendError, ShapeError, DTypeError
        If it is not; `caller` asks, and `argument` is what it calls the value.
    """
    v = as_tensor(value, t)
    if v.backend is not t.backend:
        raise mixed_backends(caller, t, v)
    if v.data.shape != t.data.shape and not (or_number and v.data.size == 1):
        raise ShapeError(f"{caller}: {argument} must have the shape of {describe(t)}, {t.shape}, got {v.shape}")
    if v.data.dtype != t.data.dtype:
        raise DTypeError(f"{caller}: {argument} must be {t.dtype}, as {describe(t)} is, got {v.dtype}")
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
