"""When a run of `fit` writes its checkpoint, and how many of those before are kept."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..arguments import whole, whole_number
from ..errors import ArgumentError
from ..files import PathLike, write_file
from .run import Run

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Interval:
    """How often a checkpoint is written: after so many epochs, updates or seconds; one of them is not 0."""

    epochs: int = 0
    updates: int = 0
    seconds: float = 0.0


def interval(every: object, name: str = "fit: checkpoint_every") -> Interval:
    """Return what `checkpoint_every` of `fit` says; a text of digits is a number of updates. Errors begin with `name`.

    Raises
    ------
    ArgumentError
        If it is neither a number of updates nor one of the texts.
    """
    text = every.strip() if isinstance(every, str) else str(whole(every))
    if text == "epoch":
        return Interval(epochs=1)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(|epochs?|s|min|h)", text)
    amount, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if amount and unit in SECONDS:
        return Interval(seconds=amount * SECONDS[unit])
    if not amount or not amount.is_integer():
        raise ArgumentError(
            f"{name} must be a number of updates such as 500, 'epoch', '10 epochs', or a time such as "
            f"'30s', '5min', '1h'; got {every!r:.60}"
        )
    return Interval(epochs=int(amount)) if unit else Interval(updates=int(amount))


class Checkpoints:
    """The files that a run writes: the last checkpoint at `path`, and beside it those before that are kept.

    Those are called as it is with the number of updates: ``run.iteration-500.safetensors`` beside ``run.safetensors``.

    Parameters
    ----------
    run : Run
    path : path
    every : Interval
    keep : int
        How many, with that at `path`.
    """

    def __init__(self, run: Run, path: PathLike, every: Interval, keep: int) -> None:
        self.run, self.path, self.every, self.keep = run, Path(path), every, keep
        self._latest = run.history.iterations if self.path.exists() else None  # of the file that is there
        self._written = time.monotonic()

    def after_update(self) -> None:
        """Write a checkpoint if one is due in the middle of an epoch."""
        updates = self.every.updates
        if self._is_time() or (updates and self.run.history.iterations % updates == 0):
            self.run.tally.check(len(self.run.history), self.run.done)
            self.save()

    def after_epoch(self, last: bool) -> None:
        """Write a checkpoint if one is due between epochs, or training ends."""
        epochs = self.every.epochs
        if last or self._is_time() or (epochs and len(self.run.history) % epochs == 0):
            self.save()

    def _is_time(self) -> bool:
        return 0 < self.every.seconds <= time.monotonic() - self._written

    def save(self) -> None:
        """Write a checkpoint; the one before, of fewer updates, is kept beside it, if that is wanted."""
        if self.keep > 1 and self._latest not in (None, self.run.history.iterations) and self.path.exists():
            _link(self.path, self.path.with_name(f"{self.path.stem}.iteration-{self._latest}{self.path.suffix}"))
        self.run.save(self.path)
        self._latest, self._written = self.run.history.iterations, time.monotonic()
        if self.keep > 1:
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        """Remove those that were written before the last `keep`, by their time: numbers may be of an earlier run."""
        name = rf"{re.escape(self.path.stem)}\.iteration-([0-9]+){re.escape(self.path.suffix)}"
        older = [
            (p.stat().st_mtime_ns, int(n[1]), p)
            for p in self.path.parent.iterdir()
            if (n := re.fullmatch(name, p.name))
        ]
        for *_, path in sorted(older)[: 1 - self.keep]:
            with suppress(OSError):
                path.unlink()


def _link(path: Path, other: Path) -> None:
    """Give a file another name, in the place of what has it; where the file system has no links, as a copy."""
    with suppress(OSError):
        other.unlink()
    try:
        os.link(path, other)
    except OSError:
        write_file(other, path.read_bytes())


def checkpoints(run: Run, path: PathLike | None, every: object, keep: object) -> Checkpoints | None:
    """Return what writes the checkpoints of a run, if they are wanted.

    Raises
    ------
    ArgumentError
        If it is said when they are written or how many are kept, and not where; or said wrongly.
    """
    when, count = interval(every), whole_number("fit: checkpoint_keep", keep, 1)
    if path is not None:
        return Checkpoints(run, path, when, count)
    if when != interval("epoch") or count > 1:
        raise ArgumentError(
            "fit: checkpoint_every and checkpoint_keep are about checkpoints: give checkpoint, a path, too"
        )
    return None
