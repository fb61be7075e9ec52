"""Loops of several operations: the bits of NumPy's, operation by operation, and what is one loop and what is not."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph.plan.records import LOOP, MOST_OPERANDS, STOP, Field

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("native_machine")]

pytest.importorskip("numba", reason="native plans need the extra jit")
pytest.importorskip("scipy_openblas32", reason="native plans need the extra jit")

UNARY, BINARY = ("square", "negative", "sqrt"), ("add", "subtract", "multiply", "divide")
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-310]


def call(loop, arrays, length):
    """Run a loop on arrays of which each begins where the loop is to begin."""
    from tinygraph.plan import loops

    table = np.array([a.ctypes.data for a in arrays], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(loops.address_of(loop))(table.ctypes.data, length)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_loop_has_the_bits_of_numpys_functions(data):
    """Of any length and both dtypes, with numbers for all elements, special values, and a result over an operand."""
    from tinygraph.plan import loops

    letter = data.draw(st.sampled_from("fd"))
    length = data.draw(st.integers(0, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    is_number = tuple(data.draw(st.lists(st.booleans(), min_size=1, max_size=4)))
    operands = [rng.standard_normal(1 if one else length).astype(letter) for one in is_number]
    for a in operands:
        if a.size and data.draw(st.booleans()):
            a[rng.integers(a.size)] = data.draw(st.sampled_from(SPECIAL))
    steps, values = [], list(operands)
    with np.errstate(all="ignore"):
        for _ in range(data.draw(st.integers(1, 8))):
            name = data.draw(st.sampled_from(UNARY + BINARY))
            sources = tuple(data.draw(st.integers(0, len(values) - 1)) for _ in range(1 + (name in BINARY)))
            steps.append((name, sources))
            values.append(getattr(np, name)(*(values[k] for k in sources)))
    made = list(range(len(operands), len(values)))
    stored = tuple(data.draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)))
    expected = [np.broadcast_to(values[k], length).copy() for k in stored]
    results = [np.full(length + 1, 7.0, letter) for _ in stored]
    whole = [j for j, one in enumerate(is_number) if not one]
    over = data.draw(st.sampled_from([None, *whole]))
    if over is not None:  # the first result is written where an operand is read
        results[0] = np.append(operands[over], letter and np.array(7.0, letter)).astype(letter)
        operands[over] = results[0]
    call(loops.Loop(letter, is_number, tuple(steps), stored), [*operands, *results], length)
    for y, wanted in zip(results, expected, strict=True):
        same = (y[:length].view(f"u{y.itemsize}") == wanted.view(f"u{y.itemsize}")) | (
            np.isnan(y[:length]) & np.isnan(wanted)
        )
        assert same.all(), (y[:length], wanted)
        assert y[length] == 7.0  # nothing is written behind the end


def records(compiled):
    return [r for r in compiled.plan.replay._table if r[Field.OP] == LOOP]


def test_a_step_of_adam_is_a_loop_for_each_parameter():
    """Parameters of one shape share a compiled loop; the step agrees with NumPy's formulas."""
    rng = np.random.default_rng(0)
    leaves = [[tg.parameter(rng.random((30, 20), np.float32)) for _ in range(3)] for _ in range(2)]
    before = [[leaf.numpy().copy() for leaf in three] for three in leaves]

    def step(*gradients):
        for (W, m, s), g in zip(leaves, gradients, strict=True):
            m.assign_(0.9 * m + 0.1 * g)
            s.assign_(0.999 * s + 0.001 * tg.square(g))
            W.assign_(W - 0.01 * m / (tg.sqrt(s) + 1e-8))
        return tg.sum(gradients[0])

    gradients = [rng.standard_normal((30, 20)).astype(np.float32) for _ in leaves]
    compiled = tg.compile(step)
    compiled(*gradients)
    found = records(compiled)
    assert len(found) == 2
    assert found[0][Field.FUNCTION] == found[1][Field.FUNCTION]
    f = np.float32
    for three, (W, m, s), g in zip(leaves, before, gradients, strict=True):
        m = f(0.9) * m + f(0.1) * g
        s = f(0.999) * s + f(0.001) * g**2
        wanted = W - f(0.01) * m / (np.sqrt(s) + f(1e-8)), m, s
        for leaf, expected in zip(three, wanted, strict=True):
            np.testing.assert_array_equal(leaf.numpy(), expected)


def test_parts_that_disturb_one_another_are_one_loop():
    """Two leaves that exchange their values: neither may be written before the other is read."""
    a, b = (tg.parameter(np.full((40, 40), x, np.float32)) for x in (1.0, 2.0))

    def step(x):
        new_a, new_b = 3.0 * b + x, 5.0 * a + x
        a.assign_(new_a)
        b.assign_(new_b)
        return tg.sum(x)

    compiled = tg.compile(step)
    expected = np.full((40, 40), 1.0, np.float32), np.full((40, 40), 2.0, np.float32)
    x = np.ones((40, 40), np.float32)
    for _ in range(3):
        compiled(x)
        expected = np.float32(3) * expected[1] + x, np.float32(5) * expected[0] + x
        np.testing.assert_array_equal(a.numpy(), expected[0])
        np.testing.assert_array_equal(b.numpy(), expected[1])


@pytest.mark.parametrize("shape", [(), (1,), (17,), (5, 3), (3, 4, 5), (600, 300)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_rows_and_views_have_the_values_of_numpy(shape, dtype):
    """A row for all rows, a number for all elements, a transposed operand; large arrays in tasks."""
    rng = np.random.default_rng(len(shape))
    x, y = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    row = rng.standard_normal(shape[-1:]).astype(dtype)

    def f(x, y, row):
        turned = tg.transpose(tg.transpose(y) * 2.0) if len(shape) == 2 else y
        return (x * row + turned) / (tg.square(y) + 1.5) - x

    compiled = tg.compile(f)
    got = compiled(*(tg.tensor(a) for a in (x, y, row))).numpy()
    turned = y * dtype(2) if len(shape) == 2 else y
    np.testing.assert_array_equal(got, (x * row + turned) / (np.square(y) + dtype(1.5)) - x)
    assert records(compiled)
    assert not any(r[Field.OP] == STOP for r in compiled.plan.replay._table)


def test_more_operands_than_a_loop_takes_are_single_functions():
    arrays = [np.full(10, n, np.float32) for n in range(MOST_OPERANDS + 3)]

    def f(*arrays):
        total = arrays[0]
        for a in arrays[1:]:
            total = total + a
        return total

    compiled = tg.compile(f)
    np.testing.assert_array_equal(compiled(*arrays).numpy(), sum(arrays))
    assert not records(compiled)


def test_errors_name_the_functions_that_may_have_met_them():
    """One loop of several functions: only a division divides by zero, any of them may overflow."""
    f = tg.compile(lambda x, y: x * x / y + 1.0)
    one, zero, big = (np.full(50, v, np.float32) for v in (1.0, 0.0, 1e30))
    with np.errstate(all="raise"):
        f(one, one)
        assert len(records(f)) == 1
        with pytest.raises(FloatingPointError, match="^divide by zero encountered in divide$"):
            f(one, zero)
        with pytest.raises(FloatingPointError, match="^overflow encountered in multiply or divide or add$"):
            f(big, one)
    with pytest.warns(RuntimeWarning, match="overflow encountered in multiply"):
        assert np.isinf(f(big, one).numpy()).all()
