"""When training ends: at a limit, at a risk that no longer changes (65.83), by early stopping (65.94)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from ..arguments import check_name, whole_number
from ..data import Batches
from ..errors import ArgumentError
from ..nn import Module
from ..operators import Operand
from ..ops.random import preserved_streams
from .history import History
from .objective import Objective
from .samples import EVALUATION_BATCH

DEFAULT_EPOCHS = 10


class Limits:
    """The largest numbers of epochs and of iterations.

    Parameters
    ----------
    epochs, max_iterations : int or None
        As for `fit`.
    """

    def __init__(self, epochs: int | None, max_iterations: int | None) -> None:
        if epochs is None and max_iterations is None:
            epochs = DEFAULT_EPOCHS
        self.epochs = None if epochs is None else whole_number("fit: epochs", epochs, 0)
        self.iterations = None if max_iterations is None else whole_number("fit: max_iterations", max_iterations, 0)

    def allow(self, history: History, cut_short: bool) -> bool:
        """Whether another epoch, or the rest of one that was cut short, is to be trained."""
        if self.iterations is not None and history.iterations >= self.iterations:
            return cut_short and history.iterations == self.iterations  # cut short there: its row is made again
        return self.epochs is None or len(history) < self.epochs

    def reached(self, history: History) -> str:
        """Return which limit ended training; a checkpoint may have been beyond it already."""
        for limit, count, unit in (
            (self.iterations, history.iterations, "iteration"),
            (self.epochs, len(history), "epoch"),
        ):
            if limit is not None and count >= limit:
                units = unit + "s" * (count != 1)
                return (
                    f"completed {count} {units}"
                    if count == limit
                    else f"the checkpoint has {count} {units}, more than the limit of {limit}"
                )
        return ""

    def epochs_at_most(self, batches: Iterable[object]) -> int | None:
        """Return how many epochs there are at most, as far as this is known."""
        limits = [] if self.epochs is None else [self.epochs]
        if self.iterations is not None and isinstance(batches, Sized):
            limits.append(-(-self.iterations // max(1, len(batches))))
        return min(limits, default=None)


class Convergence:
    """Checks whether the risk of the parameters still changes (65.83).

    Parameters
    ----------
    tolerance : float
        The epsilon of (65.83).
    risk : callable
        Returns the risk of the parameters as they are.
    risks : list of float
        The risks so far, that of the initial parameters first; goes on here.
    """

    def __init__(self, tolerance: float, risk: Callable[[], float], risks: list[float]) -> None:
        self.tolerance, self.risk, self.risks = tolerance, risk, risks
        if not risks:
            risks.append(risk())

    def check(self, when: str) -> str:
        """Evaluate the risk; return why to stop, or "" to go on."""
        self.risks.append(self.risk())
        before, now = self.risks[-2:]
        if not abs(now - before) <= self.tolerance:
            return ""
        return f"the risk changed by {abs(now - before):.3g}, no more than {self.tolerance:g}, in {when}"


class Pocket:
    """The pocket variables of (65.94): the parameters with the smallest error on the validation set so far.

    They start as the initial conditions, with a smallest error that any other is below.

    Parameters
    ----------
    net : Module
    measure : {"error", "loss"}
        What is compared, R_v: the fraction of wrong decisions, or the loss.
    patience : int or None
        After how many epochs without an improvement to stop; None: never.
    """

    def __init__(self, net: Module, measure: str, patience: int | None) -> None:
        self.net, self.measure, self.patience = net, measure, patience
        self.variables: Mapping[str, Operand] = net.state_dict()
        self.smallest, self.epoch = math.inf, 0

    def check(self, row: Mapping[str, Any]) -> str:
        """Take the parameters if they are better, by the history's `row` of an epoch; return why to stop, or ""."""
        score = row[f"validation_{self.measure}"]
        if score is not None and score < self.smallest:  # None: every label is missing
            self.smallest, self.epoch, self.variables = score, row["epoch"], self.net.state_dict()
        elif self.patience is not None and row["epoch"] - self.epoch >= self.patience:
            epochs = f"{self.patience} epoch" + "s" * (self.patience != 1)
            return f"no improvement on the validation set for {epochs}; best was epoch {self.epoch}"
        return ""


def convergence(
    objective: Objective, batches: Iterable[object], tolerance: float | None, history: History
) -> Convergence | None:
    """Return what checks whether the risk of the parameters still changes, if that is wanted."""
    if tolerance is None:
        return None
    if isinstance(batches, Iterator):
        raise ArgumentError("fit: stop_tolerance goes through the training set again: give a list, not an iterator")

    def risk() -> float:
        samples = batches.in_order(EVALUATION_BATCH) if isinstance(batches, Batches) else batches
        with preserved_streams():  # a loss of one's own may draw masks
            return objective.means(samples)[0] + objective.regulariser()

    return Convergence(tolerance, risk, history.risks)


def pocket_variables(
    objective: Objective, early_stopping: int | bool | None, measure: str | None, validated: bool
) -> Pocket | None:
    """Return the pocket variables, if they are wanted."""
    if early_stopping is None or early_stopping is False:
        if measure is not None:
            raise ArgumentError("fit: early_stopping_on says what early stopping compares: give early_stopping too")
        return None
    if not validated:
        raise ArgumentError(
            "fit: early_stopping needs a validation set; data.split takes a part of the training samples"
        )
    patience = None if early_stopping is True else whole_number("fit: early_stopping", early_stopping, 1)
    measure = measure or ("error" if objective.decides() else "loss")
    check_name("fit: early_stopping_on", measure, ("error", "loss"))
    if measure == "error" and not objective.decides():
        raise ArgumentError("fit: early_stopping_on='error': nothing is decided here, so only 'loss' can be compared")
    return Pocket(objective.net, measure, patience)
