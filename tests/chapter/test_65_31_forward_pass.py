"""(65.1), (65.3)-(65.5), (65.16)-(65.34), (65.43): from one neuron to the forward pass of the network of Figure 65.4.

(65.1) features to labels, (65.3)-(65.5) neuron (Figure 65.1), (65.16) Perceptron (Figure 65.3), (65.17) numbers of
nodes, (65.18)-(65.25) weights, biases and outputs of layers 2 and 3 (Figures 65.5, 65.6), (65.26)-(65.29) signals,
(65.30)-(65.31) forward pass (Figure 65.7), (65.32)-(65.34) rows and columns of W^T (Figure 65.8), (65.43) forward pass
with a softmax.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import fully_connected

SIZES = {1: 3, 2: 3, 3: 2, 4: 3, 5: 2}  # (65.17): n_1, ..., n_5 of Figure 65.4
L = 5


def network(hidden="tanh", output="sigmoid"):
    return fully_connected([*SIZES.values()], hidden, output, init_bias="normal", seed=1, dtype=np.float64)


@pytest.mark.parametrize("name", [*listings.ACTIVATIONS])
def test_a_neuron_is_an_activation_of_the_affine_combiner(name, rng):
    """(65.4): z = h^T w - theta, (65.5): y = f(z)."""
    neuron = nn.Dense(4, 1, None if name == "linear" else name, init_bias="normal", seed=0, dtype=np.float64)
    h, w, theta = rng.normal(size=4), neuron.W.numpy(), neuron.theta.numpy()
    z = 0.0
    for m in range(4):
        z += h[m] * w[m, 0]
    z -= theta[0]
    assert neuron(h[None]).numpy().item() == pytest.approx(listings.ACTIVATIONS[name][0](z), rel=1e-13)


def test_a_perceptron_decides_by_the_sign_of_the_combiner(rng):
    """(65.16): gamma-hat = h^T w - theta; the class is its sign."""
    combiner = nn.Dense(3, 1, init_bias="normal", seed=0, dtype=np.float64)
    unit = nn.Dense(3, 1, tg.sign, init_bias="normal", seed=0, dtype=np.float64)
    w, theta = combiner.W.numpy()[:, 0], combiner.theta.numpy()[0]
    classes = set()
    for h in rng.normal(size=(10, 3)):
        gamma_hat = sum(h[m] * w[m] for m in range(3)) - theta
        assert combiner(h[None]).numpy().item() == pytest.approx(gamma_hat, rel=1e-12)
        assert unit(h[None]).numpy().item() == (1 if gamma_hat > 0 else -1)
        classes.add(gamma_hat > 0)
    assert len(classes) == 2


def test_the_sizes_of_weights_and_biases():
    """(65.18), (65.21): W_l is n_l x n_{l+1} and theta_l n_{l+1}; (65.17) for the numbers of nodes."""
    net = network()
    for l in range(1, L):
        layer = getattr(net, f"layer{l}")
        assert layer.W.shape == (SIZES[l], SIZES[l + 1])
        assert layer.theta.shape == (SIZES[l + 1],)
    assert not hasattr(net, "layer5")


def test_a_weight_leads_from_node_i_to_node_j():
    """(65.19): w_ij^(l) from node i of layer l to node j of layer l + 1; (65.22): -theta_l(j) from the source +1."""
    net = network("tanh", "linear")
    y_2 = np.array([[0.3, -0.2, 0.9]])
    before = net.layer2(y_2).numpy()[0]
    for i in range(3):
        for j in range(2):
            W = net.layer2.W.numpy()
            changed = W.copy()
            changed[i, j] += 0.5
            net.layer2.W.assign_(changed)
            after = net.layer2(y_2).numpy()[0]
            net.layer2.W.assign_(W)
            assert np.arctanh(after[j]) - np.arctanh(before[j]) == pytest.approx(0.5 * y_2[0, i])
            assert after[1 - j] == before[1 - j]
    net.layer2.theta.assign_(net.layer2.theta.numpy() + np.array([0.5, 0.0]))
    after = net.layer2(y_2).numpy()[0]
    assert np.arctanh(after[0]) - np.arctanh(before[0]) == pytest.approx(-0.5)
    assert after[1] == before[1]


def test_rows_of_the_transpose_arrive_and_columns_leave(rng):
    """(65.20), (65.32): W_2^T has a row for each node of layer 3 and a column w_i^(2) for each of layer 2 (65.33)."""
    net = network()
    W = net.layer2.W.numpy()
    W_T = net.layer2.W.T.numpy()
    assert W_T.shape == (SIZES[3], SIZES[2])
    columns = {i: [W[i - 1, 0], W[i - 1, 1]] for i in (1, 2, 3)}  # (65.34a)-(65.34c)
    rows = {j: [W[0, j - 1], W[1, j - 1], W[2, j - 1]] for j in (1, 2)}
    for i, column in columns.items():
        assert W_T[:, i - 1].tolist() == column
    for j, row in rows.items():
        assert W_T[j - 1].tolist() == row
    y_2, theta = rng.normal(size=3), net.layer2.theta.numpy()
    z_3 = np.arctanh(net.layer2(y_2[None]).numpy()[0])  # what arrives at node j takes row j alone
    for j, row in rows.items():
        assert z_3[j - 1] == pytest.approx(sum(row[i] * y_2[i] for i in range(3)) - theta[j - 1])


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("output", ["softmax", *listings.ACTIVATIONS])
def test_every_signal_of_the_forward_pass(hidden, output, rng):
    """(65.30), (65.31), with a softmax (65.43): y_1 = h, then z_2, y_2, ..., z_5, y_5 with (65.26), (65.29)."""
    net = network(hidden, output)
    W, theta = listings.parameters(net)
    f = listings.activations(L, hidden, output)
    X = rng.normal(size=(6, SIZES[1]))
    ours = net.activations(X)
    assert list(ours) == ["y1", "z2", "y2", "z3", "y3", "z4", "y4", "z5", "y5"]
    for b, h in enumerate(X.tolist()):
        gamma_hat, z, y_l, z_l = listings.forward(h, W, theta, f)
        found = {name: signal.numpy()[b].tolist() for name, signal in ours.items()}
        expected = {f"y{l}": y for l, y in y_l.items()} | {f"z{l}": z for l, z in z_l.items()}
        assert listings.largest_difference(found, expected) < 1e-14
        assert listings.largest_difference(net(X).numpy()[b].tolist(), z) < 1e-14
        assert listings.largest_difference(net.predict(X).numpy()[b].tolist(), gamma_hat) < 1e-14


def test_layer_three_by_layer_two(rng):
    """(65.26): y_3 = f(W_2^T y_2 - theta_2), written with matrices; (65.23)-(65.25), (65.27) give the sizes."""
    net = network("tanh")
    signals = {name: s.numpy()[0] for name, s in net.activations(rng.normal(size=(1, 3))).items()}
    assert {name: signals[name].shape for name in ("y2", "z3", "y3")} == {"y2": (3,), "z3": (2,), "y3": (2,)}
    z_3 = net.layer2.W.numpy().T @ signals["y2"] - net.layer2.theta.numpy()
    np.testing.assert_allclose(signals["z3"], z_3, rtol=1e-13)
    np.testing.assert_allclose(signals["y3"], np.tanh(z_3), rtol=1e-13)
