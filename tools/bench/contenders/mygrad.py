"""MyGrad, with its guard of memory off, as its documentation advises for speed.

Neighbourhoods are dense products with a mask: it has no sparse ones.
"""

from __future__ import annotations

from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import batchnorm
from mygrad.nnet.losses import softmax_crossentropy

from tinygraph.tools.bench.contenders.training import Training
from tinygraph.tools.bench.contenders.updates import Averages, updater
from tinygraph.tools.bench.workloads import (
    NORM_EPS,
    SEED,
    SMOOTHING,
    Workload,
    batches,
    initial_weights,
    mirrored,
    neighbors,
)

ACTIVATIONS = {"relu": relu, "tanh": mg.tanh, "squash": lambda z: z / mg.sqrt(1 + z * z)}


def traced(workload: Workload) -> Training:
    """Return the step."""
    mg.turn_memory_guarding_off()
    weights = [mg.tensor(W) for W in initial_weights(workload)]
    hidden = len(weights) - 1
    widths = workload.sizes[:-1] if workload.batch_norm else ()
    zeros = [mg.tensor(np.zeros(n, np.float32)) for n in workload.sizes[1:]]
    biases = {l: b for l, b in enumerate(zeros) if l == hidden or not widths}
    scales = [(mg.tensor(np.ones(n, np.float32)), mg.tensor(np.zeros(n, np.float32))) for n in widths]
    averages = [Averages(n) for n in widths]
    params = [*weights, *biases.values(), *[p for pair in scales for p in pair]]
    update = updater(workload, [p.data for p in params])
    rng = np.random.default_rng(SEED)
    near = neighbors(workload)
    mask = None if near is None else near.astype(np.float32)
    activation = ACTIVATIONS[workload.activation]

    def normalised(y: Any, i: int) -> Any:
        signals = np.asarray(y)
        averages[i].add(signals.mean(axis=0), signals.var(axis=0, ddof=1), SMOOTHING)
        return batchnorm(y, gamma=scales[i][0], beta=scales[i][1], eps=NORM_EPS)

    def layers(x: np.ndarray) -> Any:
        y = normalised(x, 0) if widths else x
        for l, W in enumerate(weights):
            if workload.dropout:
                awake = 1 - workload.dropout[l]
                y = y * ((rng.random(y.shape, np.float32) < awake) / np.float32(awake))
            z = mg.matmul(y, W if mask is None or l == hidden else W * mask)
            if l in biases:
                z = z + biases[l]
            if l < hidden:
                y = activation(normalised(z, l + 1) if widths else z)
        return z

    def branches(x: np.ndarray) -> Any:
        def branch(x: np.ndarray) -> Any:
            y = activation(mg.matmul(x, weights[0]) + biases[0])
            return y + activation(mg.matmul(y, weights[1]) + biases[1])

        return mg.matmul(branch(x) + branch(mirrored(workload, x)), weights[2]) + biases[2]

    network = branches if workload.two_branches else layers

    def step(x: np.ndarray, labels: np.ndarray) -> Any:
        z = network(x)
        loss = softmax_crossentropy(z, labels)
        if workload.penalty:
            loss = loss + workload.penalty * mg.mean(z * z)
        loss.backward()
        update([p.grad for p in params])
        return loss

    return Training(step, batches(workload))
