"""Ex. 65.2: early stopping. The listing (65.94) with its pocket variables, on top of the listings of training by single
samples, (65.87) for least squares and (65.150) for cross-entropy."""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host
SIZES, N, N_V, MU, RHO, TIMES = [3, 5, 2], 32, 12, 0.05, 0.002, 15
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}
CASES = [
    ("tanh", "least squares", "error"),
    ("tanh", "least squares", "loss"),
    ("softmax", "cross-entropy", "error"),
    ("softmax", "cross-entropy", "loss"),
    ("linear", "least squares", "loss"),
]


def network(output):
    return fully_connected(SIZES, "tanh", output, init_bias="normal", seed=7, dtype=np.float64)


def split(output, rng):
    """The N samples, their labels noisy, as training pairs and validation pairs; +1 and -1 for a tanh."""
    H = rng.normal(size=(N, SIZES[0]))
    classes = (H[:, 0] + 0.8 * rng.normal(size=N) > 0).astype(int)
    gamma = np.eye(2)[classes]
    return tg.data.split(H, 2 * gamma - 1 if output == "tanh" else gamma, N_V, seed=5)


def network_error(measure, pairs, W, theta, f, output, risk):
    """R_v: the fraction of wrong decisions, (65.37) or (65.42), or the loss, without a regulariser."""
    if measure == "loss":
        return listings.empirical_risk(*pairs, W, theta, 0.0, f, risk)
    wrong = decided = 0
    for h, gamma in zip(*pairs, strict=True):
        gamma_hat = listings.forward(h, W, theta, f)[0]
        if output == "softmax":
            wrong += gamma_hat.index(max(gamma_hat)) != gamma.index(max(gamma))
            decided += 1
        else:
            wrong += sum((1 if y >= 0 else -1) != g for y, g in zip(gamma_hat, gamma, strict=True))
            decided += len(gamma)
    return wrong / decided


def early_stopping(start, passes, validation, measure, output, risk):
    """(65.94): the pocket variables at the end, the number of the round they come from, and every R_v.

    `passes` holds the pairs of the N_T iterations of each round.
    """
    f = listings.activations(len(SIZES), "tanh", output)
    W, theta = start
    W_p, theta_p, best = W, theta, 0  # pocket variables: the initial conditions
    R_p, seen = 1e300, []
    for k, samples in enumerate(passes, 1):  # for sufficient time
        for h, gamma in samples:  # N_T iterations of the stochastic-gradient algorithm
            W, theta = listings.stochastic_step(h, gamma, W, theta, MU, RHO, f, risk)
        R_v = network_error(measure, validation, W, theta, f, output, risk)
        seen.append(R_v)
        if R_v < R_p:
            R_p = R_v
            W_p, theta_p, best = W, theta, k
    return (W_p, theta_p), best, seen


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("output", "risk", "measure"), CASES)
def test_the_pocket_variables_of_the_listing(output, risk, measure, compiled, rng):
    training, validation = split(output, rng)
    net = network(output)
    drawn = tg.data.batches(*training, 1, seed=3)  # N_T random pairs a round
    passes = [[(h[0].tolist(), gamma[0].tolist()) for h, gamma in drawn] for _ in range(TIMES)]
    held_out = [part.tolist() for part in validation]
    pocket, best, seen = early_stopping(listings.parameters(net), passes, held_out, measure, output, risk)
    assert best < TIMES, "the last parameters are the best: nothing would show that they are not kept"
    history = tg.fit(
        net,
        LOSSES[risk],
        training,
        optim.SGD(net.parameters(), MU),
        TIMES,
        1,
        l2=RHO,
        validation=validation,
        early_stopping=True,
        early_stopping_on=measure,
        seed=3,
        compiled=compiled,
    )
    assert len(history) == TIMES, "the listing has no patience"
    assert history.best_epoch == best
    assert listings.largest_difference(history[f"validation_{measure}"], seen) <= TOLERANCE
    assert listings.largest_difference(listings.parameters(net), pocket) <= TOLERANCE


def test_the_pocket_starts_with_the_initial_conditions(rng):
    """They are returned if no round follows."""
    training, validation = split("softmax", rng)
    net = network("softmax")
    start = listings.parameters(net)
    optimizer = optim.SGD(net.parameters(), MU)
    history = tg.fit(net, losses.cross_entropy, training, optimizer, 0, validation=validation, early_stopping=True)
    assert history.best_epoch == 0
    assert listings.parameters(net) == start


def test_by_default_the_error_rate_is_compared_where_something_is_decided(rng):
    training, validation = split("softmax", rng)
    found = {}
    for measure in (None, "error", "loss"):
        net = network("softmax")
        options = {"validation": validation, "early_stopping": True, "early_stopping_on": measure}
        tg.fit(net, losses.cross_entropy, training, optim.SGD(net.parameters(), MU), TIMES, 1, **options)
        found[measure] = listings.parameters(net)
    assert found[None] == found["error"] != found["loss"]


@pytest.mark.parametrize("part", [N_V, N_V / N])
def test_the_split_into_n_t_and_n_v_samples_is_disjoint(part):
    rows = np.arange(N)
    (X_T, Y_T), (X_V, Y_V) = tg.data.split(rows, 10 * rows, part, seed=1)
    assert (len(X_T), len(X_V)) == (N - N_V, N_V)
    assert sorted([*X_T.tolist(), *X_V.tolist()]) == rows.tolist()
    assert (Y_T == 10 * X_T).all()
    assert (Y_V == 10 * X_V).all()
    again, other = tg.data.split(rows, rows, part, seed=1), tg.data.split(rows, rows, part, seed=2)
    assert (again[1][0] == X_V).all()
    assert (other[1][0] != X_V).any()
