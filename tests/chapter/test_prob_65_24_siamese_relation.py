"""Problem 65.24: both sigmoid embeddings, one after the other, fed to a third network, which gives the relation score.

The risk is sum rho |W_l|^2 + sum rho |W'_l|^2 + 1/N sum (gamma - gamma-hat)^2, with labels 1 and 0; the third network
has L' layers, counting its inputs d and its one output node. The node is called a softmax there, but a softmax of one
entry is always 1; a sigmoid is meant, and is used here. delta' goes back through W'_1 to d, whose first Q entries
belong to the first branch and whose others to the second.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.pairs import RHO, SIZES, L, Q, account, branches, difference_over_steps
from chapter.ways import TOLERANCE, WAYS

import tinygraph as tg
from tinygraph import losses
from tinygraph.errors import ArgumentError
from tinygraph.models import Relation, siamese


def accounts(h_1, h_2, gamma, W, theta):
    """Of one pair, for the third network and for either branch; W[L], W[L + 1], ... are W'_1, W'_2, ..."""
    L_ = len(W) - (L - 1) + 1  # L' layers
    third, theta_third = {l: W[L - 1 + l] for l in range(1, L_)}, {l: theta[L - 1 + l] for l in range(1, L_)}
    f_third = listings.activations(L_, "tanh", "sigmoid")
    (u, y_1, z_1), (v, y_2, z_2) = branches(h_1, h_2, W, theta)
    (gamma_hat,), _, y, z = listings.forward([*u, *v], third, theta_third, f_third)
    delta = listings.backward([2 * (gamma_hat - gamma) * gamma_hat * (1 - gamma_hat)], f_third, z, third)
    yield {L - 1 + l: (y[l], delta[l + 1]) for l in range(1, L_)}
    to_d = [sum(w * d for w, d in zip(row, delta[2], strict=True)) for row in third[1]]
    yield account(to_d[:Q], y_1, z_1, W)
    yield account(to_d[Q:], y_2, z_2, W)


def network(relation_sizes):
    return siamese(
        SIZES,
        "relation",
        relation_sizes=relation_sizes,
        activation="tanh",
        embedding="sigmoid",
        init_bias="normal",
        seed=0,
        dtype=np.float64,
    )


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("relation_sizes", [[], [3], [4, 2]], ids=["L'=2", "L'=3", "L'=4"])
@pytest.mark.parametrize(("B", "rho"), [(1, 0.0), (1, RHO), (6, RHO)])
def test_twenty_steps(way, relation_sizes, B, rho, rng):
    found = difference_over_steps(way, network(relation_sizes), losses.squared_error, accounts, [0.0, 1.0], B, rho, rng)
    assert found <= TOLERANCE


def test_the_third_network_has_the_layers_asked_for_and_by_default_one_hidden_layer_of_q_nodes():
    def shapes(relation_sizes):
        return [layer.W.shape for layer in network(relation_sizes).head.layers]

    assert shapes(None) == shapes([3]) == [(6, 3), (3, 1)]
    assert shapes([]) == [(6, 1)]
    assert shapes([7, 2]) == [(6, 7), (7, 2), (2, 1)]
    assert isinstance(network(None).head, Relation)
    assert siamese(SIZES, "relation").branch[1].activation is tg.tanh  # the library's own choice


def test_the_score_of_a_pair_depends_on_its_order_and_one_half_decides(rng):
    net, h = network([4]), rng.normal(size=(30, 2, 4))
    score = net.predict(h).numpy()
    assert np.abs(score - net.predict(h[:, ::-1]).numpy()).max() > 0.01
    np.testing.assert_array_equal(net.decide(h).numpy(), score >= 0.5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"head": "cosine", "relation_sizes": [3]}, "relation_sizes are for head='relation', got head='cosine'"),
        ({"head": "relation", "relation_sizes": 3}, r"siamese: relation_sizes must list .* got 3; say \[3\]"),
        ({"head": "relation", "relation_sizes": [0]}, "at least 1, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_told_in_one_line(options, text):
    with pytest.raises(ArgumentError, match=text) as caught:
        siamese(SIZES, **options)
    assert "\n" not in str(caught.value)
