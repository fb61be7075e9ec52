"""A stand-in for CuPy on the CPU, so that the CuPy backend can be tested without a GPU.

Arrays are NumPy's behind a wall: they refuse NumPy arrays, as CuPy's do. Kernels are compiled by g++ and run thread
by thread, block by block; cuBLAS is NumPy. Streams other than the default one do what they are asked for as late as
they may. While a stream is captured, only kernels and products are taken, and recorded. It shows that kernels compute
what they should and that a captured plan asks for nothing else; how fast anything is, and whether CUDA's own compiler
and libraries accept it, it does not show.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
from scipy.special import erf

from tinygraph import backend
from tinygraph.backend import cublas, nvidia
from tinygraph.backend import cupy as ours
from tinygraph.backend import numpy as host
from tinygraph.backend.base import ARRAY_FUNCTIONS, DTYPES

HAS_COMPILER = shutil.which("g++") is not None
limit = 0  # of the memory pool, in bytes
alive: dict[int, int] = {}  # the bytes of every array that has memory of its own
owners = weakref.WeakValueDictionary()  # those arrays, by the id of the memory


def refuse_in_capture(what):
    """Raise an error if the current stream is captured; else let it finish, so that `what` can be done at once."""
    if current_stream().capture is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")
    current_stream().synchronize()


def unwrap(value):
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(unwrap(v) for v in value)
    return value


def wrap(value):
    return ndarray.around(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def count(host):
    """Count the memory of an array as used until it is gone."""
    if id(host) not in alive:
        alive[id(host)] = host.nbytes
        weakref.finalize(host, alive.pop, id(host)).atexit = False


def memory_of(host):
    """The array on the host whose memory another lies in."""
    while (base := getattr(host, "obj", None) if isinstance(host, memoryview) else host.base) is not None:
        host = base
    return host


def wrapped(key, shape):
    """An index whose arrays of whole numbers are taken modulo the axes they pick from: CuPy refuses none of them."""
    key = key if isinstance(key, tuple) else (key,)
    spans = [
        0 if k is None or k is ... else k.ndim if isinstance(k, np.ndarray) and k.dtype == bool else 1 for k in key
    ]
    axis, parts = 0, []
    for k, span in zip(key, spans, strict=True):
        whole = isinstance(k, np.ndarray) and k.dtype.kind in "iu" and axis < len(shape) and shape[axis]
        parts.append(k % shape[axis] if whole else k)
        axis += len(shape) - sum(spans) if k is ... else span
    return tuple(parts)


def function(name, run):
    def call(*args, **kwargs):
        refuse_in_capture(name)
        out = kwargs.get("out")
        result = run(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items()})
        return wrap(result) if out is None else out

    return call


class Pointer:
    def __init__(self, owner, ptr):
        self.owner, self.ptr = owner, ptr

    def __add__(self, offset):
        return Pointer(self.owner, self.ptr + offset)


class ndarray:
    """An array on the pretended device."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None):
        refuse_in_capture("an allocation")
        if memptr is None:
            self.host = np.empty(shape, dtype)
            count(self.host)
            owners[id(self.host)] = self
        else:
            start = memptr.owner.__array_interface__["data"][0]
            self.host = np.ndarray(shape, dtype, memptr.owner.data, memptr.ptr - start)

    @classmethod
    def around(cls, host):
        array = cls.__new__(cls)
        array.host = host
        if host.base is None:
            count(host)
            owners[id(host)] = array
        return array

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    data = property(lambda self: Pointer(self.host, self.host.__array_interface__["data"][0]))
    T = property(lambda self: wrap(self.host.T))

    @property
    def base(self):
        memory = memory_of(self.host)
        return None if memory is self.host else owners.get(id(memory), memory)

    for _name in ("shape", "dtype", "ndim", "size", "nbytes", "flags", "strides", "itemsize"):
        locals()[_name] = property(lambda self, name=_name: getattr(self.host, name))

    def __getitem__(self, key):
        key = wrapped(unwrap(key), self.host.shape)
        picked = self.host[key]
        return wrap(picked if isinstance(picked, np.ndarray) else self.host[(*key, ...)])  # one entry is a view, too

    def __setitem__(self, key, value):
        refuse_in_capture("an assignment")
        self.host[wrapped(unwrap(key), self.host.shape)] = unwrap(value)

    def __len__(self):
        return len(self.host)

    def __float__(self):
        refuse_in_capture("a copy to the host")
        return float(self.host)


for _name in ("astype", "copy", "fill", "reshape", "transpose", "swapaxes", "any", "all", "sum"):
    setattr(ndarray, _name, function(_name, getattr(np.ndarray, _name)))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    for _side in ("", "r"):
        _full = f"__{_side}{_name}__"
        setattr(ndarray, _full, function(_full, getattr(np.ndarray, _full)))
for _name in ("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert"):
    setattr(ndarray, f"__{_name}__", function(_name, getattr(np.ndarray, f"__{_name}__")))


def asarray(value, dtype=None):
    refuse_in_capture("a copy from the host")
    if isinstance(value, ndarray) and dtype in (None, value.dtype):
        return value
    return ndarray.around(np.array(value.host if isinstance(value, ndarray) else value, dtype))


# -- kernels --------------------------------------------------------------------------------------------

PRELUDE = r"""
#include <math.h>
#include <ucontext.h>
struct Place { unsigned x, y, z; };
static Place blockIdx, threadIdx, blockDim, gridDim;
static ucontext_t scheduler, fibers[1024];
static char stacks[1024][1 << 15];
static bool ended[1024];
static unsigned running;
#define __global__
#define __device__
#define __shared__ static
static void __syncthreads() { swapcontext(&fibers[running], &scheduler); }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static void (*body)();
static void fiber() { body(); ended[running] = true; }
static void run(unsigned wide, unsigned high, unsigned threads, bool waits) {
    gridDim.x = wide; gridDim.y = high; blockDim.x = threads;
    for (blockIdx.y = 0; blockIdx.y < high; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < wide; ++blockIdx.x) {
            if (!waits) {
                for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) body();
                continue;
            }
            for (unsigned t = 0; t < threads; ++t) {
                ended[t] = false;
                getcontext(&fibers[t]);
                fibers[t].uc_stack.ss_sp = stacks[t];
                fibers[t].uc_stack.ss_size = sizeof stacks[t];
                fibers[t].uc_link = &scheduler;
                makecontext(&fibers[t], fiber, 0);
            }
            for (unsigned left = threads; left;)
                for (unsigned t = 0; t < threads; ++t)
                    if (!ended[t]) {
                        running = threadIdx.x = t;
                        swapcontext(&scheduler, &fibers[t]);
                        left -= ended[t];
                    }
        }
}
"""
HEAD = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
folder = tempfile.TemporaryDirectory(prefix="host_cuda")


@cache
def library(source):
    """Return CUDA source as a library of the host, with a launcher for each kernel."""
    text = PRELUDE + source
    for name, parameters in HEAD.findall(source):
        kinds = [re.sub(r"\s*\b\w+$", "", p.strip()) for p in parameters.split(",")]
        values = ", ".join(f"*({kind}*)arguments_{name}[{n}]" for n, kind in enumerate(kinds))
        begin = source.index(f"void {name}(")
        end = source.find('extern "C"', begin)
        waits = "__syncthreads" in source[begin : end if end > 0 else None]
        text += (
            f"static void** arguments_{name};\nstatic void call_{name}() {{ {name}({values}); }}\n"
            f'extern "C" void launch_{name}(unsigned wide, unsigned high, unsigned threads, void** arguments) {{\n'
            f"    arguments_{name} = arguments;\n    body = call_{name};\n"
            f"    run(wide, high, threads, {str(waits).lower()});\n}}\n"
        )
    path = Path(folder.name) / hashlib.sha256(text.encode()).hexdigest()
    path.with_suffix(".cpp").write_text(text)
    command = ["g++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off", "-o", f"{path}.so"]
    done = subprocess.run([*command, f"{path}.cpp"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"NVRTC_ERROR_COMPILATION\n{done.stderr}\n{source}")
    return ctypes.CDLL(f"{path}.so")


class RawKernel:
    def __init__(self, code, name, options=()):
        self.code, self.name = code, name

    def __call__(self, grid, block, arguments):
        launch = getattr(library(self.code), f"launch_{self.name}")
        threads = block[0]
        assert 1 <= threads <= 1024
        assert all(1 <= n < 2**31 for n in grid)
        values = []
        for x in arguments:
            if isinstance(x, ndarray):
                values.append(ctypes.c_void_p(x.data.ptr))
            else:
                assert isinstance(x, np.generic), type(x)  # a plain number would have no size of its own
                values.append(np.ctypeslib.as_ctypes(np.array(x)))
        wide, high = (*grid, 1)[:2]

        def run(held=arguments):
            pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
            launch(wide, high, threads, pointers)

        ask(run)


class RawModule:
    def __init__(self, code, options=()):
        self.code = code

    def get_function(self, name):
        assert name in dict(HEAD.findall(self.code))
        return RawKernel(self.code, name)


# -- streams --------------------------------------------------------------------------------------------


class Stream:
    """What is asked for in an order: the default stream does it at once, any other as late as it may.

    That is when somebody waits for it: at a synchronisation, an event, a function that computes at once on the same
    stream; and, of streams that are not `non_blocking`, before the default stream does anything.
    """

    pointers: ClassVar = itertools.count(16)
    blocking: ClassVar = weakref.WeakSet()

    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else next(self.pointers)
        self.non_blocking = non_blocking
        self.done, self.waiting = 0, deque()
        self.capture: list | None = None  # what was asked for since a capture began
        if not null and not non_blocking:
            self.blocking.add(self)

    def __enter__(self):
        stack().append(self)
        return self

    def __exit__(self, *reason):
        stack().pop()

    def ask(self, run):
        if self.capture is not None:
            self.capture.append(run)
            return
        self.waiting.append(run)
        if not self.ptr:
            for other in list(self.blocking):
                other.synchronize()
            self.run_until(self.done + len(self.waiting))

    def run_until(self, end):
        while self.done < end and self.waiting:
            self.done += 1
            self.waiting.popleft()()

    def synchronize(self):
        if self.capture is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: a synchronisation")
        self.run_until(self.done + len(self.waiting))

    def record(self, event=None):
        event = event or Event()
        event.stream, event.end = self, self.done + len(self.waiting)
        return event

    def wait_event(self, event):
        assert self.capture is event.stream.capture is None, "cudaErrorStreamCaptureIsolation"
        self.ask(event.synchronize)

    def is_capturing(self):
        return self.capture is not None

    def begin_capture(self):
        assert self.non_blocking  # others cannot be captured beside the default stream
        self.capture = []

    def end_capture(self):
        recorded, self.capture = self.capture, None

        def launch():
            for run in recorded:
                ask(run)

        return SimpleNamespace(launch=launch, runs=len(recorded))


class Event:
    """A place in what a stream was asked for."""

    def __init__(self, disable_timing=False):
        self.stream, self.end = default_stream, 0

    def record(self, stream=None):
        (stream or current_stream()).record(self)

    def synchronize(self):
        self.stream.run_until(self.end)


default_stream = Stream(null=True)
threads = threading.local()


def stack():
    """The streams that the thread has made current, the innermost last."""
    if not hasattr(threads, "streams"):
        threads.streams = [default_stream]
    return threads.streams


def current_stream():
    return stack()[-1]


def ask(run):
    """Run something that the device computes, when its stream comes to it, or record it."""
    current_stream().ask(run)


class Device:
    """The pretended device; others can be made current, and have nothing on them."""

    current = 0

    def __init__(self, id=None):
        self.id = Device.current if id is None else id

    def __enter__(self):
        self.before, Device.current = Device.current, self.id

    def __exit__(self, *reason):
        Device.current = self.before

    def synchronize(self):
        for stream in list(Stream.blocking):
            stream.synchronize()


class Cublas:
    """The routines of cuBLAS that are used, column by column as there."""

    def __init__(self):
        self.on_device = False
        self.stream = None

    def cublasCreate_v2(self, handle):
        refuse_in_capture("cublasCreate")
        return 0

    def cublasSetStream_v2(self, handle, stream):
        self.stream = stream.value or 0
        return 0

    def cublasSetWorkspace_v2(self, handle, room, size):
        assert room.value
        return 0

    def cublasSetMathMode(self, handle, mode):
        return 0

    def cublasSetPointerMode_v2(self, handle, mode):
        self.on_device = bool(mode)
        return 0

    def cublasSgemm_v2(self, *arguments):
        return self.gemm(ctypes.c_float, *arguments)

    def cublasDgemm_v2(self, *arguments):
        return self.gemm(ctypes.c_double, *arguments)

    def gemm(self, kind, handle, flip_a, flip_b, m, n, k, alpha, a, lead_a, b, lead_b, beta, c, lead_c):
        assert self.stream == current_stream().ptr
        m, n, k, flip_a, flip_b = (x.value for x in (m, n, k, flip_a, flip_b))
        rows_a, rows_b = (k if flip_a else m), (n if flip_b else k)
        if lead_a.value < max(1, rows_a) or lead_b.value < max(1, rows_b) or lead_c.value < max(1, m):
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        number = ctypes.POINTER(kind)
        fixed = None if self.on_device else [ctypes.cast(p, number)[0] for p in (alpha, beta)]  # read now

        def matrix(pointer, rows, columns, lead):
            flat = np.ctypeslib.as_array(ctypes.cast(pointer, number), (columns, lead.value))
            return flat[:, :rows].T

        def run():
            x, y = fixed or [ctypes.cast(p, number)[0] for p in (alpha, beta)]
            left = matrix(a, rows_a, m if flip_a else k, lead_a)
            right = matrix(b, rows_b, k if flip_b else n, lead_b)
            target = matrix(c, m, n, lead_c)
            kind_of = target.dtype.type
            product = kind_of(x) * ((left.T if flip_a else left) @ (right.T if flip_b else right))
            target[...] = product + (kind_of(y) * target if y else 0)  # what is there is not read for beta = 0

        ask(run)
        return 0


# -- the modules ----------------------------------------------------------------------------------------


class Module(SimpleNamespace):
    __hash__ = object.__hash__


@cache
def modules():
    """Return the modules to import instead of CuPy's, by name."""
    cupy = Module(
        ndarray=ndarray,
        asarray=asarray,
        asnumpy=lambda a: (refuse_in_capture("asnumpy"), np.array(a.host))[1],
        RawKernel=RawKernel,
        RawModule=RawModule,
        cuda=SimpleNamespace(
            get_current_stream=current_stream,
            Stream=Stream,
            Event=Event,
            Device=Device,
            runtime=SimpleNamespace(
                driverGetVersion=lambda: 13000,
                memGetInfo=lambda: (1 << 28, 1 << 30),
                getDevice=lambda: Device.current,
                getDeviceCount=lambda: 1,
                getDeviceProperties=lambda device: {"name": b"the host", "totalGlobalMem": 8 * 10**9},
            ),
        ),
    )
    pool = SimpleNamespace(
        free_bytes=lambda: 0,
        used_bytes=lambda: sum(alive.values()),
        total_bytes=lambda: sum(alive.values()),
        get_limit=lambda: limit,
    )
    cupy.get_default_memory_pool = lambda: pool
    views = {"broadcast_to"}
    for name in (*ARRAY_FUNCTIONS, "matmul", "argsort", "ascontiguousarray"):
        run = getattr(np, name)
        setattr(cupy, name, function(name, run) if name not in views else lambda *a, run=run: wrap(run(*unwrap(a))))
    cupy.sum, cupy.mean = function("sum", host.sum), function("mean", host.mean)  # of half precision, as CuPy's
    cupy.add.at = function("add.at", lambda a, key, values: np.add.at(a, wrapped(key, a.shape), values))
    for name in DTYPES:
        setattr(cupy, name, getattr(np, name))
    pathfinder = Module(
        find_nvidia_header_directory=lambda name: "/usr/include",
        load_nvidia_dynamic_lib=lambda name: SimpleNamespace(abs_path=name),
    )
    return {
        "cupy": cupy,
        "cupyx.scipy.special": Module(erf=function("erf", erf)),
        "cuda.pathfinder": pathfinder,
    }


@contextmanager
def installed():
    """Let the CuPy backend find this instead of CuPy; a ``with`` block."""
    before = {name: sys.modules.get(name) for name in modules()}
    library_before = nvidia.library
    sys.modules.update(modules())
    nvidia.library = cublas.library = lambda name: Cublas()
    backend.register("cupy", made)
    try:
        yield
    finally:
        nvidia.library = cublas.library = library_before
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        backend.register("cupy", ours.CupyBackend)


made = cache(ours.CupyBackend)  # one backend for all tests
