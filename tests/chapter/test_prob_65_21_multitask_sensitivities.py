"""Prob. 65.21: the sensitivities of multitask learning at the output, (65.157), and (65.164) with labels missing.

The sensitivities are held against central differences of what (65.159) differentiates, the loss of a sample over its
tasks.
"""

import math

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import multitask

T, EPS = 3, 1e-6
NAN = math.nan
WHOLE, MISSING = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [1.0, 0.0, NAN, NAN, 0.0, 1.0]


def gamma_hat(z):
    """(65.155), a pair for each task."""
    return [listings.softmax(z[2 * t : 2 * t + 2]) for t in range(T)]


def Q(z, gamma):
    """What (65.159) differentiates for the sensitivities: the loss of the tasks that are labeled."""
    total = 0.0
    for t, (first, _) in enumerate(gamma_hat(z)):
        if not math.isnan(gamma[2 * t]):
            total -= gamma[2 * t] * math.log(first) + (1 - gamma[2 * t]) * math.log(1 - first)
    return total


def boundary(z, gamma):
    """The sensitivities (65.157), (65.164): gamma-hat_t - gamma_t for every task, 0 where the label is missing."""
    return [
        0.0 if math.isnan(gamma[2 * t]) else pair[q] - gamma[2 * t + q]
        for t, pair in enumerate(gamma_hat(z))
        for q in (0, 1)
    ]


def differences(function, z):
    """Central differences of a function of a list of numbers."""
    slopes = []
    for j in range(len(z)):
        up, down = ([v + s * EPS * (k == j) for k, v in enumerate(z)] for s in (1, -1))
        slopes.append((function(up) - function(down)) / (2 * EPS))
    return slopes


@pytest.mark.parametrize("gamma", [WHOLE, MISSING], ids=["(65.157)", "(65.164)"])
def test_the_boundary_value(gamma, rng):
    z = rng.normal(size=2 * T).tolist()
    delta_L = boundary(z, gamma)
    np.testing.assert_allclose(differences(lambda v: Q(v, gamma), z), delta_L, atol=1e-9)
    x = tg.tensor(np.array([z]), requires_grad=True)
    losses.multitask_cross_entropy(x, np.array([gamma])).backward()
    np.testing.assert_allclose(x.grad.numpy()[0], delta_L, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("gamma", [WHOLE, MISSING], ids=["(65.157)", "(65.164)"])
def test_the_sensitivities_of_every_layer(gamma, rng):
    """Sensitivities (65.159) follow the same recursion backward from the new boundary value."""
    net = multitask([5, 4], T, 3, activation="tanh", seed=0, dtype=np.float64)
    h = rng.normal(size=3)
    W, theta = listings.parameters(net)
    f = listings.activations(4, "tanh", "linear")
    _, z, _, z_l = listings.forward(h.tolist(), W, theta, f)
    expected = listings.backward(boundary(z, gamma), f, z_l, W)
    found = tg.sensitivities(losses.multitask_cross_entropy(net(h[None]), np.array([gamma])), net)
    ours = [np.ravel(s.numpy()).tolist() for s in found.values()]
    assert listings.largest_difference(ours, [expected[l] for l in (2, 3, 4)]) < 1e-14


def test_a_task_without_its_label_changes_nothing_of_its_own(rng):
    z, t = rng.normal(size=(3, 4)), np.array([[0.0, 1.0], [NAN, NAN], [1.0, 1.0]])
    x = tg.tensor(z, requires_grad=True)
    losses.multitask_cross_entropy(x, t).backward()
    assert not x.grad.numpy()[1].any()
    assert x.grad.numpy()[[0, 2]].all()
