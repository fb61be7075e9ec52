"""Problem 65.1, Fig. 65.20: a network with one hidden layer that computes XOR, by the weights printed there."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.models import fully_connected

# Features (a, b) and labels: +1 where a and b differ.
LABELS = {(1.0, 1.0): -1.0, (-1.0, -1.0): -1.0, (1.0, -1.0): 1.0, (-1.0, 1.0): 1.0}
CORNERS = np.array(list(LABELS))

W1_TRANSPOSED, THETA_1 = [[-0.5, -0.5], [-0.5, -0.5]], [-1.0, 0.0]
W, THETA = [2.0, -4.0], 1.0


def printed_network(h):
    """z_2, y_2 and gamma-hat: two rectifiers, and an output node that is a linear combiner."""
    z = [sum(W1_TRANSPOSED[j][i] * h[i] for i in range(2)) - THETA_1[j] for j in range(2)]
    y = [max(0.0, v) for v in z]
    return z, y, sum(W[j] * y[j] for j in range(2)) - THETA


def set_to(net, W1, theta_1, w, theta):
    """Give a 2-2-1 network the weights and biases of the chapter's notation; return it."""
    net.layer1.W.assign_(np.array(W1, np.float64))
    net.layer1.theta.assign_(np.array(theta_1, np.float64))
    net.layer2.W.assign_(np.array(w, np.float64)[:, None])
    net.layer2.theta.assign_(np.array([theta], np.float64))
    return net


def fig_65_20(output="linear"):
    net = fully_connected([2, 2, 1], "relu", output, dtype=np.float64)
    return set_to(net, np.transpose(W1_TRANSPOSED), THETA_1, W, THETA)


def test_the_printed_weights_implement_xor():
    assert {h: printed_network(h)[2] for h in LABELS} == LABELS


def test_the_network_of_fig_65_20_gives_the_label_of_every_corner():
    net = fig_65_20()
    assert net.predict(CORNERS).numpy().ravel().tolist() == list(LABELS.values())
    assert fig_65_20("signed").decide(CORNERS).numpy().ravel().tolist() == list(LABELS.values())
    signals = net.activations(CORNERS)
    for row, h in enumerate(LABELS):
        z, y, _ = printed_network(h)
        assert (signals["z2"].numpy()[row].tolist(), signals["y2"].numpy()[row].tolist()) == (z, y)


def test_the_same_network_from_two_layers():
    hidden, output = (nn.Dense(2, n, activation, dtype=np.float64) for n, activation in ((2, "relu"), (1, None)))
    hidden.W.assign_(np.transpose(W1_TRANSPOSED))
    hidden.theta.assign_(np.array(THETA_1))
    output.W.assign_(np.array(W)[:, None])
    output.theta.assign_(np.array([THETA]))
    net = nn.Sequential(hidden, output, output="linear")
    assert net.predict(CORNERS).numpy().ravel().tolist() == list(LABELS.values())


def test_it_is_a_minimum_of_the_least_squares_risk():
    net, gamma = fig_65_20(), np.array(list(LABELS.values()))[:, None]
    risk = losses.squared_error(net.predict(CORNERS), gamma)
    risk.backward()
    assert risk.item() == 0
    assert all(not p.grad.numpy().any() for p in net.parameters())


def test_no_linear_combiner_separates_the_corners(rng):
    """Its outputs at the two corners of one label add up to those at the two of the other: opposite signs cannot."""
    net = nn.Dense(2, 1, init_bias="normal", seed=int(rng.integers(100)), dtype=np.float64)
    same, different = ([h for h in LABELS if LABELS[h] == label] for label in (-1, 1))
    assert net(np.array(same)).sum().item() == pytest.approx(net(np.array(different)).sum().item())


# Two other networks for XOR, not printed: one hidden node computes OR, the other AND, the output "OR and not AND".


def test_with_sign_functions_the_hidden_nodes_compute_or_and_and():
    net = fully_connected([2, 2, 1], tg.sign, "tanh", dtype=np.float64)
    set_to(net, [[1, 1], [1, 1]], [-1, 1], [1, -1], 1)  # z_2 = (a + b + 1, a + b - 1)
    for h, label in LABELS.items():
        assert net.decide(np.array([h])).item() == label
    net.layer2.theta.assign_(np.array([-1.0]))  # "OR or not AND" is true everywhere: the bias matters
    assert net.decide(CORNERS).numpy().ravel().tolist() == [1, 1, 1, 1]


def test_with_sigmoids_the_features_and_decisions_are_0_and_1():
    net = fully_connected([2, 2, 1], "sigmoid", "sigmoid", dtype=np.float64)
    set_to(net, [[20, 20], [20, 20]], [10, 30], [20, -20], 10)
    features = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert net.decide(features).numpy().ravel().tolist() == [0, 1, 1, 0]
