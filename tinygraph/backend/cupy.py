"""CuPy arrays on an NVIDIA GPU.

CuPy is imported when this backend is first asked for. What neither CuPy nor cuBLAS has, or has only with sums in an
order that changes from run to run, are kernels in CUDA C at the end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from ..errors import BackendError
from ..typing import Array, DType, DTypeLike, Number
from .base import Backend, EdgeList, make_namespace
from .captured import Captured
from .cublas import Cublas
from .nvidia import OPTIONS, find_cupy
from .prefetch import prefetch
from .random import mask_bits
from .turns import Turn

THREADS = 256  # in a block
FORKED = (
    "cupy: this process was forked after the GPU was used, which CUDA cannot follow; start processes by "
    'multiprocessing.get_context("spawn"), or use the GPU (tg.use, tg.backends) after the fork only'
)
_in_use: WeakSet[CupyBackend] = WeakSet()


class CupyBackend(Backend):
    """Arrays of CuPy, products of cuBLAS.

    Raises
    ------
    BackendError
        If it cannot run here; the message says what is missing.
    """

    name = "cupy"
    fuses = True

    def __init__(self) -> None:
        self.cupy = find_cupy()
        self.array_type = self.cupy.ndarray
        self._device: int = self.cupy.cuda.Device().id
        facts = self.cupy.cuda.runtime.getDeviceProperties(self._device)
        self.device = f"{facts['name'].decode()}, {facts['totalGlobalMem'] / 1e9:.0f} GB"
        self._blas: Cublas | None = None
        self._making = threading.Lock()
        self._edges: WeakKeyDictionary[EdgeList, _DeviceEdges] = WeakKeyDictionary()
        self._own_kernels: dict[tuple[str, np.dtype[Any]], Callable[..., None]] = {}
        self.xp = make_namespace(
            self.cupy,
            matmul=self.matmul,
            erf=self.erf,
            index_add=self.index_add,
            spmm=self.spmm,
            sddmm=self.sddmm,
            bernoulli=self.bernoulli,
            uniform=self.uniform,
            on_host=self.on_host,
        )
        _in_use.add(self)

    def check_device(self) -> None:
        """Raise an error if the thread works on another device than the one that all arrays are on."""
        current = self.cupy.cuda.runtime.getDevice()
        if current != self._device:
            raise BackendError(
                f"cupy: device {current} is the current one, but the backend was first used on device {self._device}, "
                f"and keeps to it; call cupy.cuda.Device({self._device}).use() in every thread, or choose the device "
                "of the process by CUDA_VISIBLE_DEVICES"
            )

    def refuse_forked(self) -> None:
        """Let everything raise an error from here on: the process is a child that CUDA does not work in."""

        def refuse(*arguments: object, **options: object) -> Any:
            raise BackendError(FORKED)

        functions = {name for name, value in vars(self.xp).items() if not isinstance(value, type)}
        vars(self.xp).update(dict.fromkeys(functions, refuse))
        for name in ("asarray", "to_host", "arena", "check_device", "free_memory", "gemm", "kernel", "synchronize"):
            setattr(self, name, refuse)

    # -- arrays ---------------------------------------------------------------------------------------------

    def asarray(self, value: object, dtype: DTypeLike | None = None) -> Array:
        self.check_device()
        return self.cupy.asarray(value, dtype)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.cupy.asnumpy(array)
        return host

    def prefetch(self, arrays: Sequence[np.ndarray], rows: Iterable[slice | np.ndarray]) -> Iterator[tuple[Array, ...]]:
        self.check_device()
        return prefetch(self.cupy, arrays, rows)

    def arena(self, size: int) -> Array:
        return self.cupy.zeros(max(size, 1), np.uint8)

    def array_at(self, arena: Array, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        memory: Any = arena.data
        return self.cupy.ndarray(shape, dtype, memory + offset)

    def free_memory(self) -> int:
        pool = self.cupy.get_default_memory_pool()
        free = int(self.cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
        limit = int(pool.get_limit())  # 0 for none
        return min(free, limit - int(pool.used_bytes())) if limit else free

    def synchronize(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()

    def turn(self) -> Callable[[], None]:
        turn = Turn(self.cupy)

        def take() -> None:
            self.check_device()
            turn()

        return take

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        return Captured(self.cupy, run, lambda: self._blas)

    # -- products -------------------------------------------------------------------------------------------

    @property
    def blas(self) -> Cublas:
        """The handle of cuBLAS, made when it is first asked for."""
        with self._making:
            if self._blas is None:
                self._blas = Cublas(self.cupy)
        return self._blas

    def gemm(self, a: Array, b: Array, out: Array | None = None, alpha: Number = 1.0, beta: Number = 0.0) -> Array:
        self.check_device()
        result = self.cupy.empty((a.shape[0], b.shape[1]), a.dtype) if out is None else out
        if a.dtype.char in "fd" and a.size and b.size:
            target = result if result.flags.c_contiguous else result.copy()
            self.blas.gemm(_plain(a), _plain(b), target, alpha, beta)
            if target is not result:
                self.cupy.copyto(result, target)
            return result
        product = (alpha * self.cupy.matmul(a, b)).astype(a.dtype)
        if out is not None and not (isinstance(beta, float) and beta == 0.0):
            product = product + (beta * out).astype(a.dtype)
        self.cupy.copyto(result, product)
        return result

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Return ``a @ b`` for matrices or stacks of matrices, whose leading axes broadcast."""
        if a.ndim == 2 and b.ndim == 2:
            return self.gemm(a, b, out)
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        result = self.cupy.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype) if out is None else out
        by_blas = a.dtype.char in "fd" and a.size and b.size
        if by_blas:
            a, b = (x if is_plain(x) else x.copy(order="C") for x in (a, b))
        a = self.cupy.broadcast_to(a, lead + a.shape[-2:])
        b = self.cupy.broadcast_to(b, lead + b.shape[-2:])
        if by_blas:
            target = result if result.flags.c_contiguous else result.copy(order="C")
            self.stacked(a, b, target)
            if target is not result:
                self.cupy.copyto(result, target)
            return result
        for at in np.ndindex(lead):
            self.gemm(a[at], b[at], result[at])
        return result

    def stacked(self, a: Array, b: Array, out: Array) -> None:
        """Compute ``out = a b`` for stacks with the same leading axes, by one call if their matrices lie evenly.

        Nothing is allocated, so it can be captured.

        Parameters
        ----------
        a, b : arrays of shape (..., m, k) and (..., k, n), float32 or float64, not empty
            Plain, see `is_plain`; the leading axes may repeat.
        out : array of shape (..., m, n)
            Its elements lie one after the other.
        """
        self.check_device()
        lead = out.shape[:-2]
        count, apart, inner = 1, [0, 0, 0], len(lead)
        while inner:  # join axes from the last on, as long as the matrices of each stack are equally far apart
            steps = [x.strides[inner - 1] // x.itemsize for x in (a, b, out)]
            if lead[inner - 1] > 1:
                if count > 1 and any(step != far * count for step, far in zip(steps, apart, strict=True)):
                    break
                apart = steps if count == 1 else apart
                count *= lead[inner - 1]
            inner -= 1
        for at in np.ndindex(lead[:inner]):
            first = (*at, *(0,) * (len(lead) - inner))
            self.blas.gemm(a[first], b[first], out[first], 1.0, 0.0, count, apart)

    # -- kernels --------------------------------------------------------------------------------------------

    def kernel(self, source: str, name: str) -> Callable[..., None]:
        """Return the function `name` of CUDA source, to be called with a grid, a block and the arguments.

        It is compiled at the first call; the same source is compiled once.
        """
        return _kernel(self.cupy, source, name)

    def module(self, source: str) -> Any:
        """Return CUDA source with several functions, compiled; its ``get_function`` takes their names."""
        return self.cupy.RawModule(code=source, options=OPTIONS)

    def own_kernel(self, name: str, dtype: DType) -> Callable[..., None]:
        """Return a kernel of this file for a floating dtype."""
        key = name, dtype
        if key not in self._own_kernels:  # the source is long to hash
            self._own_kernels[key] = self.kernel(SOURCE.replace("REAL", C_TYPES[dtype]), name)
        return self._own_kernels[key]

    def erf(self, z: Array, out: Array | None = None) -> Array:
        """Return the error function of every element; that of half precision is computed in single."""
        function = import_module("cupyx.scipy.special").erf
        if z.dtype.char != "e":
            return function(z, out=out)
        half = function(z.astype(np.float32)).astype(z.dtype)
        if out is not None:
            self.cupy.copyto(out, half)
        return half if out is None else out

    def index_add(self, shape: tuple[int, ...], key: Any, values: Array) -> Array:
        """Return zeros of `shape` with `values` added at ``[key]``; elements that `key` repeats add up, in order."""
        cupy = self.cupy
        result = cupy.zeros(shape, values.dtype)
        if not any(isinstance(k, cupy.ndarray) for k in key):  # slices and numbers repeat nothing
            result[key] = values
            return result
        if values.dtype.char == "e":
            return self.index_add(shape, key, values.astype(np.float32)).astype(values.dtype)
        if values.dtype not in C_TYPES:  # whole numbers add up to the same in any order
            cupy.add.at(result, key, values)
            return result
        places = cupy.arange(result.size).reshape(shape)[key]
        ordered = cupy.argsort(places.reshape(-1), kind="stable")
        places = places.reshape(-1)[ordered]
        added = cupy.ascontiguousarray(values).reshape(-1)[ordered]
        n = places.size
        if n:
            kernel = self.own_kernel("add_runs", added.dtype)
            kernel(blocks(n), (THREADS,), (places, added, result, np.int64(n)))
        return result

    def spmm(self, y: Array, w: Array, edges: EdgeList, transposed: bool, out: Array | None = None) -> Array:
        """Return ``y S`` for the sparse matrix S with weights `w` at `edges`, or ``y S'``."""
        on_device = self.edges(edges)
        nodes = edges.n_in if transposed else edges.n_out
        result = self.cupy.empty((len(y), nodes), y.dtype) if out is None else out
        if result.size:
            starts, order, ends = on_device.by_source if transposed else on_device.by_target
            arguments = (_packed(y), _packed(w), starts, order, ends, result)
            sizes = np.int64(len(y)), np.int64(y.shape[1]), np.int64(nodes)
            self.own_kernel("spmm", y.dtype)(blocks(result.size), (THREADS,), (*arguments, *sizes))
        return result

    def sddmm(self, y: Array, z: Array, edges: EdgeList, out: Array | None = None) -> Array:
        """Return ``sum over b of y[b, i] z[b, j]`` for every edge from i to j."""
        on_device = self.edges(edges)
        n = len(edges.sources)
        result = self.cupy.empty((n,), y.dtype) if out is None else out
        if n:
            arguments = (_packed(y), _packed(z), on_device.sources, on_device.targets, result)
            sizes = np.int64(len(y)), np.int64(y.shape[1]), np.int64(z.shape[1]), np.int64(n)
            self.own_kernel("sddmm", y.dtype)(blocks(n), (THREADS,), (*arguments, *sizes))
        return result

    def edges(self, edges: EdgeList) -> _DeviceEdges:
        """Return the edges on the device; they are brought there once."""
        on_device = self._edges.get(edges)
        if on_device is None:
            on_device = self._edges[edges] = _DeviceEdges(self.cupy, edges)
            self.synchronize()  # for other streams, which do not wait for this one
        return on_device

    def bernoulli(
        self, key: Array, p_off: float, shape: tuple[int, ...], dtype: str, out: Array | None = None
    ) -> Array:
        """Return zeros with probability `p_off` and ones otherwise, by Philox 4x64-10 with the key `key`."""
        result = self.cupy.empty(shape, dtype) if out is None else out
        if result.dtype not in C_TYPES:
            return self.bernoulli(key, p_off, shape, "float64").astype(result.dtype)
        if result.size:
            n, (bits, off) = result.size, mask_bits(p_off)
            kernel = self.own_kernel("bernoulli", result.dtype)
            kernel(blocks(-(-n * bits // 256)), (THREADS,), (key, np.int32(bits), np.uint64(off), result, np.int64(n)))
        return result

    def uniform(self, key: Array, shape: tuple[int, ...], dtype: str, out: Array | None = None) -> Array:
        """Return numbers of at least 0 and below 1, float32 or float64, by Philox 4x64-10 with the key `key`."""
        result = self.cupy.empty(shape, dtype) if out is None else out
        if n := result.size:
            kernel = self.own_kernel("uniform", result.dtype)
            kernel(blocks(-(-n * result.itemsize // 32)), (THREADS,), (key, result, np.int64(n)))
        return result

    def on_host(
        self, function: Callable[..., np.ndarray], shape: tuple[int, ...], *arrays: Array, out: Array | None = None
    ) -> Array:
        """Return what a function makes of arrays on the host: an array of `shape`, with the dtype of the first."""
        result = self.asarray(function(*map(self.to_host, arrays), out=None))
        if out is None:
            return result
        self.cupy.copyto(out, result)
        return out


def _after_fork() -> None:
    for backend in _in_use:
        backend.refuse_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def blocks(n: int) -> tuple[int]:
    """Return the grid on which `n` threads run."""
    return (-(-n // THREADS),)


def _packed(a: Array) -> Array:
    """Return an array whose elements lie one after the other; a copy if they did not."""
    return a if a.flags.c_contiguous else a.copy(order="C")


def is_plain(a: Array) -> bool:
    """Whether the rows, or the columns, of a matrix or of each matrix of a stack lie one after the other."""
    flags = a[(0,) * (a.ndim - 2)].flags
    return bool(flags.c_contiguous or flags.f_contiguous)


def _plain(a: Array) -> Array:
    """Return a matrix whose rows or columns lie one after the other; a copy if neither do."""
    return a if is_plain(a) else a.copy(order="C")


class _DeviceEdges:
    """Edges on the device, and for each side the edges of each node: where they start, which, and their other ends."""

    def __init__(self, cupy: ModuleType, edges: EdgeList) -> None:
        order = np.argsort(edges.sources, kind="stable").astype(np.int32)
        starts = np.searchsorted(edges.sources[order], np.arange(edges.n_in + 1)).astype(np.int32)
        self.sources, self.targets = cupy.asarray(edges.sources), cupy.asarray(edges.targets)
        every = np.arange(len(edges.sources), dtype=np.int32)
        self.by_target = tuple(cupy.asarray(x) for x in (edges.starts, every, edges.sources))
        self.by_source = tuple(cupy.asarray(x) for x in (starts, order, edges.targets[order]))


@cache
def _kernel(cupy: ModuleType, source: str, name: str) -> Callable[..., None]:
    kernel: Callable[..., None] = cupy.RawKernel(source, name, OPTIONS)
    return kernel


C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

SOURCE = r"""
typedef unsigned long long u64;
typedef long long i64;

__device__ i64 thread_number() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }

// One thread a run of equal places: adds up its values in order.
extern "C" __global__ void add_runs(const i64* places, const REAL* values, REAL* result, i64 n) {
    i64 k = thread_number();
    if (k >= n || (k > 0 && places[k - 1] == places[k])) return;
    i64 place = places[k];
    REAL sum = 0;
    for (; k < n && places[k] == place; ++k) sum += values[k];
    result[place] = sum;
}

// One thread an element (b, j): sum over the edges e of node j of w[e] y[b, other end of e].
extern "C" __global__ void spmm(const REAL* y, const REAL* w, const int* starts, const int* order, const int* ends,
                                REAL* z, i64 rows, i64 n_from, i64 n_to) {
    i64 k = thread_number();
    if (k >= rows * n_to) return;
    i64 j = k % n_to;
    const REAL* row = y + (k / n_to) * n_from;
    REAL sum = 0;
    for (int e = starts[j]; e < starts[j + 1]; ++e) sum += w[order[e]] * row[ends[e]];
    z[k] = sum;
}

// One thread an edge from i to j: sum over b of y[b, i] z[b, j].
extern "C" __global__ void sddmm(const REAL* y, const REAL* z, const int* sources, const int* targets, REAL* w,
                                 i64 rows, i64 n_in, i64 n_out, i64 n_edges) {
    i64 e = thread_number();
    if (e >= n_edges) return;
    const REAL* from = y + sources[e];
    const REAL* to = z + targets[e];
    REAL sum = 0;
    for (i64 b = 0; b < rows; ++b) sum += from[b * n_in] * to[b * n_out];
    w[e] = sum;
}

// One thread one block of 256 bits: Philox 4x64-10 as NumPy numbers its blocks, from 1.
__device__ void philox(const u64* key, u64* words) {
    u64 c[4] = {(u64)thread_number() + 1, 0, 0, 0}, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; ++round) {
        u64 high0 = __umul64hi(0xD2E7470EE14C6C93ULL, c[0]), low0 = 0xD2E7470EE14C6C93ULL * c[0];
        u64 high1 = __umul64hi(0xCA5A826395121157ULL, c[2]), low1 = 0xCA5A826395121157ULL * c[2];
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
    for (int word = 0; word < 4; ++word) words[4 * threadIdx.x + word] = c[word];
}

// An element takes 8, 16 or 32 bits of each 64, the lowest first, and is on if they are at least `off`. The threads
// exchange their words, so that neighbours write neighbours.
extern "C" __global__ void bernoulli(const u64* key, int bits, u64 off, REAL* mask, i64 n) {
    __shared__ u64 words[1024];
    philox(key, words);
    __syncthreads();
    int in_word = 64 / bits, in_block = 1024 * in_word;
    i64 first = (i64)blockIdx.x * in_block;
    for (int e = threadIdx.x; e < in_block && first + e < n; e += 256)
        mask[first + e] = (REAL)((words[e / in_word] >> e % in_word * bits & ((1ULL << bits) - 1)) >= off);
}

// An element takes the highest 24 of 32 bits, or 53 of 64, as a fraction.
extern "C" __global__ void uniform(const u64* key, REAL* numbers, i64 n) {
    __shared__ u64 words[1024];
    philox(key, words);
    __syncthreads();
    const int bits = 8 * sizeof(REAL), taken = bits == 64 ? 53 : 24, in_word = 64 / bits, in_block = 1024 * in_word;
    i64 first = (i64)blockIdx.x * in_block;
    for (int e = threadIdx.x; e < in_block && first + e < n; e += 256) {
        u64 drawn = words[e / in_word] >> (e % in_word * bits + bits - taken) & ((1ULL << taken) - 1);
        numbers[first + e] = (REAL)drawn / (REAL)(1ULL << taken);
    }
}
"""
