"""Problem 65.2, (65.8): the sigmoid is a tanh of half the argument, shifted and halved."""

import math

import numpy as np
import pytest

import tinygraph as tg

Z = [-30.0, -4.0, -1.5, -1e-3, 0.0, 0.2, 1.0, 2.5, 30.0]


@pytest.mark.parametrize("z", Z)
def test_the_relation_of_the_two_functions(z):
    printed = 0.5 * (1 + math.tanh(z / 2))
    assert 1 / (1 + math.exp(-z)) == pytest.approx(printed, rel=1e-12, abs=1e-16)
    x = tg.tensor(np.array([z]))
    assert tg.sigmoid(x).item() == pytest.approx(printed, rel=1e-12, abs=1e-16)
    assert (0.5 * (1.0 + tg.tanh(x / 2.0))).item() == pytest.approx(printed, rel=1e-12, abs=1e-16)


def test_the_relation_holds_for_the_derivatives():
    x = tg.tensor(np.array(Z))
    (of_sigmoid,) = tg.grad(tg.sigmoid(x).sum(), [x])
    (of_tanh,) = tg.grad((0.5 * (1.0 + tg.tanh(x / 2.0))).sum(), [x])
    np.testing.assert_allclose(of_sigmoid.numpy(), of_tanh.numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(of_tanh.numpy(), [0.25 / math.cosh(z / 2) ** 2 for z in Z], rtol=1e-12, atol=1e-15)
