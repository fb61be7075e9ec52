"""What happened in a run of `fit`, and the checkpoint from which it continues."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from typing import Any

from .checkpoint import PathLike, read_arrays, write_arrays, write_file
from .errors import ArgumentError, DataError
from .nn import Module
from .objective import Tally
from .ops.random import set_stream_state, stream_state
from .optim import Optimizer
from .stopping import Pocket
from .tensors import as_tensor

COLUMNS = ("epoch", "loss", "error", "validation_loss", "validation_error", "seconds")


@dataclass
class History:
    """What happened in each pass over the training set.

    Attributes
    ----------
    rows : list of dict
        One a pass, the last perhaps cut short, with the keys of `COLUMNS`: "epoch" from 1; "loss", the empirical
        risk with its regularisers, averaged over the batches as they were trained; "error", the fraction of wrong
        decisions likewise (None for regression); the same on the validation set (None without one, and
        without regularisers); "seconds" since the start.
    stopped : str
        Why training ended.
    iterations : int
        How many updates of the parameters there were.
    risks : list of float
        With a `stop_tolerance`, the regularised risk of the parameters whenever it was evaluated (65.83): before the
        first update, then after each update or pass.
    best_epoch : int or None
        With `early_stopping`, the pass after which the parameters were those that are returned; 0 for the initial
        ones.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""
    iterations: int = 0
    risks: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    def __getitem__(self, column: str) -> list[Any]:
        if column not in COLUMNS:
            raise ArgumentError(f"History: no column {column!r}; columns: {', '.join(COLUMNS)}")
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def losses(self) -> list[float]:
        """The empirical risk of every pass."""
        return self["loss"]

    @property
    def errors(self) -> list[float | None]:
        """The fraction of wrong decisions of every pass."""
        return self["error"]

    @property
    def times(self) -> list[float]:
        """Seconds from the start to the end of every pass."""
        return self["seconds"]

    def save_csv(self, path: PathLike) -> None:
        """Write the rows as CSV; an absent value is an empty field."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(path, text.getvalue().encode())


class Run:
    """What a checkpoint holds: parameters, optimiser, history, pocket variables, the place in a pass, random numbers.

    Attributes
    ----------
    done : int
        How many batches of the present pass have been trained; `tally` holds what was counted over them.
    """

    def __init__(
        self, net: Module, optimizer: Optimizer, settings: dict[str, Any], tally: Tally, pocket: Pocket | None
    ) -> None:
        self.net, self.optimizer, self.settings, self.tally, self.pocket = net, optimizer, settings, tally, pocket
        self.history = History()
        self.done = 0
        self.backend = next((p.backend for p in net.parameters()), None)

    def save(self, path: PathLike) -> None:
        """Write everything to one file."""
        optimizer, history, pocket = self.optimizer.state_dict(), self.history, self.pocket
        arrays = {f"net.{name}": t.numpy() for name, t in self.net.state_dict().items()}
        arrays |= {f"optimizer.{name}": value for name, value in optimizer.items() if name != "lr"}
        if pocket is not None:
            arrays |= {f"pocket.{name}": as_tensor(t).numpy() for name, t in pocket.variables.items()}
        if self.backend is not None:
            arrays["random.key"] = stream_state(self.backend)
        facts = {
            "settings": self.settings,
            "lr": optimizer["lr"],
            "rows": history.rows,
            "stopped": history.stopped,
            "iterations": history.iterations,
            "risks": history.risks,
            "done": self.done,
            "tally": self.tally.state() if self.done else [],
            "best": None if pocket is None or math.isinf(pocket.smallest) else pocket.smallest,
            "best_epoch": 0 if pocket is None else pocket.epoch,
        }
        write_arrays(path, arrays, facts)

    def load(self, path: PathLike) -> None:
        """Take everything from a file that `save` wrote, after checking that it belongs to this run."""
        arrays, facts = read_arrays(path)
        if facts.get("settings") != self.settings:
            theirs = facts.get("settings") or {}
            differ = ", ".join(k for k in self.settings if theirs.get(k) != self.settings[k])
            raise DataError(f"{path}: a checkpoint of another run; different: {differ or 'everything'}")

        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

        self.net.load_state_dict(part("net."))
        self.optimizer.load_state_dict({"lr": facts["lr"], **part("optimizer.")})
        if self.backend is not None:
            set_stream_state(self.backend, arrays["random.key"])
        if self.pocket is not None:
            self.pocket.variables, self.pocket.epoch = part("pocket."), facts["best_epoch"]
            self.pocket.smallest = math.inf if facts["best"] is None else facts["best"]
        history = self.history
        history.rows, history.stopped, history.risks = facts["rows"], facts["stopped"], facts["risks"]
        history.iterations, self.done = facts["iterations"], facts["done"]
        if self.done:
            self.tally.restore(facts["tally"])
