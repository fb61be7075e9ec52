"""Pictures of training: learning curves, and what a `Recorder` has recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..sensitivity import LayerNorms
from ..train import History
from ..train.history import COLUMNS
from .canvas import BLUE, COLOURS, MARKERS, VERMILLION, figure, grid, plain, shades, tell_apart, whole_numbers
from .recorder import LayerState, Moment, Recorder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"loss": ("loss", 1.0), "error": ("wrong decisions, %", 100.0)}  # of the history's own columns


def learning_curves(history: History, held_out: str = "validation") -> Figure:
    """Return losses, errors where there are decisions, and metrics of one's own, by epoch, with the pocket point.

    Parameters
    ----------
    history : History
        At least one epoch. After early stopping, the epoch whose parameters were kept, the pocket variables of
        (65.94), is marked.
    held_out : str
        What the validation set is called in the legend.

    Raises
    ------
    ArgumentError
        If it is no history, or has no epoch.
    """
    if not isinstance(history, History):
        raise ArgumentError(f"learning_curves: expected the History that fit returns, got a {type(history).__name__}")
    if not len(history):
        raise ArgumentError("learning_curves: the history has no epoch yet; train with fit first")
    names = dict.fromkeys(name.removeprefix("validation_") for name in history.columns if name not in COLUMNS)
    panels = [name for name in ("loss", "error", *names) if _is_known(history, name)]
    picture, parts = figure(len(panels))
    for axes, name in zip(np.atleast_1d(parts), panels, strict=True):
        title, scale = TITLES.get(name, (plain(name), 1.0))
        for label, column, style in (
            ("training", name, {"color": BLUE}),
            (plain(held_out), f"validation_{name}", {"color": VERMILLION, "linestyle": "--"}),
        ):
            if _has(history, column):
                axes.plot(history["epoch"], scale * _floats(history[column]), label=label, **style)
        axes.set_xlabel("epoch")
        whole_numbers(axes.xaxis)
        if name in TITLES:
            axes.set_ylim(bottom=0)
        if history.best_epoch is not None:
            _mark_pocket(axes, history, f"validation_{name}", scale)
        axes.legend(frameon=False)
        axes.set_title(title, loc="left")
    return picture


def _mark_pocket(axes: Any, history: History, column: str, scale: float) -> None:
    epoch = history.best_epoch
    axes.axvline(epoch, color="0.4", linestyle=":", label=f"pocket: epoch {epoch}")
    if epoch in history["epoch"] and _has(history, column):
        value = _floats(history[column])[history["epoch"].index(epoch)]
        axes.plot([epoch], [scale * value], "o", color=VERMILLION)


def _is_known(history: History, name: str) -> bool:
    return _has(history, name) or _has(history, f"validation_{name}")


def _has(history: History, column: str) -> bool:
    return column in history.columns and any(value is not None for value in history[column])


def _floats(values: list[object]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


# what a recorder has recorded -------------------------------------------------------------------


def gradient_norms(recorders: Recorder | Mapping[str, Recorder]) -> Figure:
    """Return the norms of every layer's sensitivities and weight gradients while it was trained (65.165)-(65.166).

    Parameters
    ----------
    recorders : Recorder, or dict of str to Recorder
        Several networks, each in a row of its own, are drawn to one scale.

    Raises
    ------
    ArgumentError
        If a recorder holds nothing.
    """
    series = {
        r"sensitivities $\|\delta_\ell\|$": lambda layer: layer.sensitivity,
        r"gradients $\|\partial Q / \partial W_{\ell-1}\|$": lambda layer: layer.gradient,
    }
    return _over_time("gradient_norms", recorders, series)


def saturation(recorders: Recorder | Mapping[str, Recorder]) -> Figure:
    """Return the shares of saturated and of dead nodes in every layer while it was trained.

    Parameters
    ----------
    recorders
        As for `gradient_norms`.

    Raises
    ------
    ArgumentError
        If a recorder holds nothing, or no layer has an activation.
    """
    series = {
        "saturated nodes, %": lambda layer: 100 * layer.saturated,
        "dead nodes, %": lambda layer: 100 * layer.dead,
    }
    return _over_time("saturation", recorders, series, scale="linear")


def update_ratios(recorders: Recorder | Mapping[str, Recorder]) -> Figure:
    """Return how large every layer's updates were beside its weights, ``|W_m - W_{m-1}| / |W_{m-1}|``.

    A ratio near 1/1000, the dotted line, is a usual sign of a learning rate that fits.

    Parameters
    ----------
    recorders
        As for `gradient_norms`.

    Raises
    ------
    ArgumentError
        If a recorder holds no update.
    """
    picture = _over_time("update_ratios", recorders, {"update / weight": lambda layer: layer.update})
    for axes in picture.axes[: len(recorders) if isinstance(recorders, Mapping) else 1]:
        axes.axhline(1e-3, color="0.4", linestyle=":", zorder=0)
    return picture


def _over_time(
    caller: str,
    recorders: Recorder | Mapping[str, Recorder],
    series: Mapping[str, Callable[[LayerState], float]],
    scale: str = "log",
) -> Figure:
    """Draw some numbers of every layer against the number of updates: a column for each, a row for each recorder."""
    rows = recorders if isinstance(recorders, Mapping) else {"": recorders}
    moments = {label: _moments(caller, recorder) for label, recorder in rows.items()}
    known = {title: value for title, value in series.items() if any(_lines(held, value) for held in moments.values())}
    if not known:
        raise ArgumentError(f"{caller}: nothing to draw: the recorder holds no finite number of this kind")
    picture, axes = figure(len(known), len(rows), height=3.6 if len(rows) == 1 else 2.4)
    axes = np.atleast_1d(axes).reshape(len(rows), len(known))
    for column, (title, value) in enumerate(known.items()):
        is_positive = any((y > 0).any() for held in moments.values() for _, y in _lines(held, value).values())
        for row, (label, held) in enumerate(moments.items()):
            panel, lines = axes[row, column], _lines(held, value)
            for (name, points), colour in zip(lines.items(), shades(len(lines)), strict=True):
                panel.plot(*points, color=colour, label=name)
            panel.set_yscale(scale if is_positive else "linear")  # of zeros alone there is no logarithm
            panel.set_xlabel("updates" if row == len(rows) - 1 else "")
            panel.set_title(f"{plain(label)}: {title}" if label else title, loc="left")
            if scale == "linear":
                panel.set_ylim(-2, 102)
            if lines and column == len(known) - 1:
                tell_apart(picture, panel, list(lines), "signal")
        for panel in axes[1:, column]:
            panel.sharey(axes[0, column])
            panel.autoscale(axis="y")
    return picture


def _lines(moments: list[Moment], value: Callable[[LayerState], float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return a number of every layer that has it: by the layer's name, after how many updates, and the number."""
    when = np.array([moment.iteration for moment in moments])
    lines = {}
    for name in moments[0].layers:
        values = np.array([value(moment.layers[name]) for moment in moments])
        known = np.isfinite(values)
        if known.any():
            lines[name] = when[known], values[known]
    return lines


def activations(recorder: Recorder, at: int = -1) -> Figure:
    """Return histograms of every layer's outputs at one moment, beside those at the first, with what is saturated.

    Parameters
    ----------
    recorder : Recorder
    at : int
        Which of its moments, the last by default.

    Raises
    ------
    ArgumentError
        If the recorder holds no such moment.
    """
    moments = _moments("activations", recorder)
    if not -len(moments) <= at < len(moments):
        raise ArgumentError(f"activations: the recorder holds {len(moments)} moments, there is no moment {at}")
    first, moment = moments[0], moments[at]
    picture, parts = grid(len(moment.layers))
    for axes, (name, layer) in zip(parts, moment.layers.items(), strict=True):
        axes.stairs(_density(layer), layer.edges, fill=True, color=BLUE, alpha=0.75)
        if first is not moment:
            axes.stairs(_density(first.layers[name]), first.layers[name].edges, color="0.25")
        flat = {"saturated": layer.saturated, "dead": layer.dead}
        told = [f"{100 * share:.0f} % {name}" for name, share in flat.items() if not np.isnan(share)]
        axes.set_title("\n".join(told), loc="right", fontsize=8)
        axes.set_title(plain(layer.signal), loc="left")
        axes.set_ylabel("density" if axes.get_subplotspec().is_first_col() else "")
    beside = f", in outline after {first.iteration}" if first is not moment else ""
    picture.suptitle(f"after {moment.iteration} updates{beside}", fontsize=10)
    return picture


def _density(layer: LayerState) -> np.ndarray:
    """Return the share of the values in each bin, divided by its width: the bins of two moments differ."""
    density: np.ndarray = layer.counts / (max(1, int(layer.counts.sum())) * np.diff(layer.edges))
    return density


def _moments(caller: str, recorder: object) -> list[Moment]:
    if not isinstance(recorder, Recorder):
        raise ArgumentError(f"{caller}: expected a tinygraph.plots.Recorder, got a {type(recorder).__name__}")
    if not recorder.moments:
        raise ArgumentError(f"{caller}: the recorder holds nothing yet; give it to fit: callbacks=[recorder]")
    return recorder.moments


# one moment of several networks -----------------------------------------------------------------


def norms_by_layer(networks: Mapping[str, Mapping[str, LayerNorms]]) -> Figure:
    """Return the norms of sensitivities and of weight gradients against the layer, a line for each network.

    Parameters
    ----------
    networks : dict of str to what `tinygraph.gradient_norms` returns
        What the networks are called in the legend, and their norms.

    Raises
    ------
    ArgumentError
        If there is no network.
    """
    if not networks:
        raise ArgumentError("norms_by_layer: expected at least one network")
    picture, (left, right) = figure(2)
    for i, (called, norms) in enumerate(networks.items()):
        layers = np.arange(2, len(norms) + 2)
        style = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 4,
            "label": plain(called),
        }
        left.semilogy(layers, [n.sensitivity for n in norms.values()], **style)
        right.semilogy(layers, [n.gradient for n in norms.values()], **style)
    left.set_title(r"sensitivities $\|\delta_\ell\|$", loc="left")
    right.set_title(r"gradients $\|\partial Q / \partial W_{\ell-1}\|$", loc="left")
    for axes in (left, right):
        axes.set_xlabel(r"layer $\ell$")
        whole_numbers(axes.xaxis)
    left.legend(frameon=False)
    return picture
