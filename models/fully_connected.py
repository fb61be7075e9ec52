"""The fully-connected network of (65.31), any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.backend import generator
from tinygraph.errors import ArgumentError
from tinygraph.nn import Dense, Module
from tinygraph.nn.layers import Activation
from tinygraph.tensor import Tensor


class FullyConnected(Module):
    """Dense layers in a row, called ``layer1`` to ``layer{L-1}``; returns z_L (65.31).

    Layer l maps the signals ``y_l`` of layer l to ``z_{l+1} = y_l W_l - theta_l``; every layer but the last
    applies its activation. `predict` applies the output activation to z_L.
    """

    def __init__(self, layers: Sequence[Module], output: str) -> None:
        self.output = output
        self._output()
        self.layers = [f"layer{i}" for i, _ in enumerate(layers, 1)]
        for name, layer in zip(self.layers, layers, strict=True):
            setattr(self, name, layer)

    def forward(self, y: Tensor) -> Tensor:
        """Return z_L for `y` of shape (B, n_1)."""
        for name in self.layers:
            y = getattr(self, name)(y)
        return y


def fully_connected(
    sizes: Sequence[int],
    activation: str | Activation | Sequence[str | Activation] = "relu",
    output: str = "softmax",
    *,
    init: str = "normal",
    init_bias: str = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> FullyConnected:
    """Build a fully-connected network (65.31).

    Parameters
    ----------
    sizes : sequence of int
        How many nodes each layer has, input first: ``[784, 512, 512, 10]``; at least two.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers; a name of `tinygraph.nn.ACTIVATIONS`.
    output : {"softmax", "sigmoid", "tanh", "linear"}
        The output activation that ``predict`` applies; the network itself returns z_L.
    init, init_bias : str
        How weights and biases are drawn; names of `tinygraph.nn.INITIALIZERS`.
    seed : int, optional
        Makes the initial weights repeatable; by default they follow `tinygraph.manual_seed`.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    FullyConnected

    Raises
    ------
    ArgumentError
        For sizes that are not whole positive numbers, unknown names, or a wrong number of activations.

    Examples
    --------
    >>> net = fully_connected([64, 64, 10], seed=0)
    >>> net(np.zeros((5, 64), np.float32)).shape
    (5, 10)
    """
    if isinstance(sizes, int) or len(sizes) < 2:
        raise ArgumentError(f"fully_connected: sizes must list at least input and output, got {sizes!r}")
    hidden = len(sizes) - 2
    single = isinstance(activation, str) or callable(activation)
    functions: list[Any] = [activation] * hidden if single else list(activation)  # type: ignore[arg-type]
    if len(functions) != hidden:
        raise ArgumentError(
            f"fully_connected: expected one activation for each of the {hidden} hidden layers, got {len(functions)}"
        )
    layers = [
        Dense(
            n_in,
            n_out,
            function,
            init=init,
            init_bias=init_bias,
            seed=None if seed is None else int(generator(seed, "layer", i).integers(2**63)),
            dtype=dtype,
        )
        for i, (n_in, n_out, function) in enumerate(zip(sizes, sizes[1:], [*functions, None], strict=False), 1)
    ]
    return FullyConnected(layers, output)
