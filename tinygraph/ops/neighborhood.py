"""Graph neighbourhoods (65.110)-(65.119): a layer in which a node is fed by its neighbours only.

There is one weight for each edge and nothing else: time grows with edges times batch, memory with edges,
and with nodes times batch. The gradient of the weights is a sampled product, computed at the edges only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np

from ..arguments import whole_number
from ..errors import DataError, ShapeError
from ..op import Gradients, Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, ArrayLike, Namespace
from .declare import applies

__all__ = ["Neighborhoods", "neighborhood_matmul"]

MOST = 2**31 - 1  # nodes: they are kept as int32


class Neighborhoods:
    """Which nodes feed which: the edges between a layer of `n_in` nodes and one of `n_out`.

    Edges are kept sorted by the node they lead to, then by the node they come from; edge number e of a
    weight vector is the e-th in this order. An empty neighbourhood is allowed.

    Parameters
    ----------
    lists : sequence of sequences of int
        ``lists[j]``: the nodes that feed node j.
    n_in : int, optional
        How many nodes there are to be fed by; by default as many as `lists` names.

    Attributes
    ----------
    n_in, n_out, n_edges : int
    sources, targets : arrays of shape (n_edges,), int32
        Where each edge comes from and leads to.
    starts : array of shape (n_out + 1,), int32
        The edges that lead to node j are ``starts[j]`` to ``starts[j + 1] - 1``.

    Raises
    ------
    DataError
        If an index is out of range, an edge is named twice, or sizes do not fit.
    """

    def __init__(self, lists: Sequence[Iterable[int]], n_in: int | None = None) -> None:
        given = list(lists) if isinstance(lists, Iterable) else [lists]
        for nodes in given:
            if not isinstance(nodes, Iterable):
                raise DataError(f"Neighborhoods: expected a list of nodes for each node, got {nodes!r:.40}")
        rows = [list(nodes) for nodes in given]
        sources = _whole_numbers(list(chain.from_iterable(rows)), "lists of whole numbers", 1)
        targets = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        self._set(sources, targets, n_in, len(rows))

    @classmethod
    def from_edges(cls, pairs: ArrayLike, n_in: int | None = None, n_out: int | None = None) -> Self:
        """Return the neighbourhoods with the edges `pairs`, rows (from, to), in any order."""
        array = edge_rows(pairs, "Neighborhoods")
        result = cls.__new__(cls)
        result._set(array[:, 0], array[:, 1], n_in, n_out)
        return result

    @classmethod
    def from_dense(cls, matrix: ArrayLike) -> Self:
        """Return the neighbourhoods of a 0/1 matrix of shape (n_in, n_out), laid out as a weight matrix is."""
        if hasattr(matrix, "tocoo"):
            return cls.from_scipy(matrix)
        array = _numbers(matrix, "a matrix of zeros and ones", 2, "biuf")
        if not np.isin(array, (0, 1)).all():
            raise DataError("Neighborhoods: expected a matrix of zeros and ones, got other numbers")
        return cls.from_edges(np.argwhere(array), *array.shape)

    @classmethod
    def from_scipy(cls, matrix: Any) -> Self:
        """Return the neighbourhoods of the stored elements of a scipy.sparse matrix of shape (n_in, n_out).

        What is stored is an edge, whatever its value; parts of one element, which SciPy adds up, are one edge.
        """
        if not hasattr(matrix, "tocoo") or len(matrix.shape) != 2:
            got = f"shape {matrix.shape}" if hasattr(matrix, "tocoo") else f"a {type(matrix).__name__}"
            raise DataError(f"Neighborhoods: expected a scipy.sparse matrix of shape (n_in, n_out), got {got}")
        triplets = matrix.tocoo()
        return cls.from_edges(np.unique(np.stack([triplets.row, triplets.col], axis=1), axis=0), *matrix.shape)

    @classmethod
    def from_networkx(cls, graph: Any, self_loops: bool = True) -> Self:
        """Return the neighbourhoods of a networkx graph's nodes, numbered in its order of nodes.

        An undirected edge feeds both ways, parallel edges of a multigraph are one, and weights are left out;
        `self_loops` lets every node feed itself as well.
        """
        if not all(hasattr(graph, name) for name in ("nodes", "edges", "is_directed")):
            raise DataError(f"Neighborhoods: expected a networkx graph, got a {type(graph).__name__}")
        number = {node: i for i, node in enumerate(graph.nodes)}
        pairs = {(number[u], number[v]) for u, v in graph.edges()}
        if not graph.is_directed():
            pairs |= {(v, u) for u, v in pairs}
        if self_loops:
            pairs |= {(i, i) for i in range(len(number))}
        return cls.from_edges(sorted(pairs), len(number), len(number))

    @classmethod
    def grid(cls, shape: tuple[int, int], radius: int = 1) -> Self:
        """Return the neighbourhoods of the points of a grid, each fed by the square around it, itself included.

        Parameters
        ----------
        shape : (rows, columns)
            Point (r, c) is node ``r * columns + c``.
        radius : int
            A square of ``2 * radius + 1`` points a side, cut off at the border.
        """
        sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
        if len(sizes) != 2 or not all(map(_is_whole, (*sizes, radius))) or min(sizes) < 1 or radius < 0:
            raise DataError(
                f"Neighborhoods.grid: expected a shape of at least (1, 1), radius >= 0; got {shape}, {radius}"
            )
        nodes = sizes[0] * sizes[1]
        return cls.from_edges(grid_edges(sizes, radius, np.arange(nodes)), nodes, nodes)

    @classmethod
    def nearest(cls, points: ArrayLike, k: int) -> Self:
        """Return the neighbourhoods in which each point is fed by itself and its `k` nearest others.

        Parameters
        ----------
        points : array of shape (n, d)
        k : int
            From 0 to n - 1.
        """
        from scipy.spatial import KDTree

        array = _numbers(points, "finite points (n, d)", 2, "biuf").astype(np.float64)
        if not np.isfinite(array).all() or not _is_whole(k) or not 0 <= k < len(array):
            raise DataError(
                f"Neighborhoods.nearest: expected finite points (n, d), 0 <= k < n; got {array.shape}, k={k}"
            )
        rows = KDTree(array).query(array, k + 1)[1].reshape(len(array), -1)
        lists = [[i, *[int(j) for j in row if j != i][:k]] for i, row in enumerate(rows)]
        return cls(lists, len(array))

    def _set(self, sources: np.ndarray, targets: np.ndarray, n_in: int | None, n_out: int | None) -> None:
        n_in, n_out = (
            int(nodes.max(initial=-1)) + 1 if n is None else whole_number(f"Neighborhoods: {name}", n, 0, MOST)
            for name, n, nodes in (("n_in", n_in, sources), ("n_out", n_out, targets))
        )
        for direction, nodes, size in (("from", sources, n_in), ("to", targets, n_out)):
            wrong = np.flatnonzero((nodes < 0) | (nodes >= size))
            if len(wrong):
                e = wrong[0]
                raise DataError(
                    f"Neighborhoods: edge {sources[e]} -> {targets[e]} leads {direction} node {nodes[e]}, which is "
                    f"outside 0 to {size - 1}"
                )
        order = np.lexsort((sources, targets))
        sources, targets = sources[order], targets[order]
        twice = np.flatnonzero((np.diff(sources) == 0) & (np.diff(targets) == 0))
        if len(twice):
            raise DataError(f"Neighborhoods: edge {sources[twice[0]]} -> {targets[twice[0]]} is named twice")
        self.n_in, self.n_out, self.n_edges = n_in, n_out, len(sources)
        self.sources, self.targets = sources.astype(np.int32), targets.astype(np.int32)
        self.starts = np.searchsorted(targets, np.arange(n_out + 1)).astype(np.int32)

    @property
    def lists(self) -> list[list[int]]:
        """The nodes that feed each node."""
        return [self.sources[a:b].tolist() for a, b in zip(self.starts, self.starts[1:], strict=False)]

    def to_dense(self) -> np.ndarray:
        """Return the 0/1 matrix of shape (n_in, n_out)."""
        matrix = np.zeros((self.n_in, self.n_out), np.float32)
        matrix[self.sources, self.targets] = 1
        return matrix

    def __repr__(self) -> str:
        return f"Neighborhoods({self.n_in} -> {self.n_out}, {self.n_edges} edges)"


def grid_edges(shape: tuple[int, ...], radius: int, targets: np.ndarray) -> np.ndarray:
    """Return the edges, rows (from, to), to some nodes of a grid from the squares around them; see `grid`."""
    rows, columns = shape
    r, c = np.divmod(targets, columns)
    parts = []
    for dr in range(-radius, radius + 1):
        for dc in range(-radius, radius + 1):
            inside = (r + dr >= 0) & (r + dr < rows) & (c + dc >= 0) & (c + dc < columns)
            parts.append(np.stack([targets[inside] + dr * columns + dc, targets[inside]], axis=1))
    return np.concatenate(parts)


def edge_rows(pairs: ArrayLike, caller: str) -> np.ndarray:
    """Return edges as an array of shape (edges, 2), int64; errors begin with `caller`.

    Raises
    ------
    DataError
        If they are not rows (from, to) of whole numbers.
    """
    array = _whole_numbers(pairs, "rows (from, to) of whole numbers", 2)
    if array.size == 0:
        array = array.reshape(0, 2)
    if array.shape[1] != 2:
        remedy = "; pass its transpose" if len(array) == 2 else ""
        raise DataError(f"{caller}: expected rows (from, to) of whole numbers, got shape {array.shape}{remedy}")
    return array


def _numbers(values: ArrayLike, expected: str, ndim: int, kinds: str) -> np.ndarray:
    """Return `values` as an array, or raise an error that says what was expected; nothing at all has any shape."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"Neighborhoods: expected {expected}, got parts of different lengths") from None
    if array.ndim != ndim and (array.size or not array.ndim):
        raise DataError(f"Neighborhoods: expected {expected}, got shape {array.shape}")
    if array.size and array.dtype.kind not in kinds:
        raise DataError(f"Neighborhoods: expected {expected}, got dtype {array.dtype}")
    return array


def _is_whole(n: object) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool)


def _whole_numbers(values: ArrayLike, expected: str, ndim: int) -> np.ndarray:
    array = _numbers(values, expected, ndim, "iuf")
    if (array != np.floor(array)).any():
        raise DataError(f"Neighborhoods: expected {expected}, got fractions")
    if array.size and (array.max() >= MOST or array.min() <= -MOST):
        raise DataError(f"Neighborhoods: expected {expected} below {MOST}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


@dataclass(frozen=True)
class NeighborhoodMatMul(Op):
    """Product with one weight for each edge: ``z_j = sum over the neighbours i of j of w_ij y_i`` (65.112a).

    Transposed, it goes against the edges, as the sum that carries sensitivities back in (65.116):
    ``y_i = sum over the j that i feeds of w_ij z_j``.
    """

    name = "neighborhood_matmul"
    rule = "dy_i = sum_j w_ij dz_j, dw_ij = sum over the batch of y_i dz_j, at the edges only"
    promotes_from = 0

    neighborhoods: Neighborhoods
    transposed: bool = False

    @property
    def label(self) -> str:
        """The name with the number of edges."""
        against = ", transposed" if self.transposed else ""
        return f"{self.name}({self.neighborhoods.n_edges} edges{against})"

    def check(self, *inputs: Tensor) -> None:
        n = self.neighborhoods.n_out if self.transposed else self.neighborhoods.n_in
        y, w = inputs[0].shape, inputs[1].shape
        if len(y) != 2 or y[1] != n:
            raise ShapeError(f"{self.name}: expected a batch of shape (B, {n}), got {y}")
        if w != (self.neighborhoods.n_edges,):
            raise ShapeError(f"{self.name}: expected weights of shape ({self.neighborhoods.n_edges},), got {w}")

    def forward(self, xp: Namespace, y: Array, w: Array, out: Array | None = None) -> Array:
        return xp.spmm(y, w, self.neighborhoods, self.transposed)

    def backward(self, dz: Tensor, z: Tensor, y: Tensor, w: Tensor) -> Gradients:
        graph, back = self.neighborhoods, self.transposed
        against = NeighborhoodMatMul(graph, not back)
        edges = EdgeProduct(graph)
        return lambda: against(dz, w), (lambda: edges(dz, y)) if back else (lambda: edges(y, dz))


@dataclass(frozen=True)
class EdgeProduct(Op):
    """The product of a batch on either side, at the edges only: ``w_ij = sum over the batch of y_i z_j``.

    With sensitivities for z, the gradient of the weights: the last line of (65.119) takes such a product for each edge.
    """

    rule = "dy_i = sum_j dw_ij z_j, dz_j = sum_i dw_ij y_i"

    neighborhoods: Neighborhoods

    @property
    def label(self) -> str:
        """The name with the number of edges."""
        return f"{self.name}({self.neighborhoods.n_edges} edges)"

    def forward(self, xp: Namespace, y: Array, z: Array, out: Array | None = None) -> Array:
        return xp.sddmm(y, z, self.neighborhoods)

    def backward(self, dw: Tensor, w: Tensor, y: Tensor, z: Tensor) -> Gradients:
        graph = self.neighborhoods
        return lambda: NeighborhoodMatMul(graph, True)(z, dw), lambda: NeighborhoodMatMul(graph, False)(y, dw)


@applies(NeighborhoodMatMul)
def neighborhood_matmul(y: Operand, w: Operand, neighborhoods: Neighborhoods) -> Tensor:
    """Return the signals that nodes get from their neighbours: the sum of (65.112a), without the bias.

    Parameters
    ----------
    y : tensor of shape (B, n_in)
    w : tensor of shape (n_edges,)
        One weight for each edge, in the order of `Neighborhoods`.
    neighborhoods : Neighborhoods

    Returns
    -------
    tensor of shape (B, n_out)
        ``z[b, j]`` is the sum of ``w[e] * y[b, i]`` over the edges e from i to j; 0 where there is none.

    Raises
    ------
    ShapeError
        If a size does not fit the neighbourhoods.
    """
    return NeighborhoodMatMul(neighborhoods)(y, w)
