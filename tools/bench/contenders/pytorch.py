"""PyTorch, eager and by torch.compile.

The optimisers are the fused ones, weight decay is theirs, in groups: on weights, not on biases and scales.
"""

from __future__ import annotations

from typing import Any

import torch

from tinygraph.tools.bench.contenders.training import Training
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, NORM_EPS, SMOOTHING, Workload, batches


def eager(workload: Workload) -> Training:
    """Return the step, operation by operation."""
    net = _net(workload)
    optimizer = _optimizer(workload, net, fused=True)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(step, _batches(workload))


def compiled(workload: Workload) -> Training:
    """Return the step with loss, gradients and the update by torch.compile."""
    net = _net(workload)
    optimizer = _optimizer(workload, net, fused=False)
    loss_of = torch.compile(lambda x, y: torch.nn.functional.cross_entropy(net(x), y))
    update = torch.compile(optimizer.step)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        update()
        return loss.detach()

    return Training(step, _batches(workload))


def _net(workload: Workload) -> Any:
    torch.manual_seed(0)
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[workload.activation]
    hidden = len(workload.sizes) - 2
    modules: list[Any] = [_norm(workload.sizes[0])] if workload.batch_norm else []
    for l, (n_in, n_out) in enumerate(workload.layers):
        if workload.dropout:
            modules.append(torch.nn.Dropout(workload.dropout[l]))
        normalised = workload.batch_norm and l < hidden
        modules.append(torch.nn.Linear(n_in, n_out, bias=not normalised))
        if normalised:
            modules.append(_norm(n_out))
        if l < hidden:
            modules.append(activation())
    return torch.nn.Sequential(*modules)


def _norm(n: int) -> Any:
    return torch.nn.BatchNorm1d(n, eps=NORM_EPS, momentum=1 - SMOOTHING)


def _optimizer(workload: Workload, net: Any, *, fused: bool) -> Any:
    groups = [
        {"params": [p for p in net.parameters() if p.ndim == 2], "weight_decay": 2 * workload.rho},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if workload.optimizer == "adam":
        return torch.optim.Adam(groups, workload.lr, BETAS, ADAM_EPS, fused=fused)
    return torch.optim.SGD(groups, workload.lr, fused=fused)


def _batches(workload: Workload) -> list[tuple[Any, Any]]:
    return [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches(workload)]
