"""The state of a run of `fit`, and the checkpoint from which it continues."""

from __future__ import annotations

import math
from typing import Any

from ..checkpoint import PathLike, read_arrays, write_arrays
from ..errors import DataError
from ..ops.random import set_stream_state, stream_state
from ..optim import Optimizer
from ..tensors import as_tensor
from .history import History
from .objective import Objective
from .stopping import Pocket
from .tally import Tally


class Run:
    """What a checkpoint holds: parameters, optimiser, history, pocket variables, the place in an epoch, random numbers.

    Parameters
    ----------
    objective : Objective
    optimizer : Optimizer
    tally : Tally
        Of the epoch that is under way.
    pocket : Pocket or None
    **settings
        What else must be the same for a checkpoint to be continued.

    Attributes
    ----------
    done : int
        How many batches of the present epoch have been trained; `tally` holds what was counted over them.
    """

    def __init__(
        self, objective: Objective, optimizer: Optimizer, tally: Tally, pocket: Pocket | None, **settings: Any
    ) -> None:
        self.net, self.optimizer, self.tally, self.pocket = objective.net, optimizer, tally, pocket
        self.history = History()
        self.done = 0
        self.backend = next((p.backend for p in self.net.parameters()), None)
        loss = getattr(objective.loss_fn, "func", objective.loss_fn)  # without its options
        self.settings = {
            "loss": getattr(loss, "__name__", type(loss).__name__),
            "loss_options": {k: repr(v) for k, v in getattr(objective.loss_fn, "keywords", {}).items()},
            **settings,
            "early_stopping_on": None if pocket is None else pocket.measure,
            "l2": objective.rho,
            "l1": objective.alpha,
            "parameters": {name: list(t.shape) for name, t in self.net.named_parameters()},
        }

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
            "stop_reason": history.stop_reason,
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
        history.rows, history.stop_reason, history.risks = facts["rows"], facts["stop_reason"], facts["risks"]
        history.iterations, self.done = facts["iterations"], facts["done"]
        if self.done:
            self.tally.restore(facts["tally"])
