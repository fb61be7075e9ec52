"""(65.167)-(65.188), Problem 65.19: batch normalisation, its exact gradient, its running averages."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.models import fully_connected


def normalised(z, a, theta, eps, ddof):
    """(65.167)-(65.172) in plain loops, with the batch statistics."""
    B, n = len(z), len(z[0])
    mean = [sum(z[b][j] for b in range(B)) / B for j in range(n)]
    variance = [sum((z[b][j] - mean[j]) ** 2 for b in range(B)) / (B - ddof) for j in range(n)]
    v = [[a[j] * (z[b][j] - mean[j]) / math.sqrt(variance[j] + eps) - theta[j] for j in range(n)] for b in range(B)]
    return np.array(v), np.array(mean), np.array(variance)


@pytest.mark.parametrize("ddof", [0, 1])
def test_forward_in_plain_loops(ddof, rng):
    z, a, theta = rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=3)
    ours = tg.batch_norm(tg.tensor(z), a, theta, eps=1e-3, ddof=ddof)
    np.testing.assert_allclose(ours.numpy(), normalised(z, a, theta, 1e-3, ddof)[0], rtol=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
def test_the_gradient_by_summing_over_all_pairs_of_samples(ddof, rng):
    """Problem 65.19 without closed form: dv_p/dz_b for every p and b, by the product rule."""
    B, n, eps = 5, 2, 1e-3
    z, a, theta, dv = rng.normal(size=(B, n)), rng.normal(size=n), rng.normal(size=n), rng.normal(size=(B, n))
    _, mean, variance = normalised(z, a, theta, eps, ddof)
    dz = np.zeros((B, n))
    for j in range(n):
        s = 1 / math.sqrt(variance[j] + eps)
        for b in range(B):
            for p in range(B):
                ds = -0.5 * s**3 * 2 * (z[b, j] - mean[j]) / (B - ddof)
                dz[b, j] += dv[p, j] * a[j] * (((p == b) - 1 / B) * s + (z[p, j] - mean[j]) * ds)
    t = tg.tensor(z, requires_grad=True)
    tg.batch_norm(t, a, theta, eps, ddof).backward(dv)
    np.testing.assert_allclose(t.grad.numpy(), dz, rtol=1e-10, atol=1e-13)


def test_derivatives_of_first_and_second_order(rng):
    for ddof in (0, 1):
        inputs = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)
        tg.gradcheck(lambda z, a, t, ddof=ddof: tg.batch_norm(z, a, t, ddof=ddof), *inputs, second=True)


def test_running_averages_follow_65_187_and_serve_in_testing(rng):
    layer = nn.BatchNorm(3, smoothing=0.9, eps=1e-3, dtype=np.float64)
    layer.a.assign_(rng.normal(size=3))
    layer.theta.assign_(rng.normal(size=3))
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(5):
        z = rng.normal(size=(6, 3)) + 2
        v, m, s = normalised(z, layer.a.numpy(), layer.theta.numpy(), 1e-3, 1)
        np.testing.assert_allclose(layer(z).numpy(), v, rtol=1e-11)
        mean, variance = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * s
    np.testing.assert_allclose(layer.mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.variance.numpy(), variance, rtol=1e-12)
    layer.eval()
    x = rng.normal(size=(1, 3))  # one sample is enough in testing
    expected = layer.a.numpy() * (x - mean) / np.sqrt(variance + 1e-3) - layer.theta.numpy()
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(layer.mean.numpy(), mean, rtol=1e-12)  # unchanged by testing


def test_population_statistics_are_the_averages_over_the_batches(rng):
    net = fully_connected([3, 4, 2], "tanh", batch_norm=True, dropout=0.5, seed=0, dtype=np.float64)
    batches = [rng.normal(size=(6, 3)) for _ in range(4)]
    nn.population_statistics(net, batches)
    np.testing.assert_allclose(net.norm1.mean.numpy(), np.mean([b.mean(0) for b in batches], axis=0), rtol=1e-12)
    np.testing.assert_allclose(net.norm1.variance.numpy(), np.mean([b.var(0, ddof=1) for b in batches], axis=0))
    assert net.norm1.smoothing == 0.95
    assert net.training


def test_one_sample_is_refused_in_training_with_ddof_1():
    with pytest.raises(ShapeError, match="a batch of 1 has no variance with ddof=1"):
        nn.BatchNorm(2)(np.zeros((1, 2)))
    assert nn.BatchNorm(2, ddof=0)(np.ones((1, 2))).shape == (1, 2)
    for wrong in ({"n": 0}, {"n": 2, "smoothing": 1.0}, {"n": 2, "ddof": 2}, {"n": 2, "eps": 0.0}):
        with pytest.raises(ArgumentError, match="BatchNorm:"):
            nn.BatchNorm(**wrong)


def test_a_whole_network_both_risks(rng):
    for output, loss in (("softmax", losses.cross_entropy), ("linear", losses.squared_error)):
        net = fully_connected([3, 4, 2], "tanh", output, batch_norm=True, seed=0)
        tg.gradcheck(net, rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]], loss)
        assert net.norm1.mean.numpy().tolist() == [0, 0, 0]  # looking changes nothing


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, dv = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    theirs = torch.nn.BatchNorm1d(3, eps=1e-3, momentum=0.05, dtype=torch.float64)
    ours = nn.BatchNorm(3, smoothing=0.95, eps=1e-3, ddof=0, dtype=np.float64)
    x, y = tg.tensor(z, requires_grad=True), torch.tensor(z, requires_grad=True)
    a, b = ours(x), theirs(y)
    a.backward(dv)
    b.backward(torch.tensor(dv))
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.theta.grad.numpy(), -theirs.bias.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(ours.mean.numpy(), theirs.running_mean.numpy(), rtol=1e-12)


@pytest.mark.host
def test_the_digits_are_learned_with_it():
    digits = tg.data.load("digits")
    net = fully_connected([64, 64, 10], batch_norm=True, seed=0)
    tg.fit(net, losses.cross_entropy, digits.train, optim.SGD(net.parameters(), 0.05, 0.9), 10, 31)
    assert tg.evaluate(net, losses.cross_entropy, digits.test)[1] < 0.05
