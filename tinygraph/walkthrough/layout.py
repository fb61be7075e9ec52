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
from ..drawing.picture import Picture
from ..drawing.renderers import painted
from ..drawing.view import View

HIDDEN = ("below",)  # arrows that are there for the layout only
POINTS = 72  # an inch


def laid_out(picture: Picture) -> dict[str, Any]:
    """Return a picture with its coordinates.

    Raises
    ------
    RenderError
        If no renderer was found, or it fails or takes too long.
    """
    found = json.loads(painted(dot.source(picture, View()), "html"))
    width, height = (float(x) for x in found["bb"].split(",")[2:])
    objects = found.get("objects", [])
    places = {thing["name"]: thing for thing in objects}

    def point(text: str) -> list[float]:
        x, y = text.split(",")[-2:]
        return [round(float(x), 1), round(height - float(y), 1)]

    items = []
    for item in picture.items:
        place = places[item.id]
        size = [round(float(place[side]) * POINTS, 1) for side in ("width", "height")]
        facts = {
            "id": item.id,
            "kind": item.kind,
            "lines": [shown(line) for line in item.lines],
            "hint": [shown(line, dot.LONGEST_HINT) for line in item.hint],
            "box": [*point(place["pos"]), *size],
            "frame": item.frame,
            "shows": sorted({*item.nodes, *item.folded}),
            "output": item.is_output,
            "backward": item.is_backward,
            "frozen": item.is_frozen,
        }
        items.append({name: value for name, value in facts.items() if value or name in ("lines", "frame")})
    frames = []
    for frame in picture.frames:
        left, bottom, right, top = (float(x) for x in places[f"cluster_{frame.id}"]["bb"].split(","))
        corners = [left, height - top, right, height - bottom]
        frames.append(
            {
                "id": frame.id,
                "title": shown(frame.title),
                "hint": shown(frame.hint, dot.LONGEST_HINT),
                "parent": frame.parent,
                "box": [round(x, 1) for x in corners],
            }
        )
    curves: dict[tuple[str, str], list[list[list[float]]]] = defaultdict(list)
    for edge in found.get("edges", []):
        ends = objects[edge["tail"]]["name"], objects[edge["head"]]["name"]
        if "pos" not in edge:
            continue
        curve, tips = [], {}
        for part in edge["pos"].split():
            if part[0] in "es":
                tips[part[0]] = point(part)
            else:
                curve.append(point(part))
        if "s" in tips:  # laid out from its tip on
            curve, ends = [*reversed(curve), tips["s"]], (ends[1], ends[0])
        elif "e" in tips:
            curve.append(tips["e"])
        curves[ends].append(curve)
    arrows = []
    for arrow in picture.arrows:
        found_curves = curves[arrow.source, arrow.target]
        if arrow.kind not in HIDDEN and found_curves:
            points = [x for p in found_curves.pop(0) for x in p]
            arrows.append({"from": arrow.source, "to": arrow.target, "kind": arrow.kind, "points": points})
    return {"size": [round(width, 1), round(height, 1)], "items": items, "arrows": arrows, "frames": frames}
