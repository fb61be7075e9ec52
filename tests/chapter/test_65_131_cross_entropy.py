"""(65.125)-(65.131), (65.138): cross-entropy, its fused gradient, the binary case, log loss."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, metrics


def softmax(z):
    e = [math.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


def test_the_risk_and_its_sensitivity_65_131(rng):
    z, gamma = rng.normal(size=(5, 3)), np.eye(3)[[0, 2, 1, 1, 0]]
    risk = sum(-sum(gamma[b][j] * math.log(softmax(z[b])[j]) for j in range(3)) for b in range(5)) / 5
    x = tg.tensor(z, requires_grad=True)
    loss = losses.cross_entropy(x, gamma)
    assert loss.item() == pytest.approx(risk, rel=1e-12)
    loss.backward()
    delta = [[(softmax(z[b])[j] - gamma[b][j]) / 5 for j in range(3)] for b in range(5)]
    np.testing.assert_allclose(x.grad.numpy(), delta, rtol=1e-12, atol=1e-15)


def test_the_binary_case_with_missing_labels(rng):
    z, t = rng.normal(size=(6, 4)), rng.integers(0, 2, (6, 4)).astype(float)
    t[1, 2] = t[4, 0] = np.nan
    risk, slope = 0.0, np.zeros((6, 4))
    for b in range(6):
        for j in range(4):
            if not math.isnan(t[b, j]):
                s = 1 / (1 + math.exp(-z[b, j]))
                risk += -(t[b, j] * math.log(s) + (1 - t[b, j]) * math.log(1 - s)) / 6
                slope[b, j] = (s - t[b, j]) / 6
    valid = (~np.isnan(t)).astype(float)
    for arguments in ((t,), (np.nan_to_num(t), valid)):
        x = tg.tensor(z, requires_grad=True)
        loss = losses.binary_cross_entropy(x, *arguments)
        assert loss.item() == pytest.approx(risk, rel=1e-12)
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-12, atol=1e-15)


def test_all_labels_missing_is_a_loss_of_zero():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    loss = losses.binary_cross_entropy(x, np.full((2, 3), np.nan))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.numpy().any()


@pytest.mark.parametrize("z", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_nothing_overflows_in_float32(z, t):
    x = tg.tensor(np.array([[z]], np.float32), requires_grad=True)
    loss = losses.binary_cross_entropy(x, np.array([[t]], np.float32))
    (first,) = tg.grad(loss, [x])
    (second,) = tg.grad(first.sum() * first.sum() + x.sum(), [x])
    assert loss.item() == pytest.approx(max(z, 0) - z * t + math.log1p(math.exp(-abs(z))))
    assert np.isfinite([first.item(), second.item()]).all()
    assert loss.dtype == first.dtype == np.float32


def test_second_derivatives(rng):
    t = rng.uniform(0, 1, (3, 2))
    tg.gradcheck(lambda z: losses.binary_cross_entropy(z, t), rng.normal(size=(3, 2)), second=True)


def test_log_loss_65_138(rng):
    p, labels = rng.dirichlet(np.ones(3), 7), rng.integers(0, 3, 7)
    assert metrics.log_loss(p, labels) == pytest.approx(-sum(math.log(p[n][labels[n]]) for n in range(7)) / 7)
    assert metrics.log_loss([0.0, 1.0], [1, 1]) == math.inf


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, labels, t = rng.normal(size=(4, 3)), rng.integers(0, 3, 4), rng.uniform(0, 1, (4, 3))
    ours, theirs = (
        losses.cross_entropy(tg.tensor(z), labels),
        torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(labels)),
    )
    assert ours.item() == pytest.approx(theirs.item())
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(z), torch.tensor(t), reduction="sum") / 4
    assert losses.binary_cross_entropy(tg.tensor(z), t).item() == pytest.approx(theirs.item())
