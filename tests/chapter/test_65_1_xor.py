"""Problem 65.1: a network with one hidden layer that computes XOR; Problem 65.3: sign flips change no output.

The weights are worked out here: with inputs and labels of +-1, one hidden node computes OR, the other AND, and
the output node computes "OR and not AND".
"""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.models import fully_connected

CORNERS = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]


def xor_network(activation):
    net = fully_connected([2, 2, 1], activation, "tanh", dtype=np.float64)
    net.layer1.W.assign_(np.array([[1.0, 1.0], [1.0, 1.0]]))
    net.layer1.theta.assign_(np.array([-1.0, 1.0]))  # z = h1 + h2 + 1 is positive for OR, h1 + h2 - 1 for AND
    net.layer2.W.assign_(np.array([[1.0], [-1.0]]))
    net.layer2.theta.assign_(np.array([1.0]))
    return net


def test_no_plane_separates_xor_but_the_network_decides_every_corner():
    net = xor_network(tg.sign)
    for a, b in CORNERS:
        decided = net.decide(np.array([[a, b]])).item()
        assert decided == (1.0 if a != b else -1.0)
    net.layer2.theta.assign_(np.array([-1.0]))  # "OR or not AND" is true everywhere: the bias matters
    assert net.decide(np.array(CORNERS)).numpy().ravel().tolist() == [1, 1, 1, 1]


def test_a_sigmoid_network_computes_xor_too():
    net = fully_connected([2, 2, 1], "sigmoid", "sigmoid", dtype=np.float64)
    net.layer1.W.assign_(np.full((2, 2), 20.0))
    net.layer1.theta.assign_(np.array([10.0, 30.0]))  # inputs 0 and 1: OR and AND
    net.layer2.W.assign_(np.array([[20.0], [-20.0]]))
    net.layer2.theta.assign_(np.array([10.0]))
    decided = net.decide(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    assert decided.numpy().ravel().tolist() == [0, 1, 1, 0]


def flipped(net, parts):
    """Change the sign of the parameters called `parts`; return the network."""
    for name, t in net.named_parameters():
        if name in parts:
            t.assign_(-t.numpy())
    return net


def deep():
    return fully_connected([3, 4, 5, 2], "tanh", "linear", init_bias="normal", seed=3, dtype=np.float64)


@pytest.mark.parametrize("l", [2, 3])
def test_flipping_a_layer_of_odd_activations_leaves_the_output_unchanged_65_3(l, rng):
    h = rng.normal(size=(6, 3))
    expected = deep()(h).numpy()
    net = flipped(deep(), {f"layer{l - 1}.W", f"layer{l - 1}.theta", f"layer{l}.W"})
    np.testing.assert_allclose(net(h).numpy(), expected, rtol=1e-12)
    assert not np.allclose(flipped(net, {f"layer{l}.theta"})(h).numpy(), expected)  # theta_l must keep its sign


def test_the_flip_needs_an_odd_activation(rng):
    h = rng.normal(size=(6, 3))
    net = fully_connected([3, 4, 2], "sigmoid", "linear", init_bias="normal", seed=3, dtype=np.float64)
    expected = net(h).numpy()
    assert not np.allclose(flipped(net, {"layer1.W", "layer1.theta", "layer2.W"})(h).numpy(), expected)
