"""tinygraph itself, compiled and eager."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import BackendError
from tinygraph.models import fully_connected
from tinygraph.tools.bench.contenders.training import Events, Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, NORM_EPS, SMOOTHING, Workload, basis_vectors, batches

ON_GPU = "cupy"  # the backend there; on the CPU it is the default one


def eager(workload: Workload, device: str = "cpu") -> Training:
    """Return the step as `tinygraph.fit` does it, operation by operation."""
    if device == "cuda":
        try:
            tg.use(ON_GPU)
        except BackendError as error:
            raise Unsuitable(str(error)) from None
    net: nn.Module = fully_connected(
        workload.sizes,
        workload.activation,
        dropout=workload.dropout or None,
        batch_norm="hidden" if workload.batch_norm else None,
        seed=0,
    )
    if workload.batch_norm:
        net = nn.Sequential(nn.BatchNorm(workload.sizes[0]), net)
    for _, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.shared = False
        if isinstance(module, nn.BatchNorm):
            module.smoothing, module.eps = SMOOTHING, NORM_EPS
    net.train()
    weights = [p for p in net.parameters() if p.role == "weight"]
    optimizer: optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = optim.Adam(net.parameters(), workload.lr, BETAS, eps=ADAM_EPS)
    else:
        optimizer = optim.SGD(net.parameters(), workload.lr)
    rho = workload.rho

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        if rho:
            with tg.no_grad():
                for W in weights:
                    if W.grad is not None:
                        W.grad = W.grad + (2 * rho) * W
        optimizer.step()
        return loss

    backend = next(iter(net.parameters())).backend

    def value(loss: tg.Tensor) -> float:
        backend.synchronize()
        return float(loss)

    classes = workload.sizes[-1]
    ready = [(tg.tensor(x), tg.tensor(basis_vectors(y, classes))) for x, y in batches(workload)]
    return Training(step, ready, value, _events() if backend.name == "cupy" else None)


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
