"""(65.154)-(65.164): T softmax pairs; a missing label adds nothing to loss and gradients."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses
from tinygraph.errors import ShapeError


def test_the_risk_over_the_labels_there_are(rng):
    B, T = 5, 3
    z, t = rng.normal(size=(B, 2 * T)), rng.integers(0, 2, (B, T)).astype(float)
    t[0, 1] = t[3, 2] = np.nan
    t[:, 0] = np.nan  # a whole task without labels
    risk, slope = 0.0, np.zeros((B, 2 * T))
    for b in range(B):
        for k in range(T):
            if math.isnan(t[b, k]):
                continue
            e = [math.exp(z[b, 2 * k]), math.exp(z[b, 2 * k + 1])]
            p = [v / sum(e) for v in e]
            gamma = [1 - t[b, k], t[b, k]]
            risk += -sum(g * math.log(q) for g, q in zip(gamma, p, strict=True)) / B
            for j in range(2):
                slope[b, 2 * k + j] = (p[j] - gamma[j]) / B
    for shape in ((B, 2 * T), (B, T, 2)):
        x = tg.tensor(z.reshape(shape), requires_grad=True)
        loss = losses.multitask_cross_entropy(x, t)
        assert loss.item() == pytest.approx(risk, rel=1e-12)
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy().reshape(B, 2 * T), slope, rtol=1e-11, atol=1e-15)


def test_a_sample_without_labels_changes_no_gradient(rng):
    z, t = rng.normal(size=(3, 4)), np.array([[0.0, 1.0], [np.nan, np.nan], [1.0, 1.0]])
    x = tg.tensor(z, requires_grad=True)
    losses.multitask_cross_entropy(x, t).backward()
    assert not x.grad.numpy()[1].any()
    assert x.grad.numpy()[[0, 2]].all()


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"expected target \(B, T\) and logits .*, got \(2, 3\) and \(2, 4\)"):
        losses.multitask_cross_entropy(tg.tensor(np.zeros((2, 4))), np.zeros((2, 3)))
