"""The fully-connected network of (65.31), any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.backend import generator
from tinygraph.errors import ArgumentError
from tinygraph.nn import BatchNorm, Dense, Dropout, Module
from tinygraph.nn.layers import Activation, find_activation
from tinygraph.tensor import Tensor


class FullyConnected(Module):
    """Dense layers in a row, called ``layer1`` to ``layer{L-1}``; returns z_L (65.31).

    Layer l maps the signals ``y_l`` of layer l to ``z_{l+1} = y_l W_l - theta_l``; every layer but the last
    applies its activation. With batch normalisation ``norm1`` stands before the first layer and ``norm{l+1}``
    between ``z_{l+1}`` and its activation; with dropout ``dropout{l}`` masks ``y_l``. `predict` applies the
    output activation to z_L.
    """

    def __init__(self, steps: Sequence[tuple[str, Module | Activation]], output: str) -> None:
        self.output = output
        self._output()
        self._steps = [name if isinstance(step, Module) else step for name, step in steps]
        for name, step in steps:
            if isinstance(step, Module):
                setattr(self, name, step)

    @property
    def steps(self) -> list[Module | Activation]:
        """What is applied to the input, one after the other: modules, and activations that stand alone."""
        return [getattr(self, step) if isinstance(step, str) else step for step in self._steps]

    def forward(self, y: Tensor) -> Tensor:
        """Return z_L for `y` of shape (B, n_1)."""
        for step in self.steps:
            y = step(y)
        return y


def fully_connected(
    sizes: Sequence[int],
    activation: str | Activation | Sequence[str | Activation] = "relu",
    output: str = "softmax",
    *,
    dropout: float | Sequence[float] | None = None,
    batch_norm: bool = False,
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
    dropout : float, or one for each layer but the last, input first, optional
        The probabilities with which nodes sleep in training (65.120); a single one is for the hidden layers.
    batch_norm : bool
        Normalise the input and the hidden signals over the batch (65.167); the hidden layers' own biases are
        then left out, since the normalisation has one.
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
        For sizes that are not whole positive numbers, unknown names, or a wrong number of activations or
        probabilities.

    Examples
    --------
    >>> net = fully_connected([64, 64, 10], dropout=[0.1, 0.5], seed=0)
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
    sleep = [0.0, *[dropout or 0.0] * hidden] if isinstance(dropout, int | float | None) else list(dropout)
    if len(sleep) != hidden + 1:
        raise ArgumentError(
            f"fully_connected: dropout must have one probability for each of the {hidden + 1} layers but the last, "
            f"got {len(sleep)}"
        )
    steps: list[tuple[str, Module | Activation]] = []
    if batch_norm:
        steps.append(("norm1", BatchNorm(sizes[0], dtype=dtype)))
    for l, (n_in, n_out, function) in enumerate(zip(sizes, sizes[1:], [*functions, None], strict=False), 1):
        if sleep[l - 1]:
            steps.append((f"dropout{l}", Dropout(sleep[l - 1])))
        normalised = batch_norm and l <= hidden
        dense = Dense(
            n_in,
            n_out,
            None if normalised else function,
            bias=not normalised,
            init=init,
            init_bias=init_bias,
            seed=None if seed is None else int(generator(seed, "layer", l).integers(2**63)),
            dtype=dtype,
        )
        steps.append((f"layer{l}", dense))
        if normalised:
            steps.append((f"norm{l + 1}", BatchNorm(n_out, dtype=dtype)))
            found = find_activation(function)
            steps.append((f"activation{l + 1}", found if isinstance(found, Module) else _named(found)))
    return FullyConnected(steps, output)


def _named(activation: Activation | None) -> Activation:
    """Return the activation as a function that names its result y, as a dense layer does."""

    def apply(v: Tensor) -> Tensor:
        y = v if activation is None else activation(v)
        y.name = "y"
        return y

    return apply
