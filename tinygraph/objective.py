"""What training makes small: the loss of a batch with its regularisers, and what is counted along the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import losses
from .backend import Backend, current
from .errors import DataError
from .nn import Module, Output
from .ops.elementwise import less, sign, where
from .ops.reduce import sum
from .sleeping import awake_weights
from .tensors import Tensor, as_tensor, no_grad

Loss = Callable[..., Tensor]


class Objective:
    """The loss of a batch, together with the decisions on it, and the regularisers."""

    def __init__(self, net: Module, loss_fn: Loss, rho: float, alpha: float) -> None:
        self.net, self.loss_fn, self.rho, self.alpha = net, loss_fn, rho, alpha
        self.freeze_sleeping = False
        self.takes_logits = losses.takes_logits(loss_fn)
        self.loss = losses.without_options(loss_fn)
        self.output: Output | None = None if net.output is None else net._output()
        self.weights = [t for t in net.parameters() if t.role == "weight" and t.requires_grad]
        self.like = next(iter(net.parameters()), None)
        self.backend = current() if self.like is None else self.like.backend

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Tensor | None, Any]:
        """Return the loss of the batch, the network's signals z_L if they decide something, and the targets."""
        if self.takes_logits is None:
            return self.loss_fn(self.net, x, y), None, y
        y = self.targets(y)
        output = self.net(x)
        if self.loss is losses.multitask_cross_entropy:
            y = losses.label_vectors(output, y)
        prediction = output if self.output is None or self.takes_logits else self.output.activation(output)
        loss = self.loss_fn(prediction, y)
        return loss, output if self.decides() else None, y

    def targets(self, y: Any) -> Any:
        """Return targets as a tensor of the parameters' dtype and backend; class indices stay whole numbers."""
        if isinstance(y, Tensor) or self.like is None:
            return y
        host, backend = np.asarray(y), self.like.backend
        classes = self.loss is losses.cross_entropy and host.dtype.kind != "f"
        return Tensor(backend.asarray(host if classes else host.astype(self.like.dtype, copy=False)), backend)

    def decides(self) -> bool:
        """Whether decisions are made, so that there is an error rate."""
        return self.takes_logits is not None and self.output is not None and self.output.decides

    def means(self, batches: Iterable[Any]) -> tuple[float, float | None]:
        """Return the mean loss over `batches`, without regularisers, and the error, in evaluation mode."""
        tally = Tally(self.backend)
        with self.net._in_mode(False), no_grad():
            for x, y in batches:
                tally.add(*self(x, y), self.output, len(y))
                tally.rows += len(y)
        return tally.means()

    def regulariser(self) -> float:
        """Return the value of the regularisers."""
        with no_grad():
            value = float(losses.l2(self.net, self.rho)) if self.rho else 0.0
            return value + (float(losses.l1(self.net, self.alpha)) if self.alpha else 0.0)

    def add_regulariser_gradients(self, loss: Tensor) -> None:
        """Add the gradients of the regularisers, ``2 rho W`` and ``alpha sign(W)``, to those of the weights."""
        if not self.rho and not self.alpha:
            return
        with no_grad():
            awake = awake_weights(loss) if self.freeze_sleeping else {}
            for W in self.weights:
                if W.grad is None:
                    continue
                pull = (2.0 * self.rho) * W
                if self.alpha:
                    pull = pull + self.alpha * sign(W)
                W.grad = W.grad + (pull * awake[W] if W in awake else pull)


class Tally:
    """Losses and wrong decisions, added up over batches where they are computed, and read when they are wanted."""

    def __init__(self, backend: Backend) -> None:
        self.rows = 0
        names = ("loss", "wrong", "decided", "finite batches", "latest loss")
        self._all = [Tensor(backend.asarray(0.0, np.float64), backend, name=name) for name in names]
        self.loss, self.wrong, self.decided, self.finite, self.latest = self._all

    def reset(self) -> None:
        """Begin anew."""
        self.rows = 0
        for t in self._all:
            t.assign_(0.0)

    def add(self, loss: Tensor, z: Tensor | None, y: Any, output: Output | None, rows: int) -> None:
        """Count a batch, but for its rows; nothing is read on the host."""
        with no_grad():
            value = loss.astype(np.float64)
            self.latest.assign_(where(_is_finite(self.loss), value, self.latest))
            self.loss.assign_(self.loss + value * float(rows))
            self.finite.assign_(self.finite + _is_finite(self.loss).astype(np.float64))
            if z is not None and output is not None:
                wrong, known = output.wrong(z, as_tensor(y, z))
                known = known.astype(np.float64)
                self.wrong.assign_(self.wrong + sum(wrong.astype(np.float64) * known))
                self.decided.assign_(self.decided + sum(known))

    def state(self) -> list[float]:
        """Return what `restore` takes, to go on counting in the middle of a pass."""
        return [float(self.rows), *(float(t) for t in self._all)]

    def restore(self, state: list[float]) -> None:
        """Go on from what `state` returned."""
        self.rows = int(state[0])
        for t, value in zip(self._all, state[1:], strict=True):
            t.assign_(value)

    def check(self, epoch: int, batches: int) -> None:
        """Raise an error if a loss was not finite."""
        finite = int(float(self.finite))
        if finite < batches:
            raise DataError(
                f"fit: the loss became {float(self.latest)} in pass {epoch + 1}, batch {finite + 1}: lower the "
                "learning rate, or find the operation with tg.detect_anomaly()"
            )

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and the fraction of wrong decisions."""
        if not self.rows:
            return math.nan, None
        decided = float(self.decided)
        return float(self.loss) / self.rows, float(self.wrong) / decided if decided else None


def _is_finite(x: Tensor) -> Tensor:
    return less(abs(x), math.inf)
