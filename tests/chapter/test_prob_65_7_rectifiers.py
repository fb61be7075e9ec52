"""Problem 65.7: how the listing (65.87) changes if all nodes are rectifiers, those of the output layer too.

The answer: f' is 1 where z is positive and 0 elsewhere, by the convention of (65.11) at 0 too. So it multiplies
nothing: the sensitivity of a node with z <= 0 is 0, and it and its weights rest; the others pass theirs on whole.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.single_samples import largest_difference, random_samples, update
from chapter.ways import TOLERANCE, WAYS

from tinygraph import losses
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

SIZES = [4, 6, 5, 3]


def listing(h, gamma, W, theta):
    """One iteration of the changed listing."""
    L = len(W) + 1
    z, y = {}, {1: h}
    for l in range(1, L):
        z[l + 1] = listings.affine(W[l], y[l], theta[l])
        y[l + 1] = [max(0.0, v) for v in z[l + 1]]  # changed
    gamma_hat = y[L]
    delta = {L: [2 * (gamma_hat[q] - gamma[q]) if z[L][q] > 0 else 0.0 for q in range(len(gamma))]}  # changed
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):
        W_m[l], theta_m[l] = update(W[l], theta[l], y[l], delta[l + 1])
        if l >= 2:
            delta[l] = [  # changed
                sum(W[l][i][j] * delta[l + 1][j] for j in range(len(delta[l + 1]))) if z[l][i] > 0 else 0.0
                for i in range(len(z[l]))
            ]
    return W_m, theta_m


def network():
    return fully_connected(SIZES, "relu", "relu", init_bias="normal", seed=4, dtype=np.float64)


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_the_changed_listing(way, rng):
    assert largest_difference(way, network(), random_samples(rng, SIZES[0], SIZES[-1]), listing) <= TOLERANCE


def test_nodes_that_rest_learn_nothing(rng):
    """Nodes are at rest and awake in every layer of one sample: at rest no gradient reaches weights or bias."""
    net = network()
    h, gamma = random_samples(rng, SIZES[0], SIZES[-1])[0]
    signals = net.activations(h)
    losses.squared_error(net.predict(h), gamma).backward()
    for l, layer in enumerate([net.layer1, net.layer2, net.layer3], 1):
        rests = signals[f"z{l + 1}"].numpy()[0] <= 0
        assert rests.any()
        assert not rests.all()
        assert not layer.W.grad.numpy()[:, rests].any()
        assert not layer.theta.grad.numpy()[rests].any()
        assert layer.theta.grad.numpy()[~rests].all()
