"""(65.168)-(65.174), (65.177)-(65.184): signals centred, normalised, scaled and shifted over a batch.

Figures 65.16 and 65.17 draw it. (65.168) and (65.171) collect entries of z and of its mean, (65.169) normalises,
(65.170a)-(65.170b) and (65.172) are mean and variance, (65.173)-(65.174) the same with the matrix S, (65.177) scales
and shifts, (65.178) is the choice that gives z back, (65.179)-(65.182) are the same with vectors and a matrix,
(65.183)-(65.184) the whole transformation.
"""

import math

import numpy as np
import pytest
from chapter import batch_norm_listing as bn

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import ArgumentError, ShapeError

EPS = 1e-3


@pytest.fixture
def signals(rng):
    """z of shape (6, 3), a and theta."""
    return rng.normal(size=(6, 3)) + 2, rng.normal(size=3), rng.normal(size=3)


@pytest.mark.parametrize("ddof", [1, 0])
def test_entry_by_entry(ddof, signals):
    """(65.169), (65.170a)-(65.170b), (65.177): with ddof = 0 the variance of (65.212b)."""
    z, a, theta = signals
    B, n = z.shape
    expected = np.zeros((B, n))
    for k in range(n):
        z_bar = sum(z[b, k] for b in range(B)) / B
        variance = sum((z[b, k] - z_bar) ** 2 for b in range(B)) / (B - ddof)
        for b in range(B):
            z_prime = 1 / math.sqrt(variance + EPS) * (z[b, k] - z_bar)
            expected[b, k] = a[k] * z_prime - theta[k]
    found = tg.batch_norm(tg.tensor(z), a, theta, EPS, ddof).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_with_vectors_and_matrices(signals):
    """(65.171)-(65.174) and (65.179)-(65.183): v_b = A S^-1 (z_b - z_bar) - theta, S^2 = eps I + diag(variances)."""
    z, a, theta = signals
    z_bar = sum(z) / len(z)
    S2 = EPS * np.eye(3) + np.diag(np.diag((z - z_bar).T @ (z - z_bar)) / (len(z) - 1))
    S_inverse = np.linalg.inv(np.sqrt(S2))
    expected = [np.diag(a) @ S_inverse @ (z_b - z_bar) - theta for z_b in z]
    np.testing.assert_allclose(tg.batch_norm(tg.tensor(z), a, theta, EPS).numpy(), expected, rtol=1e-12)


def test_normalised_columns_have_mean_0_and_variance_1(signals):
    """S^-1 (z - z_bar) of (65.174) for a small eps."""
    z_prime = tg.batch_norm(tg.tensor(signals[0]), np.ones(3), np.zeros(3), 1e-12).numpy()
    np.testing.assert_allclose(z_prime.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z_prime.var(0, ddof=1), 1, rtol=1e-9)


def test_the_scale_and_shift_that_give_z_back_65_178(signals):
    z = signals[0]
    z_bar, S2, _ = bn.normalise(z.tolist(), EPS)
    found = tg.batch_norm(tg.tensor(z), np.sqrt(S2), -np.array(z_bar), EPS).numpy()
    np.testing.assert_allclose(found, z, rtol=1e-14)


def test_the_module_is_the_operation_with_learned_a_and_theta(signals):
    z, a, theta = signals
    layer = nn.BatchNorm(3, eps=EPS, dtype=np.float64)
    assert [layer.a.numpy().tolist(), layer.theta.numpy().tolist()] == [[1, 1, 1], [0, 0, 0]]
    layer.a.assign_(a)
    layer.theta.assign_(theta)
    np.testing.assert_allclose(layer(z).numpy(), tg.batch_norm(tg.tensor(z), a, theta, EPS).numpy(), rtol=1e-14)


def test_where_scale_and_shift_start():
    layer = nn.BatchNorm(400, a=0.25, init_bias="normal", seed=3, dtype=np.float64)
    assert (layer.a.numpy() == 0.25).all()
    theta = layer.theta.numpy()
    assert abs(theta.mean()) < 0.2
    assert 0.8 < theta.var() < 1.2  # N(0, 1), as (65.88) draws biases
    assert (theta == nn.BatchNorm(400, init_bias="standard_normal", seed=3, dtype=np.float64).theta.numpy()).all()


@pytest.mark.parametrize("ddof", [1, 0])
def test_derivatives_of_first_and_second_order(ddof, rng):
    inputs = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)
    tg.gradcheck(lambda z, a, theta: tg.batch_norm(z, a, theta, ddof=ddof), *inputs, second=True)


def test_one_sample_is_refused_in_training_with_ddof_1():
    with pytest.raises(ShapeError, match="a batch of 1 has no variance with ddof=1"):
        nn.BatchNorm(2)(np.zeros((1, 2)))
    assert nn.BatchNorm(2, ddof=0)(np.ones((1, 2))).shape == (1, 2)


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"n": 2, "smoothing": 1.0}, {"n": 2, "ddof": 2}, {"n": 2, "eps": 0.0}, {"n": 2, "a": math.nan}],
)
def test_mistakes_are_refused(wrong):
    with pytest.raises(ArgumentError, match="BatchNorm:"):
        nn.BatchNorm(**wrong)


def test_against_pytorch(rng):
    """With ddof = 0; PyTorch's smoothed variance starts at 1 and divides by B - 1 whatever it normalises by."""
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
    np.testing.assert_allclose(ours.a.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(ours.mean.numpy(), theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.variance.numpy() * 6 / 5, theirs.running_var.numpy() - 0.95, rtol=1e-12)
