"""NumPy by hand: the formulas of backpropagation written out, as one would for one network."""

from __future__ import annotations

import numpy as np

from tinygraph.tools.bench.contenders.training import Training
from tinygraph.tools.bench.contenders.updates import Averages, updater
from tinygraph.tools.bench.workloads import NORM_EPS, SEED, SMOOTHING, Workload, basis_vectors, batches, initial_weights


def written_out(workload: Workload) -> Training:
    """Return the step."""
    weights = initial_weights(workload)
    hidden = len(weights) - 1
    normalised = workload.batch_norm
    biases = [np.zeros(n, np.float32) for n in workload.sizes[1:]][hidden if normalised else 0 :]
    norms = [_Norm(n) for n in workload.sizes[:-1]] if normalised else []
    update = updater(workload, [*weights, *biases, *[p for norm in norms for p in (norm.scale, norm.shift)]])
    rng = np.random.default_rng(SEED)
    relu = workload.activation == "relu"

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
                y = np.maximum(z, 0) if relu else np.tanh(z)
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = float((np.log(total) - (t * z).sum(axis=1, keepdims=True)).mean())
        delta = (e / total - t) / len(x)
        d_weights, d_biases, d_norms = [], [], []
        for l in range(hidden, -1, -1):
            d_weights.append(signals[l].T @ delta)
            if l == hidden or not normalised:
                d_biases.append(delta.sum(axis=0))
            if l or normalised:
                delta = delta @ weights[l].T
                if workload.dropout:
                    delta *= masks[l]
            if l:
                y = outputs[l]
                delta *= (y > 0) if relu else 1 - y * y
            if normalised:
                delta, d_scale, d_shift = norms[l].backward(delta)
                d_norms.append((d_scale, d_shift))
        update([*d_weights[::-1], *d_biases[::-1], *[d for pair in d_norms[::-1] for d in pair]])
        return loss

    classes = workload.sizes[-1]
    return Training(step, [(x, basis_vectors(y, classes)) for x, y in batches(workload)])


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
