"""(65.50)-(65.64), Table 65.2: delta_l = dQ/dz_l of every layer, against the recursion in plain loops."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import GraphError
from tinygraph.models import fully_connected

spec = importlib.util.spec_from_file_location("listings", Path(__file__).with_name("listings.py"))
listings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(listings)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(
    ("output", "risk"),
    [
        ("linear", "squares"),
        ("sigmoid", "squares"),
        ("tanh", "squares"),
        ("softmax", "squares"),
        ("softmax", "cross-entropy"),
    ],
)
def test_every_delta_of_every_sample(activation, output, risk, rng):
    net = fully_connected([3, 4, 5, 2], activation, output, init_bias="normal", seed=1, dtype=np.float64)
    layers = [net.layer1, net.layer2, net.layer3]
    W, theta = [l.W.numpy().tolist() for l in layers], [l.theta.numpy().tolist() for l in layers]
    X, Y = rng.normal(size=(6, 3)), np.eye(2)[rng.integers(0, 2, 6)]
    loss = losses.cross_entropy(net(X), Y) if risk == "cross-entropy" else losses.squared_error(net.predict(X), Y)
    ours = tg.sensitivities(loss + losses.l2(net, 0.1), net)
    assert list(ours) == ["z2", "z3", "z4"]
    for b in range(6):
        zs, ys = listings.forward(W, theta, X[b], activation, output)
        delta = listings.sensitivities(W, zs, ys, Y[b], activation, output, risk)
        for l in (1, 2, 3):
            np.testing.assert_allclose(ours[f"z{l + 1}"].numpy()[b], delta[l], rtol=1e-9, atol=1e-13)


def test_activations_are_those_of_the_forward_pass_65_43(rng):
    net = fully_connected([3, 4, 2], "tanh", "softmax", init_bias="normal", seed=1, dtype=np.float64)
    h = rng.normal(size=3)
    W, theta = ([getattr(l, name).numpy().tolist() for l in (net.layer1, net.layer2)] for name in ("W", "theta"))
    zs, ys = listings.forward(W, theta, h, "tanh", "softmax")
    ours = net.activations(h[None])
    assert list(ours) == ["y1", "z2", "y2", "z3", "y3"]
    for l in (1, 2):
        np.testing.assert_allclose(ours[f"z{l + 1}"].numpy()[0], zs[l], rtol=1e-12)
        np.testing.assert_allclose(ours[f"y{l + 1}"].numpy()[0], ys[l], rtol=1e-12)


def test_a_module_called_twice_has_two_sets_of_sensitivities(rng):
    class Twins(nn.Module):
        def __init__(self):
            self.branch = fully_connected([3, 4, 2], "tanh", seed=0, dtype=np.float64)

        def forward(self, a, b):
            return self.branch(a) - self.branch(b)

    net = Twins()
    a, b = rng.normal(size=(2, 5, 3))
    found = tg.sensitivities(tg.square(net(a, b)).sum() * 0.2, net)
    assert list(found) == ["branch.z2#1", "branch.z3#1", "branch.z2#2", "branch.z3#2"]
    np.testing.assert_allclose(found["branch.z3#1"].numpy(), -found["branch.z3#2"].numpy())


def test_a_loss_of_another_network_is_refused():
    net, other = fully_connected([2, 2]), fully_connected([2, 2])
    with pytest.raises(GraphError, match="not computed with this network"):
        tg.sensitivities(losses.cross_entropy(net(np.zeros((1, 2))), [0]), other)
