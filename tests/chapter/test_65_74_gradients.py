"""(65.71)-(65.81), (65.146): the gradients of the empirical risk, rho included, by the listing and by differences.

(65.71)-(65.73) dQ/dW_l = y_l delta_{l+1}^T, (65.74) dP/dW_l, (65.76)-(65.79) dQ/dtheta_l = -delta_{l+1}, (65.80)
dP/dtheta_l, (65.81) the listing; (65.146a), (65.146b) the same for the cross-entropy risk.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected

SIZES, RHO = [3, 3, 2, 3, 2], 0.03  # Figure 65.4
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}
CASES = [
    *((output, "least squares") for output in listings.ACTIVATIONS),
    ("softmax", "least squares"),
    ("softmax", "cross-entropy"),
]


def network(output):
    return fully_connected(SIZES, "tanh", output, init_bias="normal", seed=2, dtype=np.float64)


def samples(rng, N=5):
    return rng.normal(size=(N, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], N)]


def risk_of(net, X, Y, risk, rho):
    return LOSSES[risk](net(X) if risk == "cross-entropy" else net.predict(X), Y) + losses.l2(net, rho)


def by_layer(net, found):
    """What belongs to every W_l and every theta_l, as the listing returns it."""
    given = dict(zip(net.parameters(), found, strict=True))
    layers = [getattr(net, f"layer{l}") for l in range(1, len(SIZES))]
    return tuple(
        {l: given[p].numpy().tolist() for l, p in enumerate(ps, 1)}
        for ps in ([layer.W for layer in layers], [layer.theta for layer in layers])
    )


@pytest.mark.parametrize("rho", [0.0, RHO])
@pytest.mark.parametrize(("output", "risk"), CASES)
def test_the_gradients_of_the_risk(output, risk, rho, rng):
    net, (X, Y) = network(output), samples(rng)
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), "tanh", output)
    expected = listings.gradients(X.tolist(), Y.tolist(), W, theta, rho, f, risk)
    P = risk_of(net, X, Y, risk, rho)
    assert listings.largest_difference(by_layer(net, tg.grad(P, net.parameters())), expected) < 1e-14
    P.backward()
    assert listings.largest_difference(by_layer(net, [p.grad for p in net.parameters()]), expected) < 1e-14


@pytest.mark.host
@pytest.mark.parametrize(("output", "risk"), CASES)
def test_the_listing_is_the_gradient_of_the_risk(output, risk, rng):
    """Central differences of (65.47), (65.127), written in loops, at every entry of every parameter."""
    X, Y = (a.tolist() for a in samples(rng))
    W, theta = listings.parameters(network(output))
    f, step = listings.activations(len(SIZES), "tanh", output), 1e-6
    dW, dtheta = listings.gradients(X, Y, W, theta, RHO, f, risk)

    def difference(row, k):
        value, P = row[k], {}
        for sign in (1, -1):
            row[k] = value + sign * step
            P[sign] = listings.empirical_risk(X, Y, W, theta, RHO, f, risk)
        row[k] = value
        return (P[1] - P[-1]) / (2 * step)

    for l in W:
        for i in range(len(W[l])):
            for j in range(len(W[l][i])):
                assert dW[l][i][j] == pytest.approx(difference(W[l][i], j), abs=1e-8)
        for j in range(len(theta[l])):
            assert dtheta[l][j] == pytest.approx(difference(theta[l], j), abs=1e-8)


def test_one_sample_gives_an_outer_product(rng):
    """(65.72), (65.73): dQ/dW_2 = y_2 delta_3^T, a 3 x 2 matrix; (65.78), (65.79): dQ/dtheta_2 = -delta_3."""
    net, (X, Y) = network("tanh"), samples(rng, N=1)
    Q = losses.squared_error(net.predict(X), Y)
    y_2 = net.activations(X)["y2"].numpy()[0]
    delta_3 = tg.sensitivities(Q, net)["z3"].numpy()[0]
    dW_2, dtheta_2 = (g.numpy() for g in tg.grad(Q, [net.layer2.W, net.layer2.theta]))
    outer = [[delta_3[0] * y_2[i], delta_3[1] * y_2[i]] for i in range(3)]
    np.testing.assert_allclose(dW_2, outer, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(dtheta_2, [-delta_3[0], -delta_3[1]], rtol=1e-12, atol=1e-16)
