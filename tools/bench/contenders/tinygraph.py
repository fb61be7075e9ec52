"""tinygraph itself, compiled and eager."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import BackendError
from tinygraph.tools.bench.contenders.tinygraph_networks import network
from tinygraph.tools.bench.contenders.training import Events, Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, Workload, basis_vectors, batches

ON_GPU = "cupy"  # the backend there; on the CPU it is the default one


def eager(workload: Workload, device: str = "cpu") -> Training:
    """Return the step, operation by operation; weight decay is the optimiser's, as in PyTorch."""
    if device == "cuda":
        try:
            tg.use(ON_GPU)
        except BackendError as error:
            raise Unsuitable(str(error)) from None
    net = network(workload)
    optimizer: optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = optim.Adam(net.parameters(), workload.lr, BETAS, eps=ADAM_EPS, weight_decay=2 * workload.rho)
    else:
        optimizer = optim.SGD(net.parameters(), workload.lr, weight_decay=2 * workload.rho)
    penalty = workload.penalty

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        z = net(x)
        loss = losses.cross_entropy(z, y)
        if penalty:
            loss = loss + penalty * (z * z).mean()
        loss.backward()
        optimizer.step()
        return loss

    backend = next(iter(net.parameters())).backend

    def value(loss: tg.Tensor) -> float:
        backend.synchronize()
        return float(loss)

    classes = workload.sizes[-1]
    ready = [(tg.tensor(x), tg.tensor(basis_vectors(y, classes))) for x, y in batches(workload)]
    if backend.name != ON_GPU:
        return Training(step, ready, value)
    pool = import_module(ON_GPU).get_default_memory_pool()  # keeps what it was given, so this is the most
    return Training(step, ready, value, _events(), lambda: int(pool.total_bytes()))


def compiled(workload: Workload, device: str = "cpu") -> Training:
    """Return the same step as a plan."""
    training = eager(workload, device)
    return replace(training, step=tg.compile(training.step))


def _events() -> Events:
    """Return CuPy's events, on its current stream."""
    cuda = import_module("cupy").cuda

    def mark() -> Any:
        event = cuda.Event()
        event.record(cuda.get_current_stream())
        return event

    def seconds(first: Any, last: Any) -> float:
        last.synchronize()
        return float(cuda.get_elapsed_time(first, last)) / 1e3  # it gives milliseconds

    return Events(mark, seconds)
