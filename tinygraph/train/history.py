"""What happened in a run of `fit`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgumentError
from ..files import PathLike, write_file
from ..notebook import HTML, Displayed, html_table

COLUMNS = ("epoch", "loss", "error", "validation_loss", "validation_error", "seconds")

MEASURED = COLUMNS[1:-1]


@dataclass(repr=False)
class History(Displayed):
    """What happened in each epoch, a pass over the training set.

    Attributes
    ----------
    rows : list of dict
        One an epoch, the last perhaps cut short, with the keys of `COLUMNS`: "epoch" from 1; "loss", the empirical
        risk with its regularisers, averaged over the batches as they were trained; "error", the fraction of wrong
        decisions likewise (None for regression); the same on the validation set (None without one, and
        without regularisers); "seconds" since the start; then one for each of the `metrics` of `fit`.
    stop_reason : str
        Why training ended.
    iterations : int
        How many updates of the parameters there were.
    risks : list of float
        With a `stop_tolerance`, the regularised risk of the parameters whenever it was evaluated (65.83): before the
        first update, then after each update or epoch.
    best_epoch : int or None
        With `early_stopping`, the epoch after which the parameters were those that are returned; 0 for the initial
        ones.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str = ""
    iterations: int = 0
    risks: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns: `COLUMNS`, and those of metrics."""
        return tuple(dict.fromkeys([*COLUMNS, *(name for row in self.rows for name in row)]))

    def __getitem__(self, column: str) -> list[Any]:
        if column not in self.columns:
            raise ArgumentError(f"History: no column {column!r}; columns: {', '.join(self.columns)}")
        return [row.get(column) for row in self.rows]

    def __repr__(self) -> str:
        last = {
            name: value for name, value in (self.rows or [{}])[-1].items() if name in MEASURED and value is not None
        }
        facts = [f"{len(self)} epochs", *(f"{name} {value:.4g}" for name, value in last.items()), self.stop_reason]
        return f"History({', '.join(filter(None, facts))})"

    def _display(self) -> dict[str, str]:
        body = [[_cell(row.get(name)) for name in self.columns] for row in self.rows]
        table = html_table(
            [self.columns, *body], numbers=len(self.columns) - 1, title="History", below=self.stop_reason
        )
        return {HTML: table}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def losses(self) -> list[float]:
        """The empirical risk of every epoch."""
        return self["loss"]

    @property
    def errors(self) -> list[float | None]:
        """The fraction of wrong decisions of every epoch."""
        return self["error"]

    @property
    def times(self) -> list[float]:
        """Seconds from the start to the end of every epoch."""
        return self["seconds"]

    def save_csv(self, path: PathLike) -> None:
        """Write the rows as CSV; an absent value is an empty field."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(path, text.getvalue().encode())


def _cell(value: object) -> str:
    """Return a value of a row as text: numbers to four digits, nothing for None."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
