"""Example 65.6: a network in which a node is fed by its neighbours only, by the listings (65.114) and (65.119).

Layers with all connections (65.110a), (65.111a) and with neighbourhoods (65.112a), (65.112b); forward (65.114);
sensitivities (65.113), (65.115), (65.116); neighbourhoods that are symmetric (65.117), (65.118); backward and the
updates of weights and biases (65.119).
"""

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import graph_neighborhood

# N[l + 1][j]: the nodes of layer l that feed node j of layer l + 1; node 2 of layer 2 has no neighbour.
FIRST, SECOND = [[0, 2], [1], [], [0, 1, 3]], [[3, 0], [1, 2, 3], [2]]
NEIGHBORS = {2: FIRST, 3: [[1, 3], [0], [0, 1, 2], [2, 3]], 4: SECOND}
SIZES = [4, 4, 4, 3]
FUNCTIONS = ("sigmoid", "tanh")  # one for each hidden layer
STEPS, MU, RHO = 20, 0.05, 0.02


def forward(h, w, theta, N, f):
    """(65.114): z_l and y_l; ``w[l][i, j]`` leads from node i of layer l to node j of layer l + 1."""
    L = len(w) + 1
    z, y = {}, {1: list(h)}
    for l in range(1, L):
        z[l + 1], y[l + 1] = [], []
        for j in range(len(N[l + 1])):
            z[l + 1].append(sum(w[l][i, j] * y[l][i] for i in N[l + 1][j]) - theta[l][j])
            y[l + 1].append(listings.ACTIVATIONS[f[l + 1]][0](z[l + 1][j]))
    return z, y


def sensitivity(l, z, w, delta, N, f):
    """(65.116): delta_l(j), summed over the nodes i of layer l + 1 that j feeds."""
    found = []
    for j in range(len(z[l])):
        total = 0.0
        for i in range(len(delta[l + 1])):
            if j in N[l + 1][i]:
                total += w[l][j, i] * delta[l + 1][i]
        found.append(listings.ACTIVATIONS[f[l]][1](z[l][j]) * total)
    return found


def step(h, gamma, w, theta, N, f, mu, rho):
    """(65.119) for one pair: the parameters after it."""
    L = len(w) + 1
    w, theta = {l: dict(w[l]) for l in w}, {l: list(theta[l]) for l in theta}
    z, y = forward(h, w, theta, N, f)
    slope = listings.ACTIVATIONS[f[L]][1]
    delta = {L: [2 * (y[L][q] - gamma[q]) * slope(z[L][q]) for q in range(len(gamma))]}
    for l in range(L - 1, 0, -1):
        for j in range(len(theta[l])):
            theta[l][j] = theta[l][j] + mu * delta[l + 1][j]
        if l >= 2:
            delta[l] = sensitivity(l, z, w, delta, N, f)
        for j in range(len(N[l + 1])):
            for i in N[l + 1][j]:
                w[l][i, j] = (1 - 2 * mu * rho) * w[l][i, j] - mu * y[l][i] * delta[l + 1][j]
    return w, theta


def edges(net, l):
    """The pairs (from, to) of the weights of layer l, in their order."""
    of_layer = net[l - 1].neighborhoods
    return list(zip(of_layer.sources.tolist(), of_layer.targets.tolist(), strict=True))


def by_edge(net):
    """w and theta of a network, as the listings have them."""
    w, theta = listings.parameters(net)
    return {l: dict(zip(edges(net, l), w[l], strict=True)) for l in w}, theta


def network(output="linear", **options):
    return graph_neighborhood(
        [NEIGHBORS[2], NEIGHBORS[3], NEIGHBORS[4]],
        SIZES,
        FUNCTIONS,
        output,
        **{"init_bias": "normal", "seed": 0, "dtype": np.float64, **options},
    )


def functions(output):
    return {2: FUNCTIONS[0], 3: FUNCTIONS[1], 4: output}


@pytest.mark.parametrize("output", ["linear", "sigmoid", "tanh"])
def test_the_forward_pass_65_114_and_the_sensitivities_65_116(rng, output):
    net, f = network(output), functions(output)
    w, theta = by_edge(net)
    H, G = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    signals = net.activations(H)
    found = tg.sensitivities(losses.squared_error(net.predict(H, train=True), G), net)
    for b in range(5):
        z, y = forward(H[b], w, theta, NEIGHBORS, f)
        assert z[2][2] == -theta[1][2]  # a node without neighbours
        for l in (2, 3, 4):
            np.testing.assert_allclose(signals[f"z{l}"].numpy()[b], z[l], rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(signals[f"y{l}"].numpy()[b], y[l], rtol=1e-11, atol=1e-13)
        slope = listings.ACTIVATIONS[output][1]
        delta = {4: [2 * (y[4][q] - G[b][q]) * slope(z[4][q]) for q in range(3)]}
        for l in (3, 2):
            delta[l] = sensitivity(l, z, w, delta, NEIGHBORS, f)
        for l in (2, 3, 4):
            np.testing.assert_allclose(found[f"z{l}"].numpy()[b], delta[l], rtol=1e-9, atol=1e-13)


@pytest.mark.host
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["linear", "sigmoid", "tanh"])
@pytest.mark.parametrize("rho", [0.0, RHO])
def test_twenty_steps_of_the_listing_65_119(way, output, rho, rng):
    net, f = network(output), functions(output)

    def listing(x, y, w, theta):
        named = {l: dict(zip(edges(net, l), w[l], strict=True)) for l in w}
        w_m, theta_m = step(x[0], y[0], named, theta, NEIGHBORS, f, MU, rho)
        return {l: [w_m[l][edge] for edge in edges(net, l)] for l in w_m}, theta_m

    pairs = list(zip(rng.normal(size=(STEPS, 1, 4)), rng.normal(size=(STEPS, 1, 3)), strict=True))
    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(way, net, losses.squared_error, optimizer, pairs, listing, rho)
    assert found <= TOLERANCE


def test_what_the_layer_sums_is_65_112a_and_what_comes_back_65_116(rng):
    """The operation itself: the sum without theta, and from delta_{l+1} the sum that f'(z_l) multiplies."""
    graph = tg.Neighborhoods(FIRST, 4)
    y, w, delta = tg.tensor(rng.normal(size=4), requires_grad=True), rng.normal(size=6), rng.normal(size=4)
    weight = dict(zip(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True), w, strict=True))
    z = tg.neighborhood_matmul(y[None], w, graph)
    expected = [sum(weight[i, j] * y.numpy()[i] for i in FIRST[j]) for j in range(4)]
    np.testing.assert_allclose(z.numpy()[0], expected, rtol=1e-12, atol=1e-14)
    (z * delta).sum().backward()
    expected = [sum(weight[j, i] * delta[i] for i in range(4) if j in FIRST[i]) for j in range(4)]
    np.testing.assert_allclose(y.grad.numpy(), expected, rtol=1e-12, atol=1e-14)


RING = [[(j - 1) % 6, j, (j + 1) % 6] for j in range(6)]  # j is a neighbour of i where i is one of j: (65.117)


def test_in_the_symmetric_case_a_node_hears_back_from_its_own_neighbours(rng):
    """(65.118) with the neighbourhood of j; over that of j + 1, as it is printed, the sum is another one."""
    net = graph_neighborhood([RING, RING], [6, 6, 6], "tanh", "linear", init_bias="normal", seed=1, dtype=np.float64)
    h, gamma = rng.normal(size=(1, 6)), rng.normal(size=(1, 6))
    w, theta = by_edge(net)
    z, _ = forward(h[0], w, theta, {2: RING, 3: RING}, {2: "tanh", 3: "linear"})
    delta = tg.sensitivities(losses.squared_error(net(h), gamma), net)
    last = delta["z3"].numpy()[0].tolist()

    def over(nodes):
        """(65.118) with ``nodes(j)`` as the set of i; a weight between nodes that are not linked is 0."""
        slope = listings.ACTIVATIONS["tanh"][1]
        return [slope(z[2][j]) * sum(w[2].get((j, i), 0.0) * last[i] for i in nodes(j)) for j in range(6)]

    exact = delta["z2"].numpy()[0]
    np.testing.assert_allclose(exact, over(lambda j: RING[j]), rtol=1e-10, atol=1e-13)
    assert np.abs(exact - over(lambda j: RING[(j + 1) % 6])).max() > 0.3


def test_a_layer_in_which_all_are_neighbors_is_the_fully_connected_one_65_111a(rng):
    sparse = graph_neighborhood([FIRST, [[0, 1, 2, 3]] * 3], [4, 4, 3], "tanh", seed=0, dtype=np.float64)
    dense = graph_neighborhood([FIRST, None], [4, 4, 3], "tanh", seed=0, dtype=np.float64)
    assert [t.shape for t in dense.parameters()] == [(6,), (4,), (4, 3), (3,)]
    w = by_edge(sparse)[0][2]
    dense[1].W.assign_(np.array([[w[i, j] for j in range(3)] for i in range(4)]))
    x = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(sparse[0].w.numpy(), dense[0].w.numpy())
    np.testing.assert_allclose(sparse(x).numpy(), dense(x).numpy(), rtol=1e-12, atol=1e-14)
    tg.gradcheck(dense, x, np.eye(3)[[0, 1, 2, 0, 1]], losses.cross_entropy)


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


def test_a_wrong_number_of_activations_is_told_in_one_line():
    with pytest.raises(ArgumentError, match="one activation for each of the 1 hidden layers, got 2") as caught:
        graph_neighborhood([FIRST, SECOND], [4, 4, 3], ["tanh", "relu"])
    assert "\n" not in str(caught.value)
