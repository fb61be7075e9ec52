"""When training stops: a risk that no longer changes (65.83), and early stopping with pocket variables (65.94)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .nn import Module
from .tensors import Operand


class Convergence:
    """Looks whether the risk of the parameters still changes (65.83).

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

    def look(self, when: str) -> str:
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
        After how many passes without an improvement to stop; None: never.
    """

    def __init__(self, net: Module, measure: str, patience: int | None) -> None:
        self.net, self.measure, self.patience = net, measure, patience
        self.variables: Mapping[str, Operand] = net.state_dict()
        self.smallest, self.epoch = math.inf, 0

    def look(self, row: Mapping[str, Any]) -> str:
        """Take the parameters if they are better, after a pass with the history's `row`; return why to stop, or ""."""
        score = row[f"validation_{self.measure}"]
        if score is not None and score < self.smallest:  # None: every label is missing
            self.smallest, self.epoch, self.variables = score, row["epoch"], self.net.state_dict()
        elif self.patience is not None and row["epoch"] - self.epoch >= self.patience:
            return f"no better on the validation set for {self.patience} passes; best was pass {self.epoch}"
        return ""
