"""Ex. 65.8: the log loss (65.138), and its reading by probabilities of classes (65.139), which lacks a logarithm."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, metrics

pytestmark = pytest.mark.host


def log_loss(gamma_hat, gamma):
    """(65.138)."""
    pairs = [(g, y) for rows in zip(gamma, gamma_hat, strict=True) for g, y in zip(*rows, strict=True)]
    return -sum(g * math.log(y) for g, y in pairs) / len(gamma)


def by_classes(probabilities, labels, function):
    """(65.139) with a function of the probabilities: the indicator picks that of the true class."""
    N, Q = len(labels), len(probabilities[0])
    return -sum((labels[n] == q) * function(probabilities[n][q]) for n in range(N) for q in range(Q)) / N


def test_it_is_the_last_term_of_the_risk(rng):
    z, labels = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    gamma_hat = tg.softmax(tg.tensor(z)).numpy()
    expected = log_loss(gamma_hat.tolist(), np.eye(3)[labels].tolist())
    for target in (labels, np.eye(3)[labels]):
        assert metrics.log_loss(gamma_hat, target) == pytest.approx(expected, rel=1e-12)
    assert losses.cross_entropy(tg.tensor(z), labels).item() == pytest.approx(expected, rel=1e-12)


def test_by_classes_with_the_logarithm_it_is_the_same(rng):
    p, labels = rng.dirichlet(np.ones(3), 7), rng.integers(0, 3, 7)
    assert metrics.log_loss(p, labels) == pytest.approx(by_classes(p.tolist(), labels.tolist(), math.log), rel=1e-12)


def test_as_printed_without_the_logarithm_it_is_another_number():
    """Sure and right costs nothing; (65.139) as printed makes it -1, and never above 0."""
    sure, labels = [[1.0, 0.0], [0.0, 1.0]], [0, 1]
    assert metrics.log_loss(sure, labels) == 0.0
    assert by_classes(sure, labels, lambda p: p) == -1.0


def test_two_classes_by_the_probability_of_one():
    assert metrics.log_loss([0.2, 0.7], [0, 1]) == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)
    assert metrics.log_loss([0.0, 1.0], [1, 1]) == math.inf
