"""``a x - b y``, the step of every optimiser: by BLAS and by NumPy's functions, the same but for rounding."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.backend import base
from tinygraph.backend.numpy import scaled_difference
from tinygraph.ops.elementwise import OverRoot, ScaledSum, corrected_rate, subtract_scaled

pytestmark = pytest.mark.host
SHAPES = [(), (0,), (1,), (7,), (3, 5), (64, 33), (2, 3, 4), (300, 100)]
SCALES = [0.25, -0.25, -1.0, 1.0, 0.0, np.float32(0.3), np.array(0.7, np.float32)]


def arrays(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("a", [1.0, 0.5, 0.0])
def test_it_is_what_it_says_wherever_it_is_written(shape, dtype, a):
    accuracy = {"float16": 5e-3, "float32": 1e-6, "float64": 1e-7}[dtype]
    for b in SCALES:
        x, y = arrays(shape, dtype)
        b = b if type(b) is float else b.astype(dtype)
        right = a * x.astype(np.float64) - float(b) * y.astype(np.float64)
        copies, elsewhere = (x.copy(), y.copy()), np.full(shape, np.nan, dtype)
        made = scaled_difference(x, b, y, a)
        assert not np.shares_memory(made, x)
        assert scaled_difference(x, b, y, a, out=elsewhere) is elsewhere
        np.testing.assert_array_equal(x, copies[0])
        in_place, over_y = x.copy(), y.copy()
        assert scaled_difference(in_place, b, y, a, out=in_place) is in_place
        np.testing.assert_array_equal(y, copies[1])
        scaled_difference(x, b, over_y, a, out=over_y)
        for found in (made, elsewhere, in_place, over_y, base.scaled_difference(np, x, b, y, a)):
            assert found.dtype == dtype
            np.testing.assert_allclose(found, right, rtol=accuracy, atol=accuracy)
        np.testing.assert_array_equal(made, in_place)
        np.testing.assert_array_equal(made, elsewhere)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_in_any_order_of_memory(dtype):
    x, y = arrays((16, 24), dtype)
    for u in (x, x.copy("F"), np.repeat(x, 2, 1)[:, ::2], x[::-1]):
        for w in (y, y.copy("F"), y[:1], y[:, 3:4], y[0]):
            right = 0.5 * u - 0.25 * w
            np.testing.assert_allclose(scaled_difference(u, 0.25, w, 0.5), right, rtol=1e-5, atol=1e-6)
            for out in (u.copy(), u.copy("F"), np.zeros((32, 24), dtype)[::2]):
                assert scaled_difference(u, 0.25, w, 0.5, out=out) is out
                np.testing.assert_allclose(out, right, rtol=1e-5, atol=1e-6)


def test_an_array_meets_itself():
    for a in (1.0, 0.5):
        for n in (5, 500):
            x = np.arange(float(n))
            np.testing.assert_allclose(scaled_difference(x, 0.25, x, a, out=x), (a - 0.25) * np.arange(n))


def test_a_scale_for_each_row_and_whole_numbers():
    x, y = arrays((4, 3), "float32")
    b = np.arange(4, dtype=np.float32)[:, None]
    np.testing.assert_allclose(scaled_difference(x, b, y), x - b * y, rtol=1e-6)
    whole = np.arange(6)
    np.testing.assert_array_equal(scaled_difference(whole, 2, whole[::-1]), whole - 2 * whole[::-1])


@pytest.mark.parametrize("b", [0.0, 0.5])
def test_what_is_not_finite_shows(b):
    x, y = np.ones(400), np.tile([np.inf, -np.inf, np.nan, 1.0], 100)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(scaled_difference(x, b, y), x - b * y)


@pytest.mark.parametrize("backend", ["numpy", "strict"])
def test_what_optimisers_apply_has_right_gradients(backend):
    with tg.using(backend):
        x, y = arrays((3, 4), "float64")
        tg.gradcheck(ScaledSum(0.9, 0.1), x, y, second=True)
        tg.gradcheck(ScaledSum(1.0, -2.0), x, y[:1], second=True)
        tg.gradcheck(subtract_scaled, x, np.array(0.3), y, second=True)
        tg.gradcheck(OverRoot(1e-3), x, y * y + 0.1, second=True)
        tg.gradcheck(corrected_rate, np.array(0.1), np.array(0.9), np.array(0.99), second=True)


@pytest.mark.parametrize("a", [1.0, 0.9])
def test_operands_that_overlap_are_read_before_they_are_written(a):
    """Neighbouring parts of one buffer, and one array in two objects."""
    for target, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None)), (slice(1), slice(1))):
        buffer = np.random.default_rng(0).standard_normal((1 if target == slice(1) else 601, 40)).repeat(9, axis=1)
        x, y = buffer[target], buffer[other]
        expected = a * x - 0.5 * y
        scaled_difference(x, 0.5, y, a, out=x)
        np.testing.assert_allclose(x, expected, rtol=1e-15, atol=1e-15)
        buffer = np.random.default_rng(0).standard_normal(buffer.shape)
        x, y = buffer[target].copy(), buffer[target]
        expected = a * x - 0.5 * y
        scaled_difference(x, 0.5, y, a, out=buffer[other])
        np.testing.assert_allclose(buffer[other], expected, rtol=1e-15, atol=1e-15)
