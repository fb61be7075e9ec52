"""JAX: one jitted function that takes and returns parameters, whose memory is donated.

On a GPU products are in float32 throughout, without TF32. JAX has no events, so its time is the wall clock's, until
the parameters are ready.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tinygraph.tools.bench.contenders.jax_networks import initial, network
from tinygraph.tools.bench.contenders.training import Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, Workload, batches


def jitted(workload: Workload, device: str = "cpu") -> Training:
    """Return the step."""
    _use(device)
    apply = network(workload)

    def loss_of(params: Any, running: Any, key: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        z, averages = apply(params, running, key, x)
        loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1))
        return loss + workload.penalty * jnp.mean(z * z) if workload.penalty else loss, averages

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

    def memory() -> int | None:
        counted = jax.tree.leaves(state["params"])[0].devices().pop().memory_stats()
        return int(counted["peak_bytes_in_use"]) if counted else None

    return Training(step, [(jnp.asarray(x), jnp.asarray(y)) for x, y in batches(workload)], value, memory=memory)


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
    params, running = initial(workload)
    state = {"params": params, "running": running, "key": jax.random.key(0)}
    if workload.optimizer == "adam":
        state |= {"n": jnp.zeros((), jnp.int32)} | {k: jax.tree.map(jnp.zeros_like, params) for k in ("m", "s")}
    return state
