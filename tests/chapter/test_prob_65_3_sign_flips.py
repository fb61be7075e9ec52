"""Problem 65.3: what becomes of the output when the signs of two successive hidden layers are changed.

The answer. tanh is odd, so a change of the signs of W_{l-1} and theta_{l-1} changes the sign of y_l, and a change
of the signs of W_l takes it back: W_l' y_l is as it was. The output stays, then, if theta_l keeps its sign. If
theta_l changes its sign as well, z_{l+1} becomes W_l' y_l + theta_l, and the output changes, unless theta_l is 0.

What follows: the parameters of a network are not determined by what it computes. Each hidden node may change its
sign by itself, so a layer of n nodes has 2^n sets of parameters with the same output and the same risk.
"""

import itertools
import math

import numpy as np
import pytest

from tinygraph import losses
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host

H = [0.6, -1.2]
GAMMA = [0.3, -0.4]
WEIGHTS = [  # 2-3-2-2: W[l] leads from layer l + 1 to layer l + 2
    [[0.4, -0.7, 1.1], [0.9, 0.2, -0.5]],
    [[0.8, -0.3], [-0.6, 1.2], [0.5, 0.7]],
    [[1.3, -0.4], [0.6, 0.9]],
]
BIASES = [[0.2, -0.1, 0.4], [0.3, -0.5], [0.1, 0.2]]


def output(W, theta, h):
    """gamma-hat: tanh in the hidden layers, linear combiners at the output."""
    y = h
    for l in range(len(W)):
        z = [sum(W[l][i][j] * y[i] for i in range(len(y))) - theta[l][j] for j in range(len(theta[l]))]
        y = [math.tanh(v) for v in z] if l < len(W) - 1 else z
    return y


def negative(parameter):
    return [negative(entry) for entry in parameter] if isinstance(parameter, list) else -parameter


def flipped(weights, biases):
    """The parameters with other signs in the weight matrices and bias vectors of the places given."""
    W = [negative(W) if l in weights else W for l, W in enumerate(WEIGHTS)]
    return W, [negative(theta) if l in biases else theta for l, theta in enumerate(BIASES)]


def network(W, theta, activation="tanh"):
    net = fully_connected([2, 3, 2, 2], activation, "linear", dtype=np.float64)
    for l, layer in enumerate([net.layer1, net.layer2, net.layer3]):
        layer.W.assign_(np.array(W[l]))
        layer.theta.assign_(np.array(theta[l]))
    return net


def predicted(net):
    return net.predict(np.array([H])).numpy()[0]


ORIGINAL = [-0.1150, 0.3957]
BOTH_FLIPPED = [0.0926, -0.6609]  # theta_1 and theta_2 too


@pytest.mark.parametrize("first", [0, 1])  # W_1, W_2 and then W_2, W_3
def test_the_output_stays_if_the_second_theta_keeps_its_sign(first):
    expected = output(WEIGHTS, BIASES, H)
    assert expected == pytest.approx(ORIGINAL, abs=5e-5)
    parameters = flipped(weights=(first, first + 1), biases=(first,))
    assert output(*parameters, H) == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(predicted(network(*parameters)), expected, rtol=1e-13)
    np.testing.assert_allclose(predicted(network(WEIGHTS, BIASES)), expected, rtol=1e-13)


def test_the_output_changes_if_both_thetas_change_their_signs():
    parameters = flipped(weights=(0, 1), biases=(0, 1))
    changed = output(*parameters, H)
    assert changed == pytest.approx(BOTH_FLIPPED, abs=5e-5)
    np.testing.assert_allclose(predicted(network(*parameters)), changed, rtol=1e-13)
    # It is the output of the network as it was, but for the sign of theta_2.
    assert output(*flipped(weights=(), biases=(1,)), H) == pytest.approx(changed, rel=1e-14)


def test_each_node_of_a_layer_may_change_its_sign_by_itself():
    """All 2^3 signs of the first hidden layer: one output, one risk."""
    expected = predicted(network(WEIGHTS, BIASES))
    for signs in itertools.product([1, -1], repeat=3):
        net, s = network(WEIGHTS, BIASES), np.array(signs)
        net.layer1.W.assign_(net.layer1.W.numpy() * s)
        net.layer1.theta.assign_(net.layer1.theta.numpy() * s)
        net.layer2.W.assign_(s[:, None] * net.layer2.W.numpy())
        np.testing.assert_allclose(predicted(net), expected, rtol=1e-13)
        risk = losses.squared_error(net.predict(np.array([H])), np.array([GAMMA])).item()
        assert risk == pytest.approx(sum((g - e) ** 2 for g, e in zip(GAMMA, expected, strict=True)))


def test_it_needs_an_odd_activation():
    original, changed = (network(*parameters, "sigmoid") for parameters in (flipped((), ()), flipped((0, 1), (0,))))
    assert np.abs(predicted(changed) - predicted(original)).max() > 0.1
