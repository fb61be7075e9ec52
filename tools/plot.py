"""Plots."""

from __future__ import annotations

import io

from tinygraph.train import History


def learning_curves(history: History, held_out: str) -> bytes:
    """Return losses and errors by pass as an SVG picture.

    Parameters
    ----------
    history : History
    held_out : str
        What the validation set is called in the legend.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "tinygraph"  # the same history gives the same bytes
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = history["epoch"]
    for axes, column, scale in ((losses, "loss", 1.0), (errors, "error", 100.0)):
        for name, values, style in (
            ("training", history[column], {"color": "#0072B2"}),
            (held_out, history[f"validation_{column}"], {"color": "#D55E00", "linestyle": "--"}),
        ):
            if values and values[0] is not None:
                axes.plot(epochs, [scale * v for v in values], label=name, **style)
        axes.set_xlabel("pass")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    losses.set_title("loss", loc="left")
    errors.set_title("wrong decisions, %", loc="left")
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()
