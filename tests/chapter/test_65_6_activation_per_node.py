"""Problem 65.6: every node has an activation of its own."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.models import fully_connected

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
