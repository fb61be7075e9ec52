"""The networks in JAX: functions of parameters, running averages, a key for masks and inputs.

A layer of neighbourhoods gathers the signals along the edges and adds them up with ``segment_sum``, nodes first, as
libraries for graphs do; on a CPU that took as long as a ``BCOO`` matrix, and less than a dense product with a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tinygraph.tools.bench.workloads import NORM_EPS, SMOOTHING, Workload, edges, initial_weights, mirrored, neighbors

Network = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "squash": lambda z: z / jnp.sqrt(1 + z * z)}


def network(workload: Workload) -> Network:
    """Return a function of parameters, running averages, key and inputs that returns signals and new averages."""
    return _two_branches(workload) if workload.two_branches else _layers(workload)


def initial(workload: Workload) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the parameters and the running averages."""
    near = neighbors(workload)
    weights = initial_weights(workload)
    layers: list[dict[str, Any]] = []
    for l, W in enumerate(weights):
        hidden = l < len(weights) - 1
        layers.append({"W": jnp.asarray(W[edges(near)] if near is not None and hidden else W)})
        if not workload.batch_norm or not hidden:
            layers[-1]["b"] = jnp.zeros(W.shape[1])
    widths = workload.sizes[:-1] if workload.batch_norm else ()
    params = {"layers": layers, "norms": [{"a": jnp.ones(n), "b": jnp.zeros(n)} for n in widths]}
    return params, [{"mean": jnp.zeros(n), "var": jnp.ones(n)} for n in widths]


def _layers(workload: Workload) -> Network:
    """Return the network of layers one after the other."""
    activation = ACTIVATIONS[workload.activation]
    hidden = len(workload.sizes) - 2
    near = neighbors(workload)
    sources, targets = edges(near) if near is not None else (None, None)

    def product(y: Any, W: Any) -> Any:
        if W.ndim == 2:
            return y @ W
        messages = y.T[sources] * W[:, None]
        return jax.ops.segment_sum(messages, targets, y.shape[1], indices_are_sorted=True).T

    def apply(params: Any, running: Any, key: Any, x: Any) -> tuple[Any, Any]:
        y, averages = x, []
        if workload.batch_norm:
            y, latest = _normalised(y, params["norms"][0], running[0])
            averages.append(latest)
        for l, layer in enumerate(params["layers"]):
            if workload.dropout:
                awake = 1 - workload.dropout[l]
                key, mask_key = jax.random.split(key)
                y = jnp.where(jax.random.bernoulli(mask_key, awake, y.shape), y / awake, 0.0)
            y = product(y, layer["W"])
            if "b" in layer:
                y = y + layer["b"]
            if l < hidden:
                if workload.batch_norm:
                    y, latest = _normalised(y, params["norms"][l + 1], running[l + 1])
                    averages.append(latest)
                y = activation(y)
        return y, averages

    return apply


def _normalised(y: Any, scale: Any, running: Any) -> tuple[Any, Any]:
    mean, var = jnp.mean(y, 0), jnp.var(y, 0)
    unbiased = var * (y.shape[0] / (y.shape[0] - 1))
    running = {
        "mean": SMOOTHING * running["mean"] + (1 - SMOOTHING) * mean,
        "var": SMOOTHING * running["var"] + (1 - SMOOTHING) * unbiased,
    }
    return (y - mean) * jax.lax.rsqrt(var + NORM_EPS) * scale["a"] + scale["b"], running


def _two_branches(workload: Workload) -> Network:
    """Return the network of two branches with the same weights."""
    activation = ACTIVATIONS[workload.activation]

    def apply(params: Any, running: Any, key: Any, x: Any) -> tuple[Any, Any]:
        first, second, last = params["layers"]

        def branch(x: Any) -> Any:
            y = activation(x @ first["W"] + first["b"])
            return y + activation(y @ second["W"] + second["b"])

        return (branch(x) + branch(mirrored(workload, x))) @ last["W"] + last["b"], running

    return apply
