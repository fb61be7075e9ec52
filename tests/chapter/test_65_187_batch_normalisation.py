"""(65.175)-(65.176), (65.185)-(65.188): the listing of batch normalisation, and the library's training next to it.

(65.175)-(65.176) are the smoothed averages, (65.185) the forward relations, (65.186) the risk, (65.187) the listing,
(65.188) the boundary value of cross-entropy. The printed backward pass is not the gradient of the risk it is for, see
(65.198)-(65.232) in `test_65_198_batch_norm_gradients`; where it is, the library walks the print's trajectory, and
everywhere that of the listing with the whole gradient.
"""

import numpy as np
import pytest
from chapter import batch_norm_listing as bn
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, walk

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

MU, RHO, B, N, STEPS = 0.05, 0.01, 6, 40, 20
SIZES = {"one layer": [3, 2], "two layers": [3, 4, 2], "three layers": [3, 4, 3, 2]}  # of weights
CASES = [("tanh", "least squares"), ("softmax", "least squares"), ("softmax", "cross-entropy")]
KINDS = ("W", "theta", "a")
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}


def network(sizes, output, ddof=1, a=None):
    """The network of the listing, biases N(0, 1); every scale starts at `a`, or at random between 1/2 and 3/2."""
    net = fully_connected(sizes, "tanh", output, batch_norm="all", init_bias="normal", seed=7, dtype=np.float64)
    rng = np.random.default_rng(7)
    for _, module in net.named_modules():
        if isinstance(module, nn.BatchNorm):
            module.ddof = ddof
            module.a.assign_(rng.uniform(0.5, 1.5, module.a.shape) if a is None else np.full(module.a.shape, float(a)))
    return net


def random_pairs(sizes, rng, steps=STEPS):
    """For each step B pairs drawn at random, with repetition, of N with standardised features and basis vectors."""
    H = rng.normal(size=(N, sizes[0])) * 3 + 1
    H = tg.data.standardize(H)(H)
    gamma = np.eye(sizes[-1])[rng.integers(0, sizes[-1], N)]
    return [(H[rows], gamma[rows]) for rows in rng.integers(0, N, (steps, B))]


def states_by_the_library(way, net, risk, pairs, rho=RHO):
    """Every parameter and smoothed average before the first step and after each."""
    states = [bn.state_of(net)]
    optimizer = optim.SGD(net.parameters(), MU)
    walk(way, net, LOSSES[risk], optimizer, pairs, lambda: states.append(bn.state_of(net)), rho)
    return states


def states_by(rule, state, pairs, f, risk, rho=RHO, **options):
    states = [state]
    for x, y in pairs:
        states.append(rule(x.tolist(), y.tolist(), states[-1], MU, rho, f, risk, **options))
    return states


def largest_difference(ours, theirs):
    assert len(ours) == len(theirs)
    assert listings.largest_difference(ours[0], ours[-1]) > 1e-3, "nothing moved"
    return max(listings.largest_difference(*pair) for pair in zip(ours, theirs, strict=True))


# -- the network and its risk -----------------------------------------------------------------------------


def test_the_network_starts_as_the_listing_has_it_but_for_a():
    net = fully_connected([3, 4, 2], "tanh", "tanh", batch_norm="all", init_bias="normal", seed=0, dtype=np.float64)
    plain = fully_connected([3, 4, 2], "tanh", "tanh", init_bias="normal", seed=0, dtype=np.float64)
    state = bn.state_of(net)
    W, theta = listings.parameters(plain)
    assert state == bn.start(W, theta, a=1)  # W and theta random, z_s = 0 and S_s^2 = eps I


def test_inputs_are_standardised_as_signals_are_normalised_without_eps(rng):
    H = rng.normal(size=(N, 3)) * 3 + 1
    np.testing.assert_allclose(tg.data.standardize(H)(H), bn.standardise(H.tolist()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("output", "risk"), CASES)
def test_the_risk_65_186(sizes, output, risk, rng):
    net = network(sizes, output)
    ((x, y),) = random_pairs(sizes, rng, steps=1)
    f = listings.activations(len(sizes), "tanh", output)
    expected = bn.batch_risk(x.tolist(), y.tolist(), bn.state_of(net), RHO, f, risk)
    loss = LOSSES[risk]
    given = net(x) if losses.takes_logits(loss) else net.predict(x, train=True)
    assert (loss(given, y) + losses.l2(net, RHO)).item() == pytest.approx(expected, rel=1e-12)


# -- training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("output", "risk"), CASES)
def test_twenty_steps_of_parameters_and_averages_with_the_whole_gradient(way, sizes, output, risk, rng):
    net, pairs = network(sizes, output), random_pairs(sizes, rng)
    f = listings.activations(len(sizes), "tanh", output)
    theirs = states_by(bn.exact_step, bn.state_of(net), pairs, f, risk)
    assert largest_difference(states_by_the_library(way, net, risk, pairs), theirs) <= TOLERANCE


def test_twenty_steps_with_the_variance_of_the_appendix_65_212b(rng):
    sizes = SIZES["three layers"]
    net, pairs = network(sizes, "tanh", ddof=0), random_pairs(sizes, rng)
    f = listings.activations(len(sizes), "tanh", "tanh")
    theirs = states_by(bn.exact_step, bn.state_of(net), pairs, f, "least squares", ddof=0)
    assert largest_difference(states_by_the_library("loop", net, "least squares", pairs), theirs) <= TOLERANCE


@pytest.mark.parametrize("a", [0, 1])
@pytest.mark.parametrize(("output", "risk"), [("tanh", "least squares"), ("softmax", "cross-entropy")])
def test_one_layer_walks_the_printed_listing_where_both_variances_divide_by_the_same(a, output, risk, rng):
    """With one layer the printed backward pass is the gradient, if the forward pass divides by B as (65.221) does."""
    net, pairs = network(SIZES["one layer"], output, ddof=0, a=a), random_pairs(SIZES["one layer"], rng)
    f = listings.activations(2, "tanh", output)
    theirs = states_by(bn.step, bn.state_of(net), pairs, f, risk, ddof=0)
    assert largest_difference(states_by_the_library("loop", net, risk, pairs), theirs) <= TOLERANCE


def test_the_printed_listing_leads_elsewhere_in_deeper_networks(rng):
    sizes = SIZES["three layers"]
    net, pairs = network(sizes, "tanh"), random_pairs(sizes, rng)
    f = listings.activations(len(sizes), "tanh", "tanh")
    theirs = states_by(bn.step, bn.state_of(net), pairs, f, "least squares")
    assert largest_difference(states_by_the_library("loop", net, "least squares", pairs), theirs) > 1e-2


@pytest.mark.parametrize("rule", [bn.step, bn.exact_step], ids=["as printed", "whole gradient"])
def test_from_scales_of_0_a_network_with_a_hidden_layer_learns_the_bias_of_its_output_alone(rule, rng):
    sizes = SIZES["three layers"]
    net, pairs = network(sizes, "tanh", a=0), random_pairs(sizes, rng, steps=50)
    f = listings.activations(len(sizes), "tanh", "tanh")
    states = states_by(rule, bn.state_of(net), pairs, f, "least squares", rho=0)
    ours = states_by_the_library("loop", net, "least squares", pairs, rho=0)
    assert largest_difference(ours, states) <= TOLERANCE  # the whole gradient and the printed one are 0 alike
    for first, last in ((states[0], states[-1]), (ours[0], ours[-1])):
        moved = {
            kind: [listings.largest_difference(first[kind][l], last[kind][l]) for l in (1, 2, 3)] for kind in KINDS
        }
        assert max(moved["W"] + moved["a"] + moved["theta"][:2]) < 1e-9  # rounding
        assert moved["theta"][2] > 1e-2


def test_without_a_hidden_layer_scales_of_0_are_learned(rng):
    net = nn.Sequential(nn.Dense(3, 2, bias=False, seed=0), nn.BatchNorm(2, a=0.0), output="tanh")
    x, y = rng.normal(size=(8, 3)).astype(np.float32), np.ones((8, 2), np.float32)
    losses.squared_error(net.predict(x, train=True), y).backward()
    assert net[1].a.numpy().tolist() == [0, 0]
    assert (net[1].a.grad.numpy() != 0).all()


# -- smoothed averages, testing ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.95, 0.5])
def test_smoothed_averages_65_175(factor, rng):
    """(65.175a)-(65.175b) in plain loops from 0, so that S_s^2 of (65.176b) starts at eps I and contains eps."""
    norm = nn.BatchNorm(3, smoothing=factor, dtype=np.float64)
    mean, variance, S2_s = [0.0] * 3, [0.0] * 3, [bn.EPS] * 3
    for _ in range(STEPS):
        z = (rng.normal(size=(B, 3)) + 2).tolist()
        norm(np.array(z))
        z_bar, S2, _ = bn.normalise(z)
        mean, S2_s = bn.smooth(mean, z_bar, factor), bn.smooth(S2_s, S2, factor)
        variance = bn.smooth(variance, [s - bn.EPS for s in S2], factor)
    np.testing.assert_allclose(norm.mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(norm.variance.numpy(), variance, rtol=1e-9)
    np.testing.assert_allclose(norm.variance.numpy() + norm.eps, S2_s, rtol=1e-12)


@pytest.mark.parametrize(("output", "risk"), CASES)
def test_in_testing_mean_and_variance_are_the_smoothed_ones(output, risk, rng):
    sizes = SIZES["three layers"]
    net, pairs = network(sizes, output), random_pairs(sizes, rng)
    f = listings.activations(len(sizes), "tanh", output)
    states_by_the_library("fit", net, risk, pairs)
    state = bn.state_of(net)
    for count in (1, 5):  # one sample is enough
        H = rng.normal(size=(count, 3))
        expected = bn.outputs_in_testing(H.tolist(), state, f)
        assert listings.largest_difference(net.predict(H).numpy().tolist(), expected) <= TOLERANCE
    assert bn.state_of(net) == state  # testing changes nothing


def test_before_training_evaluation_divides_by_the_root_of_eps_alone(rng):
    norm = nn.BatchNorm(3, init_bias="normal", seed=0, dtype=np.float64).eval()
    z = rng.normal(size=(4, 3))
    np.testing.assert_allclose(norm(z).numpy(), 1000 * z - norm.theta.numpy(), rtol=1e-12)


def test_population_statistics_are_the_plain_averages_over_batches(rng):
    net = fully_connected([3, 4, 2], "tanh", batch_norm="all", dropout=0.5, seed=0, dtype=np.float64)
    batches = [rng.normal(size=(6, 3)) for _ in range(4)]
    net.norm2.mean.assign_(np.full(4, 9.0))  # forgotten
    nn.population_statistics(net, batches)
    z = [b @ net.layer1.W.numpy() for b in batches]
    np.testing.assert_allclose(net.norm2.mean.numpy(), np.mean([b.mean(0) for b in z], axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.norm2.variance.numpy(), np.mean([b.var(0, ddof=1) for b in z], axis=0))
    assert net.norm2.smoothing == 0.95
    assert net.training


@pytest.mark.parametrize("batch_norm", ["all", "hidden"])
def test_the_digits_are_learned_with_it(batch_norm):
    digits = tg.data.load("digits")
    net = fully_connected([64, 64, 10], batch_norm=batch_norm, seed=0)
    tg.fit(net, losses.cross_entropy, digits.train, optim.SGD(net.parameters(), 0.05, 0.9), 10, 31)
    assert tg.evaluate(net, losses.cross_entropy, digits.test)[1] < 0.05
