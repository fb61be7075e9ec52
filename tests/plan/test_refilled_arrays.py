"""An array of NumPy's that a compiled function uses, and that is refilled in place, is read anew by every call."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.models import fully_connected


def f32(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


NET = fully_connected([3, 2], seed=0)
# how the array enters; the array at first; what it is filled with
WAYS = {
    "operand": (lambda x, a: x + a, f32(1, 2), f32(1, 2) * 3),
    "operand on the left": (lambda x, a: a * x, f32(1, 2), f32(1, 2) * 3),
    "operand of one element": (lambda x, a: x * a, f32(1, 1), [[7.0]]),
    "operand with no axes": (lambda x, a: x * a, np.array(2.0, np.float32), 5.0),
    "operand with no axes, float64": (lambda x, a: x - a, np.array(2.0), 5.0),
    "whole number with no axes": (lambda x, a: x * a, np.array(2), 5),
    "truth value with no axes": (lambda x, a: x * a, np.array(True), False),
    "with no axes, in a maximum": (lambda x, a: tg.maximum(x, a), np.array(2.0, np.float32), -5.0),
    "with no axes, twice": (lambda x, a: x * a + a, np.array(2.0), 5.0),
    "with no axes, as an exponent": (lambda x, a: tg.abs(x) ** a, np.array(2.0), 3.0),
    "with no axes, in a function": (lambda x, a: x * tg.exp(a), np.array(2.0, np.float32), 3.0),
    "both operands": (lambda x, a: x + tg.add(a, a), f32(1, 2), f32(1, 2) * 3),
    "whole numbers": (lambda x, a: x > a, np.array([1, 2]), [-5, -6]),
    "truth values": (lambda x, a: x * a, np.array([True, False]), [False, True]),
    "read only": (lambda x, a: x + a, f32(1, 2), f32(1, 2) * 3),
    "columns of a larger array": (lambda x, a: x + a, f32(4, 6)[::2, ::3], f32(4, 6)[::2, ::3] + 2),
    "module": (lambda x, a: x + NET(a), f32(1, 3), f32(1, 3) * 3),
    "module, converted": (lambda x, a: x + NET(a), f32(1, 3).astype(np.float64), f32(1, 3) * 3),
    "modules": (lambda x, a: x + nn.Sequential(NET)(a) * tg.sum(tg.square(a)), f32(1, 3), f32(1, 3) * 3),
    "class labels": (lambda x, a: losses.cross_entropy(x, a), np.array([1]), [0]),
    "rows of probabilities": (lambda x, a: losses.cross_entropy(x, a), f32(1, 2), [[0.5, 0.5]]),
    "binary labels": (lambda x, a: losses.binary_cross_entropy(x, a), np.array([[1, 0]]), [[0, 1]]),
    "real labels": (lambda x, a: losses.squared_error(x, a), f32(1, 2), f32(1, 2) * 3),
    "mask": (lambda x, a: tg.where(a, x, 0.0), np.array([[True, False]]), [[False, True]]),
    "chosen": (lambda x, a: tg.where(x > 0.0, a, x), f32(1, 2), f32(1, 2) * 3),
    "index": (lambda x, a: x[:, a], np.array([0, 0]), [1, 0]),
    "taken": (lambda x, a: tg.take(x, a, 1), np.array([0, 0, 1]), [1, 1, 0]),
    "product": (lambda x, a: x @ a, f32(2, 3), f32(2, 3) * 3),
    "joined": (lambda x, a: tg.concatenate([x, a]), f32(1, 2), f32(1, 2) * 3),
    "reshaped": (lambda x, a: x + tg.reshape(a, (1, 2)), f32(2), f32(2) * 3),
    "summed": (lambda x, a: x + tg.sum(a), f32(2), f32(2) * 3),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_refilled_array_is_read_anew(name, backend):
    use, array, filling = WAYS[name]
    if "module" in name and backend != "numpy":
        pytest.skip("the network is NumPy's")
    array = array.copy()
    fast = tg.compile(lambda x: use(x, array))
    x = tg.tensor([[0.5, -1.5]])
    refused = 0
    for content in (array.copy(), filling, np.zeros_like(array)):
        array[...] = content
        expected = use(x, array).numpy()
        try:
            made = fast(x).numpy()
        except tg.CompileError:  # where a replay cannot see the host's memory
            refused += 1
            continue
        assert made.dtype == expected.dtype
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)
    assert not refused or backend != "numpy"


def test_an_array_that_is_assigned():
    array, leaf = f32(3), tg.parameter(f32(3))

    @tg.compile
    def fn(x):
        leaf.assign_(array)
        return leaf * x

    for number in (1.0, 2.0):
        array[...] = number
        try:
            fn(tg.tensor(1.0))
        except tg.CompileError:
            assert tg.tensor(0).backend.name != "numpy"
            return
        np.testing.assert_array_equal(leaf.numpy(), array)


@pytest.mark.parametrize("use", [lambda x: x + np.ones(2, np.float32), lambda x: NET(np.ones((1, 3))) + x])
@pytest.mark.host
def test_an_array_made_inside_is_refused(use):
    with pytest.raises(tg.CompileError, match="made on the host inside"):
        tg.compile(use)(tg.tensor([[1.0, 2.0]]))


def test_a_number_made_inside_as_an_array_is_a_number():
    fast = tg.compile(lambda x: x * np.array(2.0) + np.array(1))
    for _ in range(2):
        np.testing.assert_array_equal(fast(tg.tensor([1.0, 2.0])).numpy(), [3.0, 5.0])


@pytest.mark.host
def test_a_number_of_one_array_is_not_that_of_a_constant():
    """Constants of one value share their memory; an array that happens to hold it does not."""
    array = np.array(2.0)
    fast = tg.compile(lambda x: (x * array, x * 2.0, x * array))
    x = tg.tensor([1.0])
    assert [float(y) for y in fast(x)] == [2.0, 2.0, 2.0]
    array[...] = 5.0
    assert [float(y) for y in fast(x)] == [5.0, 2.0, 5.0]
