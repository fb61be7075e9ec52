"""(65.45)-(65.48): the regularised least-squares risk, with the weights' squares and not the biases'."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tinygraph import losses
from tinygraph.models import fully_connected

spec = importlib.util.spec_from_file_location("listings", Path(__file__).with_name("listings.py"))
listings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(listings)


@pytest.mark.parametrize("output", ["linear", "sigmoid", "softmax"])
def test_the_risk(output, rng):
    net = fully_connected([3, 4, 2], "tanh", output, init_bias="normal", seed=0, dtype=np.float64)
    X, Y, rho = rng.normal(size=(6, 3)), rng.normal(size=(6, 2)), 0.02
    W, theta = ([getattr(l, name).numpy().tolist() for l in (net.layer1, net.layer2)] for name in ("W", "theta"))
    risk = rho * sum(w * w for layer in W for row in layer for w in row)
    for h, gamma in zip(X, Y, strict=True):
        _, ys = listings.forward(W, theta, h, "tanh", output)
        risk += sum((g - y) ** 2 for g, y in zip(gamma, ys[-1], strict=True)) / 6
    ours = losses.squared_error(net.predict(X), Y) + losses.l2(net, rho)
    assert ours.item() == pytest.approx(risk, rel=1e-12)
