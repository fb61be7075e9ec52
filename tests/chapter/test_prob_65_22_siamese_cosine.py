"""Problem 65.22: two branches with the same weights, the cosine of their sigmoid outputs, labels 1 and -1.

The risk is the regularised least-squares one, sum rho |W_l|^2 + 1/N sum (gamma - gamma-hat)^2. With u and v the outputs
of the branches and c their cosine, ``dc/du = (v / |v| - c u / |u|) / |u|``; so delta_L of the first branch is
``2 (c - gamma) f'(z_L) o dc/du``, that of the second has u and v exchanged, and the gradient of W_l adds up both.
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.pairs import RHO, SIZES, account, branches, difference_over_steps
from chapter.ways import TOLERANCE, WAYS

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import Cosine, siamese


def norm(u):
    return math.sqrt(sum(u_q * u_q for u_q in u))


def cosine(u, v):
    return sum(u_q * v_q for u_q, v_q in zip(u, v, strict=True)) / (norm(u) * norm(v))


def accounts(h_1, h_2, gamma, W, theta):
    """Of one pair, for either branch."""
    (u, y_1, z_1), (v, y_2, z_2) = branches(h_1, h_2, W, theta)
    c = cosine(u, v)
    for own, other, y, z in ((u, v, y_1, z_1), (v, u, y_2, z_2)):
        dc = [(other[q] / norm(other) - c * own[q] / norm(own)) / norm(own) for q in range(len(own))]
        yield account([2 * (c - gamma) * slope for slope in dc], y, z, W)


def network(embedding="sigmoid"):
    return siamese(SIZES, activation="tanh", embedding=embedding, init_bias="normal", seed=0, dtype=np.float64)


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("B", "rho"), [(1, 0.0), (1, RHO), (6, RHO)])
def test_twenty_steps(way, B, rho, rng):
    found = difference_over_steps(way, network(), losses.squared_error, accounts, [-1.0, 1.0], B, rho, rng)
    assert found <= TOLERANCE


def test_the_prediction_is_the_cosine_and_the_decision_its_sign(rng):
    net, h = network("tanh"), rng.normal(size=(40, 2, 4))
    W, theta = listings.parameters(net)
    f = listings.activations(3, "tanh", "tanh")
    c = [cosine(*(listings.forward(x, W, theta, f)[0] for x in pair)) for pair in h]
    np.testing.assert_allclose(net.predict(h).numpy(), c, rtol=1e-10)
    np.testing.assert_array_equal(net.decide(h).numpy(), [1.0 if value >= 0 else -1.0 for value in c])
    assert {-1.0, 1.0} == set(net.decide(h).numpy())
    assert isinstance(net.head, Cosine)


@pytest.mark.host
def test_the_error_that_fit_reports_is_the_fraction_of_wrong_signs(rng):
    net, h, labels = network("tanh"), rng.normal(size=(50, 2, 4)), rng.choice([-1.0, 1.0], size=50)
    wrong = (np.where(net(h).numpy() >= 0, 1, -1) != labels).mean()
    history = tg.fit(net, losses.squared_error, (h, labels), optim.SGD(net.parameters(), 1e-9), 1, 50, progress=False)
    assert history.errors == [pytest.approx(wrong)]
    assert 0.2 < wrong < 0.8


def test_the_cosine_of_sigmoid_outputs_stays_above_0_and_of_tanh_outputs_reaches_minus_1(rng):
    """The problem has sigmoids, so the label -1 is out of reach; the library's own embedding is tanh."""
    h = 10 * rng.normal(size=(500, 2, 4))
    assert network("sigmoid").predict(h).numpy().min() > 0
    own = siamese(SIZES, init_bias="normal", seed=0, dtype=np.float64)
    assert own.branch[1].activation is tg.tanh
    assert own.predict(h).numpy().min() < -0.9
