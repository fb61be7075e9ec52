"""Example 65.3, (65.95)-(65.98): Adam, one sample a step, with forgetting factors of their own for the biases.

(65.95) the gradient G = 2 rho W + y delta^T, (65.96a)-(65.96b) smoothed gradients, (65.97a)-(65.97b) variances,
(65.98a)-(65.98b) the updates, with eps added to the root before the bias is corrected.
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

SIZES, MU, RHO, STEPS = [3, 4, 3, 2], 0.02, 0.05, 20
BETA_W, BETA_THETA, EPS = (0.9, 0.99), (0.5, 0.8), 1e-3  # eps large, so that its place shows
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}


class Adam:
    """Example 65.3 in loops; `iteration` makes the step m = 0, 1, 2, ... of (65.87) or (65.150) with Adam's updates."""

    def __init__(self, W, theta, f, risk):
        self.f, self.risk, self.m = f, risk, -1
        self.W_bar, self.S = ({l: [[0.0] * len(row) for row in W[l]] for l in W} for _ in range(2))
        self.theta_bar, self.s = ({l: [0.0] * len(theta[l]) for l in theta} for _ in range(2))

    def iteration(self, h, gamma, W, theta):
        self.m += 1
        m, L = self.m, len(W) + 1
        gamma_hat, z, y, z_l = listings.forward(h, W, theta, self.f)
        delta_L = listings.boundary(gamma_hat, gamma, z, self.f[L], self.risk)
        delta = listings.backward(delta_L, self.f, z_l, W)
        (b_w1, b_w2), (b_t1, b_t2) = BETA_W, BETA_THETA
        W_m, theta_m = {}, {}
        for l in range(1, L):
            n_l, n_next = len(W[l]), len(theta[l])
            G = [[2 * RHO * W[l][i][j] + y[l][i] * delta[l + 1][j] for j in range(n_next)] for i in range(n_l)]
            for j in range(n_next):
                for i in range(n_l):
                    self.W_bar[l][i][j] = b_w1 * self.W_bar[l][i][j] + (1 - b_w1) * G[i][j]
                    self.S[l][i][j] = b_w2 * self.S[l][i][j] + (1 - b_w2) * (G[i][j] * G[i][j])
                self.theta_bar[l][j] = b_t1 * self.theta_bar[l][j] - (1 - b_t1) * delta[l + 1][j]
                self.s[l][j] = b_t2 * self.s[l][j] + (1 - b_t2) * (delta[l + 1][j] * delta[l + 1][j])
            w_factor = math.sqrt(1 - b_w2 ** (m + 1)) / (1 - b_w1 ** (m + 1))
            theta_factor = math.sqrt(1 - b_t2 ** (m + 1)) / (1 - b_t1 ** (m + 1))
            W_m[l] = [
                [
                    W[l][i][j] - MU * w_factor * (self.W_bar[l][i][j] / (EPS + math.sqrt(self.S[l][i][j])))
                    for j in range(n_next)
                ]
                for i in range(n_l)
            ]
            theta_m[l] = [
                theta[l][j] - MU * theta_factor * (self.theta_bar[l][j] / (EPS + math.sqrt(self.s[l][j])))
                for j in range(n_next)
            ]
        return W_m, theta_m


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("output", "risk"), [("tanh", "least squares"), ("softmax", "least squares"), ("softmax", "cross-entropy")]
)
def test_twenty_steps_of_the_listing(way, output, risk, rng):
    net = fully_connected(SIZES, "tanh", output, init_bias="normal", seed=0, dtype=np.float64)
    X, labels = rng.normal(size=(STEPS, 1, SIZES[0])), rng.integers(0, SIZES[-1], (STEPS, 1))
    pairs = list(zip(X, np.eye(SIZES[-1])[labels], strict=True))
    adam = Adam(*listings.parameters(net), listings.activations(len(SIZES), "tanh", output), risk)

    def listing(x, y, W, theta):
        return adam.iteration(x[0], y[0], W, theta)

    optimizer = optim.Adam(net.parameters(), MU, betas=BETA_W, bias_betas=BETA_THETA, eps=EPS)
    assert largest_difference_over_steps(way, net, LOSSES[risk], optimizer, pairs, listing, RHO) <= TOLERANCE


def test_the_typical_factors_are_the_default():
    """Said after (65.96) and (65.97): 0.9 and 0.999, for weights and for biases."""
    optimizer = optim.Adam([tg.parameter(np.zeros(2))], 0.1)
    assert optimizer.betas == optimizer.bias_betas == (0.9, 0.999)


def test_one_step_equals_pytorchs_with_eps_scaled(rng):
    torch = pytest.importorskip("torch")
    x, g = rng.normal(size=5), rng.normal(size=5)
    p, q = tg.parameter(x), torch.tensor(x, requires_grad=True)
    p.grad, q.grad = tg.tensor(g), torch.tensor(g)
    torch.optim.Adam([q], 0.1, eps=1e-2).step()
    optim.Adam([p], 0.1, eps=1e-2 * math.sqrt(1 - 0.999)).step()
    np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12)
