"""JAX: one jitted function that takes and returns parameters, whose memory is donated.

On a GPU products are in float32 throughout, without TF32. JAX has no events, so its time is the wall clock's, until
the parameters are ready.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tinygraph.tools.bench.contenders.training import Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, NORM_EPS, SMOOTHING, Workload, batches, initial_weights


def jitted(workload: Workload, device: str = "cpu") -> Training:
    """Return the step."""
    _use(device)
    act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[workload.activation]
    hidden = len(workload.sizes) - 2

    def normalised(y: Any, scale: Any, running: Any) -> tuple[Any, Any]:
        mean, var = jnp.mean(y, 0), jnp.var(y, 0)
        unbiased = var * (y.shape[0] / (y.shape[0] - 1))
        running = {
            "mean": SMOOTHING * running["mean"] + (1 - SMOOTHING) * mean,
            "var": SMOOTHING * running["var"] + (1 - SMOOTHING) * unbiased,
        }
        return (y - mean) * jax.lax.rsqrt(var + NORM_EPS) * scale["a"] + scale["b"], running

    def loss_of(params: Any, running: Any, key: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        y, averages = x, []
        if workload.batch_norm:
            y, latest = normalised(y, params["norms"][0], running[0])
            averages.append(latest)
        for l, layer in enumerate(params["layers"]):
            if workload.dropout:
                awake = 1 - workload.dropout[l]
                key, mask_key = jax.random.split(key)
                y = jnp.where(jax.random.bernoulli(mask_key, awake, y.shape), y / awake, 0.0)
            y = y @ layer["W"]
            if "b" in layer:
                y = y + layer["b"]
            if l < hidden:
                if workload.batch_norm:
                    y, latest = normalised(y, params["norms"][l + 1], running[l + 1])
                    averages.append(latest)
                y = act(y)
        logs = jax.nn.log_softmax(y)
        return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], axis=1)), averages

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        key, mask_key = jax.random.split(state["key"]) if workload.dropout else (state["key"], None)
        params = state["params"]
        (loss, running), grads = jax.value_and_grad(loss_of, has_aux=True)(
            params, state["running"], mask_key, x, labels
        )
        for layer, grad in zip(params["layers"], grads["layers"], strict=True):
            grad["W"] = grad["W"] + 2 * workload.rho * layer["W"]
        new = {"running": running, "key": key}
        if workload.optimizer == "adam":
            b1, b2 = BETAS
            n = state["n"] + 1
            m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["m"], grads)
            s = jax.tree.map(lambda s, g: b2 * s + (1 - b2) * g * g, state["s"], grads)
            rate, correction = workload.lr / (1 - b1**n), 1 - b2**n
            params = jax.tree.map(lambda p, m, s: p - rate * m / (jnp.sqrt(s / correction) + ADAM_EPS), params, m, s)
            new |= {"n": n, "m": m, "s": s}
        else:
            params = jax.tree.map(lambda p, g: p - workload.lr * g, params, grads)
        return new | {"params": params}, loss

    state = _initial(workload)

    def step(x: Any, labels: Any) -> Any:
        nonlocal state
        state, loss = update(state, x, labels)
        return loss

    def value(loss: Any) -> float:
        jax.block_until_ready(state)
        return float(loss)

    return Training(step, [(jnp.asarray(x), jnp.asarray(y)) for x, y in batches(workload)], value)


def _use(device: str) -> None:
    """Let JAX compute on this device, which by itself takes a GPU wherever it finds one."""
    try:
        devices = jax.devices("gpu" if device == "cuda" else device)
    except RuntimeError as error:
        raise Unsuitable(f"JAX {jax.__version__}: {str(error).splitlines()[0]}") from None
    jax.config.update("jax_default_device", devices[0])
    if device == "cuda":
        jax.config.update("jax_default_matmul_precision", "highest")


def _initial(workload: Workload) -> dict[str, Any]:
    """Return parameters, running averages, the moments of Adam and the key."""
    weights = initial_weights(workload)
    layers: list[dict[str, Any]] = []
    for l, W in enumerate(weights):
        layers.append({"W": jnp.asarray(W)})
        if not workload.batch_norm or l == len(weights) - 1:
            layers[-1]["b"] = jnp.zeros(W.shape[1])
    widths = workload.sizes[:-1] if workload.batch_norm else ()
    params = {"layers": layers, "norms": [{"a": jnp.ones(n), "b": jnp.zeros(n)} for n in widths]}
    running = [{"mean": jnp.zeros(n), "var": jnp.ones(n)} for n in widths]
    state = {"params": params, "running": running, "key": jax.random.key(0)}
    if workload.optimizer == "adam":
        state |= {"n": jnp.zeros((), jnp.int32)} | {k: jax.tree.map(jnp.zeros_like, params) for k in ("m", "s")}
    return state
