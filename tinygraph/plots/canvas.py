"""What all plots are painted on: figures, colours, files."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..describe import shown
from ..errors import ArgumentError
from ..files import PathLike, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"  # told apart by the colour-blind too
COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F", "#5E3C99")
MARKERS = "os^DvP*X<>"
FORMATS: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}  # no dates
LEGEND_LINES = 8  # a legend of more is replaced by a bar of colours
ACROSS = 5  # panels in a row, at most
LONGEST_NAME = 24  # characters of it that are shown


def figure(panels: int = 1, rows: int = 1, *, width: float = 4.5, height: float = 3.6) -> tuple[Figure, Any]:
    """Return an empty figure with panels side by side, in rows, and its axes: one, or an array of them.

    Parameters
    ----------
    panels, rows : int
        How many panels a row has, and how many rows there are.
    width, height : float
        Of a panel, in inches.
    """
    drawing = _figure_class()(figsize=(width * max(panels, 1.4), height * rows), layout="constrained")
    axes = drawing.subplots(rows, panels)
    for one in np.atleast_1d(axes).flat:
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def grid(n: int, *, width: float = 2.6, height: float = 2.2) -> tuple[Figure, list[Any]]:
    """Return a figure with `n` panels in rows of at most `ACROSS`, and the list of its axes."""
    columns = min(n, ACROSS)
    rows = math.ceil(n / columns)
    drawing, axes = figure(columns, rows, width=width, height=height)
    axes = list(np.atleast_1d(axes).flat)
    for unused in axes[n:]:
        unused.remove()
    return drawing, axes[:n]


def _figure_class() -> type[Figure]:
    """Import Matplotlib, whatever backend for windows MPLBACKEND names: none is used here."""
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        from .picture import Picture
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return Picture


def shades(n: int) -> list[tuple[float, ...]]:
    """Return n colours from dark to light, for things that have an order; the colour-blind see it too."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.8, n)))


def whole_numbers(axis: Any) -> None:
    """Let the ticks of an axis be whole numbers."""
    axis.get_major_locator().set_params(integer=True)


def plain(text: object) -> str:
    """Return a name as it is shown: not too long; a dollar sign begins no formula, an underscore hides no name."""
    name = shown(str(text), LONGEST_NAME).replace("$", r"\$")
    return f"\u200b{name}" if name.startswith("_") else name


def tell_apart(drawing: Figure, axes: Axes, names: Sequence[str], title: str) -> None:
    """Say which of the `shades` is which: a legend of the lines of `axes`, or a bar of colours where they are many."""
    if len(names) <= LEGEND_LINES:
        axes.legend(frameon=False, title=title, fontsize="small")
        return
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    colours = ListedColormap(shades(len(names)))
    scale = ScalarMappable(BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names)), colours)
    every = math.ceil(len(names) / LEGEND_LINES)
    bar = drawing.colorbar(scale, ax=axes, label=title, ticks=range(0, len(names), every))
    bar.ax.set_yticklabels(names[::every])


def mosaic(images: np.ndarray, columns: int, *, below: int = 1, right: int = 1, fill: float = 1.0) -> np.ndarray:
    """Return images side by side, in rows of `columns`, as one.

    Parameters
    ----------
    images : array of shape (n, height, width) or (n, colours, height, width)
    columns : int
    below, right : int
        How many pixels lie under each image and to the right of it.
    fill : float
        Their value, and that of the places left in the last row.

    Returns
    -------
    array of shape (rows * (height + below), columns * (width + right), colours)
    """
    n, *_, height, width = images.shape
    rows = math.ceil(n / columns)
    framed = np.pad(
        images.reshape(n, -1, height, width), [(0, 0), (0, 0), (0, below), (0, right)], constant_values=fill
    )
    empty = np.full((rows * columns - n, *framed.shape[1:]), fill, framed.dtype)
    placed = np.concatenate([framed, empty]).reshape(rows, columns, *framed.shape[1:])
    # The colours come first in the data and last in a picture.
    joined: np.ndarray = placed.transpose(0, 3, 1, 4, 2).reshape(
        rows * (height + below), columns * (width + right), framed.shape[1]
    )
    return joined


def image(picture: Figure, form: str = "svg") -> bytes:
    """Return a figure as a file of one of the `FORMATS`; the same figure, drawn anew, gives the same bytes."""
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tinygraph"}):
        picture.savefig(content, format=form, metadata=FORMATS[form], dpi=150)
    return content.getvalue()


def format_of(path: PathLike) -> str:
    """Return which of the `FORMATS` the ending of a file's name stands for, or raise an `ArgumentError`."""
    form = Path(path).suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise ArgumentError(f"{path}: the name must end in {', '.join(f'.{form}' for form in FORMATS)}")
    return form


def save(picture: Figure, path: PathLike) -> None:
    """Write a figure to a file; the same figure, drawn anew, gives the same bytes.

    Parameters
    ----------
    picture : Figure
    path : path
        Ends in .svg, .pdf or .png.

    Raises
    ------
    ArgumentError
        If it ends otherwise.
    DataError
        If it cannot be written.
    """
    write_file(path, image(picture, format_of(path)))
