"""The training objective: the loss of a batch with its regularisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import losses
from ..backend import current
from ..labels import ClassLabels
from ..mode import no_grad
from ..nn import Module, Output
from ..ops.elementwise import sign
from ..tensors import Tensor
from .sleeping import awake_weights
from .tally import Tally

LossFunction = Callable[..., Tensor]


class Objective:
    """The loss of a batch, together with the decisions on it, and the regularisers.

    Parameters
    ----------
    net : Module
    loss_fn : callable
        As for `fit`.
    rho, alpha : float
        The factors of the regularisers on the weights.
    freeze_sleeping : bool
        Whether the regularisers leave the weights from and to sleeping nodes alone.
    """

    def __init__(
        self,
        net: Module,
        loss_fn: LossFunction,
        rho: float = 0.0,
        alpha: float = 0.0,
        freeze_sleeping: bool = False,
    ) -> None:
        self.net, self.loss_fn, self.rho, self.alpha = net, loss_fn, rho, alpha
        self.freeze_sleeping = freeze_sleeping
        self.loss = losses.as_loss(loss_fn)
        self.output: Output | None = None if net.output is None else net._output()
        self.weights = [t for t in net.parameters() if t.role == "weight" and t.requires_grad]
        self.like = next(iter(net.parameters()), None)
        self.backend = current() if self.like is None else self.like.backend
        self._classes: int | None = None  # of the network's output, once asked for

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Tensor | None, Any]:
        """Return the loss of the batch, the network's signals z_L if they decide something, and the targets."""
        if self.loss is None:
            return self.loss_fn(self.net, x, y), None, y
        z = self.net(x)
        y = self.loss.labels.aligned(self.targets(y), z)
        output = z if self.output is None or self.loss.takes == "logits" else self.output.activation(z)
        return self.loss_fn(output, y), z if self.decides() else None, y

    def check_labels(self, x: Any, y: Any, name: str) -> None:
        """Raise an error if class indices on the host, of a batch that comes as it is, are out of range."""
        if self.loss is None or not isinstance(self.loss.labels, ClassLabels) or isinstance(y, Tensor):
            return
        host = np.asarray(y)
        if host.dtype.kind not in "iu" or host.ndim != 1:
            return
        if self._classes is None and isinstance(x, np.ndarray | Tensor):
            with no_grad(), self.net._in_mode(False):
                self._classes = self.net(x[:1]).shape[-1]
        if self._classes is not None:
            self.loss.labels.check_indices(host, self._classes, name)

    def targets(self, y: Any) -> Any:
        """Return the targets of a `Loss` on the parameters' backend, floating ones in their dtype."""
        if self.loss is None or self.like is None or isinstance(y, Tensor):
            return y
        host = np.asarray(y)
        if host.dtype.kind == "f":
            host = host.astype(self.like.dtype, copy=False)
        return Tensor(self.backend.asarray(host), self.backend)

    def decides(self) -> bool:
        """Whether decisions are made, so that there is an error rate."""
        return self.loss is not None and self.output is not None and self.output.decides

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
