"""Threads, streams, devices and processes that share one GPU: on a stand-in whose streams work as late as they may."""

import gc
import os
import threading
import warnings

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.backend.captured import ATTEMPTS
from tinygraph.backend.cublas import Cublas
from tinygraph.backend.cupy import FORKED

host_cuda = pytest.importorskip("host_cuda")
host_kernels = pytest.importorskip("host_kernels")
pytestmark = [pytest.mark.host, pytest.mark.skipif(not host_kernels.HAS_COMPILER, reason="needs g++")]


@pytest.fixture(autouse=True)
def cupy():
    """A CuPy backend on the stand-in that nobody has used yet, as the current one."""
    host_cuda.made.cache_clear()
    with host_cuda.installed(), tg.using("cupy") as backend:
        yield backend
    host_cuda.made.cache_clear()


def on_a_thread(function):
    """Return what a function gives on a thread of its own, which has ended then."""
    results = []

    def run():
        with tg.using("cupy"):
            results.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def products(seed=0):
    """A compiled sum of W x, into a leaf, and what it adds for a given x."""
    rng = np.random.default_rng(seed)
    W, total = tg.parameter(rng.normal(size=(6, 5))), tg.parameter(np.zeros((6, 7)))

    def step(x):
        total.assign_(total + W @ x)

    return tg.compile(step), total, lambda x: W.numpy() @ x


def test_all_threads_share_one_handle_and_graphs_keep_it(cupy):
    step, total, product = products()
    x = np.random.default_rng(1).normal(size=(5, 7))
    step(tg.tensor(x))
    handle = cupy.blas
    assert on_a_thread(lambda: cupy.blas) is handle
    on_a_thread(lambda: step(tg.tensor(x)))  # which captures it, and ends
    captured = step.plan.replay.run
    assert captured.graph is not None
    assert captured.blas is handle
    gc.collect()
    step(tg.tensor(x))
    np.testing.assert_allclose(total.numpy(), 3 * product(x), rtol=1e-12)


def test_a_thread_that_comes_second_captures_without_making_a_handle(monkeypatch):
    made = []
    create = host_cuda.Cublas.cublasCreate_v2
    monkeypatch.setattr(host_cuda.Cublas, "cublasCreate_v2", lambda self, h: made.append(1) or create(self, h))
    step, _, _ = products()
    x = np.ones((5, 7))
    for _ in range(2):
        on_a_thread(lambda: step(tg.tensor(x)))
    assert step.plan.replay.run.graph is not None
    assert made == [1]


def test_a_capture_that_failed_is_tried_again(cupy, monkeypatch):
    begin, failures = host_cuda.Stream.begin_capture, [MemoryError("out of memory"), RuntimeError("another thread")]

    def sometimes(self):
        begin(self)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(host_cuda.Stream, "begin_capture", sometimes)
    step, total, product = products()
    x = np.ones((5, 7))
    for n in range(ATTEMPTS[-1]):
        assert not n or step.plan.replay.run.graph is None
        step(tg.tensor(x))
    assert step.plan.replay.run.graph is not None
    np.testing.assert_allclose(total.numpy(), ATTEMPTS[-1] * product(x), rtol=1e-12)


def test_an_interrupted_capture_leaves_no_stream_captured(cupy):
    def run():
        if host_cuda.current_stream().is_capturing():
            raise KeyboardInterrupt

    captured = cupy.capture(run)
    captured()
    with pytest.raises(KeyboardInterrupt):
        captured()
    assert not host_cuda.current_stream().is_capturing()
    captured()


# -- streams --------------------------------------------------------------------------------------------


def test_the_stand_in_of_a_stream_works_as_late_as_it_may():
    """Without order between streams what follows would be wrong, so that the tests below can fail."""
    kernel = host_cuda.RawKernel('extern "C" __global__ void twice(int* x) { *x *= 2; }', "twice")
    x = host_cuda.asarray(np.array(1, np.int32))
    a, b = host_cuda.Stream(non_blocking=True), host_cuda.Stream(non_blocking=True)
    with a:
        kernel((1,), (1,), (x,))
    assert x.host == 1
    with b:
        x.fill(5)
    a.synchronize()
    assert x.host == 10


def test_products_on_several_streams_use_the_workspace_one_after_the_other(cupy, monkeypatch):
    order, spaces = [], []
    workspace = host_cuda.Cublas.cublasSetWorkspace_v2
    monkeypatch.setattr(
        host_cuda.Cublas, "cublasSetWorkspace_v2", lambda self, *a: spaces.append(self.stream) or workspace(self, *a)
    )
    x, y = (cupy.asarray(np.ones((3, 3))) for _ in range(2))
    cupy.gemm(x, y)
    streams = [host_cuda.Stream(non_blocking=True) for _ in range(3)]
    for n, stream in enumerate(streams):
        with stream:
            cupy.gemm(x, y, y)
            stream.ask(lambda n=n: order.append(n))
    assert order == []
    streams[2].synchronize()  # which waits for the others, one after the other
    assert order == [0, 1, 2]
    assert spaces == [0, *(s.ptr for s in streams)]
    np.testing.assert_array_equal(cupy.to_host(y), np.full((3, 3), 27.0))


def test_graphs_of_two_functions_use_the_workspace_one_after_the_other():
    (first, total, product), (second, _, _) = products(0), products(1)
    x = tg.tensor(np.ones((5, 7)))
    for step in (first, first, second, second):
        step(x)
    with host_cuda.Stream(non_blocking=True) as a:
        first(x)
    with host_cuda.Stream(non_blocking=True) as b:
        second(x)
    assert a.waiting
    b.synchronize()
    assert not a.waiting
    np.testing.assert_allclose(total.numpy(), 3 * product(np.ones((5, 7))), rtol=1e-12)


@pytest.mark.parametrize("captured", [False, True])
def test_replays_on_several_streams_do_not_overwrite_their_arguments(captured):
    step, total, product = products()
    rng = np.random.default_rng(3)
    given = [rng.normal(size=(5, 7)) for _ in range(6)]
    start = 3 if captured else 1
    for x in given[:start]:
        step(tg.tensor(x))
    tensors = [tg.tensor(x) for x in given[start:]]
    for x in tensors:
        with host_cuda.Stream(non_blocking=True):
            step(x)
    with host_cuda.Stream(non_blocking=True) as last:
        step(tensors[0])
        last.synchronize()
    np.testing.assert_allclose(total.numpy(), sum(map(product, [*given, given[start]])), rtol=1e-12)


def test_the_memory_of_a_plan_that_is_dropped_is_not_given_away_while_it_runs():
    step, total, product = products()
    x = tg.tensor(np.ones((5, 7)))
    for _ in range(2):
        step(x)
    with host_cuda.Stream(non_blocking=True) as stream:
        step(x)
    assert stream.waiting
    del step
    gc.collect()
    assert not stream.waiting  # the default stream, whose pool takes the memory, has waited
    np.testing.assert_allclose(total.numpy(), 3 * product(np.ones((5, 7))), rtol=1e-12)


def test_the_default_streams_of_two_threads_are_two():
    """Of each of them the pointer is the same."""

    class PerThread(host_cuda.Stream):
        def __init__(self):
            super().__init__(non_blocking=True)
            self.ptr = 2

    waited = []

    class Device(host_cuda.Device):
        def synchronize(self):
            waited.append(1)

    from tinygraph.backend.turns import Turn

    cuda = host_cuda.modules()["cupy"].cuda
    fake = host_cuda.SimpleNamespace(
        cuda=host_cuda.SimpleNamespace(get_current_stream=cuda.get_current_stream, Device=Device)
    )
    with PerThread():
        turn = Turn(fake)
        turn()
        assert not waited

        def other():
            with PerThread():
                turn()

        on_a_thread(other)
        assert waited == [1]


# -- devices and processes ------------------------------------------------------------------------------


def test_another_device_than_that_of_the_arrays_is_an_error_in_words(cupy):
    step, _, _ = products()
    x = tg.tensor(np.ones((5, 7)))
    step(x)
    a = cupy.asarray(np.ones((2, 2)))
    for use in (lambda: tg.tensor(1.0), lambda: step(x), lambda: cupy.gemm(a, a), lambda: tg.compile(tg.exp)(x)):
        with (
            host_cuda.Device(1),
            pytest.raises(tg.BackendError, match="device 1 is the current one, .* keeps to it.*CUDA_VISIBLE_DEVICES"),
        ):
            use()
        use()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_after_the_first_use_is_told_what_to_do(cupy):
    step, _, _ = products()
    x = tg.tensor(np.ones((5, 7)))
    step(x)
    uses = [
        lambda: tg.tensor(1.0),
        lambda: x + x,
        lambda: x.numpy(),
        lambda: step(x),
        lambda: x @ x.T,
        lambda: tg.sum(x),
        lambda: tg.manual_seed(3) or tg.bernoulli(0.5, (3,)),
        lambda: tg.use("cupy") or tg.tensor([1.0, 2.0]),
    ]
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while threads run
        child = os.fork()
    if not child:
        try:
            for use in uses:
                try:
                    use()
                    said = "no error"
                except tg.BackendError as error:
                    said = str(error)
                except BaseException as error:
                    said = repr(error)
                os.write(writer, f"{said}\n".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read().splitlines() == [FORKED] * len(uses)
    os.waitpid(child, 0)
    assert "spawn" in FORKED
    assert x.numpy().sum() == 35  # the parent goes on


def test_a_backend_that_nobody_used_makes_its_handle_when_it_is_needed(cupy):
    assert cupy._blas is None
    assert isinstance(cupy.blas, Cublas)
    assert cupy.blas is cupy.blas


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_halves_add_up_in_order_as_well(cupy, dtype):
    values = np.random.default_rng(0).normal(size=1000).astype(dtype)
    places = np.random.default_rng(1).integers(0, 5, 1000)
    got = cupy.to_host(cupy.index_add((5,), (cupy.asarray(places),), cupy.asarray(values)))
    expected = np.zeros(5, np.float32)
    for place, value in zip(places, values, strict=True):
        expected[place] += value
    np.testing.assert_array_equal(got, expected.astype(dtype))
