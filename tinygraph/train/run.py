"""The state of a run of `fit`, and the checkpoint from which it continues."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..checkpoint import not_finite, read_arrays, require_finite, write_arrays
from ..errors import ArgumentError, DataError
from ..files import PathLike
from ..leaves import as_tensor
from ..ops.random import set_stream_state, stream_state
from ..optim import Optimizer, Schedule
from ..tensors import Tensor
from .history import COLUMNS, History
from .identity import check_same
from .objective import Objective
from .stopping import Pocket
from .tally import Tally

FORMAT = 4  # of checkpoints; another number is refused
NUMBER = (int, float)
FACTS: dict[str, tuple[type, ...]] = {  # what a checkpoint says besides its arrays
    "settings": (dict,),
    "lr": NUMBER,
    "epoch": (int,),
    "rows": (list,),
    "stop_reason": (str,),
    "iterations": (int,),
    "risks": (list,),
    "done": (int,),
    "tally": (list,),
    "best": (*NUMBER, type(None)),
    "best_epoch": (int,),
    "schedule": (dict,),
    "seconds": (*NUMBER, type(None)),
}


class Run:
    """What a checkpoint holds: parameters, optimiser, history, pocket variables, the place in an epoch, random numbers.

    Parameters
    ----------
    objective : Objective
    optimizer : Optimizer
    tally : Tally
        Of the epoch that is under way.
    pocket : Pocket or None
    schedule : Schedule or None
    settings : dict
        What must be the same for a checkpoint to be continued, see `shaping_settings`; empty where there is none.

    Attributes
    ----------
    done : int
        How many batches of the present epoch have been trained; `tally` holds what was counted over them.
    seconds : float
        How long the run trained before it was continued here.
    started : float
        When it would have started had it never stopped, by `time.perf_counter`.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        tally: Tally,
        pocket: Pocket | None,
        schedule: Schedule | None,
        settings: dict[str, object],
    ) -> None:
        self.net, self.optimizer, self.tally, self.pocket = objective.net, optimizer, tally, pocket
        self.schedule, self.settings = schedule, settings
        self.history = History()
        self.done = 0
        self.seconds, self.started = 0.0, time.perf_counter()
        self.backend = next((p.backend for p in self.net.parameters()), None)

    def save(self, path: PathLike) -> None:
        """Write everything to one file.

        Raises
        ------
        DataError
            If the file cannot be written, or `load` would refuse it, since something is not finite.
        """
        optimizer, history, pocket = self.optimizer, self.history, self.pocket
        arrays = {f"net.{name}": t.numpy() for name, t in self.net.state_dict().items()}
        arrays |= {f"optimizer.{name}": t.numpy() for name, t in optimizer.named_state().items()}
        if pocket is not None:
            arrays |= {f"pocket.{name}": as_tensor(t).numpy() for name, t in pocket.variables.items()}
        if self.backend is not None:
            arrays["random.key"] = stream_state(self.backend)
        if wrong := not_finite(arrays):
            raise DataError(
                f"fit: {wrong} after iteration {history.iterations}, which is not written to {path}: lower the "
                "learning rate, or find the operation with tg.detect_anomaly()"
            )
        facts = {
            "format": FORMAT,
            "settings": self.settings,
            "lr": optimizer.lr,
            "epoch": optimizer.epoch,
            "rows": history.rows,
            "stop_reason": history.stop_reason,
            "iterations": history.iterations,
            "risks": history.risks,
            "done": self.done,
            "tally": self.tally.state() if self.done else [],
            "best": None if pocket is None or math.isinf(pocket.smallest) else pocket.smallest,
            "best_epoch": 0 if pocket is None else pocket.epoch,
            "schedule": {} if self.schedule is None else self.schedule.state_dict(),
            "seconds": time.perf_counter() - self.started,
        }
        write_arrays(path, arrays, facts)

    def load(self, path: PathLike, allow_changes: Collection[str] = ()) -> None:
        """Take everything from a file that `save` wrote; nothing is changed before all of it is checked.

        Raises
        ------
        DataError
            If the file is damaged, of another format, or of another run, apart from `allow_changes`.
        """
        arrays, facts = read_arrays(path)
        _check_facts(path, facts)
        check_same(path, facts["settings"], self.settings, allow_changes)
        require_finite(path, arrays)

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

        if self.schedule is not None:
            try:
                self.schedule.check_state(facts["schedule"])
            except ArgumentError as error:
                raise DataError(f"{path}: damaged: {error}") from None
        net, optimizer, pocket = part("net."), part("optimizer."), part("pocket.")
        tensors = dict(self.net.named_tensors())
        _check_arrays(path, "the network", tensors, net)
        _check_arrays(path, "the optimiser", self.optimizer.named_state(), optimizer)
        if self.pocket is not None:
            _check_arrays(path, "the pocket variables", tensors, pocket)
        if self.backend is not None:
            key = arrays.get("random.key")
            if key is None or key.dtype != np.uint64 or key.shape != (2,):
                raise DataError(f"{path}: damaged: random.key is not the key of a random stream")
            set_stream_state(self.backend, key)
        lr = self.optimizer.lr if "optimizer.lr" in allow_changes else facts["lr"]
        self.net.load_state_dict(net)
        self.optimizer.load_state_dict({"lr": lr, "epoch": facts["epoch"], **optimizer})
        if self.schedule is not None:
            self.schedule.load_state_dict(facts["schedule"])
        if self.pocket is not None:
            self.pocket.variables, self.pocket.epoch = pocket, facts["best_epoch"]
            self.pocket.smallest = math.inf if facts["best"] is None else facts["best"]
        history = self.history
        history.rows, history.stop_reason, history.risks = facts["rows"], facts["stop_reason"], facts["risks"]
        history.iterations, self.done = facts["iterations"], facts["done"]
        self.seconds = facts.get("seconds") or (history.times[-1] if history.rows else 0.0)  # files of 0.1.0 have none
        if self.done:
            self.tally.restore(facts["tally"])


def _check_facts(path: PathLike, facts: Mapping[str, Any]) -> None:
    """Raise an error unless a file's facts are those of a checkpoint of this format, each of its type."""
    if not facts:
        raise DataError(f"{path}: not a checkpoint of fit: weights only, which tg.load reads")
    if facts.get("format") != FORMAT:
        raise DataError(
            f"{path}: a checkpoint of another version of tinygraph: format {facts.get('format', 'unknown')}, expected "
            f"{FORMAT}; start a new checkpoint"
        )
    for name, types in FACTS.items():
        value = facts.get(name)
        if not isinstance(value, types) or isinstance(value, bool):
            raise DataError(f"{path}: damaged: {name} is {value!r:.40}, expected {' or '.join(_words(types))}")
    numbers = {"risks": facts["risks"], "tally": facts["tally"]}
    wrong = [name for name, values in numbers.items() if not all(isinstance(x, NUMBER) for x in values)]
    wrong += ["rows"] * (not all(isinstance(row, dict) and _is_row(row) for row in facts["rows"]))
    wrong += [name for name in ("iterations", "done", "best_epoch") if facts[name] < 0]
    wrong += ["epoch"] * (facts["epoch"] < len(facts["rows"]) + bool(facts["done"]))
    wrong += ["tally"] * (bool(facts["done"]) and len(facts["tally"]) != Tally.LENGTH)
    wrong += ["seconds"] * (not 0 <= (facts.get("seconds") or 0) < math.inf)
    wrong += ["lr"] * (not 0 <= facts["lr"] < math.inf)
    if wrong:
        raise DataError(f"{path}: damaged: {wrong[0]} does not hold what fit writes there")


def _is_row(row: Mapping[str, object]) -> bool:
    return set(row) >= set(COLUMNS) and all(value is None or isinstance(value, NUMBER) for value in row.values())


def _words(types: tuple[type, ...]) -> list[str]:
    words = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
    return [words.get(kind, "null") for kind in types if not (kind is int and float in types)]


def _check_arrays(path: PathLike, whose: str, tensors: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise an error unless arrays have the names, shapes and dtypes of tensors."""
    if differ := sorted(set(tensors) ^ set(arrays)):
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise DataError(f"{path}: holds other names than {whose}: {', '.join(differ[:3])}{more}")
    for name, t in tensors.items():
        a = arrays[name]
        if (a.shape, a.dtype) != (t.shape, t.dtype):
            raise DataError(f"{path}: {name} of {whose}: expected {t.dtype} {t.shape}, got {a.dtype} {a.shape}")
