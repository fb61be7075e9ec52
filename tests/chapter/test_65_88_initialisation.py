"""(65.88), (65.89), (65.93a)-(65.93c), He: the distributions of initial weights, and signals that keep their size."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import fully_connected

N_IN, N_OUT = 200, 300
VARIANCES = {
    "standard_normal": 1.0,
    "normal": 1 / N_IN,
    "uniform": (2 / math.sqrt(N_IN)) ** 2 / 12,
    "xavier_uniform": (2 * math.sqrt(6 / (N_IN + N_OUT))) ** 2 / 12,
    "xavier_normal": 2 / (N_IN + N_OUT),
    "he_normal": 2 / N_IN,
}


@pytest.mark.parametrize("init", VARIANCES)
def test_mean_and_variance(init):
    W = nn.Dense(N_IN, N_OUT, init=init, seed=1, dtype=np.float64).W.numpy()
    assert W.var() == pytest.approx(VARIANCES[init], rel=0.02)
    assert abs(W.mean()) < 5 * math.sqrt(VARIANCES[init] / W.size)


def test_biases_start_at_zero_or_as_in_65_88():
    assert not nn.Dense(5, 400).theta.numpy().any()
    theta = nn.Dense(5, 4000, init_bias="normal", seed=0).theta.numpy()
    assert theta.std() == pytest.approx(1, rel=0.05)


def test_signals_keep_their_variance_under_65_89_and_not_under_65_88(rng):
    x = rng.normal(size=(2000, N_IN))
    assert nn.Dense(N_IN, 50, init="normal", seed=0)(x).numpy().var() == pytest.approx(1, rel=0.1)
    assert nn.Dense(N_IN, 50, init="standard_normal", seed=0)(x).numpy().var() == pytest.approx(N_IN, rel=0.1)


def test_weights_depend_on_the_seed_and_not_on_the_order_of_building():
    first = fully_connected([3, 4, 2], seed=3)
    fully_connected([7, 7, 7], seed=3)
    tg.nn.Dense(5, 5)
    again = fully_connected([3, 4, 2], seed=3)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
