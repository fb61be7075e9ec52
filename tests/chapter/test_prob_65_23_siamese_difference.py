"""Problem 65.23: one sigmoid node fed by r, the absolute differences of two sigmoid embeddings; cross-entropy.

The risk is rho |w_r|^2 + sum rho |W_l|^2 - 1/N sum (gamma ln gamma-hat + (1 - gamma) ln(1 - gamma-hat)), with labels
1 and 0. The node's own sensitivity is delta = gamma-hat - gamma; from r it goes to u with the sign of u - v, and to v
with the opposite one.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import AbsoluteDifference, siamese

SIZES = [4, 5, 3]
L = 3
STEPS, MU, RHO = 20, 0.2, 0.01
F = listings.activations(L, "tanh", "sigmoid")


def score(h_1, h_2, W, theta):
    """gamma-hat, r, and y_l and z_l of both branches; W[L] is w_r, a column, and theta[L] has theta_r."""
    branch = {l: W[l] for l in range(1, L)}
    u, _, y_1, z_1 = listings.forward(h_1, branch, theta, F)
    v, _, y_2, z_2 = listings.forward(h_2, branch, theta, F)
    r = [abs(u[q] - v[q]) for q in range(len(u))]
    gamma_hat = listings.sigmoid(sum(W[L][q][0] * r[q] for q in range(len(r))) - theta[L][0])
    return gamma_hat, r, ((u, v, y_1, z_1), (v, u, y_2, z_2))


def step(pairs, labels, W, theta, mu, rho):
    """One step by a mini-batch of B pairs, with W and theta before it."""
    B, Q = len(pairs), len(W[L])
    branches, nodes = [], []  # y_l and delta_l of both branches, and r and delta of the node, for every pair
    for (h_1, h_2), gamma in zip(pairs, labels, strict=True):
        gamma_hat, r, both = score(h_1, h_2, W, theta)
        delta = gamma_hat - gamma
        nodes.append((r, delta))
        for own, other, y, z in both:
            slope = listings.slope(F[L], z[L])
            delta_L = [
                slope[q] * delta * W[L][q][0] * (1 if own[q] > other[q] else -1 if own[q] < other[q] else 0)
                for q in range(Q)
            ]
            branches.append((y, listings.backward(delta_L, F, z, {l: W[l] for l in range(1, L)})))
    W_m = {L: [[(1 - 2 * mu * rho) * W[L][q][0] - mu / B * sum(d * r[q] for r, d in nodes)] for q in range(Q)]}
    theta_m = {L: [theta[L][0] + mu / B * sum(d for _, d in nodes)]}
    for l in range(1, L):
        W_m[l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j] - mu / B * sum(delta[l + 1][j] * y[l][i] for y, delta in branches)
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [
            theta[l][j] + mu / B * sum(delta[l + 1][j] for _, delta in branches) for j in range(len(theta[l]))
        ]
    return W_m, theta_m


def network():
    return siamese(SIZES, "absolute_difference", activation="tanh", init_bias="normal", seed=0, dtype=np.float64)


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("B", "rho"), [(1, 0.0), (1, RHO), (6, RHO)])
def test_twenty_steps(way, B, rho, rng):
    net, h = network(), rng.normal(size=(STEPS, B, 2, 4))
    pairs = list(zip(h, rng.choice([0.0, 1.0], size=(STEPS, B)), strict=True))

    def listing(x, y, W, theta):
        return step(x, y, W, theta, MU, rho)

    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.binary_cross_entropy, optimizer, pairs, listing, rho)
    assert found <= TOLERANCE


def test_the_prediction_is_the_sigmoid_of_the_node_and_at_least_one_half_decides_for_1(rng):
    net, h = network(), rng.normal(size=(30, 2, 4))
    net.head.node.theta.assign_(np.array([np.median(net(h).numpy()) + net.head.node.theta.numpy()[0]]))
    W, theta = listings.parameters(net)
    expected = [score(*pair, W, theta)[0] for pair in h]
    np.testing.assert_allclose(net.predict(h).numpy(), expected, rtol=1e-10)
    np.testing.assert_array_equal(net.decide(h).numpy(), [1.0 if value >= 0.5 else 0.0 for value in expected])
    assert {0.0, 1.0} == set(net.decide(h).numpy())


def test_the_embedding_is_of_sigmoids_unless_another_is_asked_for():
    net = network()
    assert isinstance(net.head, AbsoluteDifference)
    assert net.branch[1].activation is tg.sigmoid
    assert siamese(SIZES, "absolute_difference", embedding="tanh").branch[1].activation is tg.tanh
