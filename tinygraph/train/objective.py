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
from ..tensors import Tensor, leaf_of
from ..typing import ArrayLike
from .sleeping import awake_weights
from .tally import Tally

LossFunction = Callable[..., Tensor]
Predicted = tuple[np.ndarray, np.ndarray]  # the predictions for a batch, and its targets


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
    caller : str
        The public function that is at work: errors begin with it.
    """

    def __init__(
        self,
        net: Module,
        loss_fn: LossFunction,
        rho: float = 0.0,
        alpha: float = 0.0,
        freeze_sleeping: bool = False,
        caller: str = "fit",
    ) -> None:
        self.net, self.loss_fn, self.rho, self.alpha = net, loss_fn, rho, alpha
        self.freeze_sleeping, self.caller = freeze_sleeping, caller
        self.loss = losses.as_loss(loss_fn)
        self.output: Output | None = None if net.output is None else net._output()
        self.weights = [t for t in net.parameters() if t.role == "weight" and t.requires_grad]
        self.like = next(iter(net.parameters()), None)
        self.backend = current() if self.like is None else self.like.backend
        self._classes: int | None = None  # of the network's output, once asked for
        self._counts: bool | None = None  # whether a loss of one's own has labels that decisions are compared with

    def __call__(
        self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None
    ) -> tuple[Tensor, Tensor | None, ArrayLike]:
        """Return the loss of the batch, the network's signals z_L if they decide something, and the targets."""
        if self.loss is None:
            loss = self.loss_fn(self.net, x, y)
            return loss, self._decided_in(loss, y), y
        return self._of_signals(self.loss, self.net(x), y, weights)

    def _of_signals(
        self, rule: losses.Loss[Any], z: Tensor, y: ArrayLike, weights: ArrayLike | None
    ) -> tuple[Tensor, Tensor | None, ArrayLike]:
        """Return what a call returns for a `Loss`, given the network's signals z_L."""
        y = rule.labels.aligned(self.targets(y), z)
        output = z if rule.takes == "logits" else self._prediction(z)
        options = {} if weights is None else {"weights": self.targets(weights)}
        return self.loss_fn(output, y, **options), z if self.decides() else None, y

    def _prediction(self, z: Tensor) -> Tensor:
        """Return gamma-hat for the signals z_L."""
        return z if self.output is None else self.output.activation(z)

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
                f"{self.caller}: weights: a loss of your own is called with (net, x, y); make it a losses.Loss that "
                "takes weights"
            )
        parameters = signature(self.loss.compute).parameters.values()
        if not any(p.name == "weights" or p.kind is p.VAR_KEYWORD for p in parameters):
            raise ArgumentError(
                f"{self.caller}: weights: {self.loss!r} takes none; give its function a parameter weights=None"
            )

    def check_labels(self, x: object, y: object) -> None:
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
            self.loss.labels.check_indices(host, self._classes, f"{self.caller}: Y of a batch")

    def targets(self, y: ArrayLike) -> ArrayLike:
        """Return the targets of a `Loss` on the parameters' backend, floating ones in their dtype."""
        if self.loss is None or self.like is None or isinstance(y, Tensor):
            return y
        host = np.asarray(y)
        if host.dtype.kind == "f":
            host = host.astype(self.like.dtype, copy=False)
        return leaf_of(self.backend.asarray(host), self.backend)

    def decides(self) -> bool:
        """Whether decisions are made, so that there is an error rate."""
        return self.loss is not None and self.output is not None and self.output.decides

    def means(self, batches: Iterable[object], predicted: list[Predicted] | None = None) -> tuple[float, float | None]:
        """Return the mean loss over `batches`, without regularisers, and the error, in evaluation mode.

        If a list is given, the predictions that were made on the way are added to it; a loss of one's own, which may
        have changed its inputs, has made none, so the network is called once more.
        """
        tally = Tally(self.backend)
        recording = enable_grad() if self.loss is None else no_grad()  # by which a loss of one's own shows its signals
        with self.net._in_mode(False), recording:
            for batch in batches:
                x, y, weights = self.parts(batch)
                self.check_labels(x, y)
                if self.loss is None:
                    found = self(x, y, weights)
                    signals = None
                else:
                    signals = self.net(x)
                    found = self._of_signals(self.loss, signals, y, weights)
                tally.add(*found, self.output, len(y))
                tally.rows += len(y)
                if predicted is not None:
                    predicted.append(self._predicted(x, y, signals))
        return tally.means()

    def predictions(self, batches: Iterable[object]) -> list[Predicted]:
        """Return gamma-hat and the targets of every batch, in evaluation mode."""
        with self.net._in_mode(False):
            return [self._predicted(x, y) for x, y, _ in map(self.parts, batches)]

    def _predicted(self, x: object, y: object, signals: Tensor | None = None) -> Predicted:
        """Return gamma-hat for `x` and the targets, on the host."""
        with no_grad():
            z = self.net(x) if signals is None else signals
            return self._prediction(z).numpy(), y.numpy() if isinstance(y, Tensor) else np.asarray(y)

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

    def parts(self, batch: object) -> tuple[Any, Any, Any]:
        """Return inputs, targets and weights, None if there are none, of a batch.

        Raises
        ------
        DataError
            If it is no pair ``(x, y)`` and no triple ``(x, y, weights)``.
        """
        if not isinstance(batch, tuple | list) or not 2 <= len(batch) <= 3:
            got = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
            raise DataError(f"{self.caller}: every batch must be a pair (x, y), or a triple (x, y, weights); got {got}")
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
