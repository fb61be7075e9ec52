"""(65.132)-(65.137): cross-entropy, entropy and Kullback-Leibler divergence of distributions, in bits.

(65.132) the cross-entropy H(p, s), (65.133) its parts, entropy and Kullback-Leibler divergence, (65.134) the entropy
H(p), (65.135) a network's outputs and (65.136) a label as distributions, (65.137) their cross-entropy.
"""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, metrics
from tinygraph.errors import DataError


def H(p, s):
    """The cross-entropy (65.132), in bits."""
    return -sum(a * math.log2(b) for a, b in zip(p, s, strict=True))


def D(p, s):
    """The Kullback-Leibler divergence."""
    return sum(a * math.log2(a / b) for a, b in zip(p, s, strict=True))


def test_against_loops(rng):
    p, s = rng.dirichlet(np.ones(4), 6), rng.dirichlet(np.ones(4), 6)
    np.testing.assert_allclose(metrics.entropy(p), [H(row, row) for row in p], rtol=1e-12)
    np.testing.assert_allclose(metrics.cross_entropy(p, s), [H(a, b) for a, b in zip(p, s, strict=True)], rtol=1e-12)
    np.testing.assert_allclose(metrics.kl_divergence(p, s), [D(a, b) for a, b in zip(p, s, strict=True)], rtol=1e-12)
    assert metrics.kl_divergence(p, s).min() > 0
    np.testing.assert_array_equal(metrics.kl_divergence(p, p), np.zeros(6))


def test_the_parts_of_the_cross_entropy_65_133(rng):
    p, s = rng.dirichlet(np.ones(5), (2, 3)), rng.dirichlet(np.ones(5), (2, 3))
    together = metrics.cross_entropy(p, s)
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together, metrics.entropy(p) + metrics.kl_divergence(p, s), rtol=1e-12)


def test_bits():
    """A fair coin has one bit, eight equal outcomes three, a sure outcome none."""
    assert metrics.entropy([0.5, 0.5]) == 1.0
    assert metrics.entropy(np.full(8, 1 / 8)) == 3.0
    assert metrics.entropy([0.0, 1.0, 0.0]) == 0.0
    assert metrics.cross_entropy([0.5, 0.5], [0.25, 0.75]) == pytest.approx(1 + 0.5 * math.log2(4 / 3))
    assert isinstance(metrics.kl_divergence([0.5, 0.5], [0.25, 0.75]), float)


def test_outcomes_of_probability_0():
    """They add nothing if p has none of them, whatever s says; s = 0 where p has some is infinitely far."""
    assert metrics.cross_entropy([1.0, 0.0], [0.5, 0.5]) == metrics.kl_divergence([1.0, 0.0], [0.5, 0.5]) == 1.0
    assert metrics.cross_entropy([1.0, 0.0], [1.0, 0.0]) == metrics.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert metrics.cross_entropy([0.5, 0.5], [1.0, 0.0]) == metrics.kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf


def test_a_label_and_the_outputs_of_a_network_65_137(rng):
    """The label's distribution is sure, so it is the divergence too; times ln 2 it is the loss (65.128)."""
    z, gamma = tg.tensor(rng.normal(size=(7, 3))), np.eye(3)[rng.integers(0, 3, 7)]
    gamma_hat = tg.softmax(z)
    found = metrics.cross_entropy(gamma, gamma_hat)
    for n, row in enumerate(gamma_hat.numpy().tolist()):
        r = gamma[n].tolist().index(1.0)
        assert found[n] == pytest.approx(-math.log2(row[r]), rel=1e-12)
    np.testing.assert_allclose(metrics.kl_divergence(gamma, gamma_hat), found, rtol=1e-12)
    assert losses.cross_entropy(z, gamma).item() == pytest.approx(math.log(2) * found.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: metrics.entropy([0.5, 0.6]), r"entropy: p must be probabilities that add up to 1 .* is \[0.5, 0.6\]$"),
        (lambda: metrics.entropy([[0.5, 0.5], [1.5, -0.5]]), r"there is \[1.5, -0.5\] at \[1\]"),
        (lambda: metrics.entropy([np.nan, 1.0]), r"there is \[nan, 1.0\]"),
        (lambda: metrics.entropy([]), r"p must have at least one outcome, got shape \(0,\)"),
        (lambda: metrics.entropy(1.0), r"p must have at least one outcome, got shape \(\)"),
        (lambda: metrics.cross_entropy([0.5, 0.5], [0.5, 0.1]), "cross_entropy: s must be probabilities"),
        (lambda: metrics.kl_divergence([1.0], [0.5, 0.5]), r"p and s must have one shape, got \(1,\) and \(2,\)"),
    ],
)
def test_what_is_no_distribution_is_told(call, text):
    with pytest.raises(DataError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
