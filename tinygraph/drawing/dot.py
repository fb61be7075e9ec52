"""A picture as DOT source.

The forward pass runs from top to bottom, the backward pass beside it from bottom to top: its arrows are laid out in
reverse, so that each gradient stands at the height of what it is the gradient of.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..describe import LONGEST, shown
from ..errors import RenderError
from .picture import Arrow, Frame, Item, Legend, Picture
from .themes import THEMES, Theme, fill_of, ink_on
from .view import DIRECTIONS, View

if TYPE_CHECKING:
    from graphviz import Digraph

LONGEST_HINT = 200  # characters of a line of a tooltip
MANY = 1_000  # items from which on lines between them are straight: curves take dot too long
EASY = 500  # items up to which dot may take the time it wants, more or less
GRAPH_STYLE = {"nodesep": "0.3", "ranksep": "0.35", "tooltip": " "}
NODE_STYLE = {"height": "0.3", "margin": "0.13,0.06", "penwidth": "1"}
EDGE_STYLE = {"arrowsize": "0.6", "penwidth": "1", "tooltip": " "}
FRAME_STYLE = {"style": "rounded,filled", "margin": "12"}
KINDS = {  # shape, style, margin
    "parameter": ("cylinder", "filled", "0.1,0.06"),
    "input": ("ellipse", "filled", "0.04,0.02"),
    "constant": ("box", "filled", "0.13,0.06"),
    "op": ("box", "rounded,filled", "0.13,0.06"),
    "module": ("box", "filled", "0.18,0.09"),
    "rule": ("box", "rounded,filled", "0.13,0.06"),
    "gradient": ("box", "rounded,filled", "0.13,0.06"),
    "prediction": ("box", "rounded,filled,dashed", "0.13,0.06"),
    "reference": ("plain", "solid", "0.02"),
}


def source(picture: Picture, view: View) -> str:
    """Return the DOT source of a picture."""
    dot: str = digraph(picture, view).source
    return dot


def digraph(picture: Picture, view: View) -> Digraph:
    """Return a picture as an object of the `graphviz` package, which writes text only."""
    try:
        from graphviz import Digraph
    except ImportError:
        raise RenderError("the Python package graphviz is missing: `pip install graphviz`") from None
    theme = THEMES[view.theme]
    drawing = Digraph("tinygraph", **_everywhere(theme, view, picture))  # pyright: ignore[reportArgumentType]
    boxes: dict[int | None, Any] = {None: drawing}
    inside: dict[int | None, list[Any]] = {}
    depths: dict[int | None, int] = {None: -1}
    for frame in picture.frames:
        depths[frame.id] = depths[frame.parent] + 1
        box = Digraph(f"cluster_{frame.id}", graph_attr=_frame(frame, depths[frame.id], theme, view))
        boxes[frame.id] = box
        inside.setdefault(frame.parent, []).append(box)
    backward: dict[int | None, Any] = {  # gradients keep together, to the right of the rest of their frame
        i: Digraph(f"cluster_{i}_backward", graph_attr=_behind(theme))
        for i in dict.fromkeys(item.frame for item in picture.items if item.is_backward and item.frame is not None)
        if picture.backward_apart
    }
    frames: dict[str, int | None] = {}
    for item in picture.items:
        frames[item.id] = item.frame
        place = backward.get(item.frame, boxes[item.frame]) if item.is_backward else boxes[item.frame]
        place.node(item.id, text(item.lines), tooltip=_hint(item.hint), **_item(item, theme, picture.legend))
    beside: set[tuple[str, str]] = set()
    for row in picture.rows:
        beside |= {(right, left) for i, left in enumerate(row) for right in row[i + 1 :]}
        with boxes[frames[row[0]]].subgraph() as line:
            line.attr(rank="same")
            for name in row:
                line.node(name)
    for i, box in backward.items():
        boxes[i].subgraph(box)
    for i in reversed(boxes):  # a box is written into the one around it when it is complete
        for box in inside.get(i, ()):
            boxes[i].subgraph(box)
    pairs = {(arrow.source, arrow.target) for arrow in picture.arrows}
    for arrow in picture.arrows:
        drawing.edge(
            **_arrow(arrow, (arrow.source, arrow.target) in beside, view.direction in ("right", "left"), theme)
        )
    for row in picture.rows:
        for left, right in itertools.pairwise(row):
            if (right, left) not in pairs and (left, right) not in pairs:
                drawing.edge(left, right, style="invis")
    return drawing


def text(lines: Sequence[str], backslash: str = r"\\", longest: int = LONGEST) -> str:
    """Return lines as a DOT string in which nothing is markup: no entity, no escape, no HTML."""
    from graphviz import nohtml

    escaped = [shown(line, longest).replace("&", "&amp;").replace("\\", backslash) for line in lines]
    joined: str = nohtml(r"\n".join(escaped))
    return joined


def _hint(lines: Sequence[str]) -> str:
    """Return lines as a tooltip; Graphviz reads its escapes twice."""
    return text(lines, r"\\\\", LONGEST_HINT)


def _everywhere(theme: Theme, view: View, picture: Picture) -> dict[str, dict[str, str]]:
    """Return what holds for the whole drawing, its nodes and its edges."""
    font = {"fontname": "Arial", "fontsize": f"{view.font_size:g}"}
    limit = f"{2 * min(1, EASY / max(1, len(picture.items))):.2g}"  # of steps; dot has none of its own
    graph = GRAPH_STYLE | font | {"nslimit": limit, "nslimit1": limit, "mclimit": "0.5"}
    graph |= {"rankdir": DIRECTIONS[view.direction], "bgcolor": theme.background, "fontcolor": theme.muted}
    if not picture.backward_apart:
        graph["newrank"] = "true"  # heights are found for all frames at once
    if len(picture.items) >= MANY:
        graph["splines"] = "line"
    if picture.legend is not None:
        graph |= {"label": _legend(picture.legend, theme), "fontcolor": theme.ink}
    return {
        "graph_attr": graph,
        "node_attr": NODE_STYLE | font | {"fontcolor": theme.ink},
        "edge_attr": EDGE_STYLE | {"color": theme.muted},
    }


def _frame(frame: Frame, depth: int, theme: Theme, view: View) -> dict[str, str]:
    return FRAME_STYLE | {
        "label": text([frame.title]),
        "labeljust": "r",  # above the parameters: the data come in on the left
        "fontsize": f"{view.font_size - 1:g}",
        "color": theme.frame_line,
        "fillcolor": theme.frames[depth % 2],
        "tooltip": _hint([frame.hint]),
    }


def _behind(theme: Theme) -> dict[str, str]:
    return {"style": "rounded,filled", "fillcolor": theme.backward, "color": theme.backward, "label": ""}


def _legend(legend: Legend, theme: Theme) -> str:
    """Return what the colours tell as a row of them, in Graphviz's own markup; all words in it are the library's."""
    cells = [
        f'<TD BGCOLOR="{fill_of(shade, theme)}"><FONT COLOR="{ink_on(fill_of(shade, theme))}">{words}</FONT></TD>'
        for shade, words in legend.classes
    ]
    cells.insert(sum(shade >= 0 for shade, _ in legend.classes), f"<TD>{legend.end}</TD>")
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="5"><TR><TD COLSPAN="{len(cells)}" '
        f'ALIGN="LEFT">{legend.title}</TD></TR><TR>{"".join(cells)}</TR></TABLE>>'
    )


def _item(item: Item, theme: Theme, legend: Legend | None) -> dict[str, str]:
    """Return what sets a kind of item apart: its shape, then its colour, unless a legend says what colours tell."""
    shape, style, margin = KINDS[item.kind]
    colours: dict[str, tuple[str, str]] = {
        "prediction": theme.output,
        "reference": (theme.background, theme.faint),
        "rule": (theme.op[0], theme.gradient[1]),
    }
    fill, line = colours.get(item.kind) or getattr(theme, item.kind)
    kind: str = item.kind
    if item.is_backward:
        style, line = f"{style},dashed", theme.gradient[1]
        fill = theme.gradient[0] if item.is_output else fill
        kind = kind if kind in ("rule", "reference") else "gradient"
    elif item.is_output:
        fill, line = theme.output
        kind = "output"
    if item.is_frozen:
        fill = theme.constant[0]
    if legend is not None:
        fill = theme.op[0] if item.shade is None else fill_of(item.shade, theme)
    attributes = {"shape": shape, "margin": margin, "style": style, "fillcolor": fill, "color": line, "class": kind}
    if item.shade is not None:
        attributes["fontcolor"] = ink_on(fill)
    return attributes | {"penwidth": "2"} if item.is_output else attributes


def _arrow(arrow: Arrow, beside: bool, sideways: bool, theme: Theme) -> dict[str, str]:
    """Return the ends and the style of an arrow; `beside`: to something on its left in the same row.

    Where the picture runs `sideways`, dot keeps the order of a row if this ends in an arrow laid out in reverse.
    """
    tail, head = arrow.source, arrow.target
    style: dict[str, str]
    if arrow.kind == "gradient":
        style = {"dir": "back", "style": "dashed", "color": theme.gradient[1], "weight": "4" if arrow.is_trunk else "1"}
        tail, head = head, tail  # laid out upwards
    elif arrow.kind == "value":
        style = {"constraint": "false", "style": "dashed", "color": theme.faint}
    elif arrow.kind == "pair":
        style = {"style": "dotted", "color": theme.faint}
        if sideways:
            style["dir"] = "back"
            tail, head = head, tail
    elif arrow.kind == "parameter":
        style = {"color": theme.parameter[1]}
    elif arrow.kind == "prediction":
        style = {"style": "dashed", "color": theme.output[1]}
    elif arrow.kind == "below":
        style = {"style": "invis"}
    else:
        style = {"weight": "40" if arrow.is_trunk else "2"}
    if beside and arrow.kind in ("data", "parameter"):
        style["dir"] = "back"
        tail, head = head, tail
    return {"tail_name": tail, "head_name": head, **style}
