"""The figures that ``tinygraph figure`` draws: one for each of the chapter's pictures with numbers in it, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinygraph.arguments import choose
from tinygraph.errors import ArgumentError
from tinygraph.plots.canvas import format_of, save
from tinygraph.tools.figures import activations, gaussian_process, images, universal_approximation, vanishing_gradient

__all__ = ["FIGURES", "Figure", "listed", "write"]


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn.

    Attributes
    ----------
    shows : str
        What is in it.
    draw : callable
        Returns a Matplotlib figure, and lines for the terminal. Its parameters are the figure's options.
    """

    shows: str
    draw: Callable[..., tuple[Any, list[str]]]

    @property
    def options(self) -> list[str]:
        """The options as they are written on the command line."""
        return [_option(name) for name in inspect.signature(self.draw).parameters]


FIGURES: dict[str, Figure] = {
    "65.2": Figure("activation functions and their derivatives", activations.draw),
    "65.12": Figure("images drawn at random from MNIST", partial(images.draw, data="mnist")),
    "65.13": Figure("images drawn at random from CIFAR-10", partial(images.draw, data="cifar10")),
    "65.18": Figure("universal approximation by one hidden layer (65.190)", universal_approximation.draw),
    "65.197": Figure("the Gaussian-process limit of one hidden layer, simulated", gaussian_process.draw),
    "vanishing-gradient": Figure("how gradients fade from layer to layer (Sec. 65.8)", vanishing_gradient.draw),
}


def listed() -> list[str]:
    """Return a line for each figure: its name, what it shows and its options."""
    width = max(map(len, FIGURES))
    return [f"{name:<{width}}  {' '.join([f.shows, *map('[{}]'.format, f.options)])}" for name, f in FIGURES.items()]


def write(name: str | None, path: Path | None = None, **options: Any) -> list[str]:
    """Draw the figure called `name` to a file; return lines for the terminal.

    Parameters
    ----------
    name : str or None
        A name of `FIGURES`; without one there is nothing to draw.
    path : path, optional
        Ends in .svg, .png or .pdf; by default ``figure-NAME.svg``.
    **options
        Those of the figure; None leaves its own default.

    Raises
    ------
    ArgumentError
        If the figure, the file's ending or an option is not known, no figure is named, or an option's value is out of
        range.
    DataError
        If the files of a data set are missing, or the figure cannot be written.
    """
    if name is None:
        raise ArgumentError(f"figure: options need the name of a figure before them, one of {', '.join(FIGURES)}")
    figure: Figure = choose("figure", name, FIGURES)
    path = path or Path(f"figure-{name}.svg")
    format_of(path)  # told before a figure is drawn that takes long
    chosen = {option: value for option, value in options.items() if value is not None}
    wrong = next((_option(option) for option in chosen if _option(option) not in figure.options), None)
    if wrong is not None:
        raise ArgumentError(f"figure {name} has no {wrong}; its options: {', '.join(figure.options) or 'none'}")
    picture, lines = figure.draw(**chosen)
    save(picture, path)
    return [*lines, f"wrote {path}"]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
