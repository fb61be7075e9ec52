"""Plots."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from tinygraph.train import History

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"  # told apart by the colour-blind too
COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00")
FORMATS: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}  # no dates


def learning_curves(history: History, held_out: str) -> bytes:
    """Return losses and, where there are decisions, errors by epoch as an SVG picture.

    Parameters
    ----------
    history : History
    held_out : str
        What the validation set is called in the legend.
    """
    panels = [("loss", "loss", 1.0)]
    if any(error is not None for error in history.errors):
        panels.append(("error", "wrong decisions, %", 100.0))
    picture, parts = figure(len(panels))
    epochs = history["epoch"]
    for axes, (column, title, scale) in zip(np.atleast_1d(parts), panels, strict=True):
        for name, values, style in (
            ("training", history[column], {"color": BLUE}),
            (held_out, history[f"validation_{column}"], {"color": VERMILLION, "linestyle": "--"}),
        ):
            if values and values[0] is not None:
                axes.plot(epochs, [scale * v for v in values], label=name, **style)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        axes.set_title(title, loc="left")
    return image(picture)


def _matplotlib() -> Any:
    """Import Matplotlib, whatever backend for windows MPLBACKEND names: none is used here."""
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib.figure as module
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return module


def figure(panels: int = 1) -> tuple[Any, Any]:
    """Return an empty figure with one or several panels side by side, and its axes."""
    Figure = _matplotlib().Figure

    drawing = Figure(figsize=(4.5 * max(panels, 1.4), 3.6), layout="constrained")
    axes = drawing.subplots(1, panels)
    for one in np.atleast_1d(axes):
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def shades(n: int) -> list[Any]:
    """Return n colours from dark to light, for things that have an order; the colour-blind see it too."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.8, n)))


def image(picture: Any, form: str = "svg") -> bytes:
    """Return a figure as a file of one of the `FORMATS`; the same figure gives the same bytes."""
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tinygraph"}):
        picture.savefig(content, format=form, metadata=FORMATS[form], dpi=150)
    return content.getvalue()
