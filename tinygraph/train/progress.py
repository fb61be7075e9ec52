"""The progress bar of `fit`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(epochs: int | None, wanted: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar of the epochs, if wanted and standard error is a terminal; yield what takes each row of the history.

    Parameters
    ----------
    epochs : int or None
        How many there are at most, if this is known.
    wanted : bool
    """
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield lambda row: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[summary]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs, summary="")
        yield lambda row: bar.update(task, completed=row["epoch"], summary=_summary(row))


def _summary(row: dict[str, Any]) -> str:
    prefix = "" if row["validation_error"] is None else "validation_"
    error, name = row[f"{prefix}error"], f"{prefix}error".replace("_", " ")
    return f"loss {row['loss']:.4f}" + ("" if error is None else f"  {name} {100 * error:.1f} %")
