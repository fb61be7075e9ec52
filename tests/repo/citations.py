"""The chapter's numbers as the project cites them: what items there are, what the map says of each, who cites what.

An item is written ``(65.82)``, ``Table 65.1``, ``Ex. 65.4``, ``Fig. 65.2``, ``Prob. 65.17`` or ``Sec. 65.8``; a number
without its letter, ``(65.93)``, means all its parts.
"""

import ast
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"equations": "({})", "tables": "Table {}", "examples": "Ex. {}", "figures": "Fig. {}", "problems": "Prob. {}"}
_NUMBER = r"65\.(?:A|\d+(?:\.\d+)?[a-z]?)"
_MANY = rf"{_NUMBER}(?:(?:\s*-\s*|\s+to\s+|,?\s+(?:and|or)\s+|,\s*){_NUMBER})*"
_EQUATIONS = rf"\({_NUMBER}\)(?:\s*-\s*\({_NUMBER}\))?"
_NAMED = rf"\b(Table|Example|Ex\.?|Figure|Fig\.?|Problem|Prob\.?|Section|Sec\.?)(?:s\.?)?\s+({_MANY})"
_FORMS = re.compile(rf"(?P<equations>{_EQUATIONS})|{_NAMED}")
_WORDS = {"Example": "Ex.", "Ex": "Ex.", "Figure": "Fig.", "Fig": "Fig.", "Problem": "Prob.", "Prob": "Prob."}
_WORDS |= {"Section": "Sec.", "Sec": "Sec.", "Table": "Table"}


@cache
def items():
    """Every numbered item, in order, as it is cited."""
    listed = tomllib.loads((ROOT / "tests" / "chapter" / "items.toml").read_text())
    return [form.format(number) for kind, form in KINDS.items() for number in listed[kind]]


@cache
def sections():
    return [f"Sec. {n}" for n in tomllib.loads((ROOT / "tests" / "chapter" / "items.toml").read_text())["sections"]]


def parts(item):
    """The listed items that `item` stands for: itself, all its lettered parts, or none."""
    if item in items() or item in sections():
        return [item]
    return [i for i in items() if re.fullmatch(re.escape(item[:-1]) + r"[a-z]\)", i)] if item.endswith(")") else []


def between(first, last):
    """The items from `first` to `last`."""
    start, end = parts(first), parts(last)
    if not start or not end:
        return []
    return items()[items().index(start[0]) : items().index(end[-1]) + 1]


@dataclass(frozen=True)
class Citation:
    """One place in a text: what was written, the items at its ends (one, or two of a range), all that it covers."""

    text: str
    ends: tuple[str, ...]
    covers: tuple[str, ...]
    start: int
    end: int


def find(text):
    """Every citation in a text, in order; `covers` is empty where an item does not exist."""
    found = []
    for match in _FORMS.finditer(text):
        if match["equations"]:
            ends = re.findall(rf"\({_NUMBER}\)", match[0])
            found.append(_citation(match[0], ends, match.start(), match.end()))
            continue
        kind = _WORDS[match[2].rstrip(".")]
        for piece in re.split(r",?\s+(?:and|or)\s+|,\s*", match[3]):
            ends = [f"{kind} {n}" for n in re.findall(_NUMBER, piece)]
            found.append(_citation(match[0], ends, match.start(), match.end()))
    return found


def _citation(text, ends, start, end):
    covers = between(*ends) if len(ends) == 2 else parts(ends[0])
    return Citation(text, tuple(ends), tuple(covers), start, end)


def unread(text):
    """What looks like a number of the chapter but has none of the forms; names of files and commands are none."""
    text = re.sub(r"figure[- ]65\.\d+|table-65\.\d+|([\"'`])65\.\d+\1", "", text)
    rest = list(text)
    for citation in find(text):
        rest[citation.start : citation.end] = " " * (citation.end - citation.start)
    return re.findall(r"(?<![\w.,])65\.\d+[a-z]?(?![\d%]| k\b| ms\b| us\b| %)", "".join(rest))


@dataclass(frozen=True)
class Row:
    """One row of the map."""

    cited: str
    what: str
    names: tuple[str, ...]
    kinds: frozenset
    tests: tuple[str, ...]
    covers: tuple[str, ...]


@cache
def rows():
    """The rows of docs/chapter.md."""
    lines = (ROOT / "docs" / "chapter.md").read_text().splitlines()
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    found = []
    for row in cells:
        if len(row) == 4 and find(row[0]):
            covers = tuple(i for citation in find(row[0]) for i in citation.covers)
            kinds = frozenset(re.findall(r"\b(prose|erratum)\b", re.sub(r"`[^`]*`", "", row[2])))
            names, tests = (tuple(re.findall(r"`([^`]+)`", cell)) for cell in row[2:])
            found.append(Row(row[0], row[1], names, kinds, tests, covers))
    return found


def row_of(item):
    return next(row for row in rows() if item in row.covers)


# Words that say nothing about which of the chapter's items is meant.
_GENERAL = """
    a all an and any are as at be both but by can chapter do each every field figure for from gives has have in into
    is it its last may no not of on one only or other over print printed same see so some such than that the their
    them then this to two under where which with without tg nn ops test tests tinygraph models tools value values
    return returns parameters shape tensor tensors array float class problem example table use used
"""


COMMON = 16  # a word that more rows of the map have does not tell them apart


@cache
def common():
    """The words that do not tell rows of the map apart."""
    counts = Counter(w for row in rows() for w in words(f"{row.what} {' '.join(row.names)}"))
    return {w for w, n in counts.items() if n > COMMON}


def words(text):
    """The words of a text that tell what it is about, without a plural's s, cut to their first five letters."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    found = {w.lower() for w in re.findall(r"[A-Za-z]+", text)}
    return {w.removesuffix("s")[:5] for w in found - set(_GENERAL.split()) if len(w) > 2}


def places(path):
    """Every citation of a file with the words around it: pairs of a citation and a text."""
    text = path.read_text()
    scopes = _scopes(text) if path.suffix == ".py" else []
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for citation in find(text):
        number = max(k for k, s in enumerate(starts) if s <= citation.start)
        around = [name for first, last, name in scopes if first <= number + 1 <= last]
        if path.suffix == ".md":
            around += [line for line in lines[:number] if line.startswith("#")][-1:]
        yield citation, " ".join([_block(lines, number), *around])


def _scopes(source):
    """The names of functions and classes with the lines they reach over."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [(n.lineno, n.end_lineno, n.name) for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)]


def _block(lines, number):
    """The paragraph around a line: as far as lines are neither blank nor rows of a table."""
    if lines[number].lstrip().startswith("|"):
        return lines[number]
    first = last = number
    while first > 0 and lines[first - 1].strip():
        first -= 1
    while last + 1 < len(lines) and lines[last + 1].strip():
        last += 1
    return "".join(lines[first : last + 1])
