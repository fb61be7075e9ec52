"""A stand-in for a device on the CPU, for tests.

Its arrays hold NumPy arrays but refuse everything a device array refuses: becoming a NumPy array on the
way, meeting one in an operation, and any function that is not on the backend contract. A test run on it
proves, without a GPU, that no code path smuggles host arrays into device code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

from ..errors import BackendError
from ..typing import Array, DType, DTypeLike, Number
from . import numpy as host
from .base import ARRAY_FUNCTIONS, DTYPES, OPTIONAL_ROUTINES, OWN_ROUTINES, Backend, make_namespace

ROOM = 1 << 28  # bytes that count as free


class StrictArray:
    """An array that only the functions of the strict backend can read."""

    __slots__ = ("_host",)
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        self._host = array

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise BackendError("a strict array was converted to NumPy implicitly; use Backend.to_host")

    def __iter__(self) -> Iterator[object]:
        raise BackendError("a strict array was iterated on the host; use the backend's functions")

    def __bool__(self) -> bool:
        raise BackendError("a strict array was read as a truth value on the host; use Backend.to_host")

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @property
    def dtype(self) -> DType:
        return self._host.dtype

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def nbytes(self) -> int:
        return self._host.nbytes

    @property
    def T(self) -> StrictArray:
        return StrictArray(self._host.T)

    def astype(self, dtype: DTypeLike) -> StrictArray:
        return StrictArray(self._host.astype(dtype))

    def copy(self) -> StrictArray:
        return StrictArray(self._host.copy())

    def reshape(self, shape: Any) -> StrictArray:
        return StrictArray(self._host.reshape(shape))

    def __getitem__(self, key: object) -> StrictArray:
        return StrictArray(np.asarray(self._host[_unwrap(key)]))


def _unwrap(value: object) -> Any:
    """Return the host arrays behind strict ones; refuse a host array that came in uninvited."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise BackendError(f"a NumPy array of shape {value.shape} was given to a function of the strict backend")
    if isinstance(value, tuple):
        return tuple(_unwrap(v) for v in value)
    if isinstance(value, list):
        return [_unwrap(v) for v in value]
    return value


def _wrap(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return StrictArray(np.asarray(value))
    return value


def _strict(function: Callable[..., object]) -> Callable[..., object]:
    @wraps(function)
    def call(*args: object, **kwargs: object) -> Any:
        out = kwargs.get("out")
        result = function(*[_unwrap(a) for a in args], **{k: _unwrap(v) for k, v in kwargs.items()})
        return _wrap(result) if out is None else out

    return call


def _operator(name: str) -> Callable[..., object]:
    method = getattr(np.ndarray, name)

    def call(self: StrictArray, *other: object) -> Any:
        return _wrap(method(self._host, *[_unwrap(o) for o in other]))

    return call


for _name in ["add", "sub", "mul", "truediv", "pow", "matmul"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(StrictArray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ["neg", "abs", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


class StrictBackend(Backend):
    """NumPy arrays that only the functions of this backend can read; see the module."""

    name = "strict"
    array_type = StrictArray

    def __init__(self) -> None:
        functions = type("functions", (), {n: staticmethod(_strict(getattr(np, n))) for n in ARRAY_FUNCTIONS})
        for name in DTYPES:
            setattr(functions, name, getattr(np, name))
        routines = (*OPTIONAL_ROUTINES, *OWN_ROUTINES)
        self.xp = make_namespace(functions, **{n: _strict(getattr(host, n)) for n in routines})
        self.xp.asarray = self.asarray
        self.xp.sum, self.xp.mean = _strict(host.sum), _strict(host.mean)

    def asarray(self, value: object, dtype: DTypeLike | None = None) -> Array:
        if isinstance(value, StrictArray):
            return value if dtype is None or value.dtype == dtype else value.astype(dtype)
        return StrictArray(np.array(value, dtype))

    def to_host(self, array: Any) -> np.ndarray:
        host_array: np.ndarray = array._host
        return host_array.copy()

    def gemm(self, a: Array, b: Array, out: Array | None = None, alpha: Number = 1.0, beta: Number = 0.0) -> Array:
        result = host.gemm(_unwrap(a), _unwrap(b), _unwrap(out), _unwrap(alpha), _unwrap(beta))
        return StrictArray(result) if out is None else out

    def free_memory(self) -> int:
        return ROOM

    def arena(self, size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def array_at(self, arena: np.ndarray, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return StrictArray(np.ndarray(shape, dtype, arena.data, offset))
