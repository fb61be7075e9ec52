"""Problem 65.23: one sigmoid node fed by r, the absolute differences of two sigmoid embeddings; cross-entropy.

The risk is rho |w_r|^2 + sum rho |W_l|^2 - 1/N sum (gamma ln gamma-hat + (1 - gamma) ln(1 - gamma-hat)), with labels
1 and 0. The node's own sensitivity is delta = gamma-hat - gamma; from r it goes to u with the sign of u - v, and to v
with the opposite one.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.pairs import RHO, SIZES, L, Q, account, branches, difference_over_steps
from chapter.ways import TOLERANCE, WAYS

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import AbsoluteDifference, siamese


def score(h_1, h_2, W, theta):
    """gamma-hat and r of one pair, and its branches; W[L] is w_r, a column, and theta[L] has theta_r."""
    both = list(branches(h_1, h_2, W, theta))
    r = [abs(u_q - v_q) for u_q, v_q in zip(both[0][0], both[1][0], strict=True)]
    return listings.sigmoid(sum(W[L][q][0] * r[q] for q in range(Q)) - theta[L][0]), r, both


def accounts(h_1, h_2, gamma, W, theta):
    """Of one pair, for the node and for either branch."""
    gamma_hat, r, ((u, y_1, z_1), (v, y_2, z_2)) = score(h_1, h_2, W, theta)
    delta = gamma_hat - gamma
    yield {L: (r, [delta])}
    for own, other, y, z in ((u, v, y_1, z_1), (v, u, y_2, z_2)):
        signs = [1 if own[q] > other[q] else -1 if own[q] < other[q] else 0 for q in range(Q)]
        yield account([delta * W[L][q][0] * signs[q] for q in range(Q)], y, z, W)


def network():
    return siamese(SIZES, "absolute_difference", activation="tanh", init_bias="normal", seed=0, dtype=np.float64)


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("B", "rho"), [(1, 0.0), (1, RHO), (6, RHO)])
def test_twenty_steps(way, B, rho, rng):
    found = difference_over_steps(way, network(), losses.binary_cross_entropy, accounts, [0.0, 1.0], B, rho, rng)
    assert found <= TOLERANCE


def test_the_prediction_is_the_sigmoid_of_the_node_and_at_least_one_half_decides_for_1(rng):
    net, h = network(), rng.normal(size=(30, 2, 4))
    net.head.node.theta.assign_(np.array([np.median(net(h).numpy()) + net.head.node.theta.numpy()[0]]))
    W, theta = listings.parameters(net)
    expected = [score(*pair, W, theta)[0] for pair in h]
    np.testing.assert_allclose(net.predict(h).numpy(), expected, rtol=1e-10)
    np.testing.assert_array_equal(net.decide(h).numpy(), [1.0 if value >= 0.5 else 0.0 for value in expected])
    assert {0.0, 1.0} == set(net.decide(h).numpy())


def test_the_embedding_is_of_sigmoids_unless_another_is_asked_for():
    net = network()
    assert isinstance(net.head, AbsoluteDifference)
    assert net.branch[1].activation is tg.sigmoid
    assert siamese(SIZES, "absolute_difference", embedding="tanh").branch[1].activation is tg.tanh
