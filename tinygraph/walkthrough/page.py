"""One file with everything in it: drawings, steps, numbers, and the program that shows them in a browser."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..describe import shape_text, shown
from ..drawing.output import LARGEST, Drawn, picture_of
from ..drawing.themes import THEMES
from ..drawing.view import LEVELS, View
from ..errors import ArgumentError, DataError, RenderError
from ..files import write_file
from ..notebook import HTML, Displayed
from ..record import Node
from .formulas import formula_of, operands_of, output_of, typeset
from .layout import laid_out
from .numbers import Digest, Numbers

MANY = 400  # items up to which a level that was not asked for is drawn as well
NOTEBOOK_HEIGHT = 680  # pixels
OF_GRADIENTS = ("rules", "primitives")  # levels that show them
RELATIONS = {"transpose": "axes", "matmul": "product"}  # how the places of elements of others go together
# fmt: off
SAME_PLACE = {  # operations whose elements are made of those in the same place
    "abs", "add", "at_most_one", "bias", "cast", "clip", "copied", "cos", "divide", "divide_or_zero", "elu",
    "equal", "erf", "exp", "expm1", "gate", "gelu", "greater", "greater_equal", "identity", "leaky_relu", "less",
    "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or", "logical_xor", "mask", "maximum",
    "minimum", "multiply", "negative", "not_equal", "over_root", "power", "relu", "scaled_sum", "scaled_tanh", "selu",
    "sigmoid", "sigmoid_cross_entropy", "sign", "silu", "sin", "softplus", "softsign", "sqrt", "square", "subtract",
    "subtract_scaled", "tanh", "tril", "triu", "two_sided_relu", "where",
}
# fmt: on


@dataclass(frozen=True)
class Page(Displayed):
    """A page that steps through a computation; `save` writes it to a file, a notebook shows it by itself.

    Attributes
    ----------
    html : str
        The page: one file that needs no server and no network.
    title : str
    steps : int
        How many there are, of all training steps together.
    """

    html: str = field(repr=False)
    title: str
    steps: int

    def save(self, path: str | Path) -> Path:
        """Write the page to a file whose name ends in .html, and return its path.

        Raises
        ------
        ArgumentError
            If the name ends in anything else.
        RenderError
            If the file cannot be written. One that was there before is then left as it was.
        """
        path = checked(path)
        try:
            write_file(path, self.html.encode())
        except DataError as error:
            raise RenderError(f"explore: {error}") from None
        return path

    def _display(self) -> dict[str, str]:
        """Return the page in a frame of its own, which cannot touch the notebook around it."""
        frame = (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" title="{html.escape(self.title)}" '
            f'style="width: 100%; height: {NOTEBOOK_HEIGHT}px; border: 1px solid #9AA5B1"></iframe>'
        )
        return {HTML: frame}


def checked(path: str | Path) -> Path:
    """Return where a page is to be written, or raise an error before the work is done."""
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ArgumentError(f"explore: cannot write {str(path)!r}: the name must end in .html")
    if not path.parent.is_dir():
        raise RenderError(f"explore: cannot write {str(path)!r}: {str(path.parent)!r} is not a folder")
    return path


def page_of(graph: Drawn, runs: Sequence[Numbers], view: View, *, title: str = "", update: str = "") -> Page:
    """Return the page of a graph.

    Parameters
    ----------
    graph
        Its record.
    runs : sequence of Numbers
        Those of one run, of several training steps, or of none.
    view : View
        The level that is shown first, its depth and the theme; "light" follows what the reader's system prefers.
    title : str
        The heading; by default the network's class.
    update : str
        What changes the parameters between two runs, in words.

    Raises
    ------
    RenderError
        If no renderer was found, it takes too long, or there is more than it can lay out.
    """
    title = shown(title or (graph.network.kind if graph.network else "") or "graph")
    drawings = _drawings(graph, view)
    steps = _steps(graph.nodes)
    whole = {
        "title": title,
        "theme": view.theme,
        "start": next(iter(drawings)),
        "drawings": {level: drawings[level] for level in LEVELS if level in drawings},
        "update": update,
        "steps": steps,
        **_nodes(graph.nodes, "primitives" in drawings),
        **_runs(graph.nodes, runs, "primitives" in drawings),
    }
    content = {"TITLE": html.escape(title), "STYLE": _themes() + _part("page.css"), "PROGRAM": _part("page.js")}
    data = json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    content["DATA"] = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    first, *others = _part("page.html").split("{{")
    text = first + "".join(content[name] + after for name, after in (part.split("}}", 1) for part in others))
    count = len(steps) * max(1, len(runs)) + max(0, len(runs) - 1)
    return Page(text, title, count)


def _part(name: str) -> str:
    return files(__name__.rpartition(".")[0]).joinpath(name).read_text("utf-8")


def _themes() -> str:
    """Return the colours of drawings as variables of a style sheet."""
    rules = []
    for name in ("light", "dark"):
        colours = []
        for it in fields(THEMES[name]):
            value = getattr(THEMES[name], it.name)
            pair = [value] if isinstance(value, str) else value
            colours += [f"--{it.name}{'-line' * i}:{colour}" for i, colour in enumerate(pair)]
        rules.append(f'[data-theme="{name}"]{{{";".join(colours)}}}')
    return "\n".join(rules).replace("_", "-") + "\n"


def _drawings(graph: Drawn, view: View) -> dict[str, object]:
    """Return the drawings of a graph by level, the one to begin with first."""
    has_gradients = any(node.is_gradient for node in graph.nodes)
    first = view.level_for(has_gradients)
    if view.level is None and view.depth is None and len(graph.nodes) > LARGEST:
        first = "modules"
    drawings: dict[str, object] = {}
    for level in (first, *(level for level in LEVELS if level != first)):
        if level in OF_GRADIENTS and not has_gradients and level != first:
            continue
        picture = picture_of(graph, View(level=level, depth=view.depth if level == "modules" else None))
        if level == first and len(picture.items) > LARGEST:
            raise RenderError(
                f"html: {len(picture.items):,} boxes are more than can be laid out ({LARGEST:,}); ask for less with "
                "level='modules' or a depth"
            )
        if level == first or len(picture.items) <= MANY:
            drawings[level] = laid_out(picture)
    return drawings


def _steps(nodes: Sequence[Node]) -> list[tuple[str, int]]:
    """Return what happens, in order: operations forwards, what starts the backward pass, and rules backwards."""
    reached = {node.id for node in nodes if node.sensitivity is not None}
    forward = [node for node in nodes if node.kind == "op" and not node.is_gradient]
    ruled = [node for node in forward if node.id in reached and not reached.isdisjoint(node.inputs)]
    start = [("start", node.id) for node in ruled[-1:]]
    return [*(("forward", n.id) for n in forward), *start, *(("backward", n.id) for n in reversed(ruled))]


def _nodes(nodes: Sequence[Node], with_gradients: bool) -> dict[str, object]:
    """Return the nodes, and apart from them what those of one operation have in common."""
    operations: dict[Any, int] = {}
    facts: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for node in nodes:
        if node.is_gradient and not with_gradients:
            listed.append({"backward": True})
            continue
        key = node.op, node.label, node.rule, node.equation, len(node.inputs)
        if node.op and key not in operations:
            operations[key] = len(facts)
            facts.append(
                {
                    "label": shown(node.label),
                    "formula": typeset(formula_of(node)),
                    "rule": typeset(node.rule),
                    "equation": node.equation,
                    "operands": [typeset(name) for name in operands_of(node)],
                    "result": typeset(output_of(node)),
                    "relation": "place" if node.op in SAME_PLACE else RELATIONS.get(node.op, ""),
                    "transposed": [f"transpose_{x}=True" in node.label for x in "ab"],
                }
            )
        about = {
            "kind": node.kind,
            "name": shown(node.owner or node.name),
            "label": shown(node.label),
            "op": operations[key] if node.op else None,
            "shape": shape_text(node.shape),
            "scope": shown(node.scope),
            "inputs": node.inputs,
            "gradient": None if node.sensitivity is None else shown(node.sensitivity),
            "backward": node.is_gradient,
            "frozen": node.is_frozen,
        }
        listed.append({name: value for name, value in about.items() if value or (value == 0 and name == "op")})
    return {"nodes": listed, "operations": facts}


def _runs(nodes: Sequence[Node], runs: Sequence[Numbers], with_gradients: bool) -> dict[str, object]:
    """Return the arrays of all runs, and by run which of them belong to which node."""
    arrays: list[dict[str, Any]] = []
    places: dict[Any, int] = {}

    def place(found: Digest | None) -> int | None:
        if found is None:
            return None
        if found.key not in places:
            places[found.key] = len(arrays)
            arrays.append(_array(found))
        return places[found.key]

    listed = [
        {
            "values": [place(run.values.get(n.id)) if with_gradients or not n.is_gradient else None for n in nodes],
            "gradients": {i: place(found) for i, found in run.gradients.items()},
            "parts": {f"{i},{x}": place(found) for (i, x), found in run.parts.items()},
        }
        for run in runs
    ]
    return {"arrays": arrays, "runs": listed}


def _array(found: Digest) -> dict[str, object]:
    """Return an array as the page reads it: exactly where all elements are there, means with four digits."""
    summarised = found.block != (1, 1)
    about: dict[str, Any] = {
        "shape": shape_text(found.shape),
        "dtype": found.dtype,
        "rows": found.cells.shape[0],
        "columns": found.cells.shape[1],
        "cells": _numbers(found.cells.ravel(), 4 if summarised else None),
        "facts": dict(zip(found.facts, _numbers(found.facts.values(), 6), strict=True)),
    }
    if summarised:
        of = (math.prod(found.shape[:-1]), found.shape[-1])
        about |= {"block": found.block, "of": of}
    return about


def _numbers(values: Iterable[object], digits: int | None) -> list[float | int | str]:
    """Return numbers as JSON has them, to so many digits or exactly; those that it lacks as texts."""
    return [_plain(value, digits) for value in values]


def _plain(value: object, digits: int | None) -> float | int | str:
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    number = float(f"{value:.{digits}g}" if digits else str(value))  # the shortest text that tells it from others
    if not math.isfinite(number):
        return str(number)
    return int(number) if number.is_integer() and abs(number) < 1e15 and math.copysign(1, number) > 0 else number
