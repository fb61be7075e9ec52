"""(65.198)-(65.232): the appendix on batch normalisation, each formula checked for what it is exact for.

(65.198)-(65.199) are the risk and the gradients wanted, (65.200)-(65.201) the sensitivities at v, (65.202)-(65.204)
are the gradient of theta, (65.205)-(65.208) that of a, (65.209)-(65.210) and (65.222) that of W, (65.211)-(65.212) the
signals, (65.213) and (65.217)-(65.221) derivatives of z', (65.214)-(65.216) those in between, (65.223)-(65.226) the
boundary value, (65.188) that of cross-entropy, (65.227)-(65.232) the sensitivities backward.

A sample's signal enters mean and variance of its batch, so it moves every sample's output. The sensitivity of (65.200)
is the derivative of a sample's own Q; B times the gradient of the batch's mean Q is the sum over all samples' Q. The
two agree at the output only, and the formulas that need a sensitivity hold with the second.
"""

import numpy as np
import pytest
from chapter import batch_norm_listing as bn
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

SIZES, B, SEED = [3, 4, 3, 2], 6, 65
L = len(SIZES)
EXACT = 1e-7  # of central differences
RISKS = {"least squares": ("tanh", losses.squared_error), "cross-entropy": ("softmax", losses.cross_entropy)}
KINDS = ("W", "theta", "a")

largest = listings.largest_difference


def example(risk="least squares"):
    return bn.example(SIZES, B, SEED, RISKS[risk][0])


def differences_of_the_risk(samples, targets, state, f, risk, ddof):
    """Central differences of the batch's risk without rho, for every entry of W, theta and a."""

    def risk_of(parameters):
        return bn.batch_risk(samples, targets, state | parameters, 0.0, f, risk, ddof=ddof)

    return bn.differences(risk_of, {kind: state[kind] for kind in KINDS})


def differences_of_losses(l, samples, targets, state, f, risk, ddof):
    """``[q][b][j]``: the derivative of sample q's Q with respect to v_{l,b}(j)."""
    v = bn.forward_processing(samples, state, f, ddof=ddof).v[l]

    def loss_of(q):
        return lambda v: listings.loss(bn.outputs_from(l, v, state, f, ddof=ddof)[q], targets[q], risk)

    return [bn.differences(loss_of(q), v) for q in range(B)]


def own(derivatives):
    """(65.200): each sample's Q with respect to its own signal."""
    return [derivatives[b][b] for b in range(B)]


def summed(derivatives):
    """All samples' Q with respect to each sample's signal."""
    return [[sum(derivatives[q][b][j] for q in range(B)) for j in range(len(derivatives[0][b]))] for b in range(B)]


# -- derivatives of the normalised signals ----------------------------------------------------------------


@pytest.mark.parametrize(("ddof", "holds"), [(0, True), (1, False)])
def test_the_scalars_c_of_65_221_are_the_derivatives_of_z_prime_where_the_variance_divides_by_B(ddof, holds):
    state, samples, _, f = example()
    s = bn.forward_processing(samples, state, f, ddof=ddof)
    worst = worst_of_product_rule = 0.0
    for l in range(1, L):
        for b in range(B):
            for j in range(SIZES[l]):
                numeric = bn.differences(lambda z, b=b, j=j: bn.normalise(z, ddof=ddof)[2][b][j], s.z[l + 1])
                for p in range(B):
                    worst = max(worst, abs(bn.c_as_printed(s, l, b, p, j) - numeric[p][j]))
                    product_rule = bn.c_with(ddof)(s, l, b, p, j)
                    worst_of_product_rule = max(worst_of_product_rule, abs(product_rule - numeric[p][j]))
                    other_nodes = [numeric[p][k] for k in range(SIZES[l]) if k != j]
                    assert max(map(abs, other_nodes)) < EXACT  # nodes do not meet
    assert worst_of_product_rule < EXACT
    assert (worst < EXACT) == holds
    assert holds or worst > 0.01


@pytest.mark.parametrize(("ddof", "holds"), [(0, True), (1, False)])
def test_the_root_of_the_variance_65_213(ddof, holds):
    state, samples, _, f = example()
    s = bn.forward_processing(samples, state, f, ddof=ddof)
    for l in range(1, L):
        for j in range(SIZES[l]):
            numeric = bn.differences(lambda z, j=j: bn.normalise(z, ddof=ddof)[1][j] ** -0.5, s.z[l + 1])
            printed = [-1 / B * s.S2[l + 1][j] ** -1.5 * (s.z[l + 1][p][j] - s.z_bar[l + 1][j]) for p in range(B)]
            assert (max(abs(printed[p] - numeric[p][j]) for p in range(B)) < EXACT) == holds


def test_the_centred_signals_65_218():
    z = [[1.0], [4.0], [-2.0]]
    for b in range(3):
        numeric = bn.differences(lambda z, b=b: z[b][0] - bn.normalise(z)[0][0], z)
        expected = [[1 - 1 / 3 if p == b else -1 / 3] for p in range(3)]
        assert largest(numeric, expected) < EXACT


# -- gradients of theta, a and W --------------------------------------------------------------------------


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("ddof", [1, 0])
def test_theta_a_and_W_with_all_samples_losses(ddof, risk):
    """(65.204), (65.207), (65.222) in every layer, if delta is B times the gradient of the batch's mean."""
    state, samples, targets, f = example(risk)
    s = bn.forward_processing(samples, state, f, ddof=ddof)
    numeric = differences_of_the_risk(samples, targets, state, f, risk, ddof)
    c = bn.c_with(ddof)
    for l in range(1, L):
        delta = summed(differences_of_losses(l + 1, samples, targets, state, f, risk, ddof))
        nodes = range(SIZES[l])
        d_theta = [-sum(delta[b][j] for b in range(B)) / B for j in nodes]
        d_a = [sum(delta[b][j] * s.z_prime[l + 1][b][j] for b in range(B)) / B for j in nodes]
        d_W = [
            [
                sum(
                    delta[b][j] * state["a"][l][j] * sum(c(s, l, b, p, j) * s.y[l][p][i] for p in range(B))
                    for b in range(B)
                )
                / B
                for j in nodes
            ]
            for i in range(SIZES[l - 1])
        ]
        for kind, found in (("theta", d_theta), ("a", d_a), ("W", d_W)):
            assert largest(found, numeric[kind][l]) < EXACT


@pytest.mark.parametrize("ddof", [1, 0])
def test_with_the_samples_own_losses_theta_and_a_hold_at_the_last_layer_only(ddof):
    """(65.203), (65.206) as they are printed, with (65.200)."""
    state, samples, targets, f = example()
    s = bn.forward_processing(samples, state, f, ddof=ddof)
    numeric = differences_of_the_risk(samples, targets, state, f, "least squares", ddof)
    for l in range(1, L):
        delta = own(differences_of_losses(l + 1, samples, targets, state, f, "least squares", ddof))
        d_theta = [-sum(delta[b][j] for b in range(B)) / B for j in range(SIZES[l])]
        d_a = [sum(delta[b][j] * s.z_prime[l + 1][b][j] for b in range(B)) / B for j in range(SIZES[l])]
        for kind, found in (("theta", d_theta), ("a", d_a)):
            off = largest(found, numeric[kind][l])
            assert off < EXACT if l == L - 1 else off > 0.05


# -- sensitivities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("risk", RISKS)
def test_the_boundary_value_65_226_and_of_cross_entropy_65_188(risk):
    state, samples, targets, f = example(risk)
    s = bn.forward_processing(samples, state, f)
    derivatives = differences_of_losses(L, samples, targets, state, f, risk, 1)
    if risk == "least squares":
        f_prime = [listings.slope("tanh", v_b) for v_b in s.v[L]]
        delta = [[2 * (s.y[L][b][j] - targets[b][j]) * f_prime[b][j] for j in range(SIZES[-1])] for b in range(B)]
    else:
        delta = [[s.y[L][b][j] - targets[b][j] for j in range(SIZES[-1])] for b in range(B)]
    assert largest(delta, own(derivatives)) < EXACT
    assert largest(delta, summed(derivatives)) < EXACT  # at the output samples do not meet any more


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("ddof", [1, 0])
def test_the_recursion_65_232_is_the_samples_own_at_the_last_hidden_layer_and_nothing_before_it(ddof, risk):
    """(65.230)-(65.232), with c of the variance in use: further back even a sample's own Q has other paths."""
    state, samples, targets, f = example(risk)
    s = bn.forward_processing(samples, state, f, ddof=ddof)
    printed = complete = own(differences_of_losses(L, samples, targets, state, f, risk, ddof))
    for l in range(L - 1, 1, -1):
        derivatives = differences_of_losses(l, samples, targets, state, f, risk, ddof)
        printed = bn.delta_as_printed(s, l, printed, state, f, bn.c_with(ddof))
        complete = bn.delta_complete(s, l, complete, state, f, bn.c_with(ddof))
        assert largest(complete, summed(derivatives)) < EXACT
        assert (largest(printed, own(derivatives)) < EXACT) == (l == L - 1)
        assert largest(printed, summed(derivatives)) > 0.02


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("ddof", [1, 0])
def test_the_librarys_sensitivities_are_of_all_losses_and_the_own_ones_of_65_200(ddof, risk):
    state, samples, targets, f = example(risk)
    output, loss = RISKS[risk]
    net = fully_connected(SIZES, "tanh", output, batch_norm="all", dtype=np.float64)
    for l in range(1, L):
        norm = getattr(net, f"norm{l + 1}")
        norm.ddof = ddof
        getattr(net, f"layer{l}").W.assign_(np.array(state["W"][l]))
        norm.a.assign_(np.array(state["a"][l]))
        norm.theta.assign_(np.array(state["theta"][l]))
    given = net(np.array(samples)) if losses.takes_logits(loss) else net.predict(np.array(samples), train=True)
    of_all = tg.sensitivities(loss(given, np.array(targets)), net)
    of_own = tg.own_sensitivities([loss(given[b : b + 1], np.array(targets[b : b + 1])) for b in range(B)], net)
    assert list(of_all) == list(of_own) == ["z2", "z3", "z4"]
    for l in range(2, L + 1):
        derivatives = differences_of_losses(l, samples, targets, state, f, risk, ddof)
        assert largest(of_all[f"z{l}"].numpy().tolist(), summed(derivatives)) < EXACT
        assert largest(of_own[f"z{l}"].numpy().tolist(), own(derivatives)) < EXACT
        assert (largest(own(derivatives), summed(derivatives)) > 0.02) == (l < L)


# -- the printed backward pass as a whole -----------------------------------------------------------------


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("ddof", [1, 0])
def test_the_printed_backward_pass_is_the_gradient_at_the_output_only(ddof, risk):
    """With 1/(B - 1), as (65.187) has it, not even of the last layer's weights; with 1/B of all of the last layer."""
    state, samples, targets, f = example(risk)
    numeric = differences_of_the_risk(samples, targets, state, f, risk, ddof)
    printed = bn.gradients(bn.step, samples, targets, state, f, risk, ddof=ddof)
    exact = bn.gradients(bn.exact_step, samples, targets, state, f, risk, ddof=ddof)
    assert largest(exact, numeric) < EXACT
    for kind in KINDS:
        for l in range(1, L):
            off = largest(printed[kind][l], numeric[kind][l])
            holds = l == L - 1 and (kind != "W" or ddof == 0)
            assert off < EXACT if holds else off > 0.005
