"""CuPy arrays on an NVIDIA GPU.

CuPy is imported when this backend is first asked for. Products go to cuBLAS through a handle of our own: CuPy
refuses its own calls of cuBLAS while a stream is captured, which cuBLAS itself allows. What neither CuPy nor
cuBLAS has, or has only with sums in an order that changes from run to run, are kernels in CUDA C at the end.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import BackendError
from .base import Array, Backend, EdgeList, Number, make_namespace
from .random import mask_bits

THREADS = 256  # in a block
OPTIONS = ("--std=c++17",)  # of the compiler
WORKSPACE = 32 << 20  # bytes that cuBLAS may work in, as its documentation advises for recent devices
TF32 = "TINYGRAPH_TF32"  # environment variable: 1 lets products of float32 round their factors to 10 bits
INSTALL = 'pip install ".[cuda12]" (CUDA 12) or ".[cuda13]" (CUDA 13) in the project\'s folder'


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
        self.cupy = _cupy()
        self.array_type = self.cupy.ndarray
        facts = self.cupy.cuda.runtime.getDeviceProperties(self.cupy.cuda.Device().id)
        self.device = f"{facts['name'].decode()}, {facts['totalGlobalMem'] / 1e9:.0f} GB"
        self._local = threading.local()
        self._edges: WeakKeyDictionary[EdgeList, _DeviceEdges] = WeakKeyDictionary()
        self.xp = make_namespace(
            self.cupy,
            matmul=self.matmul,
            erf=self.erf,
            index_add=self.index_add,
            spmm=self.spmm,
            sddmm=self.sddmm,
            bernoulli=self.bernoulli,
        )

    # -- arrays ---------------------------------------------------------------------------------------------

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        return self.cupy.asarray(value, dtype)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.cupy.asnumpy(array)
        return host

    def arena(self, size: int) -> Array:
        return self.cupy.zeros(max(size, 1), np.uint8)

    def array_at(self, arena: Array, offset: int, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.cupy.ndarray(shape, dtype, arena.data + offset)

    def free_memory(self) -> int:
        pool = self.cupy.get_default_memory_pool()
        free = int(self.cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
        limit = int(pool.get_limit())  # 0 for none
        return min(free, limit - int(pool.used_bytes())) if limit else free

    def synchronize(self) -> None:
        self.cupy.cuda.get_current_stream().synchronize()

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        return _Captured(self.cupy, run)

    # -- products -------------------------------------------------------------------------------------------

    @property
    def blas(self) -> _Blas:
        """The thread's handle of cuBLAS."""
        handle: _Blas | None = getattr(self._local, "blas", None)
        if handle is None:
            handle = self._local.blas = _Blas(self.cupy)
        return handle

    def gemm(self, a: Array, b: Array, out: Array | None = None, alpha: Number = 1.0, beta: Number = 0.0) -> Array:
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
        a = self.cupy.broadcast_to(a, lead + a.shape[-2:])
        b = self.cupy.broadcast_to(b, lead + b.shape[-2:])
        for at in np.ndindex(lead):
            self.gemm(a[at], b[at], result[at])
        return result

    # -- kernels --------------------------------------------------------------------------------------------

    def kernel(self, source: str, name: str) -> Callable[..., None]:
        """Return the function `name` of CUDA source, to be called with a grid, a block and the arguments.

        It is compiled at the first call; the same source is compiled once.
        """
        return _kernel(self.cupy, source, name)

    def module(self, source: str) -> Any:
        """Return CUDA source with several functions, compiled; its ``get_function`` takes their names."""
        return self.cupy.RawModule(code=source, options=OPTIONS)

    def own_kernel(self, name: str, dtype: np.dtype[Any]) -> Callable[..., None]:
        """Return a kernel of this file for a floating dtype."""
        return self.kernel(SOURCE.replace("REAL", C_TYPES[dtype]), name)

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


def blocks(n: int) -> tuple[int]:
    """Return the grid on which `n` threads run."""
    return (-(-n // THREADS),)


def _packed(a: Array) -> Array:
    """Return an array whose elements lie one after the other; a copy if they did not."""
    return a if a.flags.c_contiguous else a.copy(order="C")


def _plain(a: Array) -> Array:
    """Return a matrix whose rows or columns lie one after the other; a copy if neither do."""
    return a if a.flags.c_contiguous or a.flags.f_contiguous else a.copy(order="C")


class _DeviceEdges:
    """Edges on the device, and for each side the edges of each node: where they start, which, and their other ends."""

    def __init__(self, cupy: Any, edges: EdgeList) -> None:
        order = np.argsort(edges.sources, kind="stable").astype(np.int32)
        starts = np.searchsorted(edges.sources[order], np.arange(edges.n_in + 1)).astype(np.int32)
        self.sources, self.targets = cupy.asarray(edges.sources), cupy.asarray(edges.targets)
        every = np.arange(len(edges.sources), dtype=np.int32)
        self.by_target = tuple(cupy.asarray(x) for x in (edges.starts, every, edges.sources))
        self.by_source = tuple(cupy.asarray(x) for x in (starts, order, edges.targets[order]))


class _Captured:
    """A run that the device repeats by itself: asked for step by step once, recorded, then asked for as a whole.

    The first call loads kernels, which must not happen during a recording.
    """

    def __init__(self, cupy: Any, run: Callable[[], None]) -> None:
        self.cupy, self.run = cupy, run
        self.calls = 0
        self.graph: Any = None

    def __call__(self) -> None:
        if self.graph is not None:
            self.graph.launch()
            return
        self.calls += 1
        if self.calls == 2:
            try:
                self.graph = self._record()
            except Exception as error:
                warnings.warn(
                    f"cupy: a plan runs step by step, since it cannot be captured as a graph: {_line(error)}",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                self.graph.launch()
                return
        self.run()

    def _record(self) -> Any:
        """Return the graph of what a run asks for; nothing of it is computed meanwhile."""
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                self.run()
            except Exception:
                with suppress(Exception):
                    stream.end_capture()
                raise
            return stream.end_capture()


# -- cuBLAS -------------------------------------------------------------------------------------------------


class _Blas:
    """A handle of cuBLAS, which works on CuPy's current stream, captured or not."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.library = _library("cublas")
        self.handle = ctypes.c_void_p()
        self._ask("cublasCreate_v2", ctypes.byref(self.handle))
        self.workspace = cupy.empty(WORKSPACE, np.uint8)
        self.stream: int | None = None
        self.on_device = False  # whether factors are read from the device's memory
        self.fixed: dict[tuple[float, str], Array] = {}  # numbers in the device's memory
        if os.environ.get(TF32, "0") not in ("", "0"):
            self._ask("cublasSetMathMode", self.handle, 3)  # CUBLAS_TF32_TENSOR_OP_MATH

    def gemm(self, a: Array, b: Array, out: Array, alpha: Number, beta: Number) -> None:
        """Compute ``out = alpha a b + beta out``; `out` is row-major, `a` and `b` row-major or column-major."""
        self._use_stream()
        # cuBLAS is column-major, so the transposed product is asked for: out' = b' a'. A row-major matrix read
        # column by column is its transpose.
        (left, flip_left, lead_left), (right, flip_right, lead_right) = _columns(b), _columns(a)
        m, n, k = out.shape[1], out.shape[0], a.shape[1]
        factors, keep = self._factors(alpha, beta, out.dtype)
        routine = "cublasSgemm_v2" if out.dtype.char == "f" else "cublasDgemm_v2"
        sizes = [ctypes.c_int(x) for x in (flip_left, flip_right, m, n, k)]
        places = [ctypes.c_void_p(x.data.ptr) for x in (left, right, out)]
        leads = [ctypes.c_int(x) for x in (lead_left, lead_right, m)]
        head = (self.handle, *sizes, factors[0], places[0], leads[0], places[1], leads[1])
        self._ask(routine, *head, factors[1], places[2], leads[2])
        del keep

    def _factors(self, alpha: Number, beta: Number, dtype: np.dtype[Any]) -> tuple[list[ctypes.c_void_p], Any]:
        """Return pointers to both factors, and what must live until they are read."""
        numbers = (alpha, beta)
        on_device = any(isinstance(x, self.cupy.ndarray) for x in numbers)
        if on_device != self.on_device:
            self._ask("cublasSetPointerMode_v2", self.handle, int(on_device))
            self.on_device = on_device
        if on_device:
            arrays = [x if isinstance(x, self.cupy.ndarray) else self._number(float(x), dtype) for x in numbers]
            return [ctypes.c_void_p(x.data.ptr) for x in arrays], arrays
        host = np.array([float(x) for x in numbers], dtype)
        return [ctypes.c_void_p(host.ctypes.data + k * host.itemsize) for k in (0, 1)], host

    def _number(self, x: float, dtype: np.dtype[Any]) -> Array:
        key = x, dtype.char
        if key not in self.fixed:
            self.fixed[key] = self.cupy.asarray(np.array(x, dtype))
        return self.fixed[key]

    def _use_stream(self) -> None:
        stream = self.cupy.cuda.get_current_stream().ptr
        if stream != self.stream:
            self._ask("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream))
            workspace = ctypes.c_void_p(self.workspace.data.ptr)  # asked for again: a new stream forgets it
            self._ask("cublasSetWorkspace_v2", self.handle, workspace, ctypes.c_size_t(WORKSPACE))
            self.stream = stream

    def _ask(self, routine: str, *arguments: Any) -> None:
        status = getattr(self.library, routine)(*arguments)
        if status:
            raise BackendError(f"cupy: {routine} of cuBLAS failed with status {status}")


def _columns(a: Array) -> tuple[Array, int, int]:
    """Return a matrix, whether it lies transposed to how cuBLAS reads it, and its leading size."""
    if a.flags.c_contiguous:
        return a, 0, a.shape[1]
    return a, 1, a.shape[0]


# -- what is there ------------------------------------------------------------------------------------------


def _cupy() -> Any:
    """Return CuPy if everything it needs to run is here; raise an error that says what is missing."""
    try:
        cupy = import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise BackendError(f"backend 'cupy': CuPy is not installed; {INSTALL}") from None
        raise BackendError(f"backend 'cupy': CuPy cannot be imported: {_line(error)}") from None
    except ImportError as error:
        raise BackendError(f"backend 'cupy': CuPy cannot be imported: {_line(error)}") from None
    runtime = cupy.cuda.runtime
    try:
        driver = runtime.driverGetVersion()
    except Exception as error:
        raise BackendError(f"backend 'cupy': the NVIDIA driver does not answer: {_line(error)}") from None
    if not driver:
        raise BackendError("backend 'cupy': no NVIDIA driver is installed; install one (nvidia-smi then lists the GPU)")
    try:
        devices = runtime.getDeviceCount()
    except Exception as error:
        devices, reason = 0, f" ({_line(error)})"
    else:
        reason = ""
    if not devices:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = f"; CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else ""
        raise BackendError(f"backend 'cupy': the NVIDIA driver finds no device{reason}{hint}")
    for library, description in (("cublas", "cuBLAS, for products"), ("nvrtc", "NVRTC, which compiles kernels")):
        try:
            _library(library)
        except Exception as error:
            raise BackendError(
                f"backend 'cupy': the library {description}, is missing ({_line(error)}); install the CUDA toolkit, or "
                f"CuPy with it: {INSTALL}"
            ) from None
    return cupy


def _line(error: Exception) -> str:
    """Return the first line of an error's text that says something."""
    lines = (line.strip(" =\t") for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


@cache
def _library(name: str) -> Any:
    """Return one of CUDA's libraries, found as CuPy itself finds it."""
    loaded = import_module("cuda.pathfinder").load_nvidia_dynamic_lib(name)
    return ctypes.CDLL(loaded.abs_path)


@cache
def _kernel(cupy: Any, source: str, name: str) -> Callable[..., None]:
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

// One thread one block of 256 bits: Philox 4x64-10 as NumPy numbers its blocks, from 1. An element takes 8, 16 or 32
// bits of each 64, the lowest first, and is on if they are at least `off`.
extern "C" __global__ void bernoulli(const u64* key, int bits, u64 off, REAL* mask, i64 n) {
    i64 block = thread_number(), element = block * (256 / bits);
    if (element >= n) return;
    u64 c[4] = {(u64)block + 1, 0, 0, 0}, k0 = key[0], k1 = key[1];
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
    #pragma unroll
    for (int word = 0; word < 4; ++word)
        for (int shift = 0; shift < 64 && element < n; shift += bits)
            mask[element++] = (REAL)((c[word] >> shift & ((1ULL << bits) - 1)) >= off);
}
"""
