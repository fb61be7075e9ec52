"""(65.31), (65.81), (65.82), (65.87), (65.149), (65.150): the library walks the listings' own trajectory."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

spec = importlib.util.spec_from_file_location("listings", Path(__file__).with_name("listings.py"))
listings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(listings)

MU, RHO, SIZES = 0.05, 0.01, [4, 5, 3, 3]


def network(activation, output):
    return fully_connected(SIZES, activation, output, init_bias="normal", seed=7, dtype=np.float64)


def numbers(net):
    layers = [net.layer1, net.layer2, net.layer3]
    return [layer.W.numpy().tolist() for layer in layers], [layer.theta.numpy().tolist() for layer in layers]


def data(steps, batch, rng):
    X = rng.normal(size=(steps, batch, SIZES[0]))
    return X, np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], (steps, batch))]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "tanh", "linear"])
def test_the_forward_pass_65_31(activation, output, rng):
    net = network(activation, output)
    h = rng.normal(size=(6, SIZES[0]))
    W, theta = numbers(net)
    gamma_hat = net.predict(h).numpy()
    z_L = net(h).numpy()
    for row in range(6):
        zs, ys = listings.forward(W, theta, h[row], activation, output)
        np.testing.assert_allclose(z_L[row], zs[-1], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(gamma_hat[row], ys[-1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("output", "risk"),
    [
        ("softmax", "cross-entropy"),
        ("softmax", "squares"),
        ("sigmoid", "squares"),
        ("tanh", "squares"),
        ("linear", "squares"),
    ],
)
def test_the_gradient_65_81(output, risk, rng):
    net = network("tanh", output)
    X, Y = data(1, 4, rng)
    W, theta = numbers(net)
    loss = (
        losses.cross_entropy(net(X[0]), Y[0])
        if risk == "cross-entropy"
        else losses.squared_error(net.predict(X[0]), Y[0])
    )
    loss.backward()
    listings.step(W, theta, X[0].tolist(), Y[0].tolist(), 1.0, 0.0, "tanh", output, risk)
    for layer, W_new, theta_new in zip([net.layer1, net.layer2, net.layer3], W, theta, strict=True):
        np.testing.assert_allclose(layer.W.grad.numpy(), layer.W.numpy() - W_new, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(layer.theta.grad.numpy(), layer.theta.numpy() - theta_new, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("batch", [1, 6])  # (65.87) and (65.150) with one sample, (65.82) and (65.149) with six
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(
    ("output", "risk"),
    [("softmax", "cross-entropy"), ("softmax", "squares"), ("sigmoid", "squares"), ("linear", "squares")],
)
def test_fifty_steps_of_the_listing(batch, activation, output, risk, rng):
    net = network(activation, output)
    optimizer = optim.SGD(net.parameters(), lr=MU)
    W, theta = numbers(net)
    X, Y = data(50, batch, rng)
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y) if risk == "cross-entropy" else losses.squared_error(net.predict(x), y)
        (loss + losses.l2(net, RHO)).backward()
        optimizer.step()
        listings.step(W, theta, x.tolist(), y.tolist(), MU, RHO, activation, output, risk)
    for layer, W_l, theta_l in zip([net.layer1, net.layer2, net.layer3], W, theta, strict=True):
        np.testing.assert_allclose(layer.W.numpy(), W_l, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.theta.numpy(), theta_l, rtol=1e-10, atol=1e-12)


def test_fit_walks_the_same_trajectory(rng):
    net = network("tanh", "softmax")
    W, theta = numbers(net)
    X, Y = data(1, 20, rng)
    order = tg.data.Batches(X[0], Y[0], 6, seed=3)
    expected = [(x.tolist(), y.tolist()) for _ in range(4) for x, y in order]
    tg.fit(net, losses.cross_entropy, (X[0], Y[0]), optim.SGD(net.parameters(), MU), 4, 6, l2=RHO, seed=3)
    for x, y in expected:
        listings.step(W, theta, x, y, MU, RHO, "tanh", "softmax", "cross-entropy")
    np.testing.assert_allclose(net.layer2.W.numpy(), W[1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.layer1.theta.numpy(), theta[0], rtol=1e-10, atol=1e-12)
