"""`Neighborhoods` of what people have: graphs of all kinds, sparse matrices of all formats, arrays of other shapes."""

import numpy as np
import pytest
from scipy import sparse

import tinygraph as tg
from tinygraph.errors import DataError, TinygraphError

pytestmark = pytest.mark.host


class Graph:
    """What of a networkx graph is asked for; a multigraph's `edges` has triples, and gives pairs when it is called."""

    class Edges(list):
        def __call__(self):
            return [edge[:2] for edge in self]

    def __init__(self, nodes, edges, directed=False):
        self.nodes, self.edges, self.directed = nodes, self.Edges(edges), directed

    def is_directed(self):
        return self.directed


def networkx_graphs():
    nx = pytest.importorskip("networkx")
    weighted = nx.Graph([("a", "b"), ("b", "c")])
    weighted.edges["a", "b"]["weight"] = 0.5
    isolated = nx.Graph([(0, 1)])
    isolated.add_node(5)
    return {
        "graph": nx.path_graph(3),
        "multigraph": nx.MultiGraph([(0, 1), (0, 1), (1, 0), (1, 2)]),
        "directed": nx.DiGraph([(0, 1), (1, 0), (2, 0)]),
        "directed multigraph": nx.MultiDiGraph([(0, 1), (0, 1), (2, 0)]),
        "self-loops": nx.Graph([(0, 0), (0, 1)]),
        "weighted, named": weighted,
        "isolated": isolated,
        "empty": nx.Graph(),
        "a view": nx.subgraph(nx.path_graph(4), [1, 2]),
    }


KINDS = ("graph", "multigraph", "directed", "directed multigraph", "self-loops", "weighted, named", "isolated", "empty")


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "a view"])
def test_networkx_graphs(kind, loops):
    graph = networkx_graphs()[kind]
    nodes = list(graph.nodes)
    expected = np.zeros((len(nodes), len(nodes)), np.float32)
    for i, u in enumerate(nodes):
        for j, v in enumerate(nodes):
            expected[i, j] = graph.has_edge(u, v) or (loops and i == j)
    np.testing.assert_array_equal(tg.Neighborhoods.from_networkx(graph, loops).to_dense(), expected)


def test_parallel_edges_are_one():
    graph = Graph("abc", [("a", "b", 0), ("a", "b", 1), ("c", "b", "key")], directed=True)
    assert tg.Neighborhoods.from_networkx(graph, self_loops=False).lists == [[], [0, 2], []]
    graph.directed = False
    assert tg.Neighborhoods.from_networkx(graph, self_loops=False).lists == [[1], [0, 2], [1]]


DENSE = np.array([[0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
def test_sparse_matrices_of_every_format(form, kind):
    matrix = kind(DENSE * 2.5).asformat(form)
    np.testing.assert_array_equal(tg.Neighborhoods.from_scipy(matrix).to_dense(), DENSE)
    np.testing.assert_array_equal(tg.Neighborhoods.from_scipy(matrix.astype(bool)).to_dense(), DENSE)


def test_parts_of_one_sparse_element_are_one_edge():
    twice = sparse.coo_array((np.ones(3), ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert tg.Neighborhoods.from_scipy(twice).lists == [[1], [0]]
    assert tg.Neighborhoods.from_dense(sparse.csr_array(DENSE)).lists == tg.Neighborhoods.from_dense(DENSE).lists


RIGHT = {
    "lists": lambda: tg.Neighborhoods([[1], [0, 2]]),
    "sets, tuples": lambda: tg.Neighborhoods(({1}, (2, 0))),
    "ranges, arrays": lambda: tg.Neighborhoods([range(1, 2), np.array([0, 2], np.uint8)]),
    "generators": lambda: tg.Neighborhoods((iter(nodes) for nodes in ([1], [0, 2])), n_in=np.int64(3)),
    "edges": lambda: tg.Neighborhoods.from_edges([(1, 0), (0, 1), (2, 1)]),
    "whole floats": lambda: tg.Neighborhoods.from_edges(np.array([[1.0, 0], [0, 1], [2, 1]])),
    "unsigned": lambda: tg.Neighborhoods.from_edges(np.array([[1, 0], [0, 1], [2, 1]], np.uint64)),
    "dense booleans": lambda: tg.Neighborhoods.from_dense(DENSE.T == 1),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_says_the_same_gives_the_same(kind):
    neighborhoods = RIGHT[kind]()
    assert neighborhoods.lists == [[1], [0, 2]]
    assert (neighborhoods.n_in, neighborhoods.n_out) == (3, 2)


def test_nothing_at_all():
    empty = [tg.Neighborhoods([]), tg.Neighborhoods.from_edges([]), tg.Neighborhoods.from_edges(np.zeros((0, 2)))]
    assert [(n.n_in, n.n_out, n.n_edges) for n in empty] == [(0, 0, 0)] * 3
    assert tg.Neighborhoods([[], []], n_in=3).to_dense().shape == (3, 2)


BEYOND = 2**31
WRONG = {
    "lists of texts": (lambda n: n([["a"], ["b"]]), "expected lists of whole numbers, got dtype <U1"),
    "texts": (lambda n: n(["ab", "c"]), "expected lists of whole numbers, got dtype <U1"),
    "fractions": (lambda n: n([[0, 0.5]]), "expected lists of whole numbers, got fractions"),
    "NaN": (lambda n: n([[0, np.nan]]), "got fractions"),
    "None": (lambda n: n([[0, None]]), "got dtype object"),
    "booleans": (lambda n: n([[True, False]]), "got dtype bool"),
    "flat": (lambda n: n([0, 1]), "expected a list of nodes for each node, got 0"),
    "a number": (lambda n: n(3), "expected a list of nodes for each node, got 3"),
    "nested": (lambda n: n([[[0, 1]]]), r"got shape \(1, 2\)"),
    "ragged": (lambda n: n([[[0, 1], [2]]]), "parts of different lengths"),
    "negative size": (lambda n: n([[0]], n_in=-1), "n_in must be a whole number"),
    "size of a text": (lambda n: n([[0]], n_in="3"), "n_in must be a whole number"),
    "fraction of a size": (lambda n: n.from_edges([(0, 0)], 1, 1.5), "n_out must be a whole number"),
    "edges of texts": (lambda n: n.from_edges([("a", "b")]), "got dtype <U1"),
    "transposed": (lambda n: n.from_edges([[0, 1, 2], [1, 2, 0]]), r"got shape \(2, 3\); pass its transpose"),
    "triples": (lambda n: n.from_edges([(0, 1, 0.5), (1, 0, 0.5)] * 2), "fractions"),
    "whole triples": (lambda n: n.from_edges([(0, 1, 2)] * 3), r"got shape \(3, 3\)"),
    "ragged edges": (lambda n: n.from_edges([(0, 1), (1,)]), "parts of different lengths"),
    "infinity": (lambda n: n.from_edges([(0, np.inf)]), "below 2147483647, got 0.0 to inf"),
    "beyond int32": (lambda n: n.from_edges([(0, BEYOND)]), "below 2147483647"),
    "beyond int64": (lambda n: n.from_edges(np.array([[0, 2**63]], np.uint64)), "below 2147483647"),
    "size beyond int32": (lambda n: n.from_edges([(0, 0)], BEYOND), "n_in must be a whole number from 0 to"),
    "a set of edges": (lambda n: n.from_edges({(0, 1)}), r"got shape \(\)"),
    "dense texts": (lambda n: n.from_dense([["0", "1"]]), "a matrix of zeros and ones, got dtype"),
    "dense row": (lambda n: n.from_dense([0, 1]), r"a matrix of zeros and ones, got shape \(2,\)"),
    "dense ragged": (lambda n: n.from_dense([[0, 1], [1]]), "a matrix of zeros and ones, got parts"),
    "dense weights": (lambda n: n.from_dense([[0, 2]]), "a matrix of zeros and ones, got other numbers"),
    "dense NaN": (lambda n: n.from_dense([[0, np.nan]]), "got other numbers"),
    "no sparse matrix": (lambda n: n.from_scipy(DENSE), "expected a scipy.sparse matrix .*, got a ndarray"),
    "no graph": (lambda n: n.from_networkx([(0, 1)]), "expected a networkx graph, got a list"),
    "grid of one": (lambda n: n.grid(3), r"expected a shape of at least \(1, 1\), radius >= 0; got 3, 1"),
    "grid of three": (lambda n: n.grid((2, 2, 2)), "expected a shape of at least"),
    "grid of fractions": (lambda n: n.grid((2.5, 2)), "expected a shape of at least"),
    "radius": (lambda n: n.grid((2, 2), 0.5), "radius >= 0"),
    "points of texts": (lambda n: n.nearest([["a"], ["b"]], 1), "expected finite points"),
    "one row of points": (lambda n: n.nearest([1.0, 2.0], 1), r"expected finite points \(n, d\), got shape"),
    "k": (lambda n: n.nearest(np.eye(3), 1.5), "0 <= k < n"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_none_is_told_in_one_line(kind):
    make, text = WRONG[kind]
    with pytest.raises(TinygraphError, match=text) as told:
        make(tg.Neighborhoods)
    assert str(told.value).startswith("Neighborhoods")
    assert "\n" not in str(told.value)


def test_a_sparse_row_is_told():
    row = sparse.coo_array(np.array([0, 1, 0])) if hasattr(sparse, "coo_array") else None
    if row is None or row.ndim != 1:
        pytest.skip("this SciPy has no sparse arrays of one axis")
    with pytest.raises(DataError, match=r"of shape \(n_in, n_out\), got shape \(3,\)"):
        tg.Neighborhoods.from_scipy(row)
