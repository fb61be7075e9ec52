"""`Recorder`: what becomes of signals, sensitivities and weights while a network is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arguments import whole_number
from ..autodiff import ancestors
from ..errors import ArgumentError
from ..measured import flat_shares
from ..mode import enable_grad
from ..nn import Module
from ..nn.signals import name_signals
from ..ops.random import preserved_streams
from ..ops.state import preserved
from ..sensitivity import gradient_norms, signal_pairs, weight_of
from ..tensors import Tensor
from ..train import Callback, Training
from ..train.objective import LossFunction, Objective

BINS = 40  # of histograms
LARGEST = 1e300  # of the elements in one
CLOSEST = 1e-9  # how wide one is at least, beside its largest element


@dataclass(frozen=True, eq=False)
class LayerState:
    """One layer at one moment.

    Attributes
    ----------
    signal : str
        What the histogram is of: the activation's outputs, "y2", or z where there is none.
    sensitivity, gradient : float
        The norms of `tinygraph.gradient_norms`.
    update : float
        The norm of what the last update added to the layer's weights, divided by the norm that they had; NaN where
        that is 0 or no update was seen.
    saturated, dead : float
        The share of nodes, over all samples, at which the slope of the activation is below 5 % of its steepest, and of
        those at which it is 0 for all samples, as in drawings; NaN where there is no activation of the library's own,
        or one that does not saturate.
    counts, edges : arrays of shape (bins,) and (bins + 1,)
        The histogram of its finite elements.
    """

    signal: str
    sensitivity: float
    gradient: float
    update: float
    saturated: float
    dead: float
    counts: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True, eq=False)
class Moment:
    """All layers after some number of updates.

    Attributes
    ----------
    iteration : int
        How many updates there had been.
    loss : float
        That of the samples, without regularisers.
    layers : dict of str to LayerState
        By the names of `tinygraph.sensitivities`: "z2" to "zL".
    """

    iteration: int
    loss: float
    layers: dict[str, LayerState]


class Recorder(Callback):
    """Measures a network on the same samples again and again while it is trained: ``fit(..., callbacks=[recorder])``.

    It measures in training mode and leaves the network, its masks and so the training as they would be without it. It
    measures before the first update, then after each, and whenever it holds too many moments it drops every second
    one and measures half as often; and after the last epoch. A new run of `fit` begins it anew.

    Parameters
    ----------
    loss_fn : callable
        As `fit` takes it.
    samples : pair of arrays, or triple with weights
        What to measure on, such as the first hundred training samples ``(X[:100], Y[:100])``.
    most : int
        How many moments are kept at most.

    Attributes
    ----------
    moments : list of Moment
        In their order.

    Raises
    ------
    ArgumentError
        If `loss_fn` is no function, `samples` are not so many, or `most` is no whole number of at least 2.
    """

    def __init__(self, loss_fn: LossFunction, samples: object, most: int = 64) -> None:
        if not isinstance(samples, tuple | list) or not 2 <= len(samples) <= 3:
            raise ArgumentError(f"Recorder: samples must be arrays (X, Y) or (X, Y, weights), got {samples!r:.60}")
        if not callable(loss_fn):
            raise ArgumentError(f"Recorder: loss_fn must be a loss as fit takes it, got {loss_fn!r:.60}")
        self.loss_fn, self.samples = loss_fn, tuple(samples)
        self.most = whole_number("Recorder: most", most, 2)
        self.moments: list[Moment] = []
        self._latest: Moment | None = None  # after the last epoch
        self._before: dict[Tensor, np.ndarray] = {}  # weights, from before an update that is measured
        self._first, self._every = 0, 1

    def start(self, training: Training) -> None:
        """Measure before the first update."""
        self.moments, self._latest, self._before = [], None, {}
        self._first, self._every = training.history.iterations, 1
        self._record(training)

    def batch(self, training: Training) -> None:
        """Measure after an update whose turn it is."""
        self._record(training)

    def epoch(self, training: Training) -> None:
        """Measure what would be the last moment."""
        if self.moments[-1].iteration != training.history.iterations:
            self._latest = self.measure(training.net, training.history.iterations, {})

    def end(self, training: Training) -> None:
        """Keep what was measured after the last epoch."""
        if self._latest is not None and self._latest.iteration > self.moments[-1].iteration:
            self.moments.append(self._latest)

    def measure(self, net: Module, iteration: int = 0, before: dict[Tensor, np.ndarray] | None = None) -> Moment:
        """Return what is measured of `net` now.

        Parameters
        ----------
        net : Module
        iteration : int
            What the moment says of the number of updates.
        before : dict of tensors and arrays, optional
            Weights as they were before the last update, for the ratio of update to weight.

        Raises
        ------
        GraphError
            If the loss is not computed from signals z of the network, or a layer has no weights.
        """
        before = {} if before is None else before
        objective = Objective(net, self.loss_fn)
        state = preserved(t for _, t in net.named_tensors() if t.role is None)
        with state, preserved_streams(), net._in_mode(True), enable_grad():
            loss, *_ = objective(*objective.parts(self.samples))
            norms = gradient_norms(loss, net)
            pairs = signal_pairs("Recorder", [loss], net)
            named = name_signals(ancestors([loss]), net.named_modules())
            layers = {}
            for name, (z, v) in pairs.items():
                path, dot, signal = name.rpartition(".")
                outputs = f"{path}{dot}{signal.replace('z', 'y')}"
                out = named.get(outputs, v)
                dead, saturated = flat_shares(out)
                W = weight_of(name, z)
                layers[name] = LayerState(
                    outputs if outputs in named else name,
                    norms[name].sensitivity,
                    norms[name].gradient,
                    update_ratio(W.numpy(), before.get(W)),
                    float("nan") if saturated is None else saturated,
                    float("nan") if dead is None else dead,
                    *histogram(out.numpy()),
                )
        return Moment(iteration, float(loss), layers)

    def _record(self, training: Training) -> None:
        """Measure if it is the turn of this update, and keep the weights if it is that of the next."""
        net, done = training.net, training.history.iterations - self._first
        if done % self._every == 0:
            self.moments.append(self.measure(net, training.history.iterations, self._before))
            if len(self.moments) > self.most:
                del self.moments[1::2]
                self._every *= 2
        if (done + 1) % self._every == 0:
            self._before = {p: p.numpy().copy() for p in net.parameters() if p.role == "weight"}


def update_ratio(now: np.ndarray, before: np.ndarray | None) -> float:
    """Return the norm of what was added to weights, divided by the norm they had; NaN if that is 0 or not known."""
    size = 0.0 if before is None else float(np.linalg.norm(before.astype(float)))
    return float(np.linalg.norm(now.astype(float) - before)) / size if before is not None and size else float("nan")


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges of bins for the finite elements of `values`, however close together they lie."""
    values = values.astype(float).ravel()
    values = values[np.abs(values) < LARGEST]
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    if not values.size:
        low = high = 0.0
    narrow = CLOSEST * max(abs(low), abs(high)) or 1.0  # bins of less are no numbers of their own
    pad = max(0.0, narrow - (high - low)) / 2
    return np.histogram(values, BINS, (low - pad, high + pad))
