"""Problem 65.5: how the listing (65.87) changes if the nodes of the output layer are linear combiners.

The answer: gamma-hat is z_L, and delta_L = 2 (gamma-hat - gamma) has no factor f'(z); all else stays.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.single_samples import MU, RHO, largest_difference, random_samples, update
from chapter.ways import TOLERANCE, WAYS

from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

SIZES, F = [4, 5, 3, 2], "tanh"


def listing(h, gamma, W, theta):
    """One iteration of the changed listing."""
    L = len(W) + 1
    z, y = {}, {1: h}
    for l in range(1, L):
        z[l + 1] = listings.affine(W[l], y[l], theta[l])
        y[l + 1] = listings.activate(F, z[l + 1]) if l + 1 < L else z[l + 1]  # changed
    gamma_hat = y[L]
    delta = {L: [2 * (gamma_hat[q] - gamma[q]) for q in range(len(gamma))]}  # changed
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):
        W_m[l], theta_m[l] = update(W[l], theta[l], y[l], delta[l + 1])
        if l >= 2:
            delta[l] = listings.back(F, z[l], W[l], delta[l + 1])
    return W_m, theta_m


def network():
    return fully_connected(SIZES, F, "linear", init_bias="normal", seed=5, dtype=np.float64)


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_the_changed_listing(way, rng):
    assert largest_difference(way, network(), random_samples(rng, SIZES[0], SIZES[-1]), listing) <= TOLERANCE


def test_it_is_the_listing_with_a_derivative_of_one_at_the_output(rng):
    W, theta = listings.parameters(network())
    f = listings.activations(len(SIZES), F, "linear")
    for x, y in random_samples(rng, SIZES[0], SIZES[-1]):
        expected = listings.stochastic_step(x[0], y[0], W, theta, MU, RHO, f, "least squares")
        W, theta = listing(x[0], y[0], W, theta)
        assert listings.largest_difference([W, theta], list(expected)) <= 1e-15
