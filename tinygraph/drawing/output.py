"""A graph drawn: as DOT source, as a picture, to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..errors import ArgumentError, DataError, RenderError
from ..files import write_file
from ..record import Cluster, Network, Node
from . import dot
from .amounts import with_amounts
from .levels import add_prediction, forward_only, operations, rules
from .modules import modules
from .picture import Picture
from .references import with_references
from .renderers import painted
from .view import View

FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}
LARGEST = 20_000  # items that are given to a renderer, which takes minutes and gigabytes for more


class Drawn(Protocol):
    """What is drawn, as `tinygraph.Graph` has it."""

    @property
    def nodes(self) -> Sequence[Node]:
        """In order of creation."""
        ...

    @property
    def primitives(self) -> Sequence[Node]:
        """The same with operations taken apart."""
        ...

    @property
    def clusters(self) -> Sequence[Cluster]:
        """The module calls."""
        ...

    @property
    def network(self) -> Network | None:
        """The call around all of these."""
        ...

    @property
    def prediction(self) -> str:
        """The output activation that `predict` applies, "" for none."""
        ...


def picture_of(graph: Drawn, view: View) -> Picture:
    """Return a graph as a picture, at the level of detail that `view` asks for."""
    nodes = graph.nodes
    level = view.level_for(any(node.is_gradient for node in nodes))
    if level == "primitives":
        nodes = graph.primitives
    if level == "modules":
        depth = 1 if view.depth is None else view.depth
        fold = not view.values and view.color_by in (None, "bytes")  # otherwise blocks are equal in their shapes only
        picture = modules(nodes, graph.clusters, graph.network, depth, fold)
    elif level == "rules":
        picture = rules(nodes, graph.clusters)
    else:
        picture = operations(nodes if level == "primitives" else forward_only(nodes), graph.clusters)
    if graph.prediction:
        add_prediction(picture, graph.prediction)
    picture = with_amounts(picture, nodes, view)
    if level == "primitives":
        for item in picture.items:  # as at every other level, ids are those of the graph
            item.nodes = item.gives = [i if (whole := nodes[i].part_of) is None else whole for i in item.nodes]
    return with_references(picture)


def to_dot(graph: Drawn, view: View) -> str:
    """Return the drawing of a graph as DOT source."""
    return dot.source(picture_of(graph, view), view)


def draw(graph: Drawn, view: View, kind: str) -> bytes:
    """Return the drawing in a format of `FORMATS`.

    Raises
    ------
    RenderError
        If no renderer for it was found, or the renderer fails, or there is too much to draw.
    """
    picture = picture_of(graph, view)
    if kind != "dot" and len(picture.items) > LARGEST:
        raise RenderError(
            f"{kind}: {len(picture.items):,} boxes are more than can be laid out ({LARGEST:,}); ask for less with "
            "level='modules' or a depth, or for the source with .dot"
        )
    source = dot.source(picture, view)
    return source.encode() if kind == "dot" else painted(source, kind)


def render(graph: Drawn, path: str | Path, view: View) -> Path:
    """Draw a graph to a file; see `Graph.render`."""
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ArgumentError(f"render: cannot draw {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():  # before the work, not after
        raise RenderError(f"render: cannot write {str(path)!r}: {str(path.parent)!r} is not a folder")
    picture = draw(graph, view, kind)
    try:
        write_file(path, picture)
    except DataError as error:
        raise RenderError(f"render: {error}") from None
    return path
