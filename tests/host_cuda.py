"""A stand-in for CuPy on the CPU, so that the CuPy backend can be tested without a GPU.

Arrays are NumPy's behind a wall: they refuse NumPy arrays, as CuPy's do. Kernels are compiled by g++ and run thread
by thread, block by block; cuBLAS is NumPy. Streams other than the default one do what they are asked for as late as
they may. While a stream is captured, only kernels and products are taken, and recorded. It shows that kernels compute
what they should and that a captured plan asks for nothing else; how fast anything is, and whether CUDA's own compiler
and libraries accept it, it does not show.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import ClassVar

import host_kernels
import numpy as np
from scipy.special import erf

from tinygraph import backend
from tinygraph.backend import cublas, nvidia
from tinygraph.backend import cupy as ours
from tinygraph.backend import numpy as host
from tinygraph.backend.base import ARRAY_FUNCTIONS, DTYPES

limit = 0  # of the memory pool, in bytes
alive: dict[int, int] = {}  # the bytes of every array that has memory of its own
pinned: list = []  # memory of the host that the device reads by itself, when it comes to it
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


def wrap(value, source=None):
    """Return what NumPy gives as an array here; what is a view of `source` is part of the same piece of memory."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = ndarray.around(np.asarray(value))
    if isinstance(source, ndarray) and memory_of(array.host) is memory_of(source.host):
        array.piece = source.piece
    return array


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
        return wrap(result, args[0] if args else None) if out is None else out

    return call


class Pointer:
    def __init__(self, owner, ptr):
        self.owner, self.ptr = owner, ptr

    def __add__(self, offset):
        return Pointer(self.owner, self.ptr + offset)


class ndarray:
    """An array on the pretended device.

    `piece` is the array of the host that was made for it or for what it is a view of: all that a kernel may touch.
    """

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
        self.piece = self.host

    @classmethod
    def around(cls, host):
        array = cls.__new__(cls)
        array.host = array.piece = host
        if host.base is None:
            count(host)
            owners[id(host)] = array
        return array

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    data = property(lambda self: Pointer(self.host, self.host.__array_interface__["data"][0]))
    T = property(lambda self: wrap(self.host.T, self))

    @property
    def base(self):
        memory = memory_of(self.host)
        return None if memory is self.host else owners.get(id(memory), memory)

    for _name in ("shape", "dtype", "ndim", "size", "nbytes", "flags", "strides", "itemsize"):
        locals()[_name] = property(lambda self, name=_name: getattr(self.host, name))

    def __getitem__(self, key):
        key = wrapped(unwrap(key), self.host.shape)
        picked = self.host[key]
        return wrap(picked if isinstance(picked, np.ndarray) else self.host[(*key, ...)], self)  # one entry is a view

    def __setitem__(self, key, value):
        refuse_in_capture("an assignment")
        self.host[wrapped(unwrap(key), self.host.shape)] = unwrap(value)

    def set(self, values, stream):
        assert values.shape == self.host.shape
        assert values.dtype == self.host.dtype
        if memory_of(values) is not values and any(memory_of(values) is memory for memory in pinned):
            stream.ask(lambda: np.copyto(self.host, values))
        else:  # such memory is copied from at once
            np.copyto(self.host, values)

    def __len__(self):
        return len(self.host)

    def __float__(self):
        refuse_in_capture("a copy to the host")
        return float(self.host)

    def __int__(self):
        refuse_in_capture("a copy to the host")
        return int(self.host)


for _name in ("astype", "copy", "fill", "reshape", "transpose", "swapaxes", "any", "all", "sum"):
    setattr(ndarray, _name, function(_name, getattr(np.ndarray, _name)))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    for _side in ("", "r"):
        _full = f"__{_side}{_name}__"
        setattr(ndarray, _full, function(_full, getattr(np.ndarray, _full)))
for _name in ("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert"):
    setattr(ndarray, f"__{_name}__", function(_name, getattr(np.ndarray, f"__{_name}__")))


def alloc_pinned_memory(size):
    pinned.append(np.full(size, 255, np.uint8))
    return pinned[-1]


def asarray(value, dtype=None):
    refuse_in_capture("a copy from the host")
    if isinstance(value, ndarray) and dtype in (None, value.dtype):
        return value
    return ndarray.around(np.array(value.host if isinstance(value, ndarray) else value, dtype))


# -- kernels --------------------------------------------------------------------------------------------


class RawKernel:
    def __init__(self, code, name, options=()):
        self.code, self.name = code, name

    def __call__(self, grid, block, arguments):
        threads = block[0]
        assert 1 <= threads <= host_kernels.MOST_THREADS
        assert all(1 <= n < 2**31 for n in grid)
        values, arrays = [], [x.piece for x in arguments if isinstance(x, ndarray)]
        for x in arguments:
            if isinstance(x, ndarray):
                values.append(ctypes.c_void_p(x.data.ptr))
            else:
                assert isinstance(x, np.generic), type(x)  # a plain number would have no size of its own
                values.append(np.ctypeslib.as_ctypes(np.array(x)))
        host_kernels.library(self.code, host_kernels.contract)
        ask(lambda: host_kernels.launch(self.code, self.name, (*grid, 1)[:2], threads, values, arrays))


class RawModule:
    def __init__(self, code, options=()):
        self.code = code

    def get_function(self, name):
        assert name in host_kernels.names(self.code)
        return RawKernel(self.code, name)


# -- streams --------------------------------------------------------------------------------------------


class Stream:
    """What is asked for in an order: the default stream does it at once, any other as late as it may.

    That is when somebody waits for it: at a synchronisation, an event, a function that computes at once on the same
    stream; and, of streams that are not `non_blocking`, before the default stream does anything.
    """

    pointers: ClassVar = itertools.count(16)
    blocking: ClassVar = set()  # those that have something to do

    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else next(self.pointers)
        self.non_blocking = non_blocking
        self.done, self.waiting = 0, deque()
        self.capture: list | None = None  # what was asked for since a capture began

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
        if not self.non_blocking and self.ptr:
            self.blocking.add(self)
        if not self.ptr:
            for other in list(self.blocking):
                other.synchronize()
            self.run_until(self.done + len(self.waiting))

    def run_until(self, end):
        while self.done < end and self.waiting:
            self.done += 1
            self.waiting.popleft()()
        if not self.waiting:
            self.blocking.discard(self)

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

    def cublasSgemmStridedBatched(self, *arguments):
        return self.stacked(ctypes.c_float, *arguments)

    def cublasDgemmStridedBatched(self, *arguments):
        return self.stacked(ctypes.c_double, *arguments)

    def stacked(self, kind, *arguments):
        *head, a, lead_a, step_a, b, lead_b, step_b, beta, c, lead_c, step_c, count = arguments
        for i in range(count.value):
            x, y, z = (
                ctypes.c_void_p(matrix.value + i * step.value * ctypes.sizeof(kind))
                for matrix, step in ((a, step_a), (b, step_b), (c, step_c))
            )
            if status := self.gemm(kind, *head, x, lead_a, y, lead_b, beta, z, lead_c):
                return status
        return 0

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
            alloc_pinned_memory=alloc_pinned_memory,
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
    for name in {*ARRAY_FUNCTIONS, "matmul", "ascontiguousarray"} - {"asarray"}:
        run = getattr(np, name)
        setattr(
            cupy, name, function(name, run) if name not in views else lambda *a, run=run: wrap(run(*unwrap(a)), a[0])
        )
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
