"""Prob. 65.18: the logistic risk of the prediction gamma-hat = tanh(z) of a single output node, all units tanh.

Only the boundary value of backpropagation changes: delta_L = -gamma / (1 + exp(gamma gamma-hat)) f'(z).
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import DataError
from tinygraph.models import fully_connected

MU, RHO, SIZES, N, STEPS = 0.2, 0.01, [4, 5, 3, 1], 30, 20
TANH = listings.activations(len(SIZES), "tanh", "tanh")


def boundary(gamma_hat, gamma, z):
    f_prime = listings.slope("tanh", z)
    return [-gamma[0] / (1 + math.exp(gamma[0] * gamma_hat[0])) * f_prime[0]]


def network():
    return fully_connected(SIZES, "tanh", "tanh", init_bias="normal", seed=7, dtype=np.float64)


def data(rng):
    return rng.normal(size=(N, 4)), rng.choice([-1.0, 1.0], (N, 1))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("B", [1, 6])
def test_twenty_steps(way, B, rng):
    net, (H, gamma) = network(), data(rng)
    rows = [rng.integers(0, N, B) for _ in range(STEPS)]

    def listing(x, y, W, theta):
        if B == 1:
            return listings.stochastic_step(x[0], y[0], W, theta, MU, RHO, TANH, boundary)
        return listings.minibatch_step(x, y, W, theta, MU, RHO, TANH, boundary)

    pairs, optimizer = [(H[r], gamma[r]) for r in rows], optim.SGD(net.parameters(), MU)
    assert largest_difference_over_steps(way, net, losses.logistic, optimizer, pairs, listing, RHO) <= TOLERANCE


def test_the_risk(rng):
    net, (H, gamma) = network(), data(rng)
    W, theta = listings.parameters(net)
    P = sum(RHO * w**2 for W_l in W.values() for row in W_l for w in row)
    for h, (sign,) in zip(H.tolist(), gamma.tolist(), strict=True):
        gamma_hat, _, _, _ = listings.forward(h, W, theta, TANH)
        P += math.log(1 + math.exp(-sign * gamma_hat[0])) / N
    ours = losses.logistic(net.predict(H), gamma) + losses.l2(net, RHO)
    assert ours.item() == pytest.approx(P, rel=1e-12)
    loss, _ = tg.train.evaluate(net, losses.logistic, (H, gamma))
    assert loss + losses.l2(net, RHO).item() == pytest.approx(P, rel=1e-12)


def test_a_sure_and_right_prediction_still_costs(rng):
    """gamma-hat ends at 1, so the loss does at log(1 + 1/e); of the signal z itself it goes to 0."""
    z, one = tg.tensor([[30.0]]), np.ones((1, 1), np.float32)
    assert losses.logistic(tg.tanh(z), one).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert losses.logistic_with_logits(z, one).item() < 1e-12


def test_of_logits_fit_passes_the_signals(rng):
    """delta_L of the field's risk lacks the factor f'(z)."""
    net, (H, gamma) = network(), data(rng)
    W, theta = listings.parameters(net)

    def of_logits(gamma_hat, gamma, z):
        return [-gamma[0] / (1 + math.exp(gamma[0] * z[0]))]

    expected = listings.minibatch_step(H.tolist(), gamma.tolist(), W, theta, MU, 0.0, TANH, of_logits)
    tg.fit(net, losses.logistic_with_logits, (H, gamma), optim.SGD(net.parameters(), MU), 1, N, progress=False)
    assert listings.largest_difference(listings.parameters(net), expected) <= TOLERANCE


@pytest.mark.parametrize("loss", [losses.logistic, losses.logistic_with_logits])
def test_value_and_slope(loss, rng):
    z, gamma = rng.normal(size=7), rng.choice([-1.0, 1.0], 7)
    x = tg.tensor(z, requires_grad=True)
    value = loss(x, gamma)
    assert value.item() == pytest.approx(sum(math.log(1 + math.exp(-g * v)) for g, v in zip(gamma, z, strict=True)) / 7)
    value.backward()
    np.testing.assert_allclose(x.grad.numpy(), [-g / (1 + math.exp(g * v)) / 7 for g, v in zip(gamma, z, strict=True)])


@pytest.mark.parametrize("z", [1e4, -1e4])
def test_it_never_overflows(z):
    x = tg.tensor(np.array([z], np.float32), requires_grad=True)
    loss = losses.logistic_with_logits(x, np.array([1.0], np.float32))
    loss.backward()
    assert (loss.item(), x.grad.item()) == ((0, 0) if z > 0 else (1e4, -1))


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, gamma = rng.normal(size=(7, 1)), rng.choice([-1.0, 1.0], (7, 1))
    theirs = torch.nn.functional.soft_margin_loss(torch.tensor(z), torch.tensor(gamma)).item()
    assert losses.logistic_with_logits(tg.tensor(z), gamma).item() == pytest.approx(theirs)


@pytest.mark.parametrize("loss", [losses.logistic, losses.logistic_with_logits])
def test_labels_other_than_1_and_minus_1_are_named(loss, rng):
    net, (H, gamma) = network(), data(rng)
    gamma[3] = 0
    with pytest.raises(DataError, match=r"train_set: labels must be -1 or 1; Y has 0.0 at \[3, 0\]"):
        tg.fit(net, loss, (H, gamma), optim.SGD(net.parameters(), MU), progress=False)
