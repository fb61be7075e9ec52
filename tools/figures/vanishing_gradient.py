"""The vanishing gradient of Sec. 65.8: how little of the loss's slope reaches the first layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.arguments import whole_number
from tinygraph.models import fully_connected
from tinygraph.plots import norms_by_layer
from tinygraph.sensitivity import LayerNorms

WIDTH = 64  # nodes of a hidden layer
ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "rectifier"}  # and what the legend calls them


def draw(layers: int = 10, seed: int = 0) -> tuple[Any, list[str]]:
    """Draw the norms of sensitivities and of weight gradients against the layer, and the bound of (65.166).

    Parameters
    ----------
    layers : int
        L, counting input and output.
    seed : int
        Decides the initial weights, which are the same for each activation.
    """
    L = whole_number("layers", layers, 3)
    measured = {called: norms(activation, L, seed) for activation, called in ACTIVATIONS.items()}
    picture = norms_by_layer(measured)
    left = picture.axes[0]
    last = list(measured[ACTIVATIONS["sigmoid"]].values())[-1].sensitivity
    ticks = np.arange(2, L + 1)
    left.semilogy(ticks, last * 4.0 ** (ticks - L), ":", color="black", label=r"a factor $\max f' = 1/4$ a layer")
    left.legend(frameon=False)
    return picture, []


def norms(activation: str, layers: int, seed: int) -> dict[str, LayerNorms]:
    """Return the norms by layer of an untrained network of so many layers on 100 digits, with cross-entropy.

    Its weights are drawn from N(0, 1 / n_l) (65.89).
    """
    X, Y = (part[:100].astype(np.float64) for part in data.load("digits").train)
    sizes = [X.shape[1], *[WIDTH] * (layers - 2), Y.shape[1]]
    net = fully_connected(sizes, activation, init="normal", seed=seed, dtype=np.float64)
    return tg.gradient_norms(losses.cross_entropy(net(X), Y), net)
