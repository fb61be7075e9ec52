"""Where a picture's items, arrows and frames stand, by Graphviz.

Coordinates are those of its ``json0`` format in points, turned to a screen's: from the top left corner down. They are
given as plain lists, which the page reads.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from ..describe import shown
from ..drawing import dot
from ..drawing.picture import Frame, Item, Picture
from ..drawing.renderers import painted
from ..drawing.view import View

HIDDEN = ("below",)  # arrows that are there for the layout only
POINTS = 72  # an inch


def laid_out(picture: Picture) -> dict[str, object]:
    """Return a picture with its coordinates.

    Raises
    ------
    RenderError
        If no renderer was found, or it fails or takes too long.
    """
    found = json.loads(painted(dot.source(picture, View()), "html"))
    width, height = (float(x) for x in found["bb"].split(",")[2:])
    places = {thing["name"]: thing for thing in found.get("objects", [])}
    curves = _curves(found, height)
    arrows = []
    for arrow in picture.arrows:
        lines = curves[arrow.source, arrow.target]
        if arrow.kind not in HIDDEN and lines:
            points = [x for point in lines.pop(0) for x in point]
            arrows.append({"from": arrow.source, "to": arrow.target, "kind": arrow.kind, "points": points})
    return {
        "size": [round(width, 1), round(height, 1)],
        "items": [_item(item, places[item.id], height) for item in picture.items],
        "arrows": arrows,
        "frames": [_frame(frame, places[f"cluster_{frame.id}"], height) for frame in picture.frames],
    }


def _item(item: Item, place: dict[str, Any], height: float) -> dict[str, object]:
    """Return an item with its middle and its size; what is false or empty is left out."""
    size = [round(float(place[side]) * POINTS, 1) for side in ("width", "height")]
    facts = {
        "id": item.id,
        "kind": item.kind,
        "lines": [shown(line) for line in item.lines],
        "hint": [shown(line, dot.LONGEST_HINT) for line in item.hint],
        "box": [*_point(place["pos"], height), *size],
        "frame": item.frame,
        "shows": sorted({*item.nodes, *item.folded}),
        "output": item.is_output,
        "backward": item.is_backward,
        "frozen": item.is_frozen,
    }
    return {name: value for name, value in facts.items() if value or name in ("lines", "frame")}


def _frame(frame: Frame, place: dict[str, Any], height: float) -> dict[str, object]:
    """Return a frame with its left, upper, right and lower end."""
    left, bottom, right, top = (float(x) for x in place["bb"].split(","))
    return {
        "id": frame.id,
        "title": shown(frame.title),
        "hint": shown(frame.hint, dot.LONGEST_HINT),
        "parent": frame.parent,
        "box": [round(x, 1) for x in (left, height - top, right, height - bottom)],
    }


def _curves(found: dict[str, Any], height: float) -> dict[tuple[str, str], list[list[list[float]]]]:
    """Return by the names of the ends of arrows their control points, in order, the last of which is the tip."""
    curves: dict[tuple[str, str], list[list[list[float]]]] = defaultdict(list)
    for edge in found.get("edges", []):
        tail, head = (found["objects"][edge[end]]["name"] for end in ("tail", "head"))
        curve, tips = [], {}
        for part in edge.get("pos", "").split():
            if part[0] in "es":
                tips[part[0]] = _point(part, height)
            else:
                curve.append(_point(part, height))
        if "s" in tips:  # laid out from its tip on
            curves[head, tail].append([*reversed(curve), tips["s"]])
        elif curve:
            curves[tail, head].append([*curve, *tips.values()])
    return curves


def _point(text: str, height: float) -> list[float]:
    x, y = text.split(",")[-2:]
    return [round(float(x), 1), round(height - float(y), 1)]
