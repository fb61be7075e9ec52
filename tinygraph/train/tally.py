"""Losses and wrong decisions, counted over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..backend import Backend
from ..errors import DataError
from ..leaves import as_tensor
from ..mode import no_grad
from ..nn import Output
from ..ops.elementwise import less, where
from ..ops.reduce import sum
from ..ops.shape import concatenate, reshape
from ..tensors import Tensor
from ..typing import ArrayLike

if TYPE_CHECKING:
    from ..parallel.shares import Share


class Tally:
    """Losses and wrong decisions, added up over batches where they are computed, and read when they are wanted."""

    NAMES = ("loss", "wrong", "decided", "finite batches", "latest loss")
    LENGTH = 1 + len(NAMES)  # of `state`

    def __init__(self, backend: Backend) -> None:
        self.rows = 0
        self._all = [Tensor(backend.asarray(0.0, np.float64), backend, name=name) for name in self.NAMES]
        self.loss, self.wrong, self.decided, self.finite, self.latest = self._all

    def reset(self) -> None:
        """Set all counts to zero."""
        self.rows = 0
        for t in self._all:
            t.assign_(0.0)

    def add(self, loss: Tensor, z: Tensor | None, y: ArrayLike, output: Output | None, rows: int) -> None:
        """Count a batch, but for its rows; nothing is read on the host."""
        with no_grad():
            self._count(loss.astype(np.float64), _decisions(z, y, output), rows)

    def add_share(
        self, share: Share, loss: Tensor, z: Tensor | None, y: ArrayLike, output: Output | None, last: Tensor | None
    ) -> None:
        """Count a batch of which this process has a share, once `last` is computed."""
        with no_grad():
            own = [loss.astype(np.float64) * (share.count / share.whole)]
            own += [count * float(share.count > 0) for count in _decisions(z, y, output)]
            sums = share.all_sum(concatenate([reshape(x, (1,)) for x in own]), last)
            value, *decisions = (sums[n] for n in range(len(own)))
            self._count(value, decisions, share.whole)

    def _count(self, value: Tensor, decisions: Sequence[Tensor], rows: int) -> None:
        self.latest.assign_(where(_is_finite(self.loss), value, self.latest))
        self.loss.assign_(self.loss + value * float(rows))
        self.finite.assign_(self.finite + _is_finite(self.loss).astype(np.float64))
        if decisions:
            wrong, decided = decisions
            self.wrong.assign_(self.wrong + wrong)
            self.decided.assign_(self.decided + decided)

    def state(self) -> list[float]:
        """Return what `restore` takes, to go on counting in the middle of an epoch."""
        return [float(self.rows), *(float(t) for t in self._all)]

    def restore(self, state: list[float]) -> None:
        """Restore the counts that `state` returned."""
        self.rows = int(state[0])
        for t, value in zip(self._all, state[1:], strict=True):
            t.assign_(value)

    def check(self, epoch: int, batches: int) -> None:
        """Raise an error if a loss was not finite."""
        finite = int(float(self.finite))
        if finite < batches:
            raise DataError(
                f"fit: the loss became {float(self.latest)} in epoch {epoch + 1}, batch {finite + 1}: lower the "
                "learning rate, or find the operation with tg.detect_anomaly()"
            )

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and the fraction of wrong decisions."""
        if not self.rows:
            return math.nan, None
        decided = float(self.decided)
        return float(self.loss) / self.rows, float(self.wrong) / decided if decided else None


def _decisions(z: Tensor | None, y: ArrayLike, output: Output | None) -> Sequence[Tensor]:
    """Return how many decisions are wrong, and how many there are; nothing where there are none."""
    if z is None or output is None:
        return ()
    wrong, known = output.wrong(z, as_tensor(y, z))
    known = known.astype(np.float64)
    return sum(wrong.astype(np.float64) * known), sum(known)


def _is_finite(x: Tensor) -> Tensor:
    return less(abs(x), math.inf)
