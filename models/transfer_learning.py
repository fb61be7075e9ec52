"""Transfer (Example 65.11): new last layers on a trained network whose earlier layers are frozen."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.arguments import whole_number
from tinygraph.errors import ArgumentError
from tinygraph.mode import no_grad
from tinygraph.nn import Dense, Module, NeighborhoodDense, Sequential
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation
from tinygraph.tensors import Tensor

from .fully_connected_networks import FullyConnected
from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


class Transfer(Module):
    """A trunk of trained layers and a head of new ones (Example 65.11); returns z_L.

    As long as the trunk is frozen it runs in evaluation mode, and no gradient reaches into it; `unfreeze`
    lets all of it learn.

    Attributes
    ----------
    trunk : Sequential
        The trained network's earlier layers.
    head : Sequential
        The new layers; a network of its own that can be trained on `features`.
    """

    def __init__(self, trunk: Sequential, head: Sequential, output: str) -> None:
        self.trunk, self.head, self.output = trunk.freeze(), head, output
        self.head.output = output
        self._output()

    @property
    def frozen(self) -> bool:
        """Whether no parameter of the trunk learns."""
        return not any(t.requires_grad for t in self.trunk.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Return z_L for `x`, one sample a row."""
        with self.trunk._in_mode(self.training and not self.frozen):
            y = self.trunk(x)
        z: Tensor = self.head(y)
        return z

    def features(self, X: np.ndarray | Tensor, batch_size: int = 1024) -> np.ndarray:
        """Return the trunk's output for the rows of `X`, computed once, in evaluation mode, without a graph.

        Training `head` on it is training this network with its trunk frozen, without the trunk's work::

            tg.fit(net.head, losses.cross_entropy, (net.features(X), Y), optim.Adam(net.head.parameters(), 1e-3))
        """
        whole_number("features: batch_size", batch_size, 1)
        with no_grad(), self.trunk._in_mode(False):
            parts = [self.trunk(X[i : i + batch_size]).numpy() for i in range(0, max(1, len(X)), batch_size)]
        return np.concatenate(parts)


def transfer(
    trained: Module,
    new_layers: Sequence[int],
    *,
    replace: int = 1,
    output: str | None = None,
    activation: str | Activation | Sequence[str | Activation] = "relu",
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
) -> Transfer:
    """Build a network from the earlier layers of a trained one, frozen, and new last layers (Example 65.11).

    Parameters
    ----------
    trained : FullyConnected or Sequential
        Its layers are copied; it is left as it is.
    new_layers : sequence of int
        How many nodes each new layer has: ``[10]``.
    replace : int
        How many of the last layers with weights the new ones replace; by default the last one, for one new layer or
        for several.
    output : str, optional
        The output activation of `predict`; by default that of `trained`.
    activation : str or callable, or one for each new layer but the last
        Of the new layers but the last.
    init, init_bias, seed
        As for `fully_connected`.

    Returns
    -------
    Transfer
        ``.unfreeze()`` lets the whole network learn, to fine-tune it at a small learning rate.

    Raises
    ------
    ArgumentError
        If `trained` is no row of layers, or none of its layers would be kept.

    Examples
    --------
    >>> net = transfer(fully_connected([64, 32, 5], seed=0), new_layers=[10], seed=1)
    >>> [name for name, t in net.named_parameters() if t.requires_grad]
    ['head.0.W', 'head.0.theta']
    """
    new_layers = list_of_sizes("transfer: new_layers", new_layers)
    if not new_layers:
        raise ArgumentError("transfer: new_layers must have at least one new layer, got none")
    if not isinstance(trained, FullyConnected | Sequential):
        raise ArgumentError(
            f"transfer: expected a network of layers in a row, made by fully_connected or nn.Sequential, got "
            f"{type(trained).__name__}"
        )
    steps = trained.steps
    weighted = [i for i, step in enumerate(steps) if isinstance(step, Dense | NeighborhoodDense)]
    replace = whole_number("transfer: replace", replace, 1)
    if replace >= len(weighted):
        raise ArgumentError(
            f"transfer: the trained network has {len(weighted)} layers with weights and at least one must be kept, so "
            f"at most {max(0, len(weighted) - 1)} can be replaced, got replace={replace}"
        )
    cut = weighted[-replace]
    output = output or trained.output
    if output is None:
        raise ArgumentError("transfer: the trained network has no output activation; pass output=")
    first = steps[cut]
    sizes = [_fan_in(first), *new_layers]
    functions = [*activation_per_layer("transfer", activation, len(new_layers) - 1, "new hidden"), None]
    options = LayerOptions(init, init_bias, seed, dtype=next(t.dtype for t in trained.parameters()))
    head = [
        Dense(a, b, function, **options.at(l))
        for l, (a, b, function) in enumerate(zip(sizes, new_layers, functions, strict=False), 1)
    ]
    net = Transfer(Sequential(*copy.deepcopy(steps[:cut])), Sequential(*head), output)
    return net.to(next(t.backend for t in trained.parameters()))


def _fan_in(layer: Any) -> int:
    """Return how many nodes feed a layer."""
    return int(layer.neighborhoods.n_in if isinstance(layer, NeighborhoodDense) else layer.W.shape[0])
