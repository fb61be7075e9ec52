"""(65.88)-(65.93c): the distributions of initial biases and weights, and the variance that signals start with.

(65.88) biases N(0, 1); (65.89) weights N(0, 1/n_l); (65.90)-(65.92) the variance of z with that normalisation and
without; (65.93a)-(65.93c) uniform weights, the last two for tanh and for sigmoids. Beside them the field's: Xavier's
and He's Gaussians.
"""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import autoencoder, fully_connected, graph_neighborhood, multitask, siamese, transfer

pytestmark = pytest.mark.host

N_IN, N_OUT = 200, 300  # n_l and n_{l+1}


def gaussian(variance):
    """The distribution function of N(0, variance)."""
    return lambda w: (1 + math.erf(w / math.sqrt(2 * variance))) / 2


def uniform(bound):
    """The distribution function of the uniform distribution on [-bound, bound]."""
    return lambda w: min(1.0, max(0.0, (w + bound) / (2 * bound)))


DISTRIBUTIONS = {
    "standard_normal": gaussian(1),  # (65.88)
    "normal": gaussian(1 / N_IN),  # (65.89)
    "uniform": uniform(1 / math.sqrt(N_IN)),  # (65.93a)
    "xavier_uniform": uniform(math.sqrt(6) / math.sqrt(N_OUT + N_IN)),  # (65.93b), tanh
    "xavier_uniform_sigmoid": uniform(4 * math.sqrt(6) / math.sqrt(N_OUT + N_IN)),  # (65.93c), sigmoid
    "xavier_normal": gaussian(2 / (N_IN + N_OUT)),
    "he_normal": gaussian(2 / N_IN),
}


def largest_gap(draws, distribution):
    """Kolmogorov and Smirnov's distance between draws and a distribution, times the root of their number."""
    n, gap = len(draws), 0.0
    for k, w in enumerate(sorted(draws)):
        F = distribution(w)
        gap = max(gap, F - k / n, (k + 1) / n - F)
    return gap * math.sqrt(n)


CHANCE = 1.95  # a larger gap has a probability of 0.001


@pytest.mark.parametrize("init", DISTRIBUTIONS)
def test_weights_follow_the_distribution_of_their_initialisation(init):
    W = nn.Dense(N_IN, N_OUT, init=init, seed=1, dtype=np.float64).W.numpy().ravel().tolist()
    assert largest_gap(W, DISTRIBUTIONS[init]) < CHANCE
    assert [other for other in DISTRIBUTIONS if largest_gap(W, DISTRIBUTIONS[other]) < CHANCE] == [init]


@pytest.mark.parametrize("name", nn.INITIALIZERS)
def test_every_initialisation_is_held_against_its_distribution(name):
    assert name in DISTRIBUTIONS or name in ("zeros", "orthogonal")  # elements of the latter depend on each other


def test_biases_start_at_0_or_as_in_65_88():
    assert not nn.Dense(5, 400).theta.numpy().any()
    for name in ("normal", "standard_normal"):
        theta = nn.Dense(5, 4000, init_bias=name, seed=0, dtype=np.float64).theta.numpy().tolist()
        assert largest_gap(theta, gaussian(1)) < CHANCE


RING = [[(j - 1) % 500, j] for j in range(500)]
BUILDERS = {
    "fully_connected": lambda **o: fully_connected([4, 500, 500], **o),
    "autoencoder": lambda **o: autoencoder([500, 400, 500], **o),
    "tied autoencoder": lambda **o: autoencoder([500, 400, 500], tied=True, **o),
    "graph_neighborhood": lambda **o: graph_neighborhood([RING, RING], [500, 500, 500], **o),
    "multitask": lambda **o: multitask([500, 300], tasks=100, n_in=4, **o),
    "siamese, cosine": lambda **o: siamese([4, 500, 500], **o),
    "siamese, absolute difference": lambda **o: siamese([4, 500, 500], "absolute_difference", **o),
    "siamese, relation": lambda **o: siamese([4, 400, 4], "relation", relation_sizes=[400, 200], **o),
    "transfer": lambda **o: transfer(fully_connected([4, 3, 2], seed=0), [500, 500], **o).head,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_builder_draws_its_biases_from_n_0_1_on_request_65_88(name):
    def biases(**options):
        net = BUILDERS[name](seed=3, **options)
        return {path: t.numpy() for path, t in net.named_parameters() if t.role == "bias"}

    assert not any(theta.any() for theta in biases().values())
    drawn = biases(init_bias="normal")
    assert all(theta.all() for theta in drawn.values())
    assert len({theta[0] for theta in drawn.values()}) == len(drawn)  # no two layers alike
    assert largest_gap(np.concatenate(list(drawn.values())).tolist(), gaussian(1)) < CHANCE


@pytest.mark.parametrize(
    ("init", "printed"),
    [
        ("normal", lambda sigma_y: 1 + sigma_y**2),  # (65.91), with normalisation
        ("standard_normal", lambda sigma_y: 1 + N_IN * sigma_y**2),  # (65.92), without
    ],
)
@pytest.mark.parametrize("sigma_y", [0.7, 2.0])
def test_the_variance_of_z_over_weights_biases_and_signals(init, printed, sigma_y, rng):
    """(65.90) over 20,000 nodes, each with weights and a bias of its own, and independent signals of mean 0."""
    layer = nn.Dense(N_IN, 20_000, init=init, init_bias="normal", seed=0)
    z = layer(sigma_y * rng.normal(size=(30, N_IN))).numpy()
    assert z.var() == pytest.approx(printed(sigma_y), rel=0.04)


def test_signals_that_are_not_centred_add_their_mean_square(rng):
    """(65.91) takes the variance of y, which is its mean square only where the mean is 0; a sigmoid's output is not."""
    layer = nn.Dense(N_IN, 20_000, init="normal", init_bias="normal", seed=0)
    y = tg.sigmoid(rng.normal(size=(30, N_IN))).numpy()
    z = layer(y).numpy()
    assert z.var() == pytest.approx(1 + (y**2).mean(), rel=0.02)
    assert z.var() > 1.15 * (1 + y.var())


def test_in_neighbourhoods_the_mean_number_of_neighbours_takes_the_place_of_n_l():
    lists = [[j, (j + 1) % 9000, (j + 2) % 9000, (j + 3) % 9000] for j in range(9000)]
    w = nn.NeighborhoodDense(tg.Neighborhoods(lists, 9000), seed=0, dtype=np.float64).w.numpy().tolist()
    assert largest_gap(w, gaussian(1 / 4)) < CHANCE


def test_weights_depend_on_the_seed_and_not_on_the_order_of_building():
    first = fully_connected([3, 4, 2], seed=3)
    fully_connected([7, 7, 7], seed=3)
    nn.Dense(5, 5)
    again = fully_connected([3, 4, 2], seed=3)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
