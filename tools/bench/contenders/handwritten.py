"""NumPy by hand: the formulas of backpropagation written out, as one would for one network.

Neighbourhoods are dense products with weights that are 0 where there is no edge, and gradients with a mask.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygraph.tools.bench.contenders.training import Training
from tinygraph.tools.bench.contenders.updates import Averages, updater
from tinygraph.tools.bench.workloads import (
    NORM_EPS,
    SEED,
    SMOOTHING,
    Workload,
    basis_vectors,
    batches,
    initial_weights,
    mirrored,
    neighbors,
)

Step = Callable[[np.ndarray, np.ndarray], float]
Function = Callable[[np.ndarray], np.ndarray]


def _slope_of_squash(y: np.ndarray) -> np.ndarray:
    rest = 1 - y * y  # 1 / (1 + z**2)
    return np.asarray(rest * np.sqrt(rest))


ACTIVATIONS: dict[str, tuple[Function, Function]] = {  # each with its slope as a function of what it returned
    "relu": (lambda z: np.maximum(z, 0), lambda y: y > 0),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "squash": (lambda z: z / np.sqrt(1 + z * z), _slope_of_squash),
}


def written_out(workload: Workload) -> Training:
    """Return the step."""
    step = _two_branches(workload) if workload.two_branches else _layers(workload)
    classes = workload.sizes[-1]
    return Training(step, [(x, basis_vectors(y, classes)) for x, y in batches(workload)])


def _layers(workload: Workload) -> Step:
    """Return the step of layers one after the other."""
    weights = initial_weights(workload)
    hidden = len(weights) - 1
    normalised = workload.batch_norm
    biases = [np.zeros(n, np.float32) for n in workload.sizes[1:]][hidden if normalised else 0 :]
    norms = [_Norm(n) for n in workload.sizes[:-1]] if normalised else []
    update = updater(workload, [*weights, *biases, *[p for norm in norms for p in (norm.scale, norm.shift)]])
    rng = np.random.default_rng(SEED)
    activation, slope = ACTIVATIONS[workload.activation]
    near = neighbors(workload)

    def step(x: np.ndarray, t: np.ndarray) -> float:
        y = norms[0].forward(x) if normalised else x
        outputs, signals, masks = [], [], []
        for l, W in enumerate(weights):
            outputs.append(y)
            if workload.dropout:
                awake = 1 - workload.dropout[l]
                masks.append((rng.random(y.shape, np.float32) < awake) / np.float32(awake))
                y = y * masks[l]
            signals.append(y)
            z = y @ W
            if l == hidden or not normalised:
                z += biases[-1 if normalised else l]
            if l < hidden:
                if normalised:
                    z = norms[l + 1].forward(z)
                y = activation(z)
        loss, delta = _loss(z, t, workload.penalty)
        d_weights, d_biases, d_norms = [], [], []
        for l in range(hidden, -1, -1):
            d_weights.append(signals[l].T @ delta)
            if near is not None and l < hidden:
                d_weights[-1] *= near
            if l == hidden or not normalised:
                d_biases.append(delta.sum(axis=0))
            if l or normalised:
                delta = delta @ weights[l].T
                if workload.dropout:
                    delta *= masks[l]
            if l:
                delta *= slope(outputs[l])
            if normalised:
                delta, d_scale, d_shift = norms[l].backward(delta)
                d_norms.append((d_scale, d_shift))
        update([*d_weights[::-1], *d_biases[::-1], *[d for pair in d_norms[::-1] for d in pair]])
        return loss

    return step


def _two_branches(workload: Workload) -> Step:
    """Return the step of two branches with the same weights: as one, with images and mirror images in one batch."""
    W1, W2, W3 = weights = initial_weights(workload)
    b1, b2, b3 = biases = [np.zeros(n, np.float32) for n in workload.sizes[1:]]
    update = updater(workload, [*weights, *biases])
    activation, slope = ACTIVATIONS[workload.activation]

    def step(x: np.ndarray, t: np.ndarray) -> float:
        both = np.concatenate([x, mirrored(workload, x)])
        first = activation(both @ W1 + b1)
        second = activation(first @ W2 + b2)
        upright, reversed_ = np.split(first + second, 2)
        y = upright + reversed_
        loss, delta3 = _loss(y @ W3 + b3, t, workload.penalty)
        d_branch = np.tile(delta3 @ W3.T, (2, 1))
        delta2 = d_branch * slope(second)
        delta1 = (d_branch + delta2 @ W2.T) * slope(first)
        d_weights = [both.T @ delta1, first.T @ delta2, y.T @ delta3]
        update([*d_weights, *[delta.sum(axis=0) for delta in (delta1, delta2, delta3)]])
        return loss

    return step


def _loss(z: np.ndarray, t: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
    """Return the loss of the signals `z`, and its gradient."""
    shifted = z - z.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    loss = float((np.log(total) - (t * shifted).sum(axis=1, keepdims=True)).mean())
    delta = (e / total - t) / len(z)
    if penalty:
        loss += penalty * float((z * z).mean())
        delta += (2 * penalty / z.size) * z
    return loss, delta


class _Norm:
    """Batch normalisation of `n` columns."""

    def __init__(self, n: int) -> None:
        self.scale, self.shift = np.ones(n, np.float32), np.zeros(n, np.float32)
        self.averages = Averages(n)

    def forward(self, z: np.ndarray) -> np.ndarray:
        """Return the normalised signals and remember what `backward` needs."""
        mean, variance = z.mean(axis=0), z.var(axis=0)
        self.averages.add(mean, variance * (len(z) / (len(z) - 1)), SMOOTHING)
        self.inverse = 1 / np.sqrt(variance + np.float32(NORM_EPS))
        self.normal = (z - mean) * self.inverse
        return np.asarray(self.normal * self.scale + self.shift)

    def backward(self, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the gradients of input, scale and shift."""
        d_shift, d_scale = delta.sum(axis=0), (delta * self.normal).sum(axis=0)
        d_input = (delta - (d_shift + self.normal * d_scale) / len(delta)) * (self.inverse * self.scale)
        return d_input, d_scale, d_shift
