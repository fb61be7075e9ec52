"""Prob. 65.15: L1 regularisation, by alpha times the sum of absolute weights: its gradient (a), its listing (b)."""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

from tinygraph import losses, optim
from tinygraph.models import fully_connected

MU, ALPHA, SIZES, STEPS = 0.05, 0.03, [4, 5, 3, 2], 20


def sign(w):
    return math.copysign(1.0, w) if w else 0.0


def step(h, gamma, W, theta, mu, alpha, f):
    """The listing (65.87) with the update of part (b): W - mu alpha sign(W) - mu y delta^T."""
    L = len(W) + 1
    gamma_hat, z, y, z_l = listings.forward(h, W, theta, f)
    delta = {L: listings.boundary(gamma_hat, gamma, z, f[L], "least squares")}
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):
        W_m[l] = [
            [W[l][i][j] - mu * alpha * sign(W[l][i][j]) - mu * y[l][i] * delta[l + 1][j] for j in range(len(theta[l]))]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu * delta[l + 1][j] for j in range(len(theta[l]))]
        if l >= 2:
            delta[l] = listings.back(f[l], z_l[l], W[l], delta[l + 1])
    return W_m, theta_m


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps(way, rng):
    net = fully_connected(SIZES, "tanh", "linear", init_bias="normal", seed=7, dtype=np.float64)
    net.layer1.W.assign_(net.layer1.W.numpy() * (rng.random((4, 5)) > 0.3))  # some weights start at 0
    pairs = [(rng.normal(size=(1, 4)), rng.normal(size=(1, 2))) for _ in range(STEPS)]
    f = listings.activations(len(SIZES), "tanh", "linear")

    def listing(x, y, W, theta):
        return step(x[0], y[0], W, theta, MU, ALPHA, f)

    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, alpha=ALPHA)
    assert found <= TOLERANCE


def test_the_gradient_of_the_risk(rng):
    """Part (a): alpha sign(W) in place of 2 rho W."""
    net = fully_connected(SIZES, "tanh", "linear", init_bias="normal", seed=7, dtype=np.float64)
    H, gamma = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), "tanh", "linear")
    dW, dtheta = listings.gradients(H.tolist(), gamma.tolist(), W, theta, 0.0, f, "least squares")
    (losses.squared_error(net.predict(H), gamma) + losses.l1(net, ALPHA)).backward()
    for l in range(1, len(SIZES)):
        layer = getattr(net, f"layer{l}")
        expected = [[dW[l][i][j] + ALPHA * sign(w) for j, w in enumerate(row)] for i, row in enumerate(W[l])]
        np.testing.assert_allclose(layer.W.grad.numpy(), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(layer.theta.grad.numpy(), dtheta[l], rtol=1e-12, atol=1e-14)


def test_every_weight_counts_and_no_bias():
    net = fully_connected([3, 4, 2], init_bias="normal", seed=0, dtype=np.float64)
    weights = [w for layer in (net.layer1, net.layer2) for row in layer.W.numpy().tolist() for w in row]
    assert losses.l1(net, 0.2).item() == pytest.approx(0.2 * sum(abs(w) for w in weights))
    assert losses.elastic(net, 0.3, 0.2).item() == pytest.approx(sum(0.3 * w * w + 0.2 * abs(w) for w in weights))


def test_the_sign_of_0_is_0():
    net = fully_connected([2, 2], seed=0, dtype=np.float64)
    net.layer1.W.assign_(np.array([[1.5, 0.0], [-2.0, 0.5]]))
    losses.l1(net, 0.1).backward()
    np.testing.assert_allclose(net.layer1.W.grad.numpy(), [[0.1, 0], [-0.1, 0.1]])
