"""The CuPy backend and its kernels, on a stand-in for CuPy: what they compute, and that plans are captured."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import backend as backends
from tinygraph import losses, optim
from tinygraph.backend.captured import ATTEMPTS, Captured
from tinygraph.backend.cublas import Cublas
from tinygraph.models import fully_connected
from tinygraph.ops.shape import concatenate, pad
from tinygraph.plan.c_expressions import c_literal
from tinygraph.plan.cuda_source import THREADS
from tinygraph.plan.kernels_cuda import _Launch

host_cuda = pytest.importorskip("host_cuda")
pytestmark = [pytest.mark.host, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]


@pytest.fixture(autouse=True)
def cupy():
    """The CuPy backend on the stand-in, as the current one."""
    with host_cuda.installed(), tg.using("cupy") as backend:
        yield backend


def data(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def replayed(fn, *arrays):
    """Return what a compiled function gives the third time, which is the second run of its graph, and the plan."""
    compiled = tg.compile(fn)
    tensors = [tg.tensor(a) for a in arrays]
    for _ in range(3):
        result = compiled(*tensors)
    return result.numpy(), compiled.plan


def is_captured(plan):
    run = plan.replay.run
    return isinstance(run, Captured) and run.graph is not None


@pytest.mark.parametrize("kind", [tg.sum, tg.max, tg.min])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), 0),
        ((7,), None),
        ((100_003,), 0),
        ((3, 50_001), 1),
        ((50_001, 3), 0),
        ((40, 30), 0),
        ((40, 30), 1),
        ((2, 3, 5, 7), (0, 2)),
        ((2, 3, 5, 7), (1, 3)),
        ((300, 300), None),
    ],
)
def test_reductions(kind, shape, axis):
    x = data(*shape)
    got, plan = replayed(lambda t: kind(t, axis), x)
    np.testing.assert_allclose(got, getattr(np, kind.__name__)(x, axis), rtol=1e-12, atol=1e-10)
    assert is_captured(plan)


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 0), (1, 2)), ((5, 0, 3), (1, 2)), ((0, 4), 0), ((5, 3, 0), 2)])
def test_nothing_adds_up_to_zero_and_is_divided_by_nothing(shape, axis, monkeypatch):
    sources = []
    make = host_cuda.RawModule.__init__
    monkeypatch.setattr(
        host_cuda.RawModule, "__init__", lambda self, code, **k: sources.append(code) or make(self, code)
    )
    got, plan = replayed(lambda t: tg.sum(t, axis) * 2.0 + 1.0, np.ones(shape))
    np.testing.assert_array_equal(got, np.ones(np.sum(np.ones(shape), axis).shape))
    assert is_captured(plan)
    assert sources
    assert not [text for source in sources for text in ("/ 0;", "% 0;", "/ 0 ") if text in source]


@pytest.mark.parametrize("turn", [lambda t: t.T, lambda t: t[::-1], lambda t: t[:, 1:4]])
def test_reductions_of_views(turn):
    x = data(9, 6)
    got, _ = replayed(lambda t: tg.sum(turn(t), 0), x)
    np.testing.assert_allclose(got, turn(x).sum(0), rtol=1e-12)


@pytest.mark.parametrize("kind", ["max", "min"])
def test_not_a_number_wins(kind):
    x = data(5, 40)
    x[2, 7] = np.nan
    got, _ = replayed(lambda t: getattr(tg, kind)(t, 1), x)
    np.testing.assert_array_equal(np.isnan(got), [False, False, True, False, False])
    together = {"max": tg.maximum, "min": tg.minimum}[kind]
    for a, b in ((x, np.zeros_like(x)), (np.zeros_like(x), x)):
        assert np.isnan(replayed(together, a, b)[0]).sum() == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
def test_the_first_of_equals_is_taken_and_not_a_number_first(kind, axis):
    x = np.round(data(6, 5, 4))
    x[1, 2, 3] = np.nan
    got, plan = replayed(lambda t: getattr(tg, kind)(t, axis), x)
    np.testing.assert_array_equal(got, getattr(x, kind)(axis))
    assert is_captured(plan)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8, bool])
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((1, 1), 1), ((6, 5, 4), 1), ((300, 40), 0), ((2, 300), -1)])
def test_orders_and_running_sums(shape, axis, dtype):
    x = np.round(data(*shape) * 3).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x.reshape(-1)[[0, x.size // 2]] = np.nan

    def both(t):
        values, indices = tg.topk(t, t.shape[axis] // 2 + 1, axis)
        return tg.argsort(t, axis), tg.sort(t.T, -1 - axis % t.ndim), values, indices, tg.cumsum(t, axis)

    fn = tg.compile(both)
    with tg.using("numpy"):
        expected = both(tg.tensor(x))
    for _ in range(3):
        got = fn(tg.tensor(x))
    assert is_captured(fn.plan)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((6, 5, 4), 1), ((40, 300), 1)])
def test_picked_elements_and_their_gradients(shape, axis):
    """Indices count from either end, and may repeat."""
    rng = np.random.default_rng(0)
    n = shape[axis]
    x, at = data(*shape), rng.integers(-n, n, (*shape[:axis], 9, *shape[axis + 1 :]))

    def slopes(x, at):
        leaf = x * 2.0
        y = tg.sum(tg.square(tg.take_along_axis(leaf, at, axis)))
        return tg.grad(y, [leaf])[0]

    got, plan = replayed(slopes, x, at)
    assert is_captured(plan)
    expected = np.zeros(shape)
    for place in np.ndindex(at.shape):
        source = (*place[:axis], at[place] % n, *place[axis + 1 :])
        expected[source] += 4 * x[source]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_long_axes_are_left_to_the_library():
    x = data(3, 5000)
    for fn in (lambda t: tg.sort(t), lambda t: tg.cumsum(t, 1)):
        got, plan = replayed(fn, x)
        with tg.using("numpy"):
            np.testing.assert_allclose(got, fn(tg.tensor(x)).numpy(), rtol=1e-10, atol=1e-10)
        assert not is_captured(plan)


@pytest.mark.parametrize(("shape", "axis"), [((1,), 0), ((2, 3, 5, 7), (0, 2)), ((300, 40), 1), ((5, 20_000), None)])
def test_products(shape, axis):
    x = np.exp(data(*shape) * 0.1)
    got, plan = replayed(lambda t: tg.prod(t, axis), x)
    np.testing.assert_allclose(got, np.prod(x, axis), rtol=1e-9)
    assert is_captured(plan)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 9, 5), (5, 9, 1), (4, 1, 3), (1, 1, 1), (6, 4, 5), (1, 2000, 70)])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_with_updates(m, k, n, turned, dtype):
    """W <- (1 - 0.2 mu) W - mu a b, mu known only on the device."""
    a = data(k, m, dtype=dtype).T if turned[0] else data(m, k, dtype=dtype)
    b = data(n, k, dtype=dtype, seed=1).T if turned[1] else data(k, n, dtype=dtype, seed=1)
    W = tg.parameter(data(m, n, dtype=dtype, seed=2))
    mu = tg.tensor(np.array(0.1, dtype))
    expected = W.numpy()

    def update(a, b):
        left, right = (x.T if flip else x for x, flip in zip((a, b), turned, strict=True))
        W.assign_(W - mu * (left @ right + 0.2 * W))
        return left @ right

    stored = [x.T.copy() if flip else x for x, flip in zip((a, b), turned, strict=True)]
    got, plan = replayed(update, *stored)
    for _ in range(3):
        expected = expected - 0.1 * (a @ b + 0.2 * expected)
    tolerance = 1e-12 if dtype is np.float64 else 1e-4
    np.testing.assert_allclose(got, a @ b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(W.numpy(), expected, rtol=tolerance, atol=tolerance)
    assert is_captured(plan)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("a", "b", "calls"),
    [
        ((6, 2, 3), (6, 3, 4), 1),
        ((6, 2, 3), (3, 4), 1),
        ((2, 3), (6, 3, 4), 1),
        ((2, 5, 2, 3), (2, 5, 3, 4), 1),
        ((5, 2, 3), (2, 5, 3, 4), 2),  # one stack starts anew
        ((2, 1, 2, 3), (5, 3, 4), 2),
        ((2, 1, 1, 3), (2, 5, 3, 1), 2),
        ((1, 7, 1, 1), (1, 7, 1, 1), 1),
        ((1, 1, 2, 3), (1, 3, 4), 1),
        ((0, 2, 3), (3, 4), 0),
        ((4, 2, 0), (4, 0, 3), 0),
    ],
)
def test_stacks_of_products_are_one_call_where_they_lie_evenly(a, b, calls, dtype, monkeypatch):
    asked = []
    gemm = Cublas.gemm
    monkeypatch.setattr(Cublas, "gemm", lambda self, *args: asked.append(1) or gemm(self, *args))
    x, y = data(*a, dtype=dtype), data(*b, dtype=dtype, seed=1)
    tolerance = {"rtol": 1e-4 if dtype is np.float32 else 1e-12, "atol": 1e-5 if dtype is np.float32 else 1e-12}
    np.testing.assert_allclose((tg.tensor(x) @ tg.tensor(y)).numpy(), x @ y, **tolerance)
    assert len(asked) == calls
    got, plan = replayed(lambda x, y: x @ y, x, y)
    np.testing.assert_allclose(got, x @ y, **tolerance)
    assert is_captured(plan)


def test_stacks_with_gradients_are_captured():
    """The gradients are products of transposed stacks, added up where one stack was repeated."""
    W = tg.parameter(data(3, 4))

    def step(x):
        loss = tg.sum(tg.tanh(x @ W) ** 2)
        (dW,) = tg.grad(loss, [W])
        W.assign_(W - 0.1 * dW)
        return loss

    x, w = data(6, 2, 3, seed=1), W.numpy()
    _, plan = replayed(step, x)
    for _ in range(3):
        y = np.tanh(x @ w)
        w = w - 0.1 * np.einsum("bik,bij->kj", x, 2 * y * (1 - y * y))
    np.testing.assert_allclose(W.numpy(), w, rtol=1e-11)
    assert is_captured(plan)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (1, 1), (7, 11, 13), (40_000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_are_those_of_numpy(shape, dtype):
    def drawn():
        tg.manual_seed(5)
        return [tg.bernoulli(p, shape, dtype).numpy() for p in (0.0, 0.3, 0.5, 3 / 512, 1.0)]

    ours = drawn()
    with tg.using("numpy"):
        for a, b in zip(ours, drawn(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (1, 1), (7, 11, 13), (40_000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_those_of_numpy_and_are_captured(shape, dtype):
    """Uniform ones to the bit."""

    def drawn():
        f = tg.compile(lambda: (tg.uniform(shape, dtype=dtype), tg.normal(shape, dtype=dtype)))
        tg.manual_seed(5)
        return [t.numpy() for _ in range(3) for t in f()], f.plan

    ours, plan = drawn()
    assert is_captured(plan)
    with tg.using("numpy"):
        theirs, _ = drawn()
    for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(a, b, rtol=0, atol=n % 2 * (4e-6 if dtype is np.float32 else 1e-14))


def test_the_source_of_the_backends_kernels_is_hashed_once(cupy, monkeypatch):
    asked = []
    monkeypatch.setattr(cupy, "_own_kernels", {})
    monkeypatch.setattr(cupy, "kernel", lambda source, name: asked.append(name) or object())
    first = cupy.own_kernel("spmm", np.dtype(np.float32))
    assert cupy.own_kernel("spmm", np.dtype(np.float32)) is first
    assert cupy.own_kernel("spmm", np.dtype(np.float64)) is not first
    assert asked == ["spmm", "spmm"]


def test_entries_picked_twice_add_up_in_order(cupy):
    values = data(1000, dtype=np.float32)
    places = np.random.default_rng(1).integers(0, 7, 1000)
    got = cupy.to_host(cupy.index_add((7,), (cupy.asarray(places),), cupy.asarray(values)))
    expected = np.zeros(7, np.float32)
    for place, value in zip(places, values, strict=True):
        expected[place] += value
    np.testing.assert_array_equal(got, expected)


def test_shapes_are_copies_in_a_captured_plan():
    def fn(a, b):
        joined = concatenate([a, b.T], axis=1)
        return tg.sum(tg.exp(pad(joined, ((1, 2), (0, 1)), 0.5))[1:, ::2] * 2.0, 0)

    a, b = data(4, 3), data(5, 4, seed=1)
    joined = np.pad(np.concatenate([a, b.T], 1), ((1, 2), (0, 1)), constant_values=0.5)
    got, plan = replayed(fn, a, b)
    np.testing.assert_allclose(got, (np.exp(joined)[1:, ::2] * 2).sum(0), rtol=1e-12)
    assert is_captured(plan)


def test_elementwise_operations_are_one_kernel():
    _, plan = replayed(lambda x, row: tg.tanh(tg.exp(x * 0.5) - row) * tg.sqrt(tg.abs(x)) + 1.0, data(6, 5), data(5))
    assert plan.source.count("\n") == 0
    assert [v for v in plan.layout.tiles if v in plan.layout.offsets] == []
    assert "register" in str(plan)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"dropout": 0.5}])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("batch", [1, 6])
def test_training_steps_are_captured_whole(options, kind, batch):
    if batch == 1 and "batch_norm" in options:
        return  # one sample has no variance
    net = fully_connected([5, 8, 8, 3], seed=0, **options)
    optimizer = kind(net.parameters(), 0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    value, plan = replayed(step, data(batch, 5, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 2, 1] * 2][:batch])
    assert np.isfinite(value)
    assert is_captured(plan)


class Swish(tg.Op):
    """An operation of a user's own, made of functions of `xp`."""

    rule = "dx = dy (y + sigmoid(x) (1 - y))"

    def forward(self, xp, x, out=None):
        return xp.divide(x, 1 + xp.exp(-x), out=out)

    def backward(self, dy, y, x):
        return (dy * (y + tg.sigmoid(x) * (1.0 - y)),)


def test_an_operation_of_ones_own_is_one_kernel_and_captured():
    got, plan = replayed(lambda x: Swish()(x * 0.5), data(4, 3))
    np.testing.assert_allclose(got, 0.5 * data(4, 3) / (1 + np.exp(-0.5 * data(4, 3))), rtol=1e-12)
    assert plan.source.count("\n") == 0
    assert is_captured(plan)


def test_a_step_with_an_operation_of_ones_own_is_captured():
    net = fully_connected([5, 8, 3], activation=Swish(), seed=0)
    optimizer = optim.SGD(net.parameters(), 0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    value, plan = replayed(step, data(4, 5, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 2, 1, 1]])
    assert np.isfinite(value)
    assert is_captured(plan)


class Elsewhere(tg.Op):
    """An operation that no kernel is written for: no backend's `isfinite` is a primitive."""

    def forward(self, xp, x, out=None):
        return xp.multiply(x, xp.isfinite(x), out=out)

    def backward(self, dy, y, x):
        return (dy,)


def test_a_plan_with_an_unknown_operation_runs_step_by_step():
    got, plan = replayed(lambda x: tg.sum(Elsewhere()(x * 2.0)), data(4))
    np.testing.assert_allclose(got, np.sum(2 * data(4)), rtol=1e-12)
    assert not isinstance(plan.replay.run, Captured)


def test_what_cannot_be_captured_runs_step_by_step_with_a_warning(cupy):
    total = cupy.xp.zeros(3)

    def run():
        cupy.xp.copyto(total, total + 1.0)  # makes an array

    captured = cupy.capture(run)
    for _ in range(ATTEMPTS[-1] - 1):
        captured()
    with pytest.warns(RuntimeWarning, match="StreamCaptureUnsupported"):
        captured()
    captured()  # no further attempt
    np.testing.assert_array_equal(cupy.to_host(total), [ATTEMPTS[-1] + 1] * 3)


def test_a_graph_is_one_launch_and_no_python(monkeypatch):
    compiled = tg.compile(lambda x: tg.sum(tg.exp(x)))
    x = tg.tensor(data(5))
    for _ in range(2):
        compiled(x)
    monkeypatch.setattr(_Launch, "__call__", None)
    np.testing.assert_allclose(float(compiled(tg.tensor(2 * data(5)))), np.exp(2 * data(5)).sum(), rtol=1e-12)


@pytest.mark.parametrize("value", [0.1, -0.1, 1 / 3, 1e-310, 3.4e38, np.inf, -np.inf, np.nan, 0.0, -0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constants_are_exact(value, dtype):
    number = dtype(value)
    text = c_literal(-number, np.dtype(dtype))
    kind = "float" if dtype is np.float32 else "double"
    kernel = host_cuda.RawKernel(f'extern "C" __global__ void one({kind}* y) {{ y[0] = -{text}; }}', "one")
    y = host_cuda.asarray(np.zeros(1, dtype))
    kernel((1,), (1,), (y,))
    if np.isnan(number):
        assert np.isnan(y.host[0])
    else:
        assert y.host[0].tobytes() == number.tobytes()


def test_whole_numbers_and_truth_values():
    n = np.array([-(2**63), 2**63 - 1, 0, 5], np.int64)
    got, _ = replayed(lambda t: tg.max(tg.where(tg.equal(t, 5), t * 3, t)), n)
    assert got == 2**63 - 1
    got, _ = replayed(lambda t: tg.min(t), n)
    assert got == -(2**63)


# -- memory, switches -----------------------------------------------------------------------------------


def test_the_limit_of_the_pool_is_respected(cupy, monkeypatch):
    assert cupy.free_memory() == 1 << 28
    used = cupy.cupy.get_default_memory_pool().used_bytes()
    monkeypatch.setattr(host_cuda, "limit", used + 1000)
    assert cupy.free_memory() == 1000
    held = cupy.xp.zeros(25)
    assert cupy.free_memory() == 1000 - held.nbytes


@pytest.mark.parametrize(("value", "modes"), [("1", [3]), ("0", []), ("", [])])
def test_tf32_is_off_unless_asked_for(monkeypatch, value, modes):
    asked = []
    monkeypatch.setattr(host_cuda.Cublas, "cublasSetMathMode", lambda self, handle, mode: asked.append(mode) or 0)
    monkeypatch.setenv("TINYGRAPH_TF32", value)
    Cublas(backends.current().cupy)
    assert asked == modes


def test_grids_are_within_the_limits_of_a_device(monkeypatch):
    seen = []
    call = host_cuda.RawKernel.__call__

    def check(self, grid, block, arguments):
        seen.append(SimpleNamespace(grid=grid, block=block))
        call(self, grid, block, arguments)

    monkeypatch.setattr(host_cuda.RawKernel, "__call__", check)
    replayed(lambda x: tg.sum(x * x), data(1_000_000))
    assert seen
    for launch in seen:
        assert launch.block == (THREADS,)
        assert launch.grid[0] < 2**31
        assert (*launch.grid, 1)[1] < 2**16
