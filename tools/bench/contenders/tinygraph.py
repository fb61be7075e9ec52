"""tinygraph itself, compiled and eager."""

from __future__ import annotations

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected
from tinygraph.tools.bench.contenders.training import Training
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, NORM_EPS, SMOOTHING, Workload, basis_vectors, batches


def eager(workload: Workload) -> Training:
    """Return the step as `tinygraph.fit` does it, operation by operation."""
    net = fully_connected(
        workload.sizes,
        workload.activation,
        dropout=workload.dropout or None,
        batch_norm=workload.batch_norm,
        seed=0,
    )
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

    classes = workload.sizes[-1]
    return Training(step, [(tg.tensor(x), tg.tensor(basis_vectors(y, classes))) for x, y in batches(workload)])


def compiled(workload: Workload) -> Training:
    """Return the same step as a plan."""
    training = eager(workload)
    return Training(tg.compile(training.step), training.batches)
