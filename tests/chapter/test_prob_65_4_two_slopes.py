"""Problem 65.4: the rectifier with a slope alpha below 0; with alpha = -1 it is the absolute value."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn

Z = [-3.0, -1.0, -0.25, 0.0, 0.5, 2.0]


@pytest.mark.parametrize("alpha", [-1.0, -0.5, 0.01, 1.0, 2.0])
def test_value_and_slopes(alpha):
    x = tg.tensor(np.array(Z))
    y = tg.two_sided_relu(x, alpha)
    assert y.numpy().tolist() == [max(0.0, z) + alpha * min(0.0, z) for z in Z]
    (slope,) = tg.grad(y.sum(), [x])
    assert slope.numpy().tolist() == [0.0 if z == 0 else 1.0 if z > 0 else alpha for z in Z]


def test_with_alpha_minus_one_it_is_the_absolute_value():
    x = tg.tensor(np.array(Z))
    assert tg.two_sided_relu(x, -1.0).numpy().tolist() == tg.abs(x).numpy().tolist() == [abs(z) for z in Z]


def test_special_cases_by_their_own_names():
    x = tg.tensor(np.array(Z))
    np.testing.assert_array_equal(tg.two_sided_relu(x, 0.01).numpy(), tg.leaky_relu(x).numpy())
    np.testing.assert_array_equal(tg.two_sided_relu(x, 1.0).numpy(), tg.identity(x).numpy())


def test_a_layer_of_absolute_values(rng):
    layer = nn.Dense(3, 4, activation=lambda z: tg.two_sided_relu(z, -1.0), seed=0, dtype=np.float64)
    h = rng.normal(size=(5, 3))
    np.testing.assert_allclose(layer(h).numpy(), np.abs(h @ layer.W.numpy()), rtol=1e-13)
