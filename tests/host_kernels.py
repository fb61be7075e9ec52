"""CUDA kernels on the CPU: compiled by g++, run thread by thread and block by block.

The threads of a block take turns at barriers. Under g++'s sanitizers, which `SANITIZE` names, a kernel may touch
nothing but its arguments and its block's shared memory and compute nothing that C++ leaves undefined (address), and no
thread may touch what another one writes unless a barrier of their block stands between (thread). Python then has to be
started with the sanitizer's library: ``LD_PRELOAD=$(g++ -print-file-name=libasan.so)``, or libtsan.so.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

SANITIZE = os.environ.get("HOST_CUDA_SANITIZE", "")  # "", "address" or "thread"
HAS_COMPILER = shutil.which("g++") is not None
MOST_THREADS = 1024  # in a block
flush = False  # whether numbers of single precision below the normal ones become 0, in kernels without doubles
contract = False  # whether a product and a sum may be rounded once

FLAGS = {
    "": (),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}

# What kernels are run by. It is not instrumented, so what it does itself is no race.
RUNNER = r"""
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#endif
struct Place { unsigned x, y, z; };
extern "C" { Place blockIdx, threadIdx, blockDim, gridDim; }

enum { MOST = 1024, PIECES = 16 };
static ucontext_t scheduler, fibers[MOST];
static char stacks[MOST][1 << 16];
static bool ended[MOST];
static unsigned running, waiting;  // the thread that runs; how many stand at the barrier of this round
static void (*body)();

#ifdef THREADS_ARE_WATCHED
// To the sanitizer each thread is a fiber; only barriers and the ends of launches put it in order with others.
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
static void *watched[MOST], *host, *mine[MOST];
static char barriers[1 << 16];  // one for each round, so that a thread learns of no later one
static unsigned barrier;
static void show(void* fiber) { __tsan_switch_to_fiber(fiber, 1); }
static void arrive() { __tsan_release(&barriers[barrier % sizeof barriers]); }
static void pass() { __tsan_acquire(&barriers[(barrier - 1) % sizeof barriers]); }
static void assign(unsigned long block, unsigned threads) {
    // A thread of the next block is another fiber, so that blocks are not in order either.
    for (unsigned t = 0; t < threads; ++t) mine[t] = watched[(t + block * (threads < 256 ? threads : 7)) % MOST];
}
static void start() {
    host = __tsan_get_current_fiber();
    for (unsigned t = 0; t < MOST && !watched[MOST - 1]; ++t) watched[t] = __tsan_create_fiber(0);
    for (unsigned t = 0; t < MOST; ++t) __tsan_switch_to_fiber(watched[t], 0), __tsan_switch_to_fiber(host, 1);
}
static void finish() {
    for (unsigned t = 0; t < MOST; ++t) __tsan_switch_to_fiber(watched[t], 1), __tsan_switch_to_fiber(host, 0);
}
static char* room;  // shared memory, new for every block of a launch
static size_t used;
static const size_t ROOM = 1ul << 32;
static void* take(size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (!room) room = (char*)syscall(SYS_mmap, 0, ROOM, PROT_READ | PROT_WRITE, flags, -1, 0);  // seen by no sanitizer
    if (used + size > ROOM) abort();
    void* piece = room + used;
    used += (size + 63) / 64 * 64;
    return piece;
}
static void give_back(void*) {}
#else
static void* mine[MOST];
static void* host;
static size_t used;
static unsigned barrier;
static void show(void*) {}
static void arrive() {}
static void pass() {}
static void assign(unsigned long, unsigned) {}
static void start() {}
static void finish() {}
static void* take(size_t size) { return malloc(size); }
static void give_back(void* piece) { free(piece); }
#endif

static void* pieces[PIECES];  // of shared memory, of the block that runs

extern "C" void host_barrier() {
    ++waiting;
    arrive();
    show(host);
    swapcontext(&fibers[running], &scheduler);
    pass();
}

// Shared memory holds anything before it is written to: here, no numbers.
extern "C" void* host_shared(unsigned number, size_t size) {
    if (!pieces[number]) {
        volatile char* piece = (char*)(pieces[number] = take(size));  // memset would be a thread's write to a sanitizer
        for (size_t n = 0; n < size; ++n) piece[n] = -1;
    }
    return pieces[number];
}

static void fiber() {
    body();
    ended[running] = true;
    show(host);
}

// Returns 1 if some threads of a block ended where others waited for them.
static int block(unsigned threads) {
    for (unsigned t = 0; t < threads; ++t) {
        ended[t] = false;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks[t];
        fibers[t].uc_stack.ss_size = sizeof stacks[t];
        fibers[t].uc_link = &scheduler;
        makecontext(&fibers[t], fiber, 0);
    }
    for (unsigned left = threads; left; ++barrier) {
        waiting = 0;
        for (unsigned t = 0; t < threads; ++t) {
            if (ended[t]) continue;
            running = threadIdx.x = t;
            show(mine[t]);
            swapcontext(&scheduler, &fibers[t]);
            left -= ended[t];
        }
        if (waiting && waiting < threads) return 1;
    }
    return 0;
}

extern "C" int host_run(void (*kernel)(), unsigned wide, unsigned high, unsigned threads, int waits, int flush) {
#ifdef __x86_64__
    unsigned before = _mm_getcsr();
    if (flush) _mm_setcsr(before | 0x8040);
#endif
    body = kernel;
    gridDim.x = wide, gridDim.y = high, gridDim.z = 1;
    blockDim.x = threads, blockDim.y = blockDim.z = 1;
    int wrong = 0;
    unsigned long number = 0;
    used = 0;
    start();
    for (blockIdx.y = 0; blockIdx.y < high && !wrong; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < wide && !wrong; ++blockIdx.x) {
            assign(number++, threads);
            if (waits) wrong = block(threads);
            else
                for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) body();
            for (void*& piece : pieces) {
                if (piece) give_back(piece);
                piece = 0;
            }
        }
    finish();
#ifdef __x86_64__
    _mm_setcsr(before);
#endif
    return wrong;
}
"""

PRELUDE = r"""
#include <math.h>
struct Place { unsigned x, y, z; };
extern "C" {
extern Place blockIdx, threadIdx, blockDim, gridDim;
void host_barrier();
void* host_shared(unsigned, unsigned long);
int host_run(void (*)(), unsigned, unsigned, unsigned, int, int);
}
#define __global__ __attribute__((visibility("hidden")))
#define __device__ static
#define __launch_bounds__(threads)
#define __syncthreads host_barrier
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
"""
HEAD = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\)')
SHARED = re.compile(r"__shared__ ([\w ]+?) (\w+)\[([^\]]+)\];")
folder = tempfile.TemporaryDirectory(prefix="host_cuda")


@contextmanager
def rounding(**settings):
    """A ``with`` block with other values of `flush` and `contract`: a device may do either."""
    before = {name: globals()[name] for name in settings}
    globals().update(settings)
    try:
        yield
    finally:
        globals().update(before)


def compiled(text, *flags):
    """Return C++ as a library."""
    command = ["g++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", *flags]
    path = Path(folder.name) / hashlib.sha256("\0".join((*command, text)).encode()).hexdigest()
    path.with_suffix(".cpp").write_text(text)
    done = subprocess.run([*command, "-o", f"{path}.so", f"{path}.cpp"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"NVRTC_ERROR_COMPILATION\n{done.stderr}\n{text}")
    return ctypes.CDLL(f"{path}.so", mode=ctypes.RTLD_GLOBAL)


@cache
def runner():
    return compiled(RUNNER, *(["-DTHREADS_ARE_WATCHED"] if SANITIZE == "thread" else []))


def names(source):
    """The kernels of CUDA source."""
    return dict(HEAD.findall(source))


@cache
def library(source, contracts):
    """Return CUDA source as a library of the host, with a launcher for each kernel."""
    runner()
    pieces = iter(range(source.count("__shared__")))
    text = PRELUDE + SHARED.sub(
        lambda m: f"{m[1]}* {m[2]} = ({m[1]}*)host_shared({next(pieces)} % 16, sizeof({m[1]}) * ({m[3]}));", source
    )
    if "__shared__" in text:
        raise RuntimeError(f"shared memory of a form that the stand-in does not know\n{source}")
    for name, parameters in HEAD.findall(source):
        kinds = [re.sub(r"\s*\b\w+$", "", p.strip()) for p in parameters.split(",")]
        values = ", ".join(f"*({kind}*)arguments_{name}[{n}]" for n, kind in enumerate(kinds))
        begin = source.index(f" {name}(")
        end = source.find('extern "C"', begin)
        kernel = source[begin : end if end > 0 else None]
        waits = "__syncthreads" in kernel or SANITIZE == "thread"
        single = "double" not in kernel
        text += (
            f"static void** arguments_{name};\nstatic void call_{name}() {{ {name}({values}); }}\n"
            f'extern "C" int launch_{name}(unsigned wide, unsigned high, unsigned threads, int flush, void** values) '
            f"{{\n    arguments_{name} = values;\n"
            f"    return host_run(call_{name}, wide, high, threads, {int(waits)}, flush && {int(single)});\n}}\n"
        )
    contraction = ("-O2", "-ffp-contract=fast", *(["-mfma"] if platform.machine() == "x86_64" else []))
    return compiled(text, *FLAGS[SANITIZE], *(contraction if contracts else ("-ffp-contract=off",)))


def launch(source, name, grid, threads, values, arrays):
    """Run a kernel.

    Parameters
    ----------
    source, name : str
    grid : tuple of two int
    threads : int
        In a block.
    values : list of ctypes objects
        The arguments.
    arrays : list of NumPy arrays
        What the kernel may touch.
    """
    function = getattr(library(source, contract), f"launch_{name}")
    pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
    with only(arrays):
        wrong = function(*grid, threads, int(flush), pointers)
    if wrong:
        raise RuntimeError(f"kernel {name}: some threads of a block ended where others wait at a barrier\n{source}")


@contextmanager
def only(arrays):
    """A ``with`` block in which, of the memory that arrays lie in, the sanitizer lets nothing but these be touched."""
    if SANITIZE != "address":
        yield
        return
    import numpy as np
    from host_cuda import memory_of

    sanitizer = ctypes.CDLL(None)

    def call(routine, start, end):
        getattr(sanitizer, routine)(ctypes.c_void_p(start), ctypes.c_size_t(end - start))

    owners = {id(owner): owner for owner in map(memory_of, arrays)}
    whole = [np.lib.array_utils.byte_bounds(np.asarray(owner)) for owner in owners.values()]
    for bounds in whole:
        call("__asan_poison_memory_region", *bounds)
    for a in arrays:
        if a.size:
            call("__asan_unpoison_memory_region", *np.lib.array_utils.byte_bounds(a))
    try:
        yield
    finally:
        for bounds in whole:
            call("__asan_unpoison_memory_region", *bounds)
