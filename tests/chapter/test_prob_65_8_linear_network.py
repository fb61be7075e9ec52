"""Problem 65.8: how the listing (65.87) changes if all nodes are linear combiners.

The answer: y_l = z_l, delta_L = 2 (gamma-hat - gamma) and delta_l = W_l delta_{l+1}: no derivative remains.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.single_samples import largest_difference, random_samples, update
from chapter.ways import TOLERANCE, WAYS

from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

SIZES = [4, 5, 3, 2]


def listing(h, gamma, W, theta):
    """One iteration of the changed listing."""
    L = len(W) + 1
    y = {1: h}
    for l in range(1, L):
        y[l + 1] = listings.affine(W[l], y[l], theta[l])  # changed
    gamma_hat = y[L]
    delta = {L: [2 * (gamma_hat[q] - gamma[q]) for q in range(len(gamma))]}  # changed
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):
        W_m[l], theta_m[l] = update(W[l], theta[l], y[l], delta[l + 1])
        if l >= 2:
            delta[l] = [  # changed
                sum(W[l][i][j] * delta[l + 1][j] for j in range(len(delta[l + 1]))) for i in range(len(W[l]))
            ]
    return W_m, theta_m


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_the_changed_listing(way, rng):
    net = fully_connected(SIZES, "identity", "linear", init_bias="normal", seed=5, dtype=np.float64)
    assert largest_difference(way, net, random_samples(rng, SIZES[0], SIZES[-1]), listing) <= TOLERANCE
