"""Problem 65.24: both sigmoid embeddings, one after the other, fed to a third network, which gives the relation score.

The risk is sum rho |W_l|^2 + sum rho |W'_l|^2 + 1/N sum (gamma - gamma-hat)^2, with labels 1 and 0; the third network
has L' layers, counting its inputs d and its one output node. The node is called a softmax there, but a softmax of one
entry is always 1; a sigmoid is meant, and is used here. delta' goes back through W'_1 to d, whose first Q entries
belong to the first branch and whose others to the second.
"""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import Relation, siamese

SIZES = [4, 5, 3]
L, Q = 3, 3
STEPS, MU, RHO = 20, 0.2, 0.01
F = listings.activations(L, "tanh", "sigmoid")


def step(pairs, labels, W, theta, mu, rho):
    """One step by a mini-batch of B pairs; W[1], ..., W[L-1] are the branch's, those from W[L] on W'_1, W'_2, ..."""
    B, L_ = len(pairs), len(W) - (L - 1) + 1  # L' layers
    branch = {l: W[l] for l in range(1, L)}
    third, theta_third = {l: W[L - 1 + l] for l in range(1, L_)}, {l: theta[L - 1 + l] for l in range(1, L_)}
    f_third = listings.activations(L_, "tanh", "sigmoid")
    passes = []  # by the number of the matrix: the signals that it is fed with, and the sensitivities that it leads to
    for (h_1, h_2), gamma in zip(pairs, labels, strict=True):
        u, _, y_1, z_1 = listings.forward(h_1, branch, theta, F)
        v, _, y_2, z_2 = listings.forward(h_2, branch, theta, F)
        d = [*u, *v]
        (gamma_hat,), _, y, z = listings.forward(d, third, theta_third, f_third)
        delta_end = [2 * (gamma_hat - gamma) * gamma_hat * (1 - gamma_hat)]
        delta = listings.backward(delta_end, f_third, z, third)
        passes.append({L - 1 + l: (y[l], delta[l + 1]) for l in range(1, L_)})
        to_d = [sum(third[1][k][j] * delta[2][j] for j in range(len(delta[2]))) for k in range(2 * Q)]
        for part, y_l, z_l in ((to_d[:Q], y_1, z_1), (to_d[Q:], y_2, z_2)):
            slope = listings.slope(F[L], z_l[L])
            delta_l = listings.backward([slope[q] * part[q] for q in range(Q)], F, z_l, branch)
            passes.append({l: (y_l[l], delta_l[l + 1]) for l in range(1, L)})
    W_m, theta_m = {}, {}
    for l in W:
        through = [p[l] for p in passes if l in p]
        W_m[l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j] - mu / B * sum(delta[j] * y[i] for y, delta in through)
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu / B * sum(delta[j] for _, delta in through) for j in range(len(theta[l]))]
    return W_m, theta_m


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
    net, h = network(relation_sizes), rng.normal(size=(STEPS, B, 2, 4))
    pairs = list(zip(h, rng.choice([0.0, 1.0], size=(STEPS, B)), strict=True))

    def listing(x, y, W, theta):
        return step(x, y, W, theta, MU, rho)

    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, rho)
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
