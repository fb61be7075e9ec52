"""NumPy arrays on the CPU.

Every floating product goes through SciPy's BLAS and none through NumPy's: the two bundle separate BLAS
libraries whose threads fight for the cores when both run in one loop, and NumPy's cannot accumulate into a
product. SciPy is imported at the first product, since it takes longer to import than all the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import Array, Axis, DTypeLike, Number
from . import base
from .base import Backend, EdgeList, make_namespace
from .random import mask_bits

_gemm_of: dict[Any, Callable[..., np.ndarray]] = {}  # dtype -> BLAS routine; empty until the first product
_axpy_of: dict[Any, Callable[..., np.ndarray]] = {}


def _load_blas() -> None:
    from scipy.linalg import blas

    _gemm_of[np.dtype(np.float32)] = blas.sgemm  # pyright: ignore[reportAttributeAccessIssue]
    _gemm_of[np.dtype(np.float64)] = blas.dgemm  # pyright: ignore[reportAttributeAccessIssue]
    _axpy_of[np.dtype(np.float32)] = blas.saxpy  # pyright: ignore[reportAttributeAccessIssue]
    _axpy_of[np.dtype(np.float64)] = blas.daxpy  # pyright: ignore[reportAttributeAccessIssue]


def gemm(
    a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, alpha: Number = 1.0, beta: Number = 0.0
) -> np.ndarray:
    """Return ``alpha * a @ b + beta * out`` for two matrices of one dtype; see `Backend.gemm`."""
    if not _gemm_of:
        _load_blas()
    routine = _gemm_of.get(a.dtype)
    if routine is None or not (a.size and b.size):
        return _gemm_without_blas(a, b, out, alpha, beta)
    # BLAS is column-major, so the transposed product is asked for: out.T = b.T a.T. A row-major matrix read
    # column by column is its transpose, hence nothing is copied here.
    if b.flags.c_contiguous:
        left, flip_left = b.T, 0
    else:
        left, flip_left = (b if b.flags.f_contiguous else np.asfortranarray(b)), 1
    if a.flags.c_contiguous:
        right, flip_right = a.T, 0
    else:
        right, flip_right = (a if a.flags.f_contiguous else np.asfortranarray(a)), 1
    if out is None:
        fresh: np.ndarray = routine(alpha, left, right, 0.0, None, flip_left, flip_right).T
        return fresh
    result = routine(alpha, left, right, beta, out.T, flip_left, flip_right, 1)
    if not np.shares_memory(result, out):  # BLAS took a copy: `out` was not contiguous or of another dtype
        np.copyto(out, result.T)
    return out


def _gemm_without_blas(a: np.ndarray, b: np.ndarray, out: np.ndarray | None, alpha: Number, beta: Number) -> np.ndarray:
    """Compute the products BLAS has no routine for: integers, half precision, empty matrices."""
    product: np.ndarray = np.matmul(a, b)
    if alpha != 1.0:
        product = (alpha * product).astype(a.dtype)
    if out is None:
        return product
    if beta:
        product = product + (beta * out).astype(a.dtype)
    np.copyto(out, product)
    return out


FEW = 256  # elements: for fewer NumPy's own functions take no longer than BLAS does with what it is given


def scaled_difference(
    x: np.ndarray, b: Number, y: np.ndarray, a: float = 1.0, out: np.ndarray | None = None
) -> np.ndarray:
    """Return ``a x - b y``: by BLAS, in one pass where `out` is `x` and `a` is 1, and by all its threads."""
    if not _axpy_of:
        _load_blas()
    dtype, shape = x.dtype, x.shape
    routine = _axpy_of.get(dtype)
    if (
        routine is None
        or x.size < FEW
        or y.shape != shape
        or y.dtype != dtype
        or not (x.flags.c_contiguous and y.flags.c_contiguous)
        # It would be written before it is read.
        or (out is not None and np.may_share_memory(y, out) and not (out is x is y and a == 1.0))
        or not (out is x or out is None or (_is_like(x, out) and not np.may_share_memory(x, out)))
        or (isinstance(b, np.ndarray) and b.ndim)
        or not b  # BLAS does not multiply by 0, which infinity shows
    ):
        return base.scaled_difference(np, x, b, y, a, out)
    if a != 1.0:
        out = np.multiply(x, a, out=out)
    elif out is None:
        out = x.copy()
    elif out is not x:
        np.copyto(out, x)
    if len(shape) == 1:
        routine(y, out, a=-b)
    else:
        routine(y.reshape(-1), out.reshape(-1), a=-b)
    return out


def _is_like(x: np.ndarray, out: np.ndarray) -> bool:
    """Whether an array is contiguous, with the shape and the dtype of `x`."""
    return out.shape == x.shape and out.dtype == x.dtype and out.flags.c_contiguous


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``a @ b`` for matrices or stacks of matrices, whose leading axes broadcast."""
    if a.ndim == 2 and b.ndim == 2:
        return gemm(a, b, out)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*lead, a.shape[-2], b.shape[-1])
    result = np.empty(shape, a.dtype) if out is None else out
    a = np.broadcast_to(a, lead + a.shape[-2:])
    b = np.broadcast_to(b, lead + b.shape[-2:])
    for at in np.ndindex(lead):
        result[at] = gemm(a[at], b[at])
    return result


def sum(x: np.ndarray, axis: Axis = None, keepdims: bool = False, out: np.ndarray | None = None) -> np.ndarray:
    """Return the sum over `axis`; half precision is added up in single."""
    if x.dtype.char != "e":
        return np.add.reduce(x, axis, None, out, keepdims)  # type: ignore[call-overload,no-any-return]
    single: Any = np.add.reduce(x, axis, np.float32, None, keepdims)  # type: ignore[call-overload]
    return _narrowed(single, x.dtype, out)


def max(x: np.ndarray, axis: Axis = None, keepdims: bool = False, out: np.ndarray | None = None) -> np.ndarray:
    """Return the maximum over `axis`; NumPy's own function, without its Python wrapper."""
    return np.maximum.reduce(x, axis, None, out, keepdims)  # type: ignore[call-overload,no-any-return]


def mean(x: np.ndarray, axis: Axis = None, keepdims: bool = False, out: np.ndarray | None = None) -> np.ndarray:
    """Return the mean over `axis`; half precision is added up in single, single in double."""
    wide: Any = np.add.reduce(x, axis, mean_dtype(x.dtype), None, keepdims)  # type: ignore[call-overload]
    return _narrowed(wide / (x.size // wide.size if wide.size else 1), x.dtype, out)


def mean_dtype(dtype: np.dtype) -> type[np.floating]:
    """Return the dtype in which a mean of elements of a dtype is computed."""
    return np.float32 if dtype.char == "e" else np.float64


def _narrowed(wide: np.ndarray, dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    """Return what was computed in a wider dtype in `dtype`, written to `out` where it is given."""
    if out is None:
        return wide.astype(dtype)
    np.copyto(out, wide, "same_kind")
    return out


def erf(z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the error function of every element; that of half precision is computed in single."""
    from scipy.special import erf as scipy_erf

    if z.dtype.char == "e":
        half: np.ndarray = _narrowed(scipy_erf(z.astype(np.float32)), z.dtype, out)
        return half
    result: np.ndarray = scipy_erf(z, out=out)
    return result


def index_add(shape: tuple[int, ...], key: Any, values: np.ndarray) -> np.ndarray:
    """Return zeros of `shape` with `values` added at ``[key]``; elements that `key` repeats add up."""
    result = np.zeros(shape, values.dtype)
    np.add.at(result, key, values)
    return result


def spmm(y: np.ndarray, w: np.ndarray, edges: EdgeList, transposed: bool) -> np.ndarray:
    """Return ``y S`` for the sparse matrix S with weights `w` at `edges`, or ``y S'``."""
    from scipy.sparse import csr_array

    by_target = csr_array((w, edges.sources, edges.starts), shape=(edges.n_out, edges.n_in))  # S', shares `w`
    columns = np.ascontiguousarray(y.T)
    return np.ascontiguousarray(((by_target.T if transposed else by_target) @ columns).T)


EDGES_AT_A_TIME = 16384  # their gathered rows stay in the cache, and memory does not grow with edges times batch


def sddmm(y: np.ndarray, z: np.ndarray, edges: EdgeList) -> np.ndarray:
    """Return ``sum over b of y[b, i] z[b, j]`` for every edge from i to j."""
    rows, columns = np.ascontiguousarray(y.T), np.ascontiguousarray(z.T)
    result = np.empty(len(edges.sources), y.dtype)
    for start in range(0, len(result), EDGES_AT_A_TIME):
        part = slice(start, start + EDGES_AT_A_TIME)
        ends = rows.take(edges.sources[part], 0), columns.take(edges.targets[part], 0)
        np.einsum("eb,eb->e", *ends, out=result[part])
    return result


def bernoulli(key: np.ndarray, p_off: float, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return zeros with probability `p_off` and ones otherwise, by Philox 4x64-10 with the key `key`.

    Each 64 bits decide 2, 4 or 8 elements, the lowest bits first (`mask_bits`).
    """
    n, (bits, off) = math.prod(shape), mask_bits(p_off)
    numbers = np.random.Philox(key=key).random_raw(-(-n * bits // 64)).view(f"uint{bits}")[:n]
    return (numbers >= off).astype(dtype).reshape(shape)


def uniform(key: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return numbers of at least 0 and below 1 in float32 or float64, by Philox 4x64-10 with the key `key`.

    They are multiples of 2**-24 or 2**-53, of the highest of 32 or 64 bits, the lower half of each 64 first.
    """
    return np.random.Generator(np.random.Philox(key=key)).random(shape, dtype)  # type: ignore[call-overload,no-any-return]


def on_host(
    function: Callable[..., np.ndarray], shape: tuple[int, ...], *arrays: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Return what a function makes of arrays on the host: an array of `shape`, with the dtype of the first.

    It is called with them and ``out=``, the array to write to and to return, or None.
    """
    return function(*arrays, out=out)


class NumpyBackend(Backend):
    """Arrays of NumPy, products of SciPy's BLAS."""

    name = "numpy"
    array_type = np.ndarray

    def __init__(self) -> None:
        routines = (scaled_difference, matmul, erf, index_add, spmm, sddmm, bernoulli, uniform, on_host)
        self.xp = make_namespace(np, **{routine.__name__: routine for routine in routines})
        self.xp.sum, self.xp.max, self.xp.mean = sum, max, mean

    def asarray(self, value: object, dtype: DTypeLike | None = None) -> Array:
        return np.asarray(value, dtype)

    def to_host(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def gemm(self, a: Array, b: Array, out: Array | None = None, alpha: Number = 1.0, beta: Number = 0.0) -> Array:
        return gemm(a, b, out, alpha, beta)

    def arena(self, size: int) -> np.ndarray:
        memory = np.zeros(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        return memory[start : start + size]

    def array_at(self, arena: np.ndarray, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return np.ndarray(shape, dtype, arena.data, offset)
