"""Problem 65.18: the logistic loss ``log(1 + exp(-gamma z))``."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses


def test_value_and_slope(rng):
    z, gamma = rng.normal(size=7), rng.choice([-1.0, 1.0], 7)
    x = tg.tensor(z, requires_grad=True)
    loss = losses.logistic(x, gamma)
    assert loss.item() == pytest.approx(sum(math.log(1 + math.exp(-g * v)) for g, v in zip(gamma, z, strict=True)) / 7)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), [-g / (1 + math.exp(g * v)) / 7 for g, v in zip(gamma, z, strict=True)])


@pytest.mark.parametrize("z", [1e4, -1e4])
def test_it_never_overflows(z):
    x = tg.tensor(np.array([z], np.float32), requires_grad=True)
    loss = losses.logistic(x, np.array([1.0], np.float32))
    loss.backward()
    assert (loss.item(), x.grad.item()) == ((0, 0) if z > 0 else (1e4, -1))
