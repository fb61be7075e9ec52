"""PyTorch, eager and by torch.compile.

On a GPU products are in float32 throughout, without TF32, and torch.compile replays CUDA graphs.

The optimisers are the fused ones, weight decay is theirs, in groups: on weights, not on biases and scales.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tinygraph.tools.bench.contenders.pytorch_networks import network
from tinygraph.tools.bench.contenders.training import Events, Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, Workload, batches


def eager(workload: Workload, device: str = "cpu") -> Training:
    """Return the step, operation by operation."""
    net = _net(workload, device)
    optimizer = _optimizer(workload, net, fused=True)
    loss_of = _loss(workload, net)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return _training(step, workload, device)


def compiled(workload: Workload, device: str = "cpu") -> Training:
    """Return the step with loss, gradients and the update by torch.compile."""
    net = _net(workload, device)
    optimizer = _optimizer(workload, net, fused=False)
    mode = "reduce-overhead" if device == "cuda" else None
    loss_of = torch.compile(_loss(workload, net), mode=mode)
    update = torch.compile(optimizer.step, mode=mode)

    def step(x: Any, y: Any) -> Any:
        if mode:
            torch.compiler.cudagraph_mark_step_begin()  # or the update would count as a step of its own
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        update()
        return loss.detach()

    return _training(step, workload, device)


def _net(workload: Workload, device: str) -> Any:
    if device == "cuda" and not torch.cuda.is_available():
        raise Unsuitable(f"PyTorch {torch.__version__} finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    return network(workload).to(device)


def _loss(workload: Workload, net: Any) -> Callable[[Any, Any], Any]:
    """Return the loss as a function of inputs and labels."""
    penalty = workload.penalty

    def loss_of(x: Any, y: Any) -> Any:
        z = net(x)
        loss = torch.nn.functional.cross_entropy(z, y)
        return loss + penalty * (z * z).mean() if penalty else loss

    return loss_of


def _optimizer(workload: Workload, net: Any, *, fused: bool) -> Any:
    groups = [
        {"params": [p for p in net.parameters() if p.ndim == 2], "weight_decay": 2 * workload.rho},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if workload.optimizer == "adam":
        return torch.optim.Adam(groups, workload.lr, BETAS, ADAM_EPS, fused=fused)
    return torch.optim.SGD(groups, workload.lr, fused=fused)


def _training(step: Callable[[Any, Any], Any], workload: Workload, device: str) -> Training:
    ready = [(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)) for x, y in batches(workload)]
    if device == "cpu":
        return Training(step, ready)

    def value(loss: Any) -> float:
        torch.cuda.synchronize()
        return float(loss)

    def mark() -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(first: Any, last: Any) -> float:
        last.synchronize()
        return float(first.elapsed_time(last)) / 1e3  # it gives milliseconds

    return Training(step, ready, value, Events(mark, seconds), torch.cuda.max_memory_allocated)
