"""A graph as text: words for its nodes, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .record import Node, Size

LONGEST = 80  # characters of a name or a label that are shown


def shown(text: str, longest: int = LONGEST) -> str:
    """Return `text` as one line, valid in XML: other characters as escapes, and the middle of a long one as ``…``."""
    if len(text) > longest:
        start, end = longest // 2, (longest - 1) // 2
        text = f"{text[:start]}…{text[len(text) - end :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shape_text(shape: tuple[Size, ...]) -> str:
    """Return a shape as it is shown: ``(B, 10)``, or ``scalar`` for no axes."""
    if not shape:
        return "scalar"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def count_text(number: float, unit: str = "") -> str:
    """Return a count with a decimal prefix and a unit: ``1.6 MB``, ``132 flops``."""
    prefix = next(p for k, p in enumerate(("", "k", "M", "G", "T")) if number < 1000 ** (k + 1) or p == "T")
    scaled = number / 1000 ** ("", "k", "M", "G", "T").index(prefix)
    text = f"{scaled:.3g} {prefix}" if prefix else f"{number:.0f}"
    return f"{text}{unit}" if prefix or unit.startswith(" ") or not unit else f"{text} {unit}"


def unique_names(nodes: Iterable[Node]) -> list[str]:
    """Return what every node is called in a table: its name with its module, its number, or a constant's value."""
    names = []
    taken = set()
    for node in nodes:
        name = shown(".".join(filter(None, (node.scope, node.name)))) if node.name else f"%{node.id}"
        name = f"{name}#{node.id}" if name in taken else name
        if node.kind == "constant" and node.size == 1:
            name = node.label
        else:
            taken.add(name)
        names.append(name)
    return names


def table(rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """Return rows as lines in which the columns are aligned, the last `numbers` of them to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = "<" * (len(widths) - numbers) + ">" * numbers
    lines = ("  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, signs, widths, strict=True)) for row in rows)
    return "\n".join(map(str.rstrip, lines))


def summary(nodes: Sequence[Node], max_rows: int | None) -> str:
    """Return a table of nodes with totals; see `Graph.summary`."""
    left_out = 0 if max_rows is None else max(0, len(nodes) - max_rows)
    first = (len(nodes) - left_out + 1) // 2
    by_batch = any(isinstance(n, str) for node in nodes for n in node.shape)
    total = (sum(n.parameters for n in nodes), sum(n.bytes for n in nodes))
    rows = [
        ("op", "name", "module", "shape", "parameters", "bytes at B = 1" if by_batch else "bytes"),
        *map(_row, (*nodes[:first], *nodes[first + left_out :])),
        (f"{len(nodes):,} nodes", "", "", "", *(f"{n:,}" for n in total)),
    ]
    header, *lines, totals = table(rows, numbers=2).splitlines()
    if left_out:
        lines.insert(first, f"... {left_out:,} more nodes; summary(max_rows=None) lists them all")
    rule = "-" * len(header)
    return "\n".join((header, rule, *lines, rule, totals))


def _row(node: Node) -> tuple[str, ...]:
    return (
        shown(node.label if node.kind in ("op", "constant") else node.kind),
        shown(node.name),
        shown(node.scope),
        shape_text(node.shape),
        f"{node.parameters:,}" if node.kind == "parameter" else "",
        f"{node.bytes:,}",
    )
