"""Problem 65.6: how the listing (65.87) changes if every node i of every layer l has an activation f_{l,i} of its own.

The answer: y_l(i) = f_{l,i}(z_l(i)) on the way forward, and f'_{l,i}(z_l(i)) for f'(z_l(i)) on the way back and in the
boundary value; all else stays.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from chapter import listings
from chapter.single_samples import largest_difference, random_samples, update
from chapter.ways import TOLERANCE, WAYS

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

F = {  # f_{l,i}: the names of Table 65.1, in the output layer too
    2: ["tanh", "sigmoid", "relu", "softplus", "scaled_tanh"],
    3: ["elu", "leaky_relu", "linear", "tanh"],
    4: ["tanh", "linear", "sigmoid"],
}


def listing(h, gamma, W, theta):
    """One iteration of the changed listing."""
    L = len(W) + 1
    z, y, slope = {}, {1: h}, {}
    for l in range(1, L):
        z[l + 1] = listings.affine(W[l], y[l], theta[l])
        own = [listings.ACTIVATIONS[name] for name in F[l + 1]]
        y[l + 1] = [own[i][0](z[l + 1][i]) for i in range(len(own))]  # changed
        slope[l + 1] = [own[i][1](z[l + 1][i]) for i in range(len(own))]  # changed
    gamma_hat = y[L]
    delta = {L: [2 * (gamma_hat[q] - gamma[q]) * slope[L][q] for q in range(len(gamma))]}
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):
        W_m[l], theta_m[l] = update(W[l], theta[l], y[l], delta[l + 1])
        if l >= 2:
            delta[l] = [
                slope[l][i] * sum(W[l][i][j] * delta[l + 1][j] for j in range(len(delta[l + 1])))
                for i in range(len(z[l]))
            ]
    return W_m, theta_m


@pytest.mark.parametrize("way", WAYS)
def test_twenty_steps_of_the_changed_listing(way, rng):
    sizes = [4, *map(len, F.values())]
    names = [["identity" if name == "linear" else name for name in layer] for layer in F.values()]
    layers = [
        nn.Dense(n, m, activation, init_bias="normal", seed=l, dtype=np.float64)
        for l, ((n, m), activation) in enumerate(zip(pairwise(sizes), names, strict=True))
    ]
    net = nn.Sequential(*layers, output="linear")
    assert largest_difference(way, net, random_samples(rng, sizes[0], sizes[-1]), listing) <= TOLERANCE


NODES = ["tanh", "sigmoid", "tanh", "relu", "sigmoid"]
FUNCTIONS = {"tanh": math.tanh, "sigmoid": lambda z: 1 / (1 + math.exp(-z)), "relu": lambda z: max(0.0, z)}


def test_each_node_applies_its_own_function(rng):
    layer = nn.Dense(3, 5, activation=NODES, init_bias="normal", seed=0, dtype=np.float64)
    h, W, theta = rng.normal(size=(4, 3)), layer.W.numpy(), layer.theta.numpy()
    y = layer(h).numpy()
    for b in range(4):
        for j, name in enumerate(NODES):
            z = sum(h[b, i] * W[i, j] for i in range(3)) - theta[j]
            assert y[b, j] == pytest.approx(FUNCTIONS[name](z), rel=1e-13)


def test_gradients_pass_through_every_node(rng):
    net = fully_connected([3, 5, 2], [NODES], "linear", seed=1)
    assert tg.gradcheck(net, rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), losses.squared_error) < 1e-7


def test_a_learned_activation_of_one_node_is_learned(rng):
    class Slope(nn.Module):
        def __init__(self):
            self.a = tg.parameter(np.float64(0.25), role="scale")

        def forward(self, z):
            return tg.maximum(z, 0.0) + self.a * tg.minimum(z, 0.0)

    layer = nn.Dense(2, 3, activation=["tanh", Slope(), "tanh"], seed=0, dtype=np.float64)
    (slope,) = [t for t in layer.parameters() if t.role == "scale"]
    h = rng.normal(size=(6, 2))
    layer(h).sum().backward()
    z = h @ layer.W.numpy() - layer.theta.numpy()
    assert slope.grad.item() == pytest.approx(np.minimum(z[:, 1], 0).sum())


def test_the_number_of_activations_must_be_that_of_the_nodes():
    with pytest.raises(ArgumentError, match="Dense: expected one activation for each of the 3 nodes, got 2"):
        nn.Dense(2, 3, activation=["tanh", "relu"])
    with pytest.raises(ArgumentError, match="did you mean 'relu'"):
        nn.Dense(2, 2, activation=["tanh", "rleu"])
    with pytest.raises(ShapeError, match=r"PerNode: expected 2 nodes along the last axis, got shape \(1, 3\)"):
        nn.PerNode(["tanh", "relu"])(tg.tensor(np.zeros((1, 3))))
