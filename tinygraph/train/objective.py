"""The training objective: the loss of a batch with its regularisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import numpy as np

from .. import losses
from ..backend import current
from ..errors import ArgumentError, DataError
from ..labels import ClassLabels
from ..mode import enable_grad, no_grad
from ..nn import Module, Output
from ..nn.outputs import Largest
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
        self._counts: bool | None = None  # whether a loss of one's own has labels that decisions are compared with

    def __call__(self, x: Any, y: Any, weights: Any = None) -> tuple[Tensor, Tensor | None, Any]:
        """Return the loss of the batch, the network's signals z_L if they decide something, and the targets."""
        if self.loss is None:
            loss = self.loss_fn(self.net, x, y)
            return loss, self._decided_in(loss, y), y
        z = self.net(x)
        y = self.loss.labels.aligned(self.targets(y), z)
        output = z if self.output is None or self.loss.takes == "logits" else self.output.activation(z)
        options = {} if weights is None else {"weights": self.targets(weights)}
        return self.loss_fn(output, y, **options), z if self.decides() else None, y

    def _decided_in(self, loss: Tensor, y: Any) -> Tensor | None:
        """Return the signals from which a loss of one's own was computed, if they decide on labels such as `y`."""
        if not self._counts:
            return None
        signals = _results_of(self.net, loss)
        if len(signals) != 1:
            return None  # several calls: what is decided is theirs together
        z = signals[0]
        indices = isinstance(self.output, Largest) and y.ndim == 1 and z.ndim == 2
        return z if y.shape == (z.shape[:1] if indices else z.shape) else None

    def check_weights(self) -> None:
        """Raise an `ArgumentError` if the loss has no use for weights of samples."""
        if self.loss is None:
            raise ArgumentError(
                "fit: weights: a loss of your own is called with (net, x, y); make it a losses.Loss that takes weights"
            )
        parameters = signature(self.loss.compute).parameters.values()
        if not any(p.name == "weights" or p.kind is p.VAR_KEYWORD for p in parameters):
            raise ArgumentError(f"fit: weights: {self.loss!r} takes none; give its function a parameter weights=None")

    def check_labels(self, x: Any, y: Any, name: str) -> None:
        """Raise an error if class indices on the host, of a batch that comes as it is, are out of range.

        By the first batch for a loss of one's own it is found whether it has decisions, that can be counted.
        """
        if self.loss is None and self._counts is None:
            host = y.numpy() if isinstance(y, Tensor) else y
            self._counts = isinstance(host, np.ndarray) and self.output is not None and self.output.decides_on(host)
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
        recording = enable_grad() if self.loss is None else no_grad()  # by which a loss of one's own shows its signals
        with self.net._in_mode(False), recording:
            for batch in batches:
                x, y, weights = parts(batch)
                self.check_labels(x, y, "Y of a batch")
                tally.add(*self(x, y, weights), self.output, len(y))
                tally.rows += len(y)
        return tally.means()

    def predictions(self, batches: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return gamma-hat for all rows of `batches`, in evaluation mode, and the targets, on the host."""
        predicted, wanted = [], []
        with self.net._in_mode(False), no_grad():
            for batch in batches:
                x, y, _ = parts(batch)
                z = self.net(x)
                predicted.append((z if self.output is None else self.output.activation(z)).numpy())
                wanted.append(y.numpy() if isinstance(y, Tensor) else np.asarray(y))
        return np.concatenate(predicted), np.concatenate(wanted)

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


def parts(batch: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights, None if there are none, of a batch.

    Raises
    ------
    DataError
        If it is no pair ``(x, y)`` and no triple ``(x, y, weights)``.
    """
    if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 3:
        got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"fit: every batch must be a pair (x, y), or a triple (x, y, weights); got {got}")
    x, y, weights = (*batch, None)[:3]
    return x, y, weights


def _results_of(net: Module, loss: Tensor) -> list[Tensor]:
    """Return the tensors of calls of `net` from which what is outside of them was computed, up to `loss`."""
    seen, stack, found = {loss}, [loss], []
    while stack:
        t = stack.pop()
        scope = t.scope
        while scope is not None and scope.module is not net:
            scope = scope.parent
        if scope is not None:
            found.append(t)
            continue
        for x in t.inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return found
