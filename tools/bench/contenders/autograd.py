"""HIPS autograd: a loss written with its NumPy, and gradients of nested lists.

Neighbourhoods are dense products with a mask: it has no sparse ones.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.tracer import getval

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

ACTIVATIONS = {
    "relu": lambda z: anp.where(z > 0, z, 0.0),  # the derivative of its maximum is 1/2 at 0, where others have 0
    "tanh": anp.tanh,
    "squash": lambda z: z / anp.sqrt(1 + z * z),
}


def traced(workload: Workload) -> Training:
    """Return the step."""
    weights = initial_weights(workload)
    hidden = len(weights) - 1
    widths = workload.sizes[:-1] if workload.batch_norm else ()
    biases = {l: np.zeros(n, np.float32) for l, n in enumerate(workload.sizes[1:]) if l == hidden or not widths}
    scales = [(np.ones(n, np.float32), np.zeros(n, np.float32)) for n in widths]
    averages = [Averages(n) for n in widths]
    params = weights, biases, scales
    update = updater(workload, _flat(params))
    rng = np.random.default_rng(SEED)
    near = neighbors(workload)
    mask = None if near is None else near.astype(np.float32)
    activation = ACTIVATIONS[workload.activation]

    def normalised(y: Any, i: int, scale: Any, shift: Any) -> Any:
        mean = anp.mean(y, axis=0)
        centred = y - mean
        variance = anp.mean(centred * centred, axis=0)
        averages[i].add(getval(mean), getval(variance) * (len(y) / (len(y) - 1)), SMOOTHING)
        return centred / anp.sqrt(variance + NORM_EPS) * scale + shift

    def layers(params: Any, x: Any) -> Any:
        weights, biases, scales = params
        y = normalised(x, 0, *scales[0]) if widths else x
        for l, W in enumerate(weights):
            if workload.dropout:
                awake = 1 - workload.dropout[l]
                y = y * ((rng.random(y.shape, np.float32) < awake) / np.float32(awake))
            z = anp.dot(y, W if mask is None or l == hidden else W * mask)
            if l in biases:
                z = z + biases[l]
            if l < hidden:
                if widths:
                    z = normalised(z, l + 1, *scales[l + 1])
                y = activation(z)
        return z

    def branches(params: Any, x: Any) -> Any:
        weights, biases, _ = params

        def branch(x: Any) -> Any:
            y = activation(anp.dot(x, weights[0]) + biases[0])
            return y + activation(anp.dot(y, weights[1]) + biases[1])

        return anp.dot(branch(x) + branch(mirrored(workload, x)), weights[2]) + biases[2]

    network = branches if workload.two_branches else layers

    def loss_of(params: Any, x: Any, t: Any) -> Any:
        z = network(params, x)
        size = workload.penalty * anp.mean(z * z) if workload.penalty else 0.0
        z = z - anp.max(z, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - anp.sum(t * z, axis=1)) + size

    slope = value_and_grad(loss_of)

    def step(x: np.ndarray, t: np.ndarray) -> Any:
        loss, grads = slope(params, x, t)
        update(_flat(grads))
        return loss

    classes = workload.sizes[-1]
    return Training(step, [(x, basis_vectors(y, classes)) for x, y in batches(workload)])


def _flat(params: Any) -> list[np.ndarray]:
    """Return weights, biases and scales in a row."""
    weights, biases, scales = params
    return [*weights, *biases.values(), *[p for pair in scales for p in pair]]
