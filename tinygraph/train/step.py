"""One step of training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ..errors import CompileError
from ..optim import Optimizer
from ..parallel.shares import Share, Shares
from ..plan import compile
from ..typing import ArrayLike
from .objective import Objective
from .tally import Tally


class Step:
    """One update by a batch, compiled if that is wanted and possible.

    Parameters
    ----------
    objective : Objective
    optimizer : Optimizer
    compiled : bool
    shares : Shares, optional
        Where processes share every batch; then a call is given own rows.
    """

    def __init__(
        self, objective: Objective, optimizer: Optimizer, compiled: bool, shares: Shares | None = None
    ) -> None:
        self.objective, self.optimizer, self.shares = objective, optimizer, shares
        self.tally = Tally(objective.backend)
        self.run: Callable[..., None] = compile(self.update) if compiled else self.update

    def __call__(self, x: ArrayLike, y: Any, weights: ArrayLike | None = None) -> None:
        """Update the parameters, and count the loss of the batch before and the decisions on it."""
        self.objective.check_labels(x, y)
        y = self.objective.targets(y)
        weights = None if weights is None else self.objective.targets(weights)
        batch: tuple[Any, ...] = (x, y) if weights is None else (x, y, weights)
        rows = len(y)
        if self.shares is not None:
            assert self.shares.latest is not None
            rows = self.shares.latest.whole
            batch = (x, y, weights, rows)
        try:
            self.run(*batch)
        except CompileError as error:
            warnings.warn(
                "fit: could not compile the training step, running eagerly; pass compiled=False to silence this. "
                f"{error}",
                RuntimeWarning,
                stacklevel=4,
            )
            self.run = self.update
            self.run(*batch)
        self.tally.rows += rows

    def update(self, x: ArrayLike, y: Any, weights: ArrayLike | None = None, whole: int | None = None) -> None:
        """Take one step of the optimiser, by a batch or by this process's share of `whole` rows."""
        self.optimizer.zero_grad()
        if self.shares is not None and whole is not None:
            self._update_shared(Share(self.shares.processes, whole), x, y, weights)
            return
        loss, output, target = self.objective(x, y, weights)
        loss.backward()
        self.objective.add_regulariser_gradients(loss)
        self.optimizer.step()
        self.tally.add(loss, output, target, self.objective.output, len(y))

    def _update_shared(self, share: Share, x: ArrayLike, y: Any, weights: ArrayLike | None) -> None:
        with share:
            loss, output, target = self.objective(x, y, weights)
        last = share.backward(loss, self.optimizer.params)
        self.objective.add_regulariser_gradients(loss)
        self.optimizer.step()
        self.tally.add_share(share, loss, output, target, self.objective.output, last)

    def means(self) -> tuple[float, float | None]:
        """Return the mean loss of the batches of the epoch, with its regularisers, and the error."""
        loss, error = self.tally.means()
        return loss + self.objective.regulariser(), error
