"""What the site adds to its pages: names lead to the reference, numbers of the chapter to their rows of the map.

mkdocs calls the functions ``on_...``; `tests/repo/test_site.py` tests what they are made of.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.utils import get_relative_url

import tinygraph as tg
from tinygraph.backend.base import ARRAY_FUNCTIONS
from tinygraph.counterparts import COUNTERPARTS

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from repo import citations  # noqa: E402

MAP, ERRATA = "chapter.md", "errata.md"
PACKAGES = {"tg": tg, "nn": tg.nn, "losses": tg.losses, "optim": tg.optim, "data": tg.data, "metrics": tg.metrics}
TITLES = {"tinygraph": "Functions", "tinygraph.nn": "Layers", "tinygraph.optim": "Optimisers"}
TITLES |= {"tinygraph.losses": "Losses"}
KEPT = {"a", "autoref", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "script", "style", "svg"}  # have no links

_CALL = r"(?:\((?:[^()]|\([^()]*\))*\))?"
_CODE = rf"\b(?:{'|'.join([*PACKAGES, 'np'])})\.\w+(?:\.\w+)*{_CALL}"
_TAG = re.compile(r"(<[^>]+>)")
_CODED = re.compile(r"<code>([^<]+)</code>")

Url = Callable[[str], str | None]  # from an identifier of the reference to where it is, if it is there


def counterparts() -> str:
    """Return the tables of names of other libraries and what stands for them here."""
    parts = []
    for module, names in COUNTERPARTS.items():
        rows = "\n".join(f"| `{name}` | {_as_code(instead)} |" for name, instead in sorted(names.items()))
        parts.append(f"### {TITLES[module]}\n\n| there | here |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _as_code(text: str) -> str:
    return re.sub(rf"`[^`]*`|{_CODE}", lambda match: f"`{match[0].strip('`')}`", text).replace("|", r"\|")


@cache
def identifiers(code: str) -> list[str]:
    """Return what the reference may call a name as it stands on pages, such as ``tg.fit`` or ``nn.Dense(3, 4)``."""
    first, *rest = code.partition("(")[0].split(".")
    if first not in PACKAGES or not rest:
        return []
    found: Any = PACKAGES[first]
    try:
        for name in rest:
            found = getattr(found, name)
    except AttributeError:
        return []
    if hasattr(found, "__qualname__"):
        return [f"{found.__module__}.{found.__qualname__}"]
    modules = {name: vars(module) for name, module in sys.modules.items() if name.startswith("tinygraph.")}
    return [f"{name}.{rest[-1]}" for name, members in modules.items() if members.get(rest[-1]) is found]


def with_names(html: str, url: Url) -> str:
    """Return a page in which names in code, outside of blocks, headings and links, lead to the reference."""

    def link(match: re.Match[str]) -> str:
        place = next(filter(None, map(url, identifiers(unescape(match[1])))), None)
        return f'<a href="{place}">{match[0]}</a>' if place else match[0]

    return "".join(_CODED.sub(link, text) if free else text for text, free in _pieces(html, KEPT - {"code"}))


def without_marks(html: str) -> str:
    """Return a page without the marks of code inside of code, which docstrings have in types."""
    return _CODED.sub(lambda match: match[0].replace("`", ""), html)


def with_numbers(html: str, to_map: str) -> str:
    """Return a page in which numbers of the chapter lead to their rows; `to_map` is the address of the map."""
    parts = (part for text, free in _pieces(html, KEPT) for part in (_TAG.split(text) if free else [text]))
    return "".join(part if part.startswith("<") else _numbers(part, to_map) for part in parts)


def _numbers(text: str, to_map: str) -> str:
    parts, done = [], 0
    for citation in citations.find(text):
        row = next((r for r in citations.rows() if citation.covers and citation.covers[0] in r.covers), None)
        if row is not None and citation.start >= done:
            link = f'<a href="{to_map}#{anchor(row)}">{text[citation.start : citation.end]}</a>'
            parts += [text[done : citation.start], link]
            done = citation.end
    return "".join([*parts, text[done:]])


def anchor(row: citations.Row) -> str:
    """Return the name of a row of the map in addresses, that of its first item."""
    return re.sub(r"[()]", "", row.covers[0].lower()).replace(". ", "-").replace(" ", "-")


def with_anchors(html: str, errata: dict[str, str]) -> str:
    """Return the page of the map with rows that can be linked to, and links from them to what is wrong in print.

    `errata` has the address of an item's erratum.
    """
    rows = {row.cited: row for row in citations.rows()}

    def anchored(match: re.Match[str]) -> str:
        row = rows[match[2]]
        place = next((errata[item] for item in row.covers if item in errata), None)
        rest = re.sub(r"\berratum\b(?=</td>)", f'<a href="{place}">erratum</a>', match[3]) if place else match[3]
        rest = re.sub(r"<code>[^<]*\.py</code>", lambda m: m[0].replace("_", "_<wbr>"), rest)  # may be cut there
        return f'<tr id="{anchor(row)}">{match[1]}{rest}</tr>'

    return re.sub(r"<tr>(\s*<td>([^<]*)</td>)(.*?)</tr>", anchored, html, flags=re.DOTALL)


def errata_of(page: Any, here: str) -> dict[str, str]:
    """Return where on the page of errata each item is, as addresses on the page `here`."""
    places: dict[str, str] = {}
    sections = [section for chapter in page.toc for section in chapter.children]
    for heading in [h for section in sections for h in (section, *section.children)]:
        for citation in citations.find(heading.title):
            for item in citation.covers:
                places.setdefault(item, f"{get_relative_url(page.url, here)}#{heading.id}")
    return places


def _pieces(html: str, kept: set[str]) -> Iterator[tuple[str, bool]]:
    """The page cut at the borders of elements in `kept`: pieces, and whether they are outside of all these."""
    depth, piece = 0, []
    for part in _TAG.split(html):
        tag = re.match(r"<(/?)(\w+)", part)
        at_border = tag is not None and tag[2] in kept and not part.endswith("/>")
        if at_border and not tag[1]:
            if not depth:
                yield "".join(piece), True
                piece = []
            depth += 1
        piece.append(part)
        if at_border and tag[1]:
            depth -= 1
            if not depth:
                yield "".join(piece), False
                piece = []
    yield "".join(piece), True


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the tables and lists that code has."""
    names = ", ".join(f"`{name}`" for name in sorted(ARRAY_FUNCTIONS))
    return markdown.replace("<!-- counterparts -->", counterparts()).replace("<!-- array functions -->", f"{names}.")


def on_env(env: Any, config: Any, files: Any) -> None:
    """Link names and numbers, once it is known what is where."""
    reference = config.plugins["autorefs"]
    address_of_map = files.get_file_from_path(MAP).page.url
    for page in (file.page for file in files.documentation_pages() if file.src_uri.endswith(".md")):

        def url(target: str, here: str = page.url) -> str | None:
            try:
                return str(reference.get_item_url(target, here)[0])
            except KeyError:
                return None

        page.content = with_names(without_marks(page.content), url)
        if page.file.src_uri == MAP:
            page.content = with_anchors(page.content, errata_of(files.get_file_from_path(ERRATA).page, page.url))
        else:
            page.content = with_numbers(page.content, get_relative_url(address_of_map, page.url))
