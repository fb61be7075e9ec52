"""(65.110)-(65.119): a network over neighbourhoods against the listing in plain loops, and the symmetric case."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import graph_neighborhood

FIRST = [[0, 2], [1], [], [0, 1, 3]]  # FIRST[j]: the nodes that feed node j; node 2 has no neighbour
SECOND = [[3, 0], [1, 2, 3], [2]]


def by_edge(layer):
    """The weights of a layer as a dict from (from, to)."""
    edges = layer.neighborhoods
    pairs = zip(edges.sources.tolist(), edges.targets.tolist(), strict=True)
    return dict(zip(pairs, layer.w.numpy().tolist(), strict=True))


def listing(layers, x, gamma):
    """(65.119) for one sample: z and delta of every layer, tanh within, least squares on a linear output."""
    ys, zs = [list(x)], []
    for l, (lists, w, theta) in enumerate(layers):
        z = [sum(w[i, j] * ys[-1][i] for i in nodes) - theta[j] for j, nodes in enumerate(lists)]
        zs.append(z)
        ys.append([math.tanh(v) for v in z] if l < len(layers) - 1 else z)
    delta = [[2 * (a - b) for a, b in zip(ys[-1], gamma, strict=True)]]
    for l in range(len(layers) - 1, 0, -1):
        lists, w, _ = layers[l]
        fed = [[j for j, nodes in enumerate(lists) if i in nodes] for i in range(len(zs[l - 1]))]
        delta.insert(
            0,
            [(1 - math.tanh(zs[l - 1][i]) ** 2) * sum(w[i, j] * delta[0][j] for j in fed[i]) for i in range(len(fed))],
        )
    return ys, zs, delta


def test_signals_sensitivities_and_gradients_by_the_listing(rng):
    net = graph_neighborhood(
        [FIRST, SECOND], [4, 4, 3], "tanh", "linear", init_bias="standard_normal", seed=0, dtype=np.float64
    )
    layers = [(lists, by_edge(net[l]), net[l].theta.numpy()) for l, lists in enumerate((FIRST, SECOND))]
    X, Y = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    loss = losses.squared_error(net(X), Y)
    found = tg.sensitivities(loss, net)
    loss.backward()
    slopes = [dict.fromkeys(w, 0.0) for _, w, _ in layers]
    for b in range(5):
        ys, zs, delta = listing(layers, X[b], Y[b])
        np.testing.assert_allclose(net(X[b : b + 1]).numpy()[0], zs[-1], rtol=1e-12)
        assert zs[0][2] == -layers[0][2][2]  # an empty neighbourhood: -theta
        for l, name in enumerate(("z2", "z3")):
            np.testing.assert_allclose(found[name].numpy()[b], delta[l], rtol=1e-10, atol=1e-14)
            for i, j in slopes[l]:
                slopes[l][i, j] += delta[l][j] * ys[l][i] / 5
    for l in range(2):
        edges = net[l].neighborhoods
        expected = [slopes[l][i, j] for i, j in zip(edges.sources.tolist(), edges.targets.tolist(), strict=True)]
        np.testing.assert_allclose(net[l].w.grad.numpy(), expected, rtol=1e-10, atol=1e-14)


def test_in_the_symmetric_case_a_node_hears_back_from_those_that_feed_it(rng):
    """(65.118): if i feeds j wherever j feeds i, delta of node i adds up over its own neighbourhood."""
    ring = [[(j - 1) % 6, j, (j + 1) % 6] for j in range(6)]
    net = graph_neighborhood([ring, ring], [6, 6, 6], "tanh", "linear", seed=1, dtype=np.float64)
    x, gamma = rng.normal(size=(1, 6)), rng.normal(size=(1, 6))
    z2 = net[0].theta.numpy() * 0 + (x @ _dense(net[0]))[0] - net[0].theta.numpy()
    loss = losses.squared_error(net(x), gamma)
    found = tg.sensitivities(loss, net)
    w, last = by_edge(net[1]), found["z3"].numpy()[0]
    expected = [(1 - math.tanh(z2[i]) ** 2) * sum(w[i, j] * last[j] for j in ring[i]) for i in range(6)]
    np.testing.assert_allclose(found["z2"].numpy()[0], expected, rtol=1e-11)


def _dense(layer):
    W = np.zeros((layer.neighborhoods.n_in, layer.neighborhoods.n_out))
    for (i, j), value in by_edge(layer).items():
        W[i, j] = value
    return W


def test_a_layer_without_neighbourhoods_is_fully_connected(rng):
    net = graph_neighborhood([FIRST, None], [4, 4, 3], "tanh", seed=0, dtype=np.float64)
    assert [t.shape for t in net.parameters()] == [(6,), (4,), (4, 3), (3,)]
    tg.gradcheck(net, rng.normal(size=(5, 4)), np.eye(3)[[0, 1, 2, 0, 1]], losses.cross_entropy)


@pytest.mark.host
def test_locally_connected_digits_are_told_apart_with_few_weights():
    digits = data.load("digits")
    net = graph_neighborhood([tg.Neighborhoods.grid((8, 8)), None], [64, 64, 10], seed=0)
    assert net[0].w.size == (3 * 8 - 2) ** 2  # not 64 * 64
    optimizer = optim.Adam(net.parameters(), 3e-3)
    tg.fit(net, losses.cross_entropy, digits.train, optimizer, epochs=40, progress=False)
    assert tg.evaluate(net, losses.cross_entropy, digits.test)[1] < 0.05


@pytest.mark.parametrize(
    ("neighborhoods", "sizes", "error", "text"),
    [
        ([FIRST, SECOND], [4, 4], ArgumentError, r"one more than the 2 layers' neighbourhoods, .* got \[4, 4\]"),
        ([], [4], ArgumentError, "at least 2"),
        ([FIRST, SECOND], [4, 5, 3], ArgumentError, "layer 1 leads from 4 to 5 nodes, but .* from 4 to 4"),
        ([tg.Neighborhoods(FIRST, 4)], [5, 4], ArgumentError, "layer 1 leads from 5 to 4 nodes, but .* from 4 to 4"),
        ([FIRST], [3, 4], DataError, "node 3, which is outside 0 to 2"),
    ],
)
def test_sizes_that_do_not_agree_are_named_in_one_line(neighborhoods, sizes, error, text):
    with pytest.raises(error, match=text) as caught:
        graph_neighborhood(neighborhoods, sizes)
    assert "\n" not in str(caught.value)
