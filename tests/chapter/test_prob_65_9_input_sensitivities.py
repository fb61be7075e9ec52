"""Problems 65.9 and 65.10: the output's derivatives with respect to the input, backward and forward."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.models import fully_connected


def network():
    net = fully_connected([3, 4, 5, 2], "tanh", "linear", init_bias="normal", seed=2, dtype=np.float64)
    layers = [net.layer1, net.layer2, net.layer3]
    return net, [l.W.numpy() for l in layers], [l.theta.numpy() for l in layers]


def forward_recursion(W, theta, h):
    """Problem 65.10: the Jacobian of y_{l+1} from that of y_l, first layer first."""
    y, J = h, np.eye(len(h))
    for l in range(len(W)):
        z = W[l].T @ y - theta[l]
        last = l == len(W) - 1
        y = z if last else np.tanh(z)
        J = np.diag(np.ones_like(z) if last else 1 - np.tanh(z) ** 2) @ W[l].T @ J
    return J


def test_the_jacobian_of_a_network(rng):
    net, W, theta = network()
    h = rng.normal(size=3)
    x = tg.tensor(h)
    y = net(x.reshape(1, 3)).reshape(2)
    expected = forward_recursion(W, theta, h)
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(tg.jacobian(y, x, mode).numpy(), expected, rtol=1e-11, atol=1e-14)
    v = rng.normal(size=3)
    out, Jv = tg.jvp(lambda t: net(t.reshape(1, 3)).reshape(2), h, v)
    np.testing.assert_allclose(Jv.numpy(), expected @ v, rtol=1e-11)
    np.testing.assert_allclose(out.numpy(), y.numpy())


def test_the_backward_recursion_of_problem_65_9(rng):
    net, W, theta = network()
    h = rng.normal(size=3)
    ys, y = [h], h
    for l in range(3):
        z = W[l].T @ y - theta[l]
        y = z if l == 2 else np.tanh(z)
        ys.append(y)
    for k in range(2):
        chi = np.eye(2)[k]
        for l in (2, 1, 0):
            chi = W[l] @ chi
            chi = chi if l == 0 else chi * (1 - ys[l] ** 2)
        x = tg.tensor(h[None])
        np.testing.assert_allclose(tg.grad(net(x)[0, k], [x])[0].numpy()[0], chi, rtol=1e-11)


def test_shapes_of_jacobians(rng):
    x = tg.tensor(rng.normal(size=(2, 3)))
    y = x @ x.T
    assert tg.jacobian(y, x).shape == (2, 2, 2, 3)
    np.testing.assert_allclose(tg.jacobian(y, x).numpy(), tg.jacobian(y, x, mode="forward").numpy(), atol=1e-12)
    with pytest.raises(ArgumentError, match="mode must be"):
        tg.jacobian(y, x, mode="sideways")
    with pytest.raises(ShapeError, match="x and v must have the same shapes"):
        tg.jvp(tg.exp, np.zeros(2), np.zeros(3))


def test_both_modes_agree_by_a_random_direction(rng):
    x, v, u = rng.normal(size=(3, 5))

    def f(t):
        return tg.softmax(tg.tanh(t) * t)

    _, Jv = tg.jvp(f, x, v)
    t = tg.tensor(x)
    (Ju,) = tg.grad(f(t), [t], u)
    assert (u * Jv.numpy()).sum() == pytest.approx((Ju.numpy() * v).sum())


def test_several_inputs_and_a_derivative_that_vanishes():
    y, Jv = tg.jvp(lambda a, b: a * b, (np.array([2.0]), np.array([3.0])), (np.array([1.0]), np.array([10.0])))
    assert (y.item(), Jv.item()) == (6, 23)
    assert tg.jvp(tg.sign, np.array([2.0]), np.array([1.0]))[1].item() == 0
