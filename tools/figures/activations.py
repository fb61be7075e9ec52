"""Figure 65.2: activation functions and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.nn import ACTIVATIONS
from tinygraph.plots.canvas import BLUE, VERMILLION, figure

PANELS = {  # what is drawn in each, by its name in the chapter and here
    "sigmoid": {"sigmoid": "sigmoid"},
    "hyperbolic tangent": {"tanh": "tanh"},
    "rectifier and softplus": {"rectifier": "relu", "softplus": "softplus"},
}


def draw() -> tuple[Any, list[str]]:
    """Draw sigmoid, tanh, and rectifier with softplus, and their derivatives (65.6)-(65.11)."""
    picture, parts = figure(len(PANELS))
    for axes, (title, functions) in zip(parts, PANELS.items(), strict=True):
        for (called, name), colour in zip(functions.items(), (BLUE, VERMILLION), strict=False):
            z, f, slope = curve(name)
            axes.plot(z, f, color=colour, label=f"{called} $f(z)$")
            axes.plot(z, slope, color=colour, linestyle="--", label="its derivative $f'(z)$")
        axes.set_title(title, loc="left")
        axes.set_xlabel("$z$")
        axes.legend(frameon=False, loc="upper left")
    parts[0].set(ylim=(-0.05, 1.35), yticks=np.linspace(0, 1, 5))  # with room for the legend
    parts[1].set(ylim=(-1.1, 1.7), yticks=np.linspace(-1, 1, 5))
    return picture, []


def curve(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z from -5 to 5, and the activation called `name` and its derivative there, each of shape (501,)."""
    z = tg.tensor(np.linspace(-5.0, 5.0, 501), requires_grad=True)
    f = ACTIVATIONS[name](z)
    (slope,) = tg.grad(f.sum(), [z])
    return z.numpy(), f.numpy(), slope.numpy()
