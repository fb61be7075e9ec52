"""The Gaussian-process limit (65.191)-(65.197): random networks against the covariance and the shape of the limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plots.canvas import figure, shades
from tinygraph.tools.gaussian_process import draw_outputs, excess_kurtosis, kernel, sample_covariance

INPUTS = np.linspace(-3, 3, 13)[:, None]
MIDDLE = 6
FIXED = [2, MIDDLE, 9]  # the rows of INPUTS that are h where h' goes through all of them
MOMENTS: dict[str, Any] = {"sigma_w": 1.0, "sigma_theta": 0.1, "Sigma": np.diag([0.5, 1.0])}


def draw(nodes: list[int] | None = None, draws: int = 20_000, seed: int = 0) -> tuple[Any, list[str]]:
    """Draw the covariance of the outputs of random networks beside (65.197), and how they are distributed.

    Parameters
    ----------
    nodes : list of int
        K of each set of networks; 1, 4 and 64 by default. The covariance is that of the first.
    draws : int
        How many networks are drawn for each K.
    seed : int
        Decides the networks.
    """
    picture, (left, right) = figure(2)
    sizes = nodes or [1, 4, 64]
    outputs = [draw_outputs(INPUTS, K, draws, seed=seed, **MOMENTS) for K in sizes]
    _covariance(left, outputs[0], sizes[0])
    lines = []
    edges = np.linspace(-4, 4, 41)
    for K, y, colour in zip(sizes, outputs, shades(len(sizes)), strict=True):
        standard = y[:, MIDDLE] / np.sqrt(kernel(INPUTS[MIDDLE : MIDDLE + 1], **MOMENTS)[0, 0])
        density = np.histogram(standard, edges)[0] / (draws * np.diff(edges))
        right.stairs(density, edges, color=colour, linewidth=1.2, label=f"$K = {K}$")
        lines.append(f"K = {K}: excess kurtosis of g({INPUTS[MIDDLE, 0]:g}) {excess_kurtosis(y)[MIDDLE]:.3f}")
    z = np.linspace(-4, 4, 201)
    right.plot(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), "--", color="black", label="Gaussian")
    right.set_title(f"density of $g(h)$ at $h = {INPUTS[MIDDLE, 0]:g}$", loc="left")
    right.set_xlabel("$g(h)$ over its standard deviation")
    right.legend(frameon=False)
    return picture, lines


def _covariance(axes: Any, outputs: np.ndarray, K: int) -> None:
    covariance, error = sample_covariance(outputs)
    fine = np.linspace(INPUTS[0, 0], INPUTS[-1, 0], 201)[:, None]
    for i, colour in zip(FIXED, shades(len(FIXED)), strict=True):
        axes.plot(fine, kernel(fine, INPUTS[i : i + 1], **MOMENTS), color=colour, label=f"$h = {INPUTS[i, 0]:g}$")
        axes.errorbar(INPUTS[:, 0], covariance[:, i], 2 * error[:, i], fmt="o", color=colour, markersize=3, linewidth=1)
    axes.set_title(rf"$E\,g(h)g(h')$, (65.197); dots: networks, $K = {K}$", loc="left")
    axes.set_xlabel("$h'$")
    axes.legend(frameon=False)
