"""Table 65.1, (65.6)-(65.12): the activation functions as printed, and their derivatives.

(65.6) slope of the sigmoid, (65.7) of tanh in three forms, (65.8) sigmoid and tanh by each other, (65.9a)-(65.9b)
limits, (65.10) constants of the scaled tanh, (65.11) slope of ReLU, (65.12) of leaky ReLU. The table prints no
derivatives; all are held against central differences as well.
"""

import math
from math import cosh, exp, tanh

import numpy as np
import pytest
from chapter.listings import ACTIVATIONS

import tinygraph as tg
from tinygraph import nn

NAMES = ["sigmoid", "softplus", "tanh", "scaled_tanh", "relu", "leaky_relu", "elu", "linear"]  # of the table, in order
POINTS = [-30.0, -4.0, -1.0, -0.3, -1e-8, 0.0, 1e-8, 0.3, 1.0, 4.0, 30.0]


def function(name):
    return tg.identity if name == "linear" else nn.ACTIVATIONS[name]


def value_and_slope(f, points):
    z = tg.tensor(np.array(points), requires_grad=True)
    y = f(z)
    y.sum().backward()
    return y.numpy(), z.grad.numpy()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_the_table_and_its_derivative(name):
    f, f_prime = ACTIVATIONS[name]
    y, dy = value_and_slope(function(name), POINTS)
    np.testing.assert_allclose(y, [f(z) for z in POINTS], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dy, [f_prime(z) for z in POINTS], rtol=1e-11, atol=1e-15)


@pytest.mark.host
@pytest.mark.parametrize("name", NAMES)
def test_the_derivatives_are_those_of_the_functions(name):
    f, f_prime = ACTIVATIONS[name]
    for z in (-3.0, -0.4, 0.2, 1.7):
        assert f_prime(z) == pytest.approx((f(z + 1e-6) - f(z - 1e-6)) / 2e-6, abs=1e-8)


def test_the_slope_of_the_sigmoid():
    """(65.6): f' = f (1 - f)."""
    y, dy = value_and_slope(tg.sigmoid, POINTS)
    np.testing.assert_allclose(dy, [f * (1 - f) for f in y.tolist()], rtol=1e-13)


@pytest.mark.parametrize(
    "form", [lambda z: 1 / cosh(z) ** 2, lambda z: 4 / (exp(z) + exp(-z)) ** 2, lambda z: 1 - tanh(z) ** 2]
)
def test_the_three_forms_of_the_slope_of_tanh(form):
    """(65.7): 1 / cosh^2, 4 / (e^z + e^-z)^2, 1 - tanh^2."""
    _, dy = value_and_slope(tg.tanh, POINTS)
    np.testing.assert_allclose(dy, [form(z) for z in POINTS], rtol=1e-12, atol=1e-15)


def test_sigmoid_and_tanh_by_each_other():
    """(65.8): sigmoid(z) = (tanh(z/2) + 1) / 2, and tanh(z/2) = 2 sigmoid(z) - 1."""
    z = np.array(POINTS)
    np.testing.assert_allclose(tg.sigmoid(z).numpy(), (tg.tanh(z / 2).numpy() + 1) / 2, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(tg.tanh(z / 2).numpy(), 2 * tg.sigmoid(z).numpy() - 1, atol=1e-15)


@pytest.mark.parametrize(("f", "above", "below"), [(tg.sigmoid, 1, 0), (tg.tanh, 1, -1)])
def test_the_limits(f, above, below):
    """(65.9a) sigmoid from 0 to 1, (65.9b) tanh from -1 to 1; both saturate, and nothing overflows."""
    y, dy = value_and_slope(f, [-1e4, 1e4])
    assert y.tolist() == [below, above]
    assert dy.tolist() == [0, 0]


def test_the_constants_of_the_scaled_tanh():
    """(65.10): b = 2/3 and a = 1 / tanh(2/3), about 1.7159, so that f(1) = 1 and f(-1) = -1; saturation at a, -a."""
    a = 1 / tanh(2 / 3)
    y, _ = value_and_slope(tg.scaled_tanh, [1.0, -1.0, 0.4, 1e4, -1e4])
    np.testing.assert_allclose(y, [1, -1, a * tanh(2 / 3 * 0.4), a, -a], rtol=1e-14)
    assert a == pytest.approx(1.7159, abs=5e-5)
    other, slope = value_and_slope(lambda z: tg.scaled_tanh(z, 2.0, 0.5), [0.7])
    assert other.item() == pytest.approx(2 * tanh(0.35), rel=1e-14)
    assert slope.item() == pytest.approx(1 / cosh(0.35) ** 2, rel=1e-14)


def test_the_slopes_of_relu_and_of_leaky_relu():
    """(65.11): 0, 0 and 1 for z < 0, z = 0 and z > 0; (65.12): 0.01, 0 and 1."""
    assert value_and_slope(tg.relu, [-2.0, 0.0, 3.0])[1].tolist() == [0, 0, 1]
    assert value_and_slope(tg.leaky_relu, [-2.0, 0.0, 3.0])[1].tolist() == [0.01, 0, 1]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_the_exponential_linear_unit_tends_to_minus_alpha(alpha):
    """Table 65.1: z for z >= 0, alpha (e^z - 1) for z < 0; 0 belongs to the upper branch, so the slope there is 1."""
    y, dy = value_and_slope(lambda z: tg.elu(z, alpha), [-1e4, -0.7, 0.0, 2.0])
    np.testing.assert_allclose(y, [-alpha, alpha * (exp(-0.7) - 1), 0, 2], rtol=1e-14)
    np.testing.assert_allclose(dy, [0, alpha * exp(-0.7), 1, 1], rtol=1e-14)


def test_softplus_is_a_smooth_rectifier():
    """Said of Table 65.1's softplus: it tends to 0 gracefully, and to ReLU on both sides."""
    y, dy = value_and_slope(tg.softplus, [-40.0, 0.0, 40.0])
    np.testing.assert_allclose(y, [exp(-40), math.log(2), 40], rtol=1e-13)
    np.testing.assert_allclose(dy, [exp(-40), 0.5, 1], rtol=1e-13)
