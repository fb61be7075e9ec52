"""(65.189)-(65.190), Fig. 65.18: one hidden layer, without a bias at the output, approximates any function.

The printed sum is written out in plain loops, and the error is measured at points of the test's own.
"""

import itertools
import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.tools.universal_approximation import approximate

pytestmark = pytest.mark.host


def wave(H):
    return 0.5 + 0.4 * np.sin(4 * H[:, 0])


def bump(H):
    return np.exp(-3 * (H**2).sum(axis=1))


def product(H):
    return 0.5 + 0.5 * np.tanh(H[:, 0] * H[:, 1] - H[:, 2])


def largest_error(fit, g, box, ticks):
    """The largest |g(h) - ghat(h)| on a grid that reaches the corners of the box."""
    grid = np.array(list(itertools.product(*(np.linspace(low, high, ticks) for low, high in box))))
    return np.abs(fit(grid) - g(grid)).max()


@pytest.mark.parametrize(
    ("activation", "f"),
    [
        ("sigmoid", lambda z: 1 / (1 + math.exp(-z))),
        ("tanh", math.tanh),
        (tg.erf, math.erf),
    ],
    ids=["sigmoid", "tanh", "erf"],
)
def test_the_network_is_the_printed_sum_65_190(activation, f):
    K, box = 4, [(-1, 1), (0, 2)]
    fit = approximate(lambda H: H[:, 0] * H[:, 1], K, box, activation, steps=20, points=50)
    w, theta, alpha = fit.net[0].W.numpy(), fit.net[0].theta.numpy(), fit.net[1].W.numpy()
    assert (w.shape, theta.shape, alpha.shape) == ((2, K), (K,), (K, 1))
    assert len(fit.net.parameters()) == 3  # no bias at the output
    for h in ([0.3, 1.7], [-1.0, 0.0], [0.9, 0.2]):
        total = 0.0
        for j in range(K):
            z = sum(h[m] * w[m][j] for m in range(2)) - theta[j]
            total += alpha[j][0] * f(z)
        assert fit(np.array([h]))[0] == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize(("g", "M"), [(wave, 1), (bump, 2), (product, 3)], ids=["M = 1", "M = 2", "M = 3"])
def test_functions_of_one_two_and_three_inputs(g, M):
    box = [(-1, 1)] * M
    fit = approximate(g, 30, box, points=500, steps=1000)
    assert fit.largest_error < 0.1
    assert largest_error(fit, g, box, 9) < 0.15  # corners are further out than any random point


def test_more_hidden_nodes_come_closer_65_189():
    def g(H):
        h = H[:, 0]
        return 0.4 + 0.4 * np.sin(3 * np.pi * h) * (1 - h**2) + 0.2 * np.abs(h)

    few, many = (largest_error(approximate(g, K, points=400, steps=1500), g, [(-1, 1)], 801) for K in (2, 30))
    assert many < 0.06 < 0.3 < few


def test_boxes_far_from_zero_and_large_functions():
    def g(H):
        return 5e4 * np.cos(H[:, 0] / 20)

    box = [(100, 180)]
    fit = approximate(g, 10, box, "tanh", points=300, steps=1000)
    assert largest_error(fit, g, box, 401) < 0.05 * 5e4


def test_the_error_is_that_at_points_that_were_not_fitted():
    seen = []

    def g(H):
        seen.append(H)
        return wave(H)

    fit = approximate(g, 5, points=100, steps=50)
    fitted, others = seen
    assert not np.intersect1d(fitted, others).size
    assert fit.largest_error == pytest.approx(np.abs(fit(others) - wave(others)).max(), abs=1e-15)


def test_a_seed_decides_everything():
    a, b, c = (approximate(bump, 5, [(-1, 1)] * 2, points=50, steps=20, seed=s) for s in (1, 1, 2))
    assert a.largest_error == b.largest_error != c.largest_error


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"K": 0}, tg.ArgumentError, "K must be a whole number of at least 1, got 0"),
        ({"box": [(1, -1)]}, tg.ArgumentError, "box: expected low below high"),
        ({"box": [(1, 2), (1,)]}, tg.DataError, "box: expected one array, got a list of unequal parts"),
        ({"box": "abc"}, tg.ArgumentError, "box: expected a pair"),
        ({"box": [("a", "b")]}, tg.DataError, "box: expected numbers"),
        ({"box": [1, 2]}, tg.ArgumentError, "box: expected a pair"),
        ({"box": [(0, np.inf)]}, tg.DataError, "box: inf"),
        ({"activation": "sigmiod"}, tg.ArgumentError, "did you mean 'sigmoid'"),
        ({"steps": 0}, tg.ArgumentError, "steps must be a whole number of at least 1"),
        ({"g": lambda H: H}, tg.ShapeError, r"g: expected shape \(60,\) for 60 inputs, got \(60, 2\)"),
        ({"g": lambda H: H[:, 0] / 0}, tg.DataError, "g: -?inf"),
    ],
)
def test_mistakes_are_told(arguments, error, text):
    given = {"g": bump, "K": 3, "box": [(-1, 1)] * 2, "points": 60, "steps": 5} | arguments
    with np.errstate(divide="ignore"), pytest.raises(error, match=text):
        approximate(**given)
