"""Plans on the native machine: the bits of NumPy's own calls, whoever does the tasks, and Python where it stops."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.backend import blas_choice
from tinygraph.models import fully_connected
from tinygraph.plan import kernels_native, native, updates
from tinygraph.plan.records import CHECK, FINITE, LAYOUT, STOP, Control, Field

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("native_machine")]

pytest.importorskip("numba", reason="native plans need the extra jit")
pytest.importorskip("scipy_openblas32", reason="native plans need the extra jit")


class Without:
    """A ``with`` block in which there is no machine: plans run as lines of Python."""

    def __enter__(self):
        self.machine = native.machine()
        self.run, self.machine.run = self.machine.run, None

    def __exit__(self, *exception):
        self.machine.run = self.run


@pytest.fixture
def with_threads(monkeypatch):
    """A function that lets plans from then on run with so many threads."""

    def use(threads):
        monkeypatch.setenv(native.THREADS, str(threads))
        machine = native.Machine(native.machine().blas)
        assert machine.wait()
        assert machine.threads == threads
        monkeypatch.setattr(native, "_machine", machine)
        return machine

    return use


def both(function, *arguments, calls=2, leaves=()):
    """Return what the last of some calls gives with the machine and without, leaves put back in between."""
    before = [leaf.numpy().copy() for leaf in leaves]
    compiled = tg.compile(function)
    native_results = [compiled(*arguments) for _ in range(calls)][-1]
    after = [leaf.numpy().copy() for leaf in leaves]
    for leaf, data in zip(leaves, before, strict=True):
        leaf.assign_(data)
    with Without():
        lines = [compiled(*arguments) for _ in range(calls)][-1]
    as_lists = [list(r) if isinstance(r, tuple) else [r] for r in (native_results, lines)]
    native_results, lines = ([np.asarray(t.numpy()) for t in r] for r in as_lists)
    for x, y in zip([*native_results, *after], [*lines, *(leaf.numpy() for leaf in leaves)], strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert x.tobytes() == y.tobytes(), (x, y)
    return compiled, native_results


def stops(compiled):
    """Return the lines at which the machine of a compiled function's plan always stops."""
    replay = compiled.plan.replay
    return [lines for k, (lines, _) in replay._stops.items() if replay._table[k][Field.OP] == STOP]


UNARY = [tg.exp, tg.log, tg.sqrt, tg.tanh, tg.square, tg.abs, tg.sign, tg.negative, tg.sigmoid, tg.relu]
BINARY = [tg.add, tg.subtract, tg.multiply, tg.divide, tg.maximum, tg.minimum, tg.power, tg.greater, tg.equal]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_elements_have_the_bits_of_lines(data):
    """Functions of elements, of shapes that broadcast and views, in both dtypes; sums and largest elements of rows."""
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    other = tuple(data.draw(st.sampled_from([n, 1])) for n in shape)[data.draw(st.integers(0, len(shape) - 1)) :]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = (rng.uniform(0.1, 2, s).astype(dtype) for s in (shape, other))
    unary, binary = data.draw(st.sampled_from(UNARY)), data.draw(st.sampled_from(BINARY))
    flip, axis = data.draw(st.booleans()), data.draw(st.sampled_from([None, -1, 0]))

    def f(a, b):
        x = tg.transpose(a) if flip else a
        c = binary(tg.transpose(tg.exp(x)) if flip else x, b)
        picked = tg.where(a > b, a, b)
        return unary(a), c, picked, tg.sum(picked * a, axis=axis), tg.max(a * b, axis=axis), tg.mean((a > b) * a)

    both(f, a, b)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 127, 128, 129, 1000, 8192, 20_001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_added_up_as_numpy_does(n, dtype):
    """In pairs, with the sign of zero, over rows and over everything."""
    x = np.random.default_rng(n).standard_normal((3, n)).astype(dtype)
    x[2] = -0.0

    _, (rows, largest, whole) = both(lambda x: (tg.sum(x, axis=1), tg.max(x, axis=1), tg.sum(x)), x)
    np.testing.assert_array_equal(rows, np.add.reduce(x, 1))
    if n > 1:  # a sum of one element is that element
        assert not np.signbit(rows[2])
    np.testing.assert_array_equal(largest, np.maximum.reduce(x, 1))
    assert whole == np.add.reduce(x, None)


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (7, 1), (33, 200), (900, 513), (3, 8192), (3, 8193), (2, 20_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("keepdims", [False, True])
def test_means_and_sums_of_rows_and_columns_have_the_bits_of_lines(shape, dtype, keepdims):
    """Means of single precision are added up in double."""
    x = np.random.default_rng(0).uniform(0.1, 2, shape).astype(dtype)
    kinds = [(tg.mean, np.mean), (tg.sum, np.sum)]

    def f(x):
        return tuple(own(x, axis=axis, keepdims=keepdims) for own, _ in kinds for axis in (0, 1, None))

    compiled, results = both(f, x)
    expected = [numpys(x, axis, np.float64, keepdims=keepdims) for _, numpys in kinds for axis in (0, 1, None)]
    for result, y in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, y, rtol=1e-5 if dtype is np.float32 else 1e-12)
    if shape == (33, 200):
        assert not stops(compiled)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (257, 129)])
@pytest.mark.parametrize("p_off", [0.5, 0.3, 3 / 256, 1 / 65536])
def test_masks_are_those_of_the_generator(shape, p_off, with_threads):
    """Drawn from the same stream as without a plan, in tasks of three threads; 8, 16 and 32 bits an element."""
    with_threads(3)
    f = tg.compile(lambda: tg.bernoulli(p_off, shape))
    tg.manual_seed(2**63 + 5)
    drawn = [f().numpy() for _ in range(3)]
    tg.manual_seed(2**63 + 5)
    for mask in drawn:
        np.testing.assert_array_equal(mask, tg.bernoulli(p_off, shape).numpy())
    assert not stops(f)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (257, 129)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_those_of_the_generator(shape, dtype, with_threads):
    with_threads(3)
    f = tg.compile(lambda: (tg.uniform(shape, dtype=dtype), tg.normal(shape, dtype=dtype)))
    tg.manual_seed(2**63 + 5)
    drawn = [[t.numpy() for t in f()] for _ in range(3)]
    tg.manual_seed(2**63 + 5)
    for u, z in drawn:
        np.testing.assert_array_equal(u, tg.uniform(shape, dtype=dtype).numpy())
        np.testing.assert_allclose(z, tg.normal(shape, dtype=dtype).numpy(), rtol=0, atol=1e-6)
    assert not stops(f)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_products_have_the_bits_of_lines_and_the_values_of_numpy(data):
    """Matrices, rows, columns, transposes, with something added, scaled, in both dtypes."""
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    m, k, n = (data.draw(st.sampled_from([1, 2, 5, 33, 160])) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    flip_a, flip_b = data.draw(st.booleans()), data.draw(st.booleans())
    a, b = rng.standard_normal((k, m) if flip_a else (m, k)), rng.standard_normal((n, k) if flip_b else (k, n))
    c, s = rng.standard_normal((m, n)), data.draw(st.sampled_from([0.0, 0.5, -0.5, 1.0, 2.0, np.inf]))
    a, b, c = (x.astype(dtype) for x in (a, b, c))
    factor = np.array([s], dtype)

    def f(a, b, c, s):
        product = (tg.transpose(a) if flip_a else a) @ (tg.transpose(b) if flip_b else b)
        return product, c - 0.25 * product, c + tg.reshape(s, ()) * product, tg.sum(a, axis=0), tg.sum(a * a)

    _, (product, updated, *_) = both(f, a, b, c, factor)
    expected = (a.T if flip_a else a) @ (b.T if flip_b else b)
    tolerance = {"rtol": 0, "atol": k * (1e-5 if dtype is np.float32 else 1e-13)}
    np.testing.assert_allclose(product, expected, **tolerance)
    np.testing.assert_allclose(updated, c - dtype(0.25) * expected, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_large_products_with_a_vector_are_added_up_from_terms(dtype, flip, scaled, with_threads):
    """Each task goes through some rows of the weights, in the forward pass as in the backward pass and the update."""
    rng = np.random.default_rng(0)
    W, x, c = (rng.standard_normal(shape).astype(dtype) for shape in ((700, 401), (1, 401 if flip else 700), (1, 1)))
    s = np.array([0.5], dtype)

    def f(W, x, c, s):
        y = x @ (tg.transpose(W) if flip else W)
        return c + (tg.reshape(s, ()) * y if scaled else y)

    for threads in (1, 2):
        with_threads(threads)
        compiled, (y,) = both(f, W, x, c, s)
        expected = c + (s if scaled else 1) * (x.astype(np.float64) @ (W.T if flip else W))
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-4 if dtype is np.float32 else 1e-12)
        tasks = [r for r in compiled.plan.replay._table if r[Field.TASKS] > 1]
        assert bool(tasks) == (flip or not scaled)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_one_sample_updates_as_lines_do(value):
    """A column times a row that is added to large weights, where elements are 0, infinite or no number."""
    W = tg.parameter(np.ones((300, 200), np.float32))

    def step(x, d):
        W.assign_(0.5 * W - 0.1 * (tg.transpose(x) @ d))
        return tg.sum(W)

    x, d = np.ones((1, 300), np.float32), np.ones((1, 200), np.float32)
    x[0, 3], d[0, 4] = value, 0.0
    compiled, _ = both(step, x, d, leaves=[W])
    assert any(r[Field.OP] == FINITE for r in compiled.plan.replay._table)
    np.testing.assert_array_equal(W.numpy()[3, 4], np.float32(np.nan if value != 0 else 0.25 - 0.0))


def test_factors_read_at_the_replay_are_checked_at_each():
    """A factor within BLAS's range, and one outside of it, for which the machine stops."""
    a, b, c = np.eye(3, dtype=np.float32), np.full((3, 4), np.inf, np.float32), np.ones((3, 4), np.float32)
    f = tg.compile(lambda a, b, c, s: c + tg.reshape(s, ()) * (a @ b))
    for s in (0.5, 0.0, 3.0, 0.5):
        factor = np.array([s], np.float32)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(f(a, b, c, factor).numpy(), c + factor * (a @ b))
    assert any(r[Field.OP] == CHECK for r in f.plan.replay._table)


def training_step(optimizer="sgd", batch_norm=None, dropout=0.0, sizes=(30, 64, 64, 5), seed=0):
    """Return a training step of a network, and the network."""
    tg.manual_seed(3)
    net = fully_connected(list(sizes), activation="tanh", batch_norm=batch_norm, dropout=dropout, seed=seed)
    update = optim.Adam(net.parameters(), 1e-3) if optimizer == "adam" else optim.SGD(net.parameters(), 0.1)

    def step(x, labels):
        update.zero_grad()
        loss = losses.cross_entropy(net(x), labels)
        loss.backward()
        update.step()
        return loss

    return step, net


KINDS = [("sgd", None, 0.0), ("adam", None, 0.0), ("sgd", "hidden", 0.0), ("sgd", None, 0.3)]


def trained(kind, steps=5, sizes=(30, 64, 64, 5), batch=16):
    """Return the weights after some compiled steps."""
    optimizer, batch_norm, dropout = kind
    step, net = training_step(optimizer, batch_norm, dropout, sizes)
    fast = tg.compile(step)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        fast(rng.standard_normal((batch, sizes[0])).astype(np.float32), rng.integers(sizes[-1], size=batch))
    return [t.numpy().copy() for t in net.parameters()], fast


@pytest.mark.parametrize("kind", KINDS)
def test_training_has_the_bits_of_lines_and_nearly_those_without(kind, monkeypatch):
    """Steps of SGD, Adam, batch normalisation and dropout."""
    weights, _ = trained(kind)
    with Without():
        lines, _ = trained(kind)
    for x, y in zip(weights, lines, strict=True):
        np.testing.assert_array_equal(x, y)
    monkeypatch.setattr(native, "_machine", None)
    monkeypatch.setenv(native.VARIABLE, "0")
    plain, fast = trained(kind)
    assert not isinstance(fast.plan.replay, kernels_native.NativeCodeGenerator)
    for x, y in zip(weights, plain, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_the_number_of_threads(kind, with_threads):
    """One, two and three threads: products, large elementwise functions and fusion groups in tasks."""
    results = []
    for threads in (1, 2, 3):
        with_threads(threads)
        weights, fast = trained(kind, sizes=(300, 512, 300, 5), batch=256)
        assert any(r[Field.TASKS] > 1 for r in fast.plan.replay._table)
        results.append(weights)
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [updates.FUSED, updates.SEPARATE, updates.IN_TWO_PASSES])
def test_updates_in_one_pass_are_close_to_those_in_two(kind, dtype):
    """Whatever the rounding, against NumPy; the kind that the machine chose has the bits of BLAS."""
    machine = native.machine()
    for columns in (1, 7, 64, 130):
        before = machine.control.copy()
        y = updates._updated(machine.run, machine.blas, machine.control, np.dtype(dtype), columns, kind)
        rng = np.random.default_rng(columns)
        w, a, b = (rng.standard_normal(n).astype(dtype) for n in (updates.ROWS * columns, columns, updates.ROWS))
        w[:3], b[1] = -0.0, 0.0
        expected = 0.9998 * w + np.outer(-0.013 * b.astype(np.float64), a).ravel()
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        machine.control[Control.UPDATE] = before[Control.UPDATE]
    assert updates.kind_of_update(machine.run, machine.blas, machine.control) == machine.control[Control.UPDATE]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell processors")
def test_helpers_go_where_the_one_that_asks_is_not(with_threads):
    """Afterwards they may run wherever the process may."""
    machine = with_threads(2)
    x = np.linspace(0, 1, 400_000, dtype=np.float32)
    f = tg.compile(lambda x: tg.exp(x))
    allowed = os.sched_getaffinity(0)
    for _ in range(50):
        f(x)
        time.sleep(0.001)
    helper = machine._helpers[0].native_id
    assert os.sched_getaffinity(helper) == allowed


def test_python_does_what_no_record_says_and_the_machine_goes_on():
    """Concatenations, operations of one's own and masks between what is native."""

    class Twice(tg.Op):
        def forward(self, xp, x, out=None):
            return np.concatenate([np.asarray(x), np.asarray(x)])

    def f(x):
        y = tg.concatenate([tg.exp(x), x], axis=0)
        return tg.sum(tg.tanh(Twice()(y)))

    compiled, (result,) = both(f, np.linspace(0, 1, 6).astype(np.float32))
    assert stops(compiled)
    y = np.concatenate([np.exp(np.linspace(0, 1, 6)), np.linspace(0, 1, 6)])
    np.testing.assert_allclose(result, 2 * np.tanh(y).sum(), rtol=1e-6)


def test_two_threads_replay_two_plans_at_the_same_time():
    """Each gets its own results; one of them has the helpers."""
    x = np.random.default_rng(0).standard_normal((256, 512)).astype(np.float32)
    functions = [tg.compile(lambda a, k=k: tg.sum(tg.tanh(a @ tg.transpose(a)) * k)) for k in (1.0, 2.0)]
    expected = [float(f(x)) for f in functions]
    wrong = []

    def repeat(f, value):
        wrong.extend(value for _ in range(30) if float(f(x)) != value)

    threads = [threading.Thread(target=repeat, args=pair) for pair in zip(functions, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_loops_of_ufuncs_are_found():
    """By the dtypes that they take; none for dtypes that have none, and none for what is no ufunc of NumPy's."""
    assert native.loop_of(np.add, "ff->f")
    assert native.loop_of(np.add, "fd->f") is None
    assert native.loop_of(np.frompyfunc(abs, 1, 1), "f->f") is None


def test_quotas_and_variables_give_the_number_of_threads(monkeypatch, tmp_path):
    """A variable first, then the processors of the process and of its control group."""
    for name in ("TINYGRAPH_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(native, "CPU_LIMIT", limit)
    limit.write_text("150000 100000")
    assert native.thread_count() == min(2, len(os.sched_getaffinity(0)))
    limit.write_text("50000 100000")
    assert native.thread_count() == 1
    limit.write_text("max 100000")
    assert native.thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert native.thread_count() == 3
    monkeypatch.setenv("TINYGRAPH_THREADS", "5")
    assert native.thread_count() == 5


# -- floating-point errors -------------------------------------------------------------------------------

BIG = np.finfo(np.float32).max
ERRORS = {  # a function, its argument, and what NumPy says
    "overflow in exp": (tg.exp, [1000.0, 0.0], "overflow encountered in exp"),
    "division by zero": (lambda x: 1.0 / x, [0.0, 1.0], "divide by zero encountered in divide"),
    "log of zero": (tg.log, [0.0, 1.0], "divide by zero encountered in log"),
    "square root": (tg.sqrt, [-1.0, 1.0], "invalid value encountered in sqrt"),
    "sum": (lambda x: tg.sum(x, axis=1), [BIG, BIG], "overflow encountered in reduce"),
    "conversion": (lambda x: tg.astype(x, "float32"), [1e300, 1.0], "overflow encountered in cast"),
}


def outcome(f, x, **how):
    """Return what a call does with errors: its result, what is raised, and what is warned of."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(**how):
        warnings.simplefilter("always")
        try:
            result = f(x).numpy().tobytes()
        except FloatingPointError as error:
            result = str(error)
    return result, sorted({str(w.message) for w in caught})


@pytest.mark.parametrize("rows", [1, 20_000])
@pytest.mark.parametrize("name", ERRORS)
def test_floating_point_errors_are_those_of_lines(name, rows, with_threads):
    """Raised, warned of or ignored as `numpy.errstate` says; large ones in tasks of two threads."""
    with_threads(2)
    function, values, text = ERRORS[name]
    x = np.ones((rows, 2), np.float64 if name == "conversion" else np.float32)
    x[rows // 2] = values
    f = tg.compile(function)
    with np.errstate(all="ignore"):
        f(x)
    assert not stops(f)
    for how in ("raise", "warn", "ignore"):
        got = outcome(f, x, all=how)
        with Without():
            assert got == outcome(f, x, all=how)
        if how != "ignore":
            assert text in (got[0] if how == "raise" else got[1])
    np.testing.assert_array_equal(outcome(f, np.ones_like(x), all="raise")[1], [])  # nothing is left of it


def test_after_an_error_in_the_middle_a_plan_begins_at_its_beginning():
    class Limited(tg.Op):
        def forward(self, xp, x, out=None):
            if np.asarray(x).max() > 100.0:
                raise ValueError("in the middle")
            return np.asarray(x) * 2.0

    f = tg.compile(lambda x: Limited()(tg.exp(Limited()(x))))
    f(np.zeros(3))
    assert len(stops(f)) == 2
    with pytest.raises(ValueError, match="in the middle"):
        f(np.full(3, 50.0))
    for _ in range(3):
        np.testing.assert_allclose(f(np.ones(3)).numpy(), np.exp(2.0) * 2.0)


def test_errors_are_called_logged_and_printed_as_numpy_does(capfd):
    f = tg.compile(lambda x: tg.log(x))
    x = np.array([[0.0, -1.0]], np.float32)
    told = []

    class Log:
        def write(self, text):
            told.append(text)

    def everything():
        with np.errstate(all="call", call=lambda *arguments: told.append(arguments)):
            f(x)
        with np.errstate(all="log", call=Log()):
            f(x)
        with np.errstate(all="print"):
            f(x)
        said, told[:] = [*told, capfd.readouterr().err], []
        return said

    with np.errstate(all="ignore"):
        f(x)
    got = everything()
    assert got[0] == ("divide by zero", 9)
    with Without():
        assert got == everything()


def test_errors_of_blas_are_not_told_and_those_of_a_group_have_the_name_of_their_function(with_threads):
    """A product overflows in silence, as SciPy's does; in a chain of functions in tiles the one that errs is named."""
    with_threads(2)
    big = np.full((64, 64), BIG)
    f = tg.compile(lambda a, x: ((a @ a)[0, 0], tg.sqrt(x) * tg.exp(x) + tg.exp(-x) * x))
    with np.errstate(all="raise"):
        f(big, np.ones(200_000, np.float32))
        with pytest.raises(FloatingPointError, match="invalid value encountered in sqrt"):
            f(big, np.full(200_000, -1.0, np.float32))
    assert f.plan.program.groups


def test_after_an_error_the_leaves_are_as_after_lines():
    """What ran before the error was raised stays done, what comes after does not run."""

    def step(x):
        W.assign_(W + x)
        y = tg.log(x)
        V.assign_(V + y)
        return y

    W, V = (tg.parameter(np.ones(3, np.float32)) for _ in range(2))
    f = tg.compile(step)
    f(np.ones(3, np.float32))
    states = []
    for block in (contextlib.nullcontext(), Without()):
        W.assign_(np.ones(3, np.float32))
        V.assign_(np.ones(3, np.float32))
        with block, np.errstate(all="raise"), pytest.raises(FloatingPointError, match="encountered in log"):
            f(np.zeros(3, np.float32))
        states.append((W.numpy().tobytes(), V.numpy().tobytes()))
    assert states[0] == states[1]


# -- random programs -------------------------------------------------------------------------------------

SHAPES = [(3, 4), (4, 3), (1, 4), (3, 1), (3, 3), (4,), ()]


@st.composite
def programs(draw):
    """Draw a program: each line makes a value of earlier ones, or assigns one to a leaf."""
    lines, shapes = [], [*SHAPES[:4], (3, 3), (3, 4)]  # four arguments and two leaves
    for _ in range(draw(st.integers(1, 14))):
        k = draw(st.integers(0, len(shapes) - 1))
        shape = shapes[k]
        kind = draw(st.sampled_from(["unary", "binary", "view", "matmul", "sum", "assign", "where", "concatenate"]))
        fits = [n for n, other in enumerate(shapes) if _broadcast(shape, other)]
        if kind == "unary":
            lines.append(("unary", draw(st.sampled_from(UNARY)), k))
            shapes.append(shape)
        elif kind == "view":
            how = draw(st.sampled_from(["transpose", "reverse", "skip", "flat"]))
            lines.append((how, k))
            shapes.append(_viewed(how, shape))
        elif kind == "matmul" and len(shape) == 2:
            others = [n for n, other in enumerate(shapes) if len(other) == 2 and other[0] == shape[1]]
            if others:
                n = draw(st.sampled_from(others))
                lines.append(("matmul", k, n))
                shapes.append((shape[0], shapes[n][1]))
        elif kind == "sum" and shape:
            axis, function = draw(st.sampled_from([None, 0, -1])), draw(st.sampled_from([tg.sum, tg.max, tg.mean]))
            lines.append(("sum", function, k, axis))
            kept = tuple(1 for _ in shape) if axis is None else (*shape[1:],) if axis == 0 else shape[:-1]
            shapes.append(kept if axis is not None else ())
        elif kind == "assign":
            leaf = draw(st.sampled_from([4, 5]))
            same = [n for n, other in enumerate(shapes) if other == shapes[leaf] and n != leaf]
            if same:
                lines.append(("assign", leaf, draw(st.sampled_from(same))))
        elif kind == "concatenate" and shape:
            lines.append(("concatenate", k))
            shapes.append((2 * shape[0], *shape[1:]))
        else:
            n = draw(st.sampled_from(fits))
            lines.append(("where" if kind == "where" else "binary", draw(st.sampled_from(BINARY[:7])), k, n))
            shapes.append(np.broadcast_shapes(shape, shapes[n]))
    return lines


def _broadcast(a, b):
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def _viewed(how, shape):
    x = np.empty(shape)
    return {"transpose": x.T, "reverse": x, "skip": x[::2] if shape else x, "flat": x.reshape(-1)}[how].shape


def run_program(lines, arguments, leaves):
    """Run a drawn program on tensors; return what its lines made."""
    values = [*arguments, *leaves]
    for what, *of in lines:
        if what == "unary":
            values.append(of[0](values[of[1]]))
        elif what == "binary":
            values.append(of[0](values[of[1]], values[of[2]]))
        elif what == "where":
            x, y = values[of[1]], values[of[2]]
            values.append(tg.where(x > y, x, y * 2.0))
        elif what == "transpose":
            x = values[of[0]]
            values.append(tg.transpose(x) if x.ndim == 2 else x * 1.0)
        elif what == "reverse":
            x = values[of[0]]
            values.append(x[::-1] if x.shape else x * 1.0)
        elif what == "skip":
            x = values[of[0]]
            values.append(x[::2] if x.shape else x * 1.0)
        elif what == "flat":
            values.append(tg.reshape(values[of[0]], (-1,)))
        elif what == "matmul":
            values.append(values[of[0]] @ values[of[1]])
        elif what == "sum":
            values.append(of[0](values[of[1]], axis=of[2]))
        elif what == "concatenate":
            values.append(tg.concatenate([values[of[0]], values[of[0]]], axis=0))
        elif what == "assign":
            values[of[0]].assign_(values[of[1]])
    return tuple(v for v in values[6:] if all(v is not leaf for leaf in leaves))


@settings(max_examples=150, deadline=None)
@given(lines=programs(), seed=st.integers(0, 9), double=st.booleans())
def test_random_programs_have_the_bits_of_lines(lines, seed, double):
    """Chains of functions, views, products, sums and assignments, three calls one after the other."""
    rng, dtype = np.random.default_rng(seed), np.float64 if double else np.float32
    arguments = [rng.standard_normal(s).astype(dtype) for s in SHAPES[:4]]
    leaves = [tg.parameter(rng.standard_normal(s).astype(dtype)) for s in ((3, 3), (3, 4))]
    with np.errstate(all="ignore"):
        both(lambda *x: run_program(lines, x, leaves), *arguments, calls=3, leaves=leaves)


def test_what_is_read_after_it_would_be_overwritten_is_copied_first():
    """A leaf that takes the sum of itself and its transpose, rows in the other order, or a row of itself."""
    for read in (lambda W: W + tg.transpose(W), lambda W: W * W[::-1], lambda W: W + W[:1], lambda W: tg.transpose(W)):
        W = tg.parameter(np.arange(9.0, dtype=np.float32).reshape(3, 3))

        def step(W=W, read=read):
            W.assign_(read(W))
            return W * 1.0

        expected = read(tg.tensor(W.numpy().copy())).numpy()
        both(step, leaves=[W], calls=1)
        np.testing.assert_array_equal(W.numpy(), expected)


# -- what surrounds it -----------------------------------------------------------------------------------


def test_values_of_variables_that_cannot_be_are_errors_in_words(monkeypatch):
    monkeypatch.setattr(native, "_machine", None)
    f = tg.compile(lambda x: x * 2.0)
    for name, value, text in [
        ("TINYGRAPH_JIT", "yes", "TINYGRAPH_JIT must be 0 or 1, got 'yes'"),
        ("TINYGRAPH_THREADS", "0", "TINYGRAPH_THREADS must be a whole number of at least 1, got '0'"),
    ]:
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            with pytest.raises(tg.ArgumentError, match=text):
                f(np.ones(2, np.float32))
    monkeypatch.setenv("TINYGRAPH_BLAS", "atlas")
    blas_choice.blas_library.cache_clear()
    with pytest.raises(tg.ArgumentError, match="TINYGRAPH_BLAS 'atlas' is not known; known: openblas, mkl, onednn"):
        f(np.ones(2, np.float32))
    monkeypatch.setenv("TINYGRAPH_BLAS", "mkl")
    monkeypatch.setattr(blas_choice, "load", lambda name: None)
    with pytest.raises(tg.BackendError, match="TINYGRAPH_BLAS=mkl: it is not installed .*: pip install mkl"):
        f(np.ones(2, np.float32))
    monkeypatch.delenv("TINYGRAPH_BLAS")
    assert "no library of BLAS" in native.description()
    assert f(np.ones(2, np.float32)).numpy().tolist() == [2.0, 2.0]
    blas_choice.blas_library.cache_clear()


def test_what_runs_plans_is_told_in_words(monkeypatch):
    assert native.description().startswith("native code by numba ")
    with monkeypatch.context() as changed:
        changed.setenv(native.VARIABLE, "0")
        assert native.description() == "lines of Python; turned off by TINYGRAPH_JIT=0"
    monkeypatch.setattr(native, "version", lambda package: "0.60.0")
    native._numba_lacks.cache_clear()
    assert native.description() == 'lines of Python; numba 0.60.0 is too old: pip install ".[jit]"'
    assert native.machine() is None
    monkeypatch.undo()
    native._numba_lacks.cache_clear()


def test_a_numba_that_does_not_work_leaves_plans_to_python(monkeypatch):
    monkeypatch.delattr(sys.modules["tinygraph.plan"], "machine")
    monkeypatch.setitem(sys.modules, "tinygraph.plan.machine", None)
    monkeypatch.setattr(native, "_machine", None)
    native.machine()
    assert native.description().startswith("lines of Python; numba does not work here (ModuleNotFoundError: ")
    f = tg.compile(lambda x: x * 2.0)
    assert f(np.ones(2, np.float32)).numpy().tolist() == [2.0, 2.0]
    assert not isinstance(f.plan.replay, kernels_native.NativeCodeGenerator)


def test_it_is_compiled_for_its_layout_and_without_a_folder_too(monkeypatch):
    """What numba kept is found by the layout of records; where it may keep nothing it says so, and compiles."""
    from tinygraph.plan import machine

    assert native.machine().run(0) == LAYOUT
    assert machine._is_kept()

    def refuses(**options):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(machine, "njit", refuses)
    assert not machine._is_kept()


def test_plans_go_while_helpers_sleep(with_threads):
    """Their records are not looked at any more."""
    with_threads(3)
    x = np.linspace(0, 1, 200_000, dtype=np.float32)
    for k in range(5):
        f = tg.compile(lambda x, k=k: tg.exp(x) * float(k))
        np.testing.assert_array_equal(f(x).numpy(), np.exp(x) * np.float32(k))
        del f
        gc.collect()


def run_program_text(code, threads):
    """Run a program in a process of its own; return its exit status, output and error output."""
    environment = {**os.environ, "TINYGRAPH_THREADS": str(threads)}
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code]  # Python's about forks
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


BEGIN = """
import os
import numpy as np, tinygraph as tg
from tinygraph.plan import native
f = tg.compile(lambda x: tg.exp(x))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_goes_on():
    """After a fork there are no helpers; plans made before and plans made after give the same."""
    code = f"""{BEGIN}
x = np.linspace(0, 1, 100_000, dtype=np.float32)
f(x)
native.machine().wait()
expected = f(x).numpy()
for _ in range(3):
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        continue
    native.machine().wait()
    again = tg.compile(lambda x: tg.exp(x))
    os._exit(not all(np.array_equal(g(x).numpy(), expected) for g in (f, again, f)))
assert np.array_equal(f(x).numpy(), expected)
"""
    assert run_program_text(code, 2) == (0, "", "")


@pytest.mark.parametrize("wait", ["", "native.machine().wait()"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_program_ends_whether_the_machine_is_made_or_not(wait, threads):
    code = f"""{BEGIN}
f(np.ones(100_000, np.float32))
{wait}
print(float(tg.sum(f(np.zeros(100_000, np.float32)))))
"""
    assert run_program_text(code, threads) == (0, "100000.0\n", "")
