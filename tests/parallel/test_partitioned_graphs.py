"""Networks over graphs whose nodes are shared out are those of one process."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi import ended, on, started

import tinygraph as tg
from tinygraph.errors import ArgumentError, BackendError, DataError
from tinygraph.parallel import LocalNeighborhoods, Partition, metis, renumbered

pytestmark = pytest.mark.host


def graph(rng, n_in, n_out, edges):
    pairs = np.stack([rng.integers(0, n_in, edges), rng.integers(0, n_out, edges)], axis=1)
    return tg.Neighborhoods.from_edges(np.unique(pairs, axis=0), n_in, n_out)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(5, 20), st.integers(5, 20), st.integers(0, 60))
def test_parts_have_the_edges_and_signals_of_the_whole(seed, processes, n_in, n_out, edges):
    rng = np.random.default_rng(seed)
    whole = graph(rng, n_in, n_out, edges)
    inputs, outputs = Partition.even(n_in, processes), Partition.even(n_out, processes)
    y, w = rng.standard_normal((3, n_in)), rng.standard_normal(whole.n_edges)
    z, start = [], 0
    for p in range(processes):
        local = LocalNeighborhoods.of(whole, inputs, outputs, p)
        signals = [y[:, inputs.own(q)] if q == p else y[:, inputs.own(q)][:, local.needed[q]] for q in range(processes)]
        own = w[start : start + local.graph.n_edges]
        start += local.graph.n_edges
        z.append(tg.neighborhood_matmul(np.concatenate(signals, axis=1), own, local.graph).numpy())
        assert (local.before, local.own) == (sum(map(len, local.needed[:p])), inputs.own(p).stop - inputs.own(p).start)
        assert len(local.needed[p]) == 0
    assert start == whole.n_edges
    np.testing.assert_allclose(np.concatenate(z, axis=1), tg.neighborhood_matmul(y, w, whole).numpy(), atol=1e-12)


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("parts", ["even", "uneven"])
def test_training_is_that_of_one_process(processes, parts):
    status, out, err = on(processes, "partitioned", parts)
    assert (status, err) == (0, ""), err
    for initial, trained, losses, gradients in map(json.loads, out.splitlines()):
        assert initial == 0
        assert max(trained, losses, gradients) < 1e-12


def test_the_large_graph_learns_the_same_on_two_processes_and_on_three():
    found = []
    for processes in (2, 3):
        status, out, err = ended(started(processes, sys.executable, "-m", "tinygraph.tools.scale.large_graph", 30))
        assert (status, err) == (0, "")
        assert "900 nodes, 7,744 edges" in out
        found.append([float(loss) for loss in out.split("losses")[1].split(",")])
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)
    assert found[0][-1] < found[0][0]


def test_metis_cuts_few_edges_and_a_renumbered_graph_is_the_same():
    pytest.importorskip("pymetis")
    rng = np.random.default_rng(0)
    grid = tg.Neighborhoods.grid((20, 20))
    shuffled = renumbered(grid, rng.permutation(400))
    order, partition = metis(shuffled, 4)
    cut = renumbered(shuffled, order)
    y = rng.standard_normal((2, 400))
    np.testing.assert_allclose(
        tg.neighborhood_matmul(y[:, order], np.ones(cut.n_edges), cut).numpy(),
        tg.neighborhood_matmul(y, np.ones(cut.n_edges), shuffled).numpy()[:, order],
    )
    foreign, evenly = (
        sum(
            len(LocalNeighborhoods.of(g, p, p, k).graph.sources)
            and LocalNeighborhoods.of(g, p, p, k).before + LocalNeighborhoods.of(g, p, p, k).after
            for k in range(4)
        )
        for g, p in ((cut, partition), (shuffled, Partition.even(400, 4)))
    )
    assert foreign < evenly / 3


def test_bad_parts_are_told():
    whole = tg.Neighborhoods.from_edges([[0, 0], [1, 2], [2, 1]], 3, 3)
    with pytest.raises(ArgumentError, match="4 processes for 3 nodes: use at most one a node"):
        Partition.even(3, 4)
    with pytest.raises(ArgumentError, match=r"begin with 0 and rise, so that every process has a node; got \[0, 2, 2"):
        Partition([0, 2, 2])
    halves = Partition([0, 2, 3])
    with pytest.raises(DataError, match="edge 1 -> 2 leads to a node that process 0 does not have: it has 0 to 1"):
        LocalNeighborhoods([[1, 2]], halves, halves, 0)
    with pytest.raises(DataError, match="edge 3 -> 1 leads from node 3, which is outside 0 to 2"):
        LocalNeighborhoods([[3, 1]], halves, halves, 0)
    with pytest.raises(DataError, match="does not fit"):
        LocalNeighborhoods.of(whole, Partition([0, 4]), halves, 0)
    with pytest.raises(ArgumentError, match="expected each of the nodes 0 to 2 once"):
        renumbered(whole, np.array([0, 0, 1]))


def test_without_pymetis_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(BackendError, match=r"pymetis is not installed; .*, or use Partition.even"):
        metis(tg.Neighborhoods.grid((2, 2)), 2)
