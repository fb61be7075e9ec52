"""Graph neighbourhoods: constructors, checks, a layer's sums over neighbours (65.112a) in plain loops."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import ArgumentError, DataError, ShapeError

LISTS = [[0, 2], [], [3, 1, 0], [2]]


def test_edges_are_sorted_by_target_then_source_whatever_they_come_from():
    import scipy.sparse

    dense = np.zeros((4, 4))
    for j, nodes in enumerate(LISTS):
        dense[nodes, j] = 1
    pairs = [(i, j) for j, nodes in enumerate(LISTS) for i in nodes]
    for n in (
        tg.Neighborhoods(LISTS, n_in=4),
        tg.Neighborhoods.from_edges(pairs[::-1], n_in=4, n_out=4),
        tg.Neighborhoods.from_dense(dense),
        tg.Neighborhoods.from_scipy(scipy.sparse.csr_array(dense)),
    ):
        assert n.lists == [[0, 2], [], [0, 1, 3], [2]]
        assert (n.n_in, n.n_out, n.n_edges) == (4, 4, 6)
        np.testing.assert_array_equal(n.to_dense(), dense)


def test_a_grid_sees_the_square_around_each_point():
    n = tg.Neighborhoods.grid((3, 4), radius=1)
    for r in range(3):
        for c in range(4):
            around = [i * 4 + j for i in range(3) for j in range(4) if abs(i - r) <= 1 and abs(j - c) <= 1]
            assert n.lists[r * 4 + c] == around


def test_nearest_neighbours_by_brute_force(rng):
    points = rng.normal(size=(20, 2))
    n = tg.Neighborhoods.nearest(points, 3)
    for j in range(20):
        order = np.argsort(((points - points[j]) ** 2).sum(1))
        assert n.lists[j] == sorted(order[:4].tolist())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.Neighborhoods([[0, 5]], n_in=4), "edge 5 -> 0 leads from node 5, which is outside 0 to 3"),
        (lambda: tg.Neighborhoods([[0, -1]]), "leads from node -1"),
        (lambda: tg.Neighborhoods([[0, 1, 0]]), "edge 0 -> 0 is named twice"),
        (lambda: tg.Neighborhoods.from_edges([(0, 3)], n_in=1, n_out=3), "leads to node 3, which is outside 0 to 2"),
        (lambda: tg.Neighborhoods.from_edges([1, 2, 3]), r"expected rows \(from, to\)"),
        (lambda: tg.Neighborhoods.from_dense([[0.5]]), "a matrix of zeros and ones"),
        (lambda: tg.Neighborhoods.nearest(np.zeros((3, 1)), 3), "0 <= k < n"),
        (lambda: tg.Neighborhoods.grid((0, 3)), "at least"),
    ],
)
def test_neighbourhoods_are_checked_once(make, text):
    with pytest.raises(DataError, match=text):
        make()


@given(
    n_in=st.integers(1, 6),
    n_out=st.integers(1, 6),
    batch=st.integers(1, 4),
    seed=st.integers(0, 999),
    share=st.floats(0, 1),
)
def test_forward_and_gradients_in_plain_loops(n_in, n_out, batch, seed, share):
    rng = np.random.default_rng(seed)
    n = tg.Neighborhoods.from_dense((rng.random((n_in, n_out)) < share).astype(float))
    y, w, dz = rng.normal(size=(batch, n_in)), rng.normal(size=n.n_edges), rng.normal(size=(batch, n_out))
    z, dy, dw = np.zeros((batch, n_out)), np.zeros((batch, n_in)), np.zeros(n.n_edges)
    for b in range(batch):
        e = 0
        for j, neighbours in enumerate(n.lists):
            for i in neighbours:
                z[b, j] += w[e] * y[b, i]
                dy[b, i] += w[e] * dz[b, j]
                dw[e] += dz[b, j] * y[b, i]
                e += 1
    ty, tw = tg.tensor(y, requires_grad=True), tg.tensor(w, requires_grad=True)
    out = tg.neighborhood_matmul(ty, tw, n)
    np.testing.assert_allclose(out.numpy(), z, atol=1e-12)
    out.backward(dz)
    np.testing.assert_allclose(ty.grad.numpy(), dy, atol=1e-12)
    np.testing.assert_allclose(tw.grad.numpy(), dw, atol=1e-12)


def test_the_layer_equals_a_masked_dense_layer(rng):
    n = tg.Neighborhoods(LISTS, n_in=4)
    layer = nn.NeighborhoodDense(n, 4, 4, activation="tanh", init_bias="normal", seed=0, dtype=np.float64)
    y = rng.normal(size=(5, 4))
    W = np.zeros((4, 4))
    W[n.sources, n.targets] = layer.w.numpy()
    out = layer(y).numpy()
    np.testing.assert_allclose(out, np.tanh(y @ W - layer.theta.numpy()), rtol=1e-12)
    np.testing.assert_allclose(out[:, 1], np.tanh(-layer.theta.numpy()[1]) * np.ones(5))  # node 1 has no neighbour


def test_what_does_not_fit_is_named():
    n = tg.Neighborhoods(LISTS, n_in=4)
    with pytest.raises(ShapeError, match=r"expected a batch of shape \(B, 4\), got \(2, 3\)"):
        tg.neighborhood_matmul(tg.tensor(np.zeros((2, 3))), np.zeros(6), n)
    with pytest.raises(ShapeError, match=r"expected weights of shape \(6,\), got \(5,\)"):
        tg.neighborhood_matmul(tg.tensor(np.zeros((2, 4))), np.zeros(5), n)
    with pytest.raises(ArgumentError, match="n_in is 5, the neighborhoods have 4"):
        nn.NeighborhoodDense(n, 5, 4)
    with pytest.raises(ArgumentError, match="expected Neighborhoods, got list"):
        nn.NeighborhoodDense(LISTS)


@pytest.mark.host
def test_memory_grows_with_edges_and_nodes_not_with_their_product():
    import tracemalloc

    n = tg.Neighborhoods.from_edges(np.stack([np.arange(20_000).repeat(4), (np.arange(80_000) * 7919) % 20_000], 1))
    y, w = tg.tensor(np.ones((8, 20_000), np.float32)), tg.parameter(np.ones(80_000, np.float32))
    tg.neighborhood_matmul(y, w, n).sum().backward()
    tracemalloc.start()
    tg.neighborhood_matmul(y, w, n).sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 8 * 20_000 * 4 + 10 * 80_000 * 4  # a dense matrix would take 1,600,000,000 bytes
