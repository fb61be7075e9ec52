"""Objects that show themselves in notebooks: as HTML or a picture, and as text where that cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .describe import shown

MOST = 40  # rows of a table that are shown
HTML, SVG, TEXT = "text/html", "image/svg+xml", "text/plain"  # as notebooks call what they show
LEFT, RIGHT = ' style="text-align:left"', ' style="text-align:right"'


class Displayed:
    """What a notebook shows by `_display`, and by its ``repr`` where that fails; a notebook never gets an error."""

    def _display(self) -> dict[str, str]:
        """Return what is shown, by kind: `HTML` or `SVG`; a subclass writes it."""
        raise NotImplementedError(f"{type(self).__name__} has no _display")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return all that a notebook may show, by kind; called by it."""
        try:
            text = repr(self)
        except Exception:  # whatever goes wrong in what a subclass or a name brings
            text = object.__repr__(self)
        try:
            return {TEXT: text, **self._display()}
        except Exception as error:
            return {TEXT: f"{text}\n(not drawn: {shown(str(error) or type(error).__name__, 500)})"}


def html_table(rows: Sequence[Sequence[str]], numbers: int = 0, title: str = "", below: str = "") -> str:
    """Return rows as a table in HTML in which all words are text, however they look.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first has the names of the columns. Of many rows the middle ones are left out, and counted.
    numbers : int
        How many columns, the last ones, stand to the right.
    title, below : str
        Lines above and below the table.
    """
    header, *body = rows
    sides = [LEFT] * (len(header) - numbers) + [RIGHT] * numbers
    left_out = max(0, len(body) - MOST)
    lines = [_row("td", row, sides) for row in (*body[: MOST // 2], *body[MOST // 2 + left_out :])]
    if left_out:
        words = f"… {left_out:,} more"
        lines.insert(MOST // 2, f'<tr><td colspan="{len(header)}"{LEFT}>{words}</td></tr>')
    table = f"<table><thead>{_row('th', header, sides)}</thead><tbody>{''.join(lines)}</tbody></table>"
    return "".join([f"<p><b>{_text(title)}</b></p>" if title else "", table, f"<p>{_text(below)}</p>" if below else ""])


def _row(kind: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    inside = "".join(f"<{kind}{side}>{_text(cell)}</{kind}>" for cell, side in zip(cells, sides, strict=True))
    return f"<tr>{inside}</tr>"


def _text(words: str) -> str:
    """Return one line as text in HTML; spaces at its start stay."""
    line = shown(words, 200)
    spaces = len(line) - len(line.lstrip(" "))
    return "&nbsp;" * spaces + escape(line[spaces:])
