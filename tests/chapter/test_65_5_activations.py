"""Table 65.1, (65.5)-(65.12), Problem 65.4, (65.192): activation functions and their derivatives, one by one."""

import math

import numpy as np
import pytest

import tinygraph as tg

b = 2 / 3
a = 1 / math.tanh(b)
ROWS = {  # the function and its derivative, as formulas of one number
    "sigmoid": (tg.sigmoid, lambda z: 1 / (1 + math.exp(-z)), lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2),
    "softplus": (tg.softplus, lambda z: math.log(1 + math.exp(z)), lambda z: math.exp(z) / (1 + math.exp(z))),
    "tanh": (tg.tanh, math.tanh, lambda z: 1 / math.cosh(z) ** 2),
    "scaled_tanh": (tg.scaled_tanh, lambda z: a * math.tanh(b * z), lambda z: a * b / math.cosh(b * z) ** 2),
    "relu": (tg.relu, lambda z: max(0, z), lambda z: 1 if z > 0 else 0),
    "leaky_relu": (
        lambda z: tg.leaky_relu(z, slope=0.1),
        lambda z: z if z > 0 else 0.1 * z,
        lambda z: 1 if z > 0 else 0.1 if z < 0 else 0,
    ),
    "elu": (
        lambda z: tg.elu(z, alpha=1.0),
        lambda z: z if z > 0 else math.exp(z) - 1,
        lambda z: 1 if z > 0 else math.exp(z),
    ),
    "identity": (tg.identity, lambda z: z, lambda z: 1),
    "two_sided_relu": (
        lambda z: tg.two_sided_relu(z, -0.5),
        lambda z: max(0, z) - 0.5 * min(0, z),
        lambda z: 1 if z > 0 else -0.5 if z < 0 else 0,
    ),
    "erf": (tg.erf, math.erf, lambda z: 2 / math.sqrt(math.pi) * math.exp(-z * z)),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_table(name):
    function, value, slope = ROWS[name]
    z = np.concatenate([np.linspace(-4, 4, 33), [0.0]])
    x = tg.tensor(z, requires_grad=True)
    y = function(x)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), [value(v) for v in z], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(x.grad.numpy(), [slope(v) for v in z], rtol=1e-11, atol=1e-15)


def test_the_scaled_tanh_maps_one_to_one():
    assert tg.scaled_tanh(tg.tensor(np.array([1.0, -1.0]))).numpy() == pytest.approx([1, -1])
