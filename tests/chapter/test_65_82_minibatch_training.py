"""(65.82), (65.84)-(65.87), (65.149), (65.150): the library walks the trajectories of the training listings.

(65.82) and (65.149) are the mini-batch listings of least squares and of cross-entropy, (65.87) and (65.150) those by
single samples, (65.84), (65.85) the boundary values of a softmax with least squares, (65.86) the decision afterwards.
"""

import random

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

MU, RHO, SIZES, N, STEPS = 0.05, 0.01, [4, 5, 3, 3], 30, 20
SOFTMAX = [("softmax", "least squares"), ("softmax", "cross-entropy")]
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}


def network(activation, output, seed=7):
    """A network with the initial condition of the listings: N(0, 1/n_l) for weights, N(0, 1) for biases."""
    return fully_connected(SIZES, activation, output, init="normal", init_bias="normal", seed=seed, dtype=np.float64)


def data(rng):
    """The N training pairs of a listing, with basis vectors as labels."""
    return rng.normal(size=(N, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], N)]


def random_pairs(rng, B):
    """B pairs drawn at random from all N, in each iteration anew, whatever was drawn before."""
    H, gamma = data(rng)
    draw = random.Random(65)
    chosen = [[draw.randrange(N) for _ in range(B)] for _ in range(STEPS)]
    return [(H[rows], gamma[rows]) for rows in chosen]


def largest_difference_by_mini_batches(way, activation, output, risk, rng):
    net, pairs = network(activation, output), random_pairs(rng, B=6)
    f = listings.activations(len(SIZES), activation, output)

    def listing(x, y, W, theta):
        return listings.minibatch_step(x, y, W, theta, MU, RHO, f, risk)

    optimizer = optim.SGD(net.parameters(), MU)
    return largest_difference_over_steps(way, net, LOSSES[risk], optimizer, pairs, listing, RHO)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(("output", "risk"), [("tanh", "least squares"), *SOFTMAX])
def test_twenty_steps_by_mini_batches(way, activation, output, risk, rng):
    """(65.82) least squares by mini-batches, (65.84) with a softmax, (65.149) with cross-entropy."""
    assert largest_difference_by_mini_batches(way, activation, output, risk, rng) <= TOLERANCE


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", listings.ACTIVATIONS)
def test_twenty_steps_with_every_output_activation(way, output, rng):
    """(65.82) by mini-batches, with any activation function of Table 65.1 at the output."""
    assert largest_difference_by_mini_batches(way, "tanh", output, "least squares", rng) <= TOLERANCE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("output", "risk"), [("tanh", "least squares"), *SOFTMAX])
def test_twenty_steps_by_single_samples(way, output, risk, rng):
    """(65.87) least squares by single samples, (65.85) with a softmax, (65.150) with cross-entropy."""
    net, pairs = network("tanh", output), random_pairs(rng, B=1)
    f = listings.activations(len(SIZES), "tanh", output)

    def listing(x, y, W, theta):
        return listings.stochastic_step(x[0], y[0], W, theta, MU, RHO, f, risk)

    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, LOSSES[risk], optimizer, pairs, listing, RHO)
    assert found <= TOLERANCE


def test_the_listings_without_regularisation(rng):
    net, pairs = network("tanh", "softmax"), random_pairs(rng, B=6)
    f = listings.activations(len(SIZES), "tanh", "softmax")

    def listing(x, y, W, theta):
        return listings.minibatch_step(x, y, W, theta, MU, 0, f, "cross-entropy")

    optimizer = optim.SGD(net.parameters(), MU)
    assert largest_difference_over_steps("fit", net, losses.cross_entropy, optimizer, pairs, listing) <= TOLERANCE


def test_fit_on_arrays_walks_the_listing_over_its_own_passes(rng):
    """As in Example 65.9, whose passes go through reshuffled data instead of drawing at random."""
    net, (H, gamma) = network("tanh", "softmax"), data(rng)
    f = listings.activations(len(SIZES), "tanh", "softmax")
    W, theta = listings.parameters(net)
    order = tg.data.Batches(H, gamma, 8, seed=3)
    for x, y in [pair for _ in range(5) for pair in order]:  # 5 passes of 4 batches
        W, theta = listings.minibatch_step(x.tolist(), y.tolist(), W, theta, MU, RHO, f, "cross-entropy")
    tg.fit(net, losses.cross_entropy, (H, gamma), optim.SGD(net.parameters(), MU), 5, 8, l2=RHO, seed=3)
    assert listings.largest_difference(listings.parameters(net), (W, theta)) <= TOLERANCE


def test_the_parameters_start_as_printed():
    """theta ~ N(0, 1) (65.88) and W ~ N(0, 1/n_l) (65.89), by mean and variance over many seeds."""
    nets = [network("tanh", "softmax", seed) for seed in range(300)]
    for l, n in enumerate(SIZES[:-1], 1):
        layers = [getattr(net, f"layer{l}") for net in nets]
        for drawn, variance in (([p.W for p in layers], 1 / n), ([p.theta for p in layers], 1.0)):
            entries = np.array([p.numpy() for p in drawn]).ravel()
            assert abs(entries.mean()) < 4 * (variance / entries.size) ** 0.5
            assert entries.var() == pytest.approx(variance, rel=4 * (2 / entries.size) ** 0.5)


def test_the_class_after_training_is_the_one_of_the_largest_output(rng):
    """(65.86) and (65.148): gamma-hat = softmax(z), r* the index of its largest entry."""
    net, pairs = network("tanh", "softmax"), random_pairs(rng, B=6)
    f = listings.activations(len(SIZES), "tanh", "softmax")
    tg.fit(net, losses.cross_entropy, pairs, optim.SGD(net.parameters(), 0.5), 5)
    W, theta = listings.parameters(net)
    H, _ = data(rng)
    decided = net.decide(H).numpy()
    r_star = []
    for h, gamma_star in zip(H.tolist(), decided.tolist(), strict=True):
        gamma_hat, _, _, _ = listings.forward(h, W, theta, f)
        r_star.append(gamma_hat.index(max(gamma_hat)))
        assert gamma_star == [1.0 if q == r_star[-1] else 0.0 for q in range(SIZES[-1])]
    assert len(set(r_star)) > 1
