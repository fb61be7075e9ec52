"""Problems 65.12-65.14: second derivatives, exact; the full Hessian from central differences is the oracle."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected


def hessian_by_differences(gradient, x, h=1e-5):
    H = np.zeros((x.size, x.size))
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = h
        up, down = gradient(x + e.reshape(x.shape)), gradient(x - e.reshape(x.shape))
        H[:, i] = ((up - down) / (2 * h)).ravel()
    return H


@pytest.mark.parametrize("output", ["softmax", "linear"])
def test_the_hessian_of_a_network_with_respect_to_each_parameter(output, rng):
    net = fully_connected([3, 4, 2], "tanh", output, init_bias="normal", seed=0, dtype=np.float64)
    X, Y = rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]]

    def loss():
        return losses.cross_entropy(net(X), Y) if output == "softmax" else losses.squared_error(net(X), Y)

    for p in net.parameters():
        value = p.numpy()

        def gradient(at, p=p):
            p.assign_(at)
            return tg.grad(loss(), [p])[0].numpy()

        H = hessian_by_differences(gradient, value)
        p.assign_(value)
        np.testing.assert_allclose(tg.hessian_diagonal(loss(), p).numpy().ravel(), np.diag(H), rtol=1e-6, atol=1e-9)
        v = rng.normal(size=value.shape)
        np.testing.assert_allclose(tg.hvp(loss(), p, v).numpy().ravel(), H @ v.ravel(), rtol=1e-6, atol=1e-8)


def test_products_over_several_parameters_include_the_mixed_terms(rng):
    a, b = tg.tensor(rng.normal(size=2)), tg.tensor(rng.normal(size=3))
    y = (a.sum() * b.sum()) ** 2 + (a * a * a).sum()
    va, vb = rng.normal(size=2), rng.normal(size=3)
    A, B = a.numpy().sum(), b.numpy().sum()
    ha, hb = tg.hvp(y, [a, b], [va, vb])
    np.testing.assert_allclose(ha.numpy(), 2 * B * B * va.sum() + 4 * A * B * vb.sum() + 6 * a.numpy() * va)
    np.testing.assert_allclose(hb.numpy(), 2 * A * A * vb.sum() * np.ones(3) + 4 * A * B * va.sum())


def test_a_linear_function_has_no_curvature():
    x = tg.tensor(np.ones(3))
    np.testing.assert_array_equal(tg.hessian_diagonal((x * 2.0).sum(), x).numpy(), np.zeros(3))
    np.testing.assert_array_equal(tg.hvp((x * 2.0).sum(), x, np.ones(3)).numpy(), np.zeros(3))


def test_many_entries_are_warned_of():
    x = tg.tensor(np.zeros(10_001, np.float32))
    with pytest.warns(UserWarning, match="10001 entries take as many products"):
        tg.hessian_diagonal((x * 2.0).sum(), x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=4)
    theirs = torch.func.hessian(lambda t: (torch.tanh(t) * t.prod()).sum())(torch.tensor(x)).numpy()
    t = tg.tensor(x)
    y = (tg.tanh(t) * (t[0] * t[1] * t[2] * t[3])).sum()
    np.testing.assert_allclose(tg.hessian_diagonal(y, t).numpy(), np.diag(theirs), rtol=1e-10)
