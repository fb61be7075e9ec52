"""Amounts in a picture: what was measured is written into the boxes, and colours them, with a legend."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..describe import count_text
from ..errors import ArgumentError
from ..measured import number_text
from ..record import Node
from .picture import Item, Legend, Picture
from .themes import NOT_FINITE, SHADES
from .view import MEASURED, View

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # where classes of shares begin, and the last one ends
LARGEST = math.log(sys.float_info.max)


@dataclass(frozen=True)
class Quantity:
    """What colours can tell.

    Attributes
    ----------
    title : str
        Of the legend.
    word : str
        Before the amount in a box.
    text : callable
        An amount as text.
    missing : str
        What to do where it is not known.
    """

    title: str
    word: str
    text: Callable[[float], str]
    missing: str = ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us"


QUANTITIES = {
    "values": Quantity("norm of the value", "norm", number_text),
    "gradients": Quantity("norm of the gradient that arrives", "norm of gradient", number_text),
    "dead": Quantity("dead nodes: slope 0 for all samples", "dead", _percent, "it has no activation function"),
    "saturated": Quantity(
        "saturated nodes: slope below 5 % of the steepest",
        "saturated",
        _percent,
        "it has no activation function that saturates",
    ),
    "time": Quantity(
        "time in a replay",
        "",
        _microseconds,
        "times are of plans, and drawn by profile().graph() of the plan of a compiled function",
    ),
    "bytes": Quantity("bytes", "", lambda n: count_text(n, "B")),
}


def with_amounts(picture: Picture, nodes: Sequence[Node], view: View) -> Picture:
    """Return a picture with what `view` asks to be shown of what was measured, in numbers and in colours.

    Raises
    ------
    ArgumentError
        If it was not measured.
    """
    by_id = {node.id: node for node in nodes}
    if view.color_by is not None:
        _colour(picture, by_id, view.color_by)
    if view.values:
        if not any(node.measured.numbers for node in nodes):
            raise ArgumentError(
                "values=True: the graph was made without its numbers; make it by tg.graph(..., values=True)"
            )
        for item in picture.items:
            item.lines = [*item.lines, *_numbers(item, by_id)]
    return picture


def _numbers(item: Item, by_id: Mapping[int, Node]) -> Sequence[str]:
    """Return the lines with the elements of what an item gives, or of the gradient that arrives at a rule."""
    given = [by_id[i].measured for i in item.gives]
    if item.kind == "constant" and len(item.lines) == 1:
        return ()
    if item.kind == "rule":
        lines = [line for m in given for line in m.gradient_numbers]
        return [f"arrives: {line}" for line in lines] if len(lines) == 1 else ["arrives:", *lines]
    return [line for m in given for line in (m.gradient_numbers if item.kind == "gradient" else m.numbers)]


def _colour(picture: Picture, by_id: Mapping[int, Node], color_by: str) -> None:
    """Give items their amount as a line and as a colour, and the picture a legend."""
    quantity = QUANTITIES[color_by]
    amounts = {item.id: _amount(item, [by_id[i] for i in item.nodes], color_by) for item in picture.items}
    if color_by == "gradients" and any(item.is_backward and amounts[item.id] is not None for item in picture.items):
        amounts = {item.id: amounts[item.id] if item.is_backward else None for item in picture.items}
    known = [amount for amount in amounts.values() if amount is not None]
    if not known:
        raise ArgumentError(f"color_by={color_by!r}: the graph does not tell; {_how_to_know(by_id, color_by)}")
    starts = _classes(known, is_share=color_by in ("dead", "saturated"))
    for item in picture.items:
        amount = amounts[item.id]
        if amount is not None:
            is_gradient = color_by == "gradients" and item.kind in ("rule", "gradient")  # the box says so itself
            word = "norm" if is_gradient else quantity.word
            words = f"{word} {quantity.text(amount)}".strip()
            together = by_id[item.nodes[-1]].measured.together if color_by == "time" else 1
            item.lines = [*item.lines, words if together == 1 else f"{words} with {together - 1} others"]
            item.shade = _shade(amount, starts)
    cells = [(shade, quantity.text(start)) for shade, start in enumerate(starts[:-1])]
    if min(known) == 0:
        cells[0] = 0, quantity.text(0)
    if not all(map(math.isfinite, known)):
        cells.append((NOT_FINITE, "not finite"))
    picture.legend = Legend(quantity.title, cells, quantity.text(starts[-1]))


def _how_to_know(by_id: Mapping[int, Node], color_by: str) -> str:
    """Return what to do where nothing of a graph tells a quantity."""
    has_gradients = any(node.is_gradient for node in by_id.values())
    is_measured = any(node.measured.norm is not None for node in by_id.values())
    if color_by in MEASURED and (not is_measured or (color_by == "gradients" and not has_gradients)):
        backward = "backward=True, " if color_by == "gradients" else ""
        return f"make it by tg.graph(..., {backward}color_by={color_by!r})"
    return QUANTITIES[color_by].missing


def _amount(item: Item, nodes: Sequence[Node], color_by: str) -> float | None:
    """Return how much of a quantity an item has, None if that cannot be said."""
    if not nodes:
        return None
    given = [node for node in nodes if node.id in item.gives]
    if item.kind in ("rule", "gradient"):
        if color_by == "gradients":
            return _together([node.measured.gradient_norm for node in given])
        return float(given[-1].bytes) if color_by == "bytes" and item.kind == "gradient" else None
    if color_by == "values":
        return _together([node.measured.norm for node in given])
    if color_by == "gradients":
        return _together([m.norm if n.is_gradient else m.gradient_norm for n in given for m in [n.measured]])
    if color_by == "bytes":
        return float(sum(node.bytes for node in nodes))
    if color_by == "time":
        seconds = [node.measured.seconds for node in nodes if node.measured.seconds is not None]
        return sum(seconds) if seconds else None
    shares = [(getattr(node.measured, color_by), node.size) for node in nodes]
    known = [(share, size) for share, size in shares if share is not None]
    return sum(share * size for share, size in known) / sum(size for _, size in known) if known else None


def _together(norms: Sequence[float | None]) -> float | None:
    """Return the norm of several arrays from those of each, None if none is known."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else None


def _classes(amounts: Sequence[float], is_share: bool) -> Sequence[float]:
    """Return where the classes of amounts begin, and the last one ends: but for shares, by equal factors."""
    if is_share:
        return SHARES
    positive = [amount for amount in amounts if 0 < amount < math.inf] or [1.0]
    low, high = math.log(min(positive)), math.log(max(positive))  # whose quotient could overflow
    if high - low < math.log(2):  # small differences get small ones in colour
        low, high = (low + high - math.log(2)) / 2, (low + high + math.log(2)) / 2
    return [math.exp(min(low + (high - low) * k / SHADES, LARGEST)) for k in range(SHADES + 1)]


def _shade(amount: float, starts: Sequence[float]) -> int:
    """Return the class of an amount."""
    return bisect_right(starts[1:-1], amount) if math.isfinite(amount) else NOT_FINITE
