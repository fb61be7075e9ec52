"""The stand-in for CuPy: that it refuses what a device refuses, and that its kernels run as on one."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

host_cuda = pytest.importorskip("host_cuda")
host_kernels = pytest.importorskip("host_kernels")
pytestmark = [pytest.mark.host, pytest.mark.skipif(not host_kernels.HAS_COMPILER, reason="needs g++")]
HERE = Path(__file__).resolve().parent


def kernel(body, parameters="int* x, int* y"):
    return host_cuda.RawKernel(f'extern "C" __global__ void one({parameters}) {{ {body} }}', "one")


def on_device(values, dtype=np.int32):
    return host_cuda.asarray(np.array(values, dtype))


# -- arrays ---------------------------------------------------------------------------------------------


def test_arrays_meet_no_array_of_the_host():
    x = on_device([1, 2])
    cupy = host_cuda.modules()["cupy"]
    for use in (lambda: x + np.ones(2), lambda: np.ones(2) + x, lambda: cupy.add(x, np.ones(2)), lambda: np.asarray(x)):
        with pytest.raises(TypeError):
            use()


@pytest.mark.parametrize(
    ("key", "same"),
    [
        (([5, -7],), ([1, 1],)),
        ((slice(None), [3, -4]), (slice(None), [0, 2])),
        ((..., [7]), (..., [1])),
        ((None, [4]), (None, [0])),
        (([True, False, True, False], [3]), ([True, False, True, False], [0])),
    ],
)
def test_indices_wrap_as_on_a_device(key, same):
    host = np.arange(12).reshape(4, 3)
    x = host_cuda.asarray(host)
    picked = tuple(host_cuda.asarray(np.array(k)) if isinstance(k, list) else k for k in key)
    expected = tuple(np.array(k) if isinstance(k, list) else k for k in same)
    np.testing.assert_array_equal(x[picked].host, host[expected])
    x[picked] = 100
    host[expected] = 100
    np.testing.assert_array_equal(x.host, host)


def test_whole_numbers_that_are_no_arrays_are_refused_outside_an_axis():
    with pytest.raises(IndexError):
        on_device([1, 2])[2]


# -- streams --------------------------------------------------------------------------------------------


def test_a_captured_stream_takes_kernels_and_products_only():
    x, y = on_device([1, 2]), on_device([0, 0])
    add = kernel("y[threadIdx.x] += x[threadIdx.x];")
    stream = host_cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        add((1,), (2,), (x, y))
        for use in (
            lambda: host_cuda.ndarray((2,)),
            lambda: host_cuda.asarray([1.0]),
            lambda: x + x,
            lambda: float(x[0]),
            lambda: host_cuda.modules()["cupy"].asnumpy(x),
            lambda: x.copy(),
            stream.synchronize,
        ):
            with pytest.raises(RuntimeError, match="StreamCaptureUnsupported"):
                use()
        graph = stream.end_capture()
    assert y.host.tolist() == [0, 0]
    for _ in range(3):
        graph.launch()
    assert y.host.tolist() == [3, 6]


def test_a_stream_that_blocks_is_done_before_the_default_one_begins():
    x, y = on_device([2]), on_device([0])
    with host_cuda.Stream():
        kernel("y[0] = x[0];")((1,), (1,), (x, y))
    assert y.host[0] == 0
    kernel("y[0] *= 5;")((1,), (1,), (x, y))
    assert y.host[0] == 10


def test_an_event_is_waited_for_and_nothing_that_came_after_it():
    x, y = on_device([1]), on_device([0])
    add = kernel("y[0] += x[0];")
    a, b = host_cuda.Stream(non_blocking=True), host_cuda.Stream(non_blocking=True)
    with a:
        add((1,), (1,), (x, y))
        event = a.record()
        add((1,), (1,), (x, y))
    b.wait_event(event)
    assert y.host[0] == 0
    b.synchronize()
    assert y.host[0] == 1
    a.synchronize()
    assert y.host[0] == 2


# -- kernels --------------------------------------------------------------------------------------------


def test_grids_and_blocks_number_their_threads():
    y = on_device(np.zeros(2 * 3 * 4))
    body = (
        "int k = (blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;"
        "y[k] = 100 * blockIdx.y + 10 * blockIdx.x + threadIdx.x;"
    )
    kernel(body, "int* y")((3, 2), (4,), (y,))
    assert y.host.tolist() == [100 * b + 10 * a + t for b in range(2) for a in range(3) for t in range(4)]


def test_barriers_put_the_threads_of_a_block_in_order():
    x, y = on_device(np.arange(8)), on_device(np.zeros(8))
    body = (
        "__shared__ int shared[4]; int t = threadIdx.x, k = blockIdx.x * 4 + t; shared[t] = x[k]; __syncthreads();"
        "y[k] = shared[3 - t]; __syncthreads(); shared[t] = 0;"
    )
    kernel(body)((2,), (4,), (x, y))
    assert y.host.tolist() == [3, 2, 1, 0, 7, 6, 5, 4]


def test_shared_memory_is_new_in_every_block_and_holds_no_numbers():
    y = on_device(np.zeros(3), np.float32)
    kernel("__shared__ float shared[2]; y[blockIdx.x] = shared[1]; shared[1] = 7;", "float* y")((3,), (1,), (y,))
    assert np.isnan(y.host).all()


def test_a_barrier_that_some_threads_do_not_reach_is_an_error():
    x, y = on_device(np.zeros(4)), on_device(np.zeros(4))
    with pytest.raises(RuntimeError, match="some threads of a block ended where others wait"):
        kernel("if (threadIdx.x) __syncthreads(); y[threadIdx.x] = x[0];")((1,), (4,), (x, y))


def test_arguments_have_a_dtype():
    y = on_device([0], np.int64)
    with pytest.raises(AssertionError):
        kernel("y[0] = n;", "long long* y, long long n")((1,), (1,), (y, 5))
    kernel("y[0] = n;", "long long* y, long long n")((1,), (1,), (y, np.int64(-5)))
    assert y.host[0] == -5


def test_what_does_not_compile_says_so():
    with pytest.raises(RuntimeError, match="NVRTC_ERROR_COMPILATION"):
        kernel("y[0] = undeclared;")((1,), (1,), (on_device([1]), on_device([1])))


# -- rounding -------------------------------------------------------------------------------------------


def test_a_product_and_a_sum_are_rounded_once_or_twice():
    a = np.float32(1 + 2**-12)
    x, y = on_device([a, a, -(a * a)], np.float32), on_device([7], np.float32)
    add = kernel("y[0] = x[0] * x[1] + x[2];", "float* x, float* y")
    add((1,), (1,), (x, y))
    assert y.host[0] == 0
    with host_kernels.rounding(contract=True):
        add((1,), (1,), (x, y))
    assert y.host[0] == np.float64(a) * np.float64(a) - np.float64(np.float32(a * a)) != 0


@pytest.mark.parametrize(("dtype", "flushed"), [(np.float32, True), (np.float64, False)])
def test_numbers_below_the_normal_ones_become_zero_in_single_precision_only(dtype, flushed):
    small = np.finfo(dtype).smallest_subnormal
    text = {np.float32: "float", np.float64: "double"}[dtype]
    copy = kernel("y[0] = x[0] + x[1];", f"{text}* x, {text}* y")
    x, y = on_device([small, small], dtype), on_device([7], dtype)
    copy((1,), (1,), (x, y))
    assert y.host[0] == 2 * small
    with host_kernels.rounding(flush=True):
        copy((1,), (1,), (x, y))
    assert y.host[0] == (0 if flushed else 2 * small)


ROUNDINGS = [{"flush": f, "contract": c} for f in (False, True) for c in (False, True)]


@pytest.mark.parametrize("settings", ROUNDINGS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plans_round_like_the_calls_they_were_recorded_from(settings, dtype):
    """To the bit where a product and a sum are rounded apart; else by a few units in the last place."""

    def fn(x, y, t):
        z = x * y + t
        return (z * z - x) / (tg.abs(y) + 0.5) + tg.sqrt(tg.abs(z * t - y)) * 0.1

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(40, 50)).astype(dtype) for _ in range(3)]
    with host_cuda.installed(), tg.using("cupy"), host_kernels.rounding(**settings):
        tensors = [tg.tensor(a) for a in arrays]
        compiled = tg.compile(fn)
        for _ in range(3):
            got = compiled(*tensors).numpy()
        expected = fn(*tensors).numpy()
    if settings["contract"]:
        np.testing.assert_allclose(got, expected, rtol=0, atol=100 * np.finfo(dtype).eps)
        assert (got != expected).any()
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("settings", ROUNDINGS, ids=str)
def test_training_is_the_same_but_for_rounding(settings):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(24, 5)).astype(np.float32), rng.integers(0, 3, 24)

    def weights(backend):
        with tg.using(backend):
            tg.manual_seed(0)
            net = fully_connected([5, 8, 3], seed=0, batch_norm=True, dropout=0.3)
            adam = optim.Adam(net.parameters(), 0.01)
            history = tg.fit(net, losses.cross_entropy, (X, labels), adam, 3, 6, progress=False)
            return [history.losses, *(p.numpy() for p in net.parameters())]

    expected = weights("numpy")
    with host_cuda.installed(), host_kernels.rounding(**settings):
        got = weights("cupy")
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


# -- cuBLAS ---------------------------------------------------------------------------------------------


def address(x):
    return ctypes.c_void_p(x.data.ptr)


@pytest.mark.parametrize("flips", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_products_are_those_of_cublas(flips, beta):
    """c = alpha op(a) op(b) + beta c, column by column; what c holds is not read for beta = 0."""
    rng = np.random.default_rng(0)
    m, n, k = 3, 4, 5
    shapes = [(k, m) if flips[0] else (m, k), (n, k) if flips[1] else (k, n), (m, n)]
    hosts = [rng.normal(size=s) for s in shapes]
    if not beta:
        hosts[2][:] = np.nan
    a, b, c = (host_cuda.asarray(np.ascontiguousarray(x.T)) for x in hosts)
    factors = np.array([2.0, beta])
    pointers = [ctypes.c_void_p(factors.ctypes.data + 8 * i) for i in (0, 1)]
    numbers = [ctypes.c_int(x) for x in (*flips, m, n, k)]
    leads = [ctypes.c_int(s[0]) for s in shapes]
    blas = host_cuda.Cublas()
    blas.stream = host_cuda.current_stream().ptr
    call = (None, *numbers, pointers[0], address(a), leads[0], address(b), leads[1], pointers[1], address(c))
    assert blas.cublasDgemm_v2(*call, leads[2]) == 0
    left, right = (x.T if flip else x for x, flip in zip(hosts, flips, strict=False))
    expected = 2 * left @ right + (beta * hosts[2] if beta else 0)
    np.testing.assert_allclose(c.host.T, expected, rtol=1e-12)
    assert blas.cublasDgemm_v2(*call, ctypes.c_int(m - 1)) == 7


# -- under sanitizers -----------------------------------------------------------------------------------

WRONG = {
    "address": {
        "beyond its argument": ("y[k + 1] = x[k];", "use-after-poison"),
        "before its argument": ("y[k] = x[k - 1];", "use-after-poison"),
        "beyond shared memory": (
            "__shared__ int s[4]; s[threadIdx.x + 1] = x[k]; __syncthreads(); y[k] = s[3];",
            "overflow",
        ),
        "beyond int": ("y[k] = x[k] + 2147483647;", "signed integer overflow"),
    },
    "thread": {
        "two threads": ("y[0] += x[k];", "data race"),
        "two blocks": ("if (threadIdx.x == 0) y[0] += x[k];", "data race"),
        "no barrier": (
            "__shared__ int s[4]; int t = threadIdx.x; s[t] = x[k]; __syncthreads(); y[k] = s[3 - t]; s[t] = 1;",
            "data race",
        ),
    },
}
RIGHT = (
    "__shared__ int s[4]; s[threadIdx.x] = x[k]; __syncthreads(); y[k] = s[3 - threadIdx.x]; __syncthreads();"
    "s[threadIdx.x] = 1;"
)
PROGRAM = """
import host_cuda, numpy as np, sys
source = 'extern "C" __global__ void one(int* x, int* y) {{ int k = blockIdx.x * 4 + threadIdx.x; {body} }}'
whole, other = (host_cuda.asarray(np.arange(1, 65, dtype=np.int32)) for _ in range(2))
x, y = host_cuda.ndarray((8,), np.int32, whole.data + 16), host_cuda.ndarray((8,), np.int32, other.data + 64)
for _ in range(2):
    host_cuda.RawKernel(source, "one")((2,), (4,), (x, y))
print("ended", y.host.tolist())
"""


def sanitized(which, body):
    """Run a kernel twice in a process of its own under a sanitizer; return what is said."""
    library = subprocess.run(
        ["g++", f"-print-file-name={ {'address': 'libasan.so', 'thread': 'libtsan.so'}[which] }"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip(f"needs g++'s {which} sanitizer")
    settings = {
        "LD_PRELOAD": library,
        "HOST_CUDA_SANITIZE": which,
        "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": "halt_on_error=1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
    }
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("the thread sanitizer does not run under this kernel's address randomisation")
    return done.stdout + done.stderr


@pytest.mark.parametrize(("which", "fault"), [(which, name) for which, faults in WRONG.items() for name in faults])
def test_sanitizers_find_what_a_kernel_does_wrong(which, fault):
    body, said = WRONG[which][fault]
    found = sanitized(which, body)
    assert said in found
    assert "ended" not in found


@pytest.mark.parametrize("which", WRONG)
def test_sanitizers_find_nothing_in_a_kernel_that_is_right(which):
    assert "ended [8, 7, 6, 5, 12, 11, 10, 9]" in sanitized(which, RIGHT)
