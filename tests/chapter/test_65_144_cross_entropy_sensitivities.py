"""(65.140)-(65.148): the sensitivities of cross-entropy, derived step by step, and the class that is decided.

(65.140) definition of delta, (65.141) chain rule, (65.142) derivatives of ln(gamma-hat), (65.143)-(65.144)
delta_L = gamma-hat - gamma, (65.145) the recursion, (65.146a)-(65.146b) gradients, (65.147) delta_L of a sample of a
batch, (65.148) the class of the largest output.
"""

import math

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected

SIZES, RHO = [3, 4, 5, 3], 0.02
F = listings.activations(len(SIZES), "tanh", "softmax")


@pytest.fixture
def net(backend):
    return fully_connected(SIZES, "tanh", "softmax", init_bias="normal", seed=0, dtype=np.float64)


@pytest.fixture
def samples(rng):
    return rng.normal(size=(6, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], 6)]


def test_the_derivatives_of_the_logarithms(rng):
    """(65.142): d ln(gamma-hat(q)) / dz(j) is 1 - gamma-hat(j) for q = j and -gamma-hat(j) for q != j."""
    z = tg.tensor(rng.normal(size=4))
    gamma_hat = listings.softmax(z.numpy().tolist())
    expected = [[1 - gamma_hat[j] if q == j else -gamma_hat[j] for j in range(4)] for q in range(4)]
    for logarithms in (tg.log_softmax(z), tg.log(tg.softmax(z))):
        np.testing.assert_allclose(tg.jacobian(logarithms, z).numpy(), expected, rtol=1e-12)


def test_the_boundary_value_of_every_sample(net, samples):
    """(65.143), (65.144), (65.147): delta_L(j) = gamma-hat(j) sum of gamma - gamma(j) = gamma-hat(j) - gamma(j)."""
    H, gamma = samples
    delta = tg.sensitivities(losses.cross_entropy(net(H), gamma), net)["z4"].numpy()
    gamma_hat = net.predict(H).numpy()
    for b in range(6):
        for j in range(SIZES[-1]):
            by_sum = gamma_hat[b, j] * sum(gamma[b]) - gamma[b, j]
            assert delta[b, j] == pytest.approx(by_sum, rel=1e-12)
            assert delta[b, j] == pytest.approx(gamma_hat[b, j] - gamma[b, j], rel=1e-12)


def test_every_sensitivity_by_the_recursion_and_by_differences(net, samples):
    """(65.140), (65.141), (65.145): the library, the recursion and central differences of the loss (65.128) agree."""
    H, gamma = samples
    W, theta = listings.parameters(net)
    found = tg.sensitivities(losses.cross_entropy(net(H), gamma), net)
    for b in range(6):
        h, g = H[b].tolist(), gamma[b].tolist()
        _, _, _, z_l = listings.forward(h, W, theta, F)
        delta = listings.sensitivities(h, g, W, theta, F, "cross-entropy")
        ours = {l: found[f"z{l}"].numpy()[b].tolist() for l in delta}
        assert listings.largest_difference(ours, delta) < 1e-14

        def Q(l, j, step, z_l=z_l, g=g):
            z = [z_j + (step if k == j else 0.0) for k, z_j in enumerate(z_l[l])]
            y = listings.activate(F[l], z)
            for k in range(l, len(SIZES)):
                y = listings.activate(F[k + 1], listings.affine(W[k], y, theta[k]))
            return -sum(g[q] * math.log(y[q]) for q in range(len(g)))

        for l in delta:
            for j in range(len(delta[l])):
                assert delta[l][j] == pytest.approx((Q(l, j, 1e-6) - Q(l, j, -1e-6)) / 2e-6, abs=1e-8)


def test_the_gradients_by_the_sensitivities(net, samples):
    """(65.146a): dP/dW_l = 2 rho W_l + mean of y_l delta_{l+1}^T, (65.146b): dP/dtheta_l = -mean of delta_{l+1}."""
    H, gamma = samples
    P = losses.cross_entropy(net(H), gamma)
    delta, signals = tg.sensitivities(P, net), net.activations(H)
    (P + losses.l2(net, RHO)).backward()
    for l in (1, 2, 3):
        layer, y_l, delta_next = getattr(net, f"layer{l}"), signals[f"y{l}"].numpy(), delta[f"z{l + 1}"].numpy()
        outer = sum(np.outer(y_l[n], delta_next[n]) for n in range(6)) / 6
        np.testing.assert_allclose(layer.W.grad.numpy(), 2 * RHO * layer.W.numpy() + outer, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(layer.theta.grad.numpy(), -delta_next.mean(0), rtol=1e-11, atol=1e-15)


def test_the_class_is_that_of_the_largest_output(net, samples):
    """(65.148): r* = argmax of gamma-hat(q), as a basis vector."""
    H, _ = samples
    W, theta = listings.parameters(net)
    for h, gamma_star in zip(H.tolist(), net.decide(H).numpy().tolist(), strict=True):
        gamma_hat, _, _, _ = listings.forward(h, W, theta, F)
        assert gamma_star.index(1.0) == gamma_hat.index(max(gamma_hat))
        assert sum(gamma_star) == 1
