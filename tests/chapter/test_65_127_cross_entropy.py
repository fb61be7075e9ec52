"""(65.125)-(65.128): the cross-entropy risk of one-hot labels and a softmax at the output.

(65.125) one-hot labels, (65.126) softmax outputs, (65.127) the regularised risk, (65.128) the loss of a sample. Its
sensitivities are in test_65_144_cross_entropy_sensitivities.py, the listings in test_65_82_minibatch_training.py.
"""

import math

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.models import fully_connected

RHO, SIZES, N = 0.01, [4, 5, 3, 3], 7


def cross_entropy(z, gamma):
    """(65.128) of the softmax (65.126)."""
    gamma_hat = [math.exp(z_q) / sum(math.exp(v) for v in z) for z_q in z]
    return -sum(g * math.log(y) for g, y in zip(gamma, gamma_hat, strict=True))


def test_labels_are_basis_vectors_65_125():
    labels = [2, 0, 1]
    assert data.one_hot(labels, 3).tolist() == [[1.0 if q == r else 0.0 for q in range(3)] for r in labels]


def test_the_risk_65_127(rng):
    net = fully_connected(SIZES, "tanh", "softmax", init_bias="normal", seed=7, dtype=np.float64)
    H, labels = rng.normal(size=(N, 4)), rng.integers(0, 3, N)
    gamma = data.one_hot(labels, 3, np.float64)
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), "tanh", "softmax")
    P = sum(RHO * w**2 for W_l in W.values() for row in W_l for w in row)
    for h, g in zip(H.tolist(), gamma.tolist(), strict=True):
        _, z, _, _ = listings.forward(h, W, theta, f)
        P += cross_entropy(z, g) / N
    for target in (gamma, labels):
        ours = losses.cross_entropy(net(H), target) + losses.l2(net, RHO)
        assert ours.item() == pytest.approx(P, rel=1e-12)


def test_the_loss_of_a_sample_65_128(rng):
    """For labels that are probabilities too."""
    z, gamma = rng.normal(size=(1, 3)), rng.dirichlet(np.ones(3), 1)
    expected = cross_entropy(z[0].tolist(), gamma[0].tolist())
    assert losses.cross_entropy(tg.tensor(z), gamma).item() == pytest.approx(expected, rel=1e-12)


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, labels = rng.normal(size=(4, 3)), rng.integers(0, 3, 4)
    theirs = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(labels))
    assert losses.cross_entropy(tg.tensor(z), labels).item() == pytest.approx(theirs.item())
