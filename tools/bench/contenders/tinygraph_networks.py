"""The networks in tinygraph: by its builders, and one as a user writes it.

Neighbourhoods are `tinygraph.nn.NeighborhoodDense`, with one weight for each edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import fully_connected, graph_neighborhood
from tinygraph.tools.bench.workloads import NORM_EPS, SMOOTHING, Workload, edges, initial_weights, neighbors, side


class Squash(tg.Op):
    """An activation that tinygraph does not have."""

    rule = "dz = dy / (1 + z**2)**1.5"

    def forward(self, xp: Any, z: Any, out: Any = None) -> Any:
        """Return ``z / sqrt(1 + z**2)``."""
        return xp.divide(z, xp.sqrt(1 + z * z), out=out)

    def backward(self, dy: tg.Tensor, y: tg.Tensor, z: tg.Tensor) -> tuple[tg.Tensor]:
        """Return the gradient that `rule` states."""
        return (dy / (1.0 + z * z) ** 1.5,)


class Residual(nn.Module):
    """A layer of `n` nodes that adds its input to its output."""

    def __init__(self, n: int, activation: Any) -> None:
        self.inner = nn.Dense(n, n, activation)

    def forward(self, y: tg.Tensor) -> tg.Tensor:
        """Return the sum for `y` of shape (B, n)."""
        total: tg.Tensor = y + self.inner(y)
        return total


class Mirrored(nn.Module):
    """Two branches with the same weights, for an image and for its mirror image."""

    def __init__(self, workload: Workload, activation: Any) -> None:
        n_in, n, _, n_out = workload.sizes
        self.side = side(workload)
        self.branch = nn.Sequential(nn.Dense(n_in, n, activation), Residual(n, activation))
        self.last = nn.Dense(n, n_out)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return z for inputs of shape (B, n_in)."""
        mirrored = x.reshape(-1, self.side, self.side)[:, :, ::-1].reshape(-1, self.side**2)
        z: tg.Tensor = self.last(self.branch(x) + self.branch(mirrored))
        return z


def network(workload: Workload) -> nn.Module:
    """Return the network of a workload, ready to be trained from its initial weights."""
    activation: Any = Squash() if workload.activation == "squash" else workload.activation
    near = neighbors(workload)
    values = initial_weights(workload)
    net: nn.Module
    if workload.two_branches:
        net = Mirrored(workload, activation)
    elif near is not None:
        sources, targets = edges(near)
        graph = tg.Neighborhoods.from_edges(np.stack([sources, targets], axis=1), *near.shape)
        net = graph_neighborhood([*[graph] * (len(values) - 1), None], workload.sizes, activation)
        values[:-1] = [W[sources, targets] for W in values[:-1]]
    else:
        net = fully_connected(
            workload.sizes,
            activation,
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
            module.smoothing, module.eps, module.ddof = SMOOTHING, NORM_EPS, 0  # the variance by which peers divide
    for W, value in zip(weights(net), values, strict=True):
        W.assign_(value)
    return net.train()


def weights(net: nn.Module) -> list[tg.Tensor]:
    """Return the weights of the layers, in their order."""
    return [p for p in net.parameters() if p.role == "weight"]
