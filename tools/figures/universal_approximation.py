"""Figure 65.18, the network of the universal approximation theorem, and what it makes of a curve (65.189)-(65.190)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plots.canvas import BLUE, figure, shades
from tinygraph.tools.universal_approximation import approximate


def curve(H: np.ndarray) -> np.ndarray:
    """Return what is approximated: a continuous function from [-1, 1] to [0, 1], with a corner at 0."""
    h = H[:, 0]
    y: np.ndarray = 0.4 + 0.4 * np.sin(3 * np.pi * h) * (1 - h**2) + 0.2 * np.abs(h)
    return y


def draw(nodes: list[int] | None = None, activation: str = "sigmoid", seed: int = 0) -> tuple[Any, list[str]]:
    """Draw the network with three hidden nodes, and the fits of networks with more and more of them.

    Parameters
    ----------
    nodes : list of int
        K of each fit; 3, 10 and 50 by default.
    activation : str
        f, a name of `tinygraph.nn.ACTIVATIONS`.
    seed : int
        Decides the initial parameters.
    """
    picture, (left, right) = figure(2)
    _network(left)
    H = np.linspace(-1, 1, 401)[:, None]
    right.plot(H, curve(H), color="black", linewidth=4, alpha=0.25, label="$g(h)$")
    lines = []
    sizes = nodes or [3, 10, 50]
    for K, colour in zip(sizes, shades(len(sizes)), strict=True):
        fit = approximate(curve, K, activation=activation, seed=seed)
        right.plot(H, fit(H), color=colour, linewidth=1.2, label=rf"$\widehat{{g}}(h)$, $K = {K}$")
        lines.append(f"K = {K}: largest |g(h) - ghat(h)| {fit.largest_error:.4f}")
    right.set_title(f"fits by K nodes, $f$: {activation}", loc="left")
    right.set_xlabel("$h$")
    right.set_ylim(-0.05, 1.0)
    right.legend(frameon=False)
    return picture, lines


def _network(axes: Any) -> None:
    """Draw two inputs, three hidden nodes, and the output that adds them up, as in Figure 65.18."""
    inputs = [(0.0, 0.8), (0.0, -0.8)]
    hidden = [(1.0, 1.4), (1.0, 0.0), (1.0, -1.4)]
    output = (2.0, 0.0)
    for start in inputs:
        for end in hidden:
            _arrow(axes, start, end)
    for j, node in enumerate(hidden, 1):
        _arrow(axes, node, output)
        _arrow(axes, (node[0], node[1] + 0.62), node)
        axes.text(node[0], node[1] + 0.64, rf"$-\theta({j})$", ha="center", va="bottom")
        below = node[1] < 0
        axes.text(1.5, node[1] / 2 + (-0.1 if below else 0.1), rf"$\alpha({j})$", va="top" if below else "bottom")
        axes.text(0.72, 0.72 * node[1], f"$w_{j}$", ha="center", va="center")  # between its arrows
    _arrow(axes, output, (2.45, 0.0), gap=0.0)
    for m, node in enumerate(inputs, 1):
        _node(axes, node, f"$h({m})$", "#E8E8E8")
    for node in hidden:
        _node(axes, node, "$f$", "#CFE3F2")
    _node(axes, output, r"$\Sigma$", "white")
    axes.text(2.5, 0.0, r"$\widehat{g}(h)$", va="center")
    axes.set_xlim(-0.25, 2.95)
    axes.set_ylim(-2.5, 2.5)
    axes.set_title("the model (65.190) with K = 3", loc="left")
    axes.text(1.3, -2.35, r"$\widehat{g}(h) = \sum_j\, \alpha(j)\, f(h^{\top} w_j - \theta(j))$", ha="center")
    axes.set_axis_off()


def _node(axes: Any, place: tuple[float, float], text: str, colour: str) -> None:
    box = {"boxstyle": "circle,pad=0.35", "facecolor": colour, "edgecolor": BLUE}
    axes.text(*place, text, ha="center", va="center", bbox=box, zorder=3)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], gap: float = 11.0) -> None:
    """Draw an arrow that ends `gap` points before the middle of a node."""
    style = {"arrowstyle": "-|>", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": gap}
    axes.annotate("", end, start, arrowprops=style)
