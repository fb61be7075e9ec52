"""Probs. 65.19, 65.20: derivatives of a risk by way of z', the variance and the mean of a batch.

Problem 65.19 has six expressions, Problem 65.20 the derivative of the variance. They hold for the variance that
divides by B (65.212b); with B - 1 (65.170b) their factor 2/B is 2/(B - 1).
"""

from types import SimpleNamespace

import numpy as np
import pytest
from chapter import batch_norm_listing as bn

import tinygraph as tg

pytestmark = pytest.mark.host

B, EPS = 5, 1e-3


@pytest.fixture
def batch(rng):
    return SimpleNamespace(
        z=rng.normal(size=(B, 3)) + 1, a=rng.normal(size=3), theta=rng.normal(size=3), gamma=rng.normal(size=(B, 3))
    )


def by_the_library(batch, ddof):
    """The risk with every signal in between as a node of the graph, and its derivatives with respect to them."""
    z, a, theta = (tg.tensor(x, requires_grad=True) for x in (batch.z, batch.a, batch.theta))
    z_bar = tg.mean(z, 0)
    variance = tg.square(z - z_bar).sum(0) * (1 / (B - ddof))
    z_prime = (z - z_bar) / tg.sqrt(variance + EPS)
    v = a * z_prime - theta
    risk = tg.losses.squared_error(tg.tanh(v), batch.gamma)
    names = ("v", "z_prime", "variance", "z_bar", "z", "a", "theta")
    found = tg.grad(risk, [v, z_prime, variance, z_bar, z, a, theta])
    return SimpleNamespace(**{name: g.numpy() for name, g in zip(names, found, strict=True)})


def as_printed(batch, dv, ddof, factor):
    """The six expressions, from dP/dz''; `factor` is 2/B in print."""
    z, a, samples, nodes = batch.z, batch.a, range(B), range(3)
    z_bar, S2, z_prime = bn.normalise(z.tolist(), EPS, ddof)
    p = SimpleNamespace(z_prime=np.zeros((B, 3)), z=np.zeros((B, 3)))
    p.variance, p.z_bar, p.a, p.theta = (np.zeros(3) for _ in range(4))
    for k in nodes:
        for b in samples:
            p.z_prime[b, k] = a[k] * dv[b, k]
        p.variance[k] = -0.5 * S2[k] ** -1.5 * sum(p.z_prime[b, k] * (z[b, k] - z_bar[k]) for b in samples)
        p.z_bar[k] = -(S2[k] ** -0.5) * sum(p.z_prime[b, k] for b in samples) - factor * p.variance[k] * sum(
            z[b, k] - z_bar[k] for b in samples
        )
        for b in samples:
            p.z[b, k] = (
                S2[k] ** -0.5 * p.z_prime[b, k] + factor * (z[b, k] - z_bar[k]) * p.variance[k] + 1 / B * p.z_bar[k]
            )
        p.a[k] = sum(dv[b, k] * z_prime[b][k] for b in samples)
        p.theta[k] = -sum(dv[b, k] for b in samples)
    return p


@pytest.mark.parametrize(("ddof", "factor"), [(0, 2 / B), (1, 2 / (B - 1))])
@pytest.mark.parametrize("name", ["z_prime", "variance", "z_bar", "z", "a", "theta"])
def test_the_expressions_of_problem_65_19(name, ddof, factor, batch):
    ours = by_the_library(batch, ddof)
    expected = getattr(as_printed(batch, ours.v, ddof, factor), name)
    np.testing.assert_allclose(getattr(ours, name), expected, rtol=1e-10, atol=1e-13)


def test_with_2_over_B_and_the_variance_of_65_170b_the_derivative_of_z_is_wrong(batch):
    ours = by_the_library(batch, 1)
    printed = as_printed(batch, ours.v, 1, 2 / B)
    assert np.abs(printed.z - ours.z).max() > 0.01
    for name in ("z_prime", "variance", "a", "theta"):
        np.testing.assert_allclose(getattr(printed, name), getattr(ours, name), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("ddof", [0, 1])
def test_the_operation_is_that_chain(ddof, batch):
    z, a, theta = (tg.tensor(x, requires_grad=True) for x in (batch.z, batch.a, batch.theta))
    risk = tg.losses.squared_error(tg.tanh(tg.batch_norm(z, a, theta, EPS, ddof)), batch.gamma)
    ours = by_the_library(batch, ddof)
    for found, name in zip(tg.grad(risk, [z, a, theta]), ("z", "a", "theta"), strict=True):
        np.testing.assert_allclose(found.numpy(), getattr(ours, name), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("ddof", "factor"), [(0, 2 / B), (1, 2 / (B - 1))])
def test_the_derivative_of_the_variance_problem_65_20(ddof, factor, batch):
    """Also by central differences: 2/B (z_b - z-bar) for 1/B."""
    z = tg.tensor(batch.z)
    for j in range(3):
        z_bar = sum(batch.z[b, j] for b in range(B)) / B
        expected = [factor * (batch.z[b, j] - z_bar) for b in range(B)]
        numeric = bn.differences(lambda z, j=j: bn.normalise(z, EPS, ddof)[1][j], batch.z.tolist())
        np.testing.assert_allclose([row[j] for row in numeric], expected, rtol=1e-7)
        (ours,) = tg.grad(tg.var(z, 0, ddof=ddof)[j], [z])
        np.testing.assert_allclose(ours.numpy()[:, j], expected, rtol=1e-12)
