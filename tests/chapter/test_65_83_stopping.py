"""(65.83): training until the risk of the parameters changes by at most epsilon, or for M_iter iterations.

With the listings (65.82) and (65.149) of mini-batches, whose risks (65.47) and (65.127) are looked at after each
iteration, as printed, or after each pass.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host
SIZES, N, B, MU, RHO, EPS = [3, 4, 2], 24, 6, 0.2, 0.01, 1e-4
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}
CASES = [("tanh", "least squares"), ("softmax", "cross-entropy")]


def network(output):
    return fully_connected(SIZES, "tanh", output, init_bias="normal", seed=7, dtype=np.float64)


def data(rng):
    H = rng.normal(size=(N, SIZES[0]))
    return H, np.eye(SIZES[-1])[(H[:, 0] + H[:, 1] > 0.3).astype(int)]


def listing(net, H, gamma, output, risk, looks_after, limit=None):
    """The mini-batch listing with (65.83): parameters at the end, and every risk that was looked at.

    The batches are those of `tg.data.batches`; a look is made after every `looks_after` iterations.
    """
    f = listings.activations(len(SIZES), "tanh", output)
    W, theta = listings.parameters(net)
    samples, targets = H.tolist(), gamma.tolist()
    P = [listings.empirical_risk(samples, targets, W, theta, RHO, f, risk)]
    batches = tg.data.batches(H, gamma, B, seed=3)
    m = 0
    while True:
        for x, y in batches:
            W, theta = listings.minibatch_step(x.tolist(), y.tolist(), W, theta, MU, RHO, f, risk)
            m += 1
            if m % looks_after == 0:
                P.append(listings.empirical_risk(samples, targets, W, theta, RHO, f, risk))
                if abs(P[-1] - P[-2]) <= EPS:
                    return W, theta, P, m
            if m == limit:
                return W, theta, P, m


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("every", ["iteration", "epoch"])
@pytest.mark.parametrize(("output", "risk"), CASES)
def test_training_ends_where_the_listing_ends(output, risk, every, compiled, rng):
    H, gamma = data(rng)
    net = network(output)
    W, theta, P, m = listing(net, H, gamma, output, risk, 1 if every == "iteration" else N // B)
    assert m > 100
    assert (np.diff(P) > EPS).any(), "a rise of the risk by more than epsilon is to be seen not to end training"
    options = {"l2": RHO, "stop_tolerance": EPS, "stop_every": every, "seed": 3, "compiled": compiled}
    optimizer = optim.SGD(net.parameters(), MU)
    history = tg.fit(net, LOSSES[risk], (H, gamma), optimizer, 10_000, B, **options)
    assert history.iterations == m
    assert listings.largest_difference(history.risks, P) <= TOLERANCE
    assert listings.largest_difference(listings.parameters(net), (W, theta)) <= TOLERANCE
    assert history.stop_reason.startswith("the risk changed by")


def test_iteration_is_the_default_as_printed(rng):
    H, gamma = data(rng)
    net = network("softmax")
    *_, P, m = listing(net, H, gamma, "softmax", "cross-entropy", 1)
    optimizer = optim.SGD(net.parameters(), MU)
    history = tg.fit(net, losses.cross_entropy, (H, gamma), optimizer, 10_000, B, l2=RHO, seed=3, stop_tolerance=EPS)
    assert (history.iterations, len(history.risks)) == (m, len(P))


def test_a_change_of_exactly_epsilon_ends(rng):
    """At most, not below: with a step-size of almost 0 the risk changes by exactly 0."""
    H, gamma = data(rng)
    net = network("softmax")
    optimizer = optim.SGD(net.parameters(), 1e-300)
    history = tg.fit(net, losses.cross_entropy, (H, gamma), optimizer, 5, B, stop_tolerance=0.0)
    assert history.iterations == 1


def test_at_most_m_iter_iterations(rng):
    """The other end of training: m <= M_iter, in the middle of a pass if need be."""
    H, gamma = data(rng)
    for limit in (1, 4, 10):
        net = network("softmax")
        W, theta, _, m = listing(net, H, gamma, "softmax", "cross-entropy", 10**9, limit)
        optimizer = optim.SGD(net.parameters(), MU)
        history = tg.fit(
            net, losses.cross_entropy, (H, gamma), optimizer, None, B, max_iterations=limit, l2=RHO, seed=3
        )
        assert (history.iterations, history.stop_reason) == (m, f"completed {limit} iteration{'s' * (limit > 1)}")
        assert len(history) == -(-limit // (N // B))
        assert listings.largest_difference(listings.parameters(net), (W, theta)) <= TOLERANCE
