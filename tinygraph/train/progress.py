"""The progress that `fit` shows: a bar in a terminal, a line in a notebook, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_BETWEEN_LINES = 10.0  # so that short runs write nothing to a log, and long ones not too much

Report = Callable[[dict[str, Any]], None]


@contextmanager
def progress_shown(epochs: int | None, wanted: bool) -> Iterator[Report]:
    """Show how far training is, if wanted; yield what takes each row of the history.

    Parameters
    ----------
    epochs : int or None
        How many there are at most, if this is known.
    wanted : bool
    """
    if not wanted:
        yield lambda row: None
    elif (display := _notebook_display()) is not None:
        yield _line_in_place(display, epochs)
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(epochs) as report:
            yield report
    else:
        yield _lines(epochs)


@contextmanager
def _bar(epochs: int | None) -> Iterator[Report]:
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


def _lines(epochs: int | None) -> Report:
    """Return what writes a row to standard error, if the last was written some time ago."""
    latest = time.monotonic()

    def report(row: dict[str, object]) -> None:
        nonlocal latest
        if sys.stderr is not None and time.monotonic() - latest >= SECONDS_BETWEEN_LINES:
            latest = time.monotonic()
            print(_line(row, epochs), file=sys.stderr, flush=True)

    return report


def _line_in_place(display: Callable[..., object], epochs: int | None) -> Report:
    """Return what shows a row in a notebook, in the place of the one before."""
    handle: Any = None

    def report(row: dict[str, object]) -> None:
        nonlocal handle
        shown = {"text/plain": _line(row, epochs)}
        if handle is None:
            handle = display(shown, raw=True, display_id=True)
        else:
            handle.update(shown, raw=True)

    return report


def _notebook_display() -> Callable[..., object] | None:
    """Return IPython's `display` where this runs in a notebook, and None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    display: Callable[..., Any] = ipython.display.display  # type: ignore[union-attr]
    return display


def _line(row: dict[str, object], epochs: int | None) -> str:
    of = "" if epochs is None else f"/{epochs}"
    return f"epoch {row['epoch']}{of}  {row['seconds']:.0f} s  {_summary(row)}"


def _summary(row: dict[str, Any]) -> str:
    prefix = "" if row["validation_error"] is None else "validation_"
    error, name = row[f"{prefix}error"], f"{prefix}error".replace("_", " ")
    return f"loss {row['loss']:.4f}" + ("" if error is None else f"  {name} {100 * error:.1f} %")
