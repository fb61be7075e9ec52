"""Which instructions become one kernel, and that what is computed stays what NumPy gives: on a stand-in for CuPy."""

import re

import host_cuda
import numpy as np
import pytest
from host_kernels import HAS_COMPILER

import tinygraph as tg
from tinygraph.plan.arguments import Arguments
from tinygraph.tools.bench.contenders import tinygraph as ours
from tinygraph.tools.bench.workloads import WORKLOADS

pytestmark = [pytest.mark.host, pytest.mark.skipif(not HAS_COMPILER, reason="needs g++")]


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
    for _ in range(3):
        result = compiled(*map(tg.tensor, arrays))
    return result, compiled.plan


def kernels(plan):
    return [node.name for node in plan.replay.nodes]


SHAPES = [(1, 1), (5, 7), (1, 40), (40, 1), (300, 20), (20, 300), (3, 5000), (70_000, 2)]
AXES = [(shape, axis, "sum") for shape in SHAPES for axis in (0, 1, None)]
AXES += [((20, 300), axis, kind) for axis in (0, None) for kind in ("max", "min", "mean")]


@pytest.mark.parametrize(("shape", "axis", "kind"), AXES)
def test_what_is_reduced_and_what_is_made_of_it_are_one_kernel(shape, axis, kind):
    x, row = data(*shape), data(shape[1], seed=1)
    got, plan = replayed(lambda x, row: 2.0 * getattr(tg, kind)(tg.tanh(x - row), axis) + 1.0, x, row)
    expected = 2 * getattr(np, kind)(np.tanh(x - row), axis) + 1
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-11, atol=1e-11)
    assert len(kernels(plan)) <= 2  # two if many blocks share a reduction
    if got.size < x.size:
        assert not plan.layout.offsets.keys() & {i.output for i in plan.program.instructions if i.kind == "tanh"}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_reduced_is_kept_for_others_that_read_it(shape):
    """The elements are written on the way, several loaded before any is stored."""
    x, row, W = data(*shape), data(shape[1], seed=1), tg.parameter(data(*shape, seed=2))
    before = W.numpy()

    def fn(x, row):
        y = tg.exp(x * 0.1) * row
        W.assign_(W - y)
        return tg.sum(y, 0), tg.sum(y * W, 1)

    (down, along), _ = replayed(fn, x, row)
    y = np.exp(x * 0.1) * row
    np.testing.assert_allclose(down.numpy(), y.sum(0), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(along.numpy(), (y * (before - 3 * y)).sum(1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(W.numpy(), before - 3 * y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_leaf_is_not_overwritten_while_other_threads_read_it(shape):
    x, theta = data(*shape), tg.parameter(data(shape[1], seed=1))
    old = theta.numpy()

    def fn(x):
        theta.assign_(theta - 0.01 * tg.mean(tg.square(x - theta), 0))
        return theta * 1.0

    got, _ = replayed(fn, x)
    for _ in range(3):
        old = old - 0.01 * ((x - old) ** 2).mean(0)
    np.testing.assert_allclose(theta.numpy(), old, rtol=1e-11)
    np.testing.assert_allclose(got.numpy(), old, rtol=1e-11)


@pytest.mark.parametrize("turn", [lambda a: a.T, lambda a: a[::-1], lambda a: a[2, 3], lambda a: a[:, :1]])
def test_elements_in_other_places_come_from_kernels_before(turn):
    W = tg.parameter(data(9, 9))

    def fn(a):
        b = a * 2.0
        y = tg.exp(turn(W) * 0.1) + turn(b) + a
        W.assign_(W - y * 0.1)
        return b + y + tg.sum(y, 0) + tg.sum(turn(b * y))

    a, w = data(9, 9, seed=1), W.numpy()
    got, _ = replayed(fn, a)
    for _ in range(3):
        y = np.exp(turn(w) * 0.1) + turn(2 * a) + a
        w = w - y * 0.1
    np.testing.assert_allclose(W.numpy(), w, rtol=1e-12)
    np.testing.assert_allclose(got.numpy(), 2 * a + y + y.sum(0) + turn(2 * a * y).sum(), rtol=1e-11)


@pytest.mark.parametrize("n", [3, 700, 3000, 5000])
def test_short_kernels_side_by_side_are_one(n):
    """A softmax of a row: each step needs all of the one before."""
    x = data(1, n)
    got, plan = replayed(lambda x: tg.exp(x - tg.max(x, 1, keepdims=True)) / tg.sum(tg.exp(x), 1, keepdims=True), x)
    np.testing.assert_allclose(got.numpy(), np.exp(x - x.max()) / np.exp(x).sum(), rtol=1e-11)
    assert (len(kernels(plan)) == 1) == (n <= 3072)


def test_short_kernels_are_not_joined_beyond_what_a_launch_takes():
    parameters = [tg.parameter(data(3, seed=n)) for n in range(450)]

    def fn(x):
        for p in parameters:
            p.assign_(p + x)
        return x + 1.0

    before = [p.numpy() for p in parameters]
    compiled = tg.compile(fn)
    compiled(tg.tensor(np.ones(3)))
    for p, old in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old + 1)
    widest = max(text.partition(")")[0].count("*") for text in compiled.plan.replay.functions)
    assert widest < 4096 // 8


def test_a_mask_is_computed_where_it_is_used():
    W = tg.parameter(data(40, 30))

    def step(x):
        y = tg.relu(x @ W)
        loss = tg.sum(y * y)
        (dW,) = tg.grad(loss, [W])
        W.assign_(W - 0.01 * dW)
        return loss

    _, plan = replayed(step, data(20, 40))
    masks = [i.output for i in plan.program.instructions if i.kind == "greater"]
    assert masks
    assert all(v in plan.layout.tiles for v in masks)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_times_a_row_is_part_of_the_kernel_that_reads_it(dtype):
    W, m = tg.parameter(data(300, 200, dtype=dtype)), tg.parameter(data(300, 200, dtype=dtype, seed=1))
    w, average = W.numpy(), m.numpy()

    def step(x, d):
        g = x.T @ d
        m.assign_(0.9 * m + 0.1 * g)
        W.assign_(W - 0.1 * m / (tg.sqrt(g * g) + 1e-8))
        return W[0, 0] * 1.0

    x, d = data(1, 300, dtype=dtype, seed=2), data(1, 200, dtype=dtype, seed=3)
    _, plan = replayed(step, x, d)
    for _ in range(3):
        g = x.T @ d
        average = dtype(0.9) * average + dtype(0.1) * g
        w = w - dtype(0.1) * average / (np.sqrt(g * g) + dtype(1e-8))
    tolerance = 1e-4 if dtype is np.float32 else 1e-11
    np.testing.assert_allclose(m.numpy(), average, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(W.numpy(), w, rtol=tolerance, atol=tolerance)
    products = [i.output for i in plan.program.instructions if i.kind in ("matmul", "gemm")]
    assert products
    assert all(v in plan.layout.tiles for v in products)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.bool_])
def test_whole_numbers_are_reduced_with_what_is_around_them(dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype is np.bool_ else 100, (40, 30)).astype(dtype)
    got, _ = replayed(lambda x: tg.sum(tg.where(x > 1, x, 1 - x * 0), 0) + 1, x)
    expected = np.where(x > 1, x, 1 - x * 0).sum(0) + 1
    np.testing.assert_array_equal(got.numpy(), expected)


def test_a_thread_loads_all_it_needs_before_it_stores():
    """A store that a load has to wait for is one more trip to memory."""
    for name in ("mlp-1", "adam", "batch-norm", "dropout", "two-branches"):
        training = ours.compiled(WORKLOADS[name])
        plan = training.step._record(Arguments.of(training.batches[0], {})).plan
        assert plan.replay.functions
        for text in plan.replay.functions:
            stored = False
            for line in text.splitlines():
                store = re.match(r"\s*p\d+\[[^]]*\] = (.*);", line)
                if "__syncthreads" in line or "for (" in line:
                    stored = False
                assert not (stored and re.search(r"p\d+\[", store[1] if store else line)), text
                stored = stored or store is not None
