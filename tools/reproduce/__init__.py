"""The experiments that ``tinygraph reproduce`` repeats, by name: the chapter's tables, and tasks with a baseline."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygraph.arguments import choose
from tinygraph.errors import ArgumentError
from tinygraph.tools.reproduce import cora, emotions, images, one_shot, tables, transfer

__all__ = ["REPRODUCTIONS", "Reproduction", "listed", "run"]


@dataclass(frozen=True)
class Reproduction:
    """An experiment that can be repeated.

    Attributes
    ----------
    shows : str
        What comes out.
    run : callable
        Yields lines for the terminal. Its keyword-only parameters are the experiment's options.
    """

    shows: str
    run: Callable[..., Iterator[str]]

    @property
    def options(self) -> list[str]:
        """The options as they are written on the command line."""
        parameters = inspect.signature(self.run).parameters.values()
        return [_option(p.name) for p in parameters if p.kind is p.KEYWORD_ONLY]


def of_table(table: tables.Table) -> Reproduction:
    """Return the reproduction of a table."""
    return Reproduction(table.shows, partial(tables.run, table))


REPRODUCTIONS: dict[str, Reproduction] = {
    **{table.name: of_table(table) for table in (tables.MNIST, tables.CIFAR)},
    "fashion-mnist": Reproduction("classes of images, beside a softmax layer alone", images.run),
    "emotions": Reproduction("several labels at once, beside a network for each", emotions.run),
    "cora": Reproduction("papers by words and citations, beside words alone", cora.run),
    "one-shot": Reproduction("new characters by one image each, beside pixels", one_shot.run),
    "transfer": Reproduction("the digits 5 to 9 after 0 to 4, beside a network that starts anew", transfer.run),
}


def listed() -> list[str]:
    """Return a line for each experiment: its name, what comes out and its options."""
    width = max(map(len, REPRODUCTIONS))
    texts = {name: " ".join([r.shows, *map("[{}]".format, r.options)]) for name, r in REPRODUCTIONS.items()}
    return [f"{name:<{width}}  {text}" for name, text in texts.items()]


def run(name: str | None, **options: Any) -> Iterator[str]:
    """Run the experiment called `name`; yield lines for the terminal.

    Parameters
    ----------
    name : str or None
        A name of `REPRODUCTIONS`; without one there is nothing to run.
    **options
        Those of the experiment; None leaves its own default.

    Raises
    ------
    ArgumentError
        If the experiment or an option is not known, none is named, or an option's value is out of range.
    DataError
        If the files of a data set are missing, or those in the folder of results are of another run.
    """
    if name is None:
        raise ArgumentError(f"reproduce: options need a name before them, one of {', '.join(REPRODUCTIONS)}")
    reproduction: Reproduction = choose("experiment", name, REPRODUCTIONS)
    chosen = {option: value for option, value in options.items() if value is not None}
    known = reproduction.options
    wrong = next((_option(option) for option in chosen if _option(option) not in known), None)
    if wrong is not None:
        raise ArgumentError(f"reproduce {name} has no {wrong}; its options: {', '.join(known) or 'none'}")
    yield from reproduction.run(**chosen)


def _option(name: str) -> str:
    return "--" + name.removesuffix("_set").replace("_", "-")
