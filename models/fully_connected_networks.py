"""The fully-connected network of (65.31), any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.arguments import choose
from tinygraph.errors import ArgumentError
from tinygraph.nn import BatchNorm, Dense, Dropout, Module
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation, find_activation
from tinygraph.tensors import Tensor

from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


class FullyConnected(Module):
    """Dense layers in a row, called ``layer1`` to ``layer{L-1}``; returns z_L (65.31), or v_L where it is normalised.

    Layer l maps the signals ``y_l`` of layer l to ``z_{l+1} = y_l W_l - theta_l``; every layer but the last
    applies its activation. With batch normalisation ``norm{l+1}`` makes ``v_{l+1}`` of ``z_{l+1} = y_l W_l``, which
    the activation is then applied to (65.185); with dropout ``dropout{l}`` masks ``y_l``. `predict` applies the
    output activation to what is returned.
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

    def forward(self, x: Tensor) -> Tensor:
        """Return z_L, or v_L, for `x` of shape (B, n_1)."""
        for step in self.steps:
            x = step(x)
        return x


def fully_connected(
    sizes: Sequence[int],
    activation: str | Activation | Sequence[str | Activation] = "relu",
    output: str = "softmax",
    *,
    dropout: float | Sequence[float] | None = None,
    batch_norm: str | bool | None = None,
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> FullyConnected:
    """Build a fully-connected network (65.31), with dropout and batch normalisation where asked for.

    Parameters
    ----------
    sizes : sequence of int
        How many nodes each layer has, input first: ``[784, 512, 512, 10]``; at least two.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers; a name of `tinygraph.nn.ACTIVATIONS`.
    output : str
        The output activation that ``predict`` applies, a name of `tinygraph.nn.OUTPUTS`; the network itself returns
        the signal before it.
    dropout : float, or one for each layer but the last, input first, optional
        The probabilities with which nodes sleep in training (65.120); a single one is for the hidden layers.
    batch_norm : {"all", "hidden"} or bool, optional
        Which signals are normalised over the batch (65.183). "all", or True: every z_l, that of the output too, as
        in listing (65.187), whose inputs are standardised beforehand (`tinygraph.data.standardize`). "hidden": those
        of the hidden layers, as is usual elsewhere. A normalised layer has no bias but the shift of its
        `tinygraph.nn.BatchNorm`.
    init, init_bias : str or callable
        How weights and biases, also the shifts of batch normalisation, are drawn; names of
        `tinygraph.nn.INITIALIZERS`.
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
    sizes = list_of_sizes("fully_connected: sizes", sizes)
    if len(sizes) < 2:
        raise ArgumentError(f"fully_connected: sizes must list at least input and output, got {sizes}")
    hidden = len(sizes) - 2
    functions = activation_per_layer("fully_connected", activation, hidden)
    options = LayerOptions(init, init_bias, seed, dtype)
    sleep = [0.0, *[dropout or 0.0] * hidden] if isinstance(dropout, int | float | None) else list(dropout)
    if len(sleep) != hidden + 1:
        raise ArgumentError(
            f"fully_connected: dropout must have one probability for each of the {hidden + 1} layers but the last, "
            f"got {len(sleep)}"
        )
    where = "all" if batch_norm is True else batch_norm
    norms = choose("batch_norm", where, {"all": hidden + 1, "hidden": hidden}) if where else 0
    steps: list[tuple[str, Module | Activation]] = []
    for l, (n_in, n_out, function) in enumerate(zip(sizes, sizes[1:], [*functions, None], strict=False), 1):
        if sleep[l - 1]:
            steps.append((f"dropout{l}", Dropout(sleep[l - 1])))
        normalised, drawn = l <= norms, options.at(l)
        dense = Dense(n_in, n_out, None if normalised else function, bias=not normalised, **drawn)
        steps.append((f"layer{l}", dense))
        if normalised:
            del drawn["init"]  # there are no weights
            steps.append((f"norm{l + 1}", BatchNorm(n_out, **drawn)))
        if normalised and l <= hidden:
            f = find_activation(function)
            steps.append((f"activation{l + 1}", f if isinstance(f, Module) else _named(f)))
    return FullyConnected(steps, output)


def _named(activation: Activation | None) -> Activation:
    """Return the activation as a function that names its result y, as a dense layer does."""

    def apply(v: Tensor) -> Tensor:
        y = v if activation is None else activation(v)
        y.name = "y"
        return y

    return apply
