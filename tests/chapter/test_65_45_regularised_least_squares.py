"""(65.45)-(65.48): the regularised least-squares risk, with the weights' squares (65.46) and not the biases'."""

import numpy as np
import pytest
from chapter import listings

from tinygraph import losses
from tinygraph.models import fully_connected

SIZES, RHO = [3, 4, 3, 2], 0.02


@pytest.mark.parametrize("output", ["linear", "sigmoid", "tanh", "softmax"])
def test_the_risk_of_a_network_over_samples(output, rng):
    net = fully_connected(SIZES, "tanh", output, init_bias="normal", seed=0, dtype=np.float64)
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), "tanh", output)
    P = listings.empirical_risk(X.tolist(), Y.tolist(), W, theta, RHO, f, "least squares")
    ours = losses.squared_error(net.predict(X), Y) + losses.l2(net, RHO)
    assert ours.item() == pytest.approx(P, rel=1e-13)


def test_the_regulariser_is_the_squared_frobenius_norm_of_every_weight_matrix(rng):
    net = fully_connected(SIZES, init_bias="normal", seed=0, dtype=np.float64)
    W, _ = listings.parameters(net)
    squares = 0.0
    for l in range(1, len(SIZES)):
        for i in range(SIZES[l - 1]):
            for j in range(SIZES[l]):
                squares += abs(W[l][i][j]) ** 2
    assert losses.l2(net, RHO).item() == pytest.approx(RHO * squares, rel=1e-13)


def test_the_loss_of_one_sample(rng):
    """(65.48): |gamma - gamma-hat|^2 is what the mean over a batch of one is."""
    gamma, gamma_hat = rng.normal(size=3), rng.normal(size=3)
    Q = sum((gamma[q] - gamma_hat[q]) ** 2 for q in range(3))
    assert losses.squared_error(gamma_hat[None], gamma[None]).item() == pytest.approx(Q, rel=1e-13)
