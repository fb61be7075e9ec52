"""Problem 65.11: the sensitivities delta_l of any loss Q of the output of a softmax network.

The answer: delta_L = J dQ/dgamma-hat with the Jacobian J of the softmax (65.69); the recursion backward (65.61) stays
as it is. With |gamma - gamma-hat|^2 that is 2 J (gamma-hat - gamma) (65.70), with the cross-entropy it is
gamma-hat - gamma (65.144).
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host
SIZES, F, MU, RHO, STEPS = [3, 5, 4, 3], "tanh", 0.05, 0.01, 20

# A loss of one's own: the batch mean of Q, and the derivative of Q by an entry of gamma-hat.
LOSSES = {
    "fourth powers": (
        lambda output, target: tg.mean(((output - target) ** 4.0).sum(-1)),
        lambda y, g: 4 * (y - g) ** 3,
    ),
    "square roots": (
        lambda output, target: tg.mean(tg.square(tg.sqrt(output) - tg.sqrt(target)).sum(-1)),
        lambda y, g: 1 - math.sqrt(g / y),
    ),
    "squares": (losses.squared_error, lambda y, g: 2 * (y - g)),
    "cross-entropy": (lambda output, target: -tg.mean((target * tg.log(output)).sum(-1)), lambda y, g: -g / y),
}


def network():
    return fully_connected(SIZES, F, "softmax", init_bias="normal", seed=3, dtype=np.float64)


def boundary(gamma_hat, gamma, dQ):
    """delta_L = J dQ/dgamma-hat."""
    J, Q = listings.jacobian(gamma_hat), range(len(gamma))
    return [sum(J[j][k] * dQ(gamma_hat[k], gamma[k]) for k in Q) for j in Q]


def random_samples(rng):
    """Feature vectors and labels that are positive and add up to one."""
    gamma = rng.random((STEPS, 1, SIZES[-1])) + 0.1
    return list(zip(rng.normal(size=(STEPS, 1, SIZES[0])), gamma / gamma.sum(-1, keepdims=True), strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_every_delta_of_the_recursion(name, rng):
    loss, dQ = LOSSES[name]
    net = network()
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), F, "softmax")
    h, gamma = random_samples(rng)[0]
    found = tg.sensitivities(loss(net.predict(h), gamma), net)
    gamma_hat, _, _, z = listings.forward(h[0], W, theta, f)
    expected = listings.backward(boundary(gamma_hat, gamma[0], dQ), f, z, W)
    for l in range(2, len(SIZES) + 1):
        assert listings.largest_difference(found[f"z{l}"].numpy()[0].tolist(), expected[l]) <= 1e-14


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
def test_twenty_steps_with_a_regulariser(name, way, rng):
    loss, dQ = LOSSES[name]

    def listing(x, y, W, theta):
        """(65.87) with the boundary value of the loss."""
        h, gamma, L = x[0], y[0], len(SIZES)
        f = listings.activations(L, F, "softmax")
        gamma_hat, _, y_l, z_l = listings.forward(h, W, theta, f)
        delta = listings.backward(boundary(gamma_hat, gamma, dQ), f, z_l, W)
        W_m, theta_m = {}, {}
        for l in range(1, L):
            n, m = len(W[l]), len(theta[l])
            W_m[l] = [
                [(1 - 2 * MU * RHO) * W[l][i][j] - MU * y_l[l][i] * delta[l + 1][j] for j in range(m)] for i in range(n)
            ]
            theta_m[l] = [theta[l][j] + MU * delta[l + 1][j] for j in range(m)]
        return W_m, theta_m

    def of_the_network(net, x, y):
        """The form in which `fit` is given a loss of one's own."""
        return loss(net.predict(x, train=True), y)

    net = network()
    optimizer = optim.SGD(net.parameters(), MU)
    given = of_the_network if way == "fit" and losses.takes_logits(loss) is None else loss
    found = largest_difference_over_steps(way, net, given, optimizer, random_samples(rng), listing, RHO)
    assert found <= TOLERANCE
