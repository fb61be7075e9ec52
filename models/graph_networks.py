"""The network over neighbourhoods (65.110)-(65.119): every node is fed by its neighbours only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygraph.data import check_labels
from tinygraph.errors import ArgumentError
from tinygraph.nn import Dense, Module, NeighborhoodDense, Sequential
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation
from tinygraph.ops import Neighborhoods

from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


def graph_neighborhood(
    neighborhoods_per_layer: Sequence[Neighborhoods | Sequence[Iterable[int]] | None],
    sizes: Sequence[int],
    activation: str | Activation | Sequence[str | Activation] = "relu",
    output: str = "softmax",
    *,
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Sequential:
    """Build a network whose layers have one weight for each edge (65.110)-(65.119).

    Parameters
    ----------
    neighborhoods_per_layer : sequence
        For each layer but the input: `Neighborhoods`, or a list of the nodes that feed each node, or None for
        a fully-connected layer (a classifier's last one, say). A node without neighbours sends ``f(-theta)``.
    sizes : sequence of int
        How many nodes each layer has, input first: one more than there are neighbourhoods.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers.
    output, init_bias, seed, dtype
        As for `fully_connected`.
    init : str or callable
        Likewise; a layer of neighbourhoods takes their mean number for n_l, see `tinygraph.nn.NeighborhoodDense`.

    Returns
    -------
    Sequential
        Returns z_L for inputs of shape (B, n_1).

    Raises
    ------
    ArgumentError
        If neighbourhoods and sizes do not agree, or a name is unknown.
    DataError
        If lists name a node that is not there, or one twice, or hold anything but whole numbers.

    Examples
    --------
    Every hidden node sees 3 x 3 pixels:

    >>> net = graph_neighborhood([Neighborhoods.grid((8, 8)), None], [64, 64, 10], seed=0)
    >>> net(np.zeros((5, 64), np.float32)).shape
    (5, 10)
    """
    sizes = list_of_sizes("graph_neighborhood: sizes", sizes)
    if not isinstance(neighborhoods_per_layer, list | tuple):
        raise ArgumentError(
            "graph_neighborhood: expected a list with the neighbourhoods of each layer but the input, got "
            f"{type(neighborhoods_per_layer).__name__}"
        )
    depth = len(neighborhoods_per_layer)
    if len(sizes) != depth + 1 or not depth:
        raise ArgumentError(
            f"graph_neighborhood: sizes must be one more than the {depth} layers' neighbourhoods, at least 2, got "
            f"{sizes}"
        )
    functions = [*activation_per_layer("graph_neighborhood", activation, depth - 1), None]
    options = LayerOptions(init, init_bias, seed, dtype)
    layers: list[Module] = []
    for l, (feeding, function) in enumerate(zip(neighborhoods_per_layer, functions, strict=True), 1):
        n_in, n_out = sizes[l - 1 : l + 1]
        if feeding is None:
            layers.append(Dense(n_in, n_out, function, **options.at(l)))
            continue
        edges = feeding if isinstance(feeding, Neighborhoods) else Neighborhoods(_lists(feeding, l), n_in)
        if (edges.n_in, edges.n_out) != (n_in, n_out):
            raise ArgumentError(
                f"graph_neighborhood: layer {l} leads from {n_in} to {n_out} nodes, but its neighbourhoods from "
                f"{edges.n_in} to {edges.n_out}"
            )
        layers.append(NeighborhoodDense(edges, activation=function, **options.at(l)))
    return Sequential(*layers, output=output)


def _lists(neighborhoods: Sequence[Iterable[int]], layer: int) -> list[np.ndarray]:
    """Return the nodes that feed each node of a layer, checked to be lists of whole numbers."""
    try:
        nodes = [list(feeding) for feeding in neighborhoods]
    except TypeError:
        raise ArgumentError(
            f"graph_neighborhood: layer {layer}: expected Neighborhoods, a list of the nodes that feed each node, or "
            f"None, got {neighborhoods!r:.60}"
        ) from None
    name = f"graph_neighborhood: layer {layer}: what feeds node"
    return [check_labels(feeding, name=f"{name} {j}") for j, feeding in enumerate(nodes)]
