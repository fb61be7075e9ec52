"""The networks in PyTorch, as modules.

A layer of neighbourhoods gathers the signals along the edges and adds them up with ``index_add``, nodes first, as
libraries for graphs do; on a CPU that took less time than ``torch.sparse`` and than a dense product with a mask.
"""

from __future__ import annotations

from typing import Any

import torch

from tinygraph.tools.bench.workloads import NORM_EPS, SMOOTHING, Workload, edges, initial_weights, neighbors, side


class Squash(torch.nn.Module):  # type: ignore[misc]
    """An activation that PyTorch does not have."""

    def forward(self, z: Any) -> Any:
        """Return ``z / sqrt(1 + z**2)``."""
        return z / torch.sqrt(1 + z * z)


class Neighborhoods(torch.nn.Module):  # type: ignore[misc]
    """A layer with a weight for each edge, from `sources` to `targets`, both of shape (edges,)."""

    def __init__(self, sources: Any, targets: Any, weights: Any) -> None:
        super().__init__()
        self.register_buffer("sources", sources)
        self.register_buffer("targets", targets)
        self.weight = torch.nn.Parameter(weights[:, None])
        self.bias = torch.nn.Parameter(torch.zeros(int(targets.max()) + 1))

    def forward(self, y: Any) -> Any:
        """Return the signals (B, nodes) for `y` of shape (B, nodes)."""
        messages = y.T[self.sources] * self.weight
        z = messages.new_zeros(len(self.bias), len(y)).index_add(0, self.targets, messages)
        return z.T + self.bias


class Residual(torch.nn.Module):  # type: ignore[misc]
    """Modules that add their input to their output."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.inner = torch.nn.Sequential(*modules)

    def forward(self, y: Any) -> Any:
        """Return the sum."""
        return y + self.inner(y)


class Mirrored(torch.nn.Module):  # type: ignore[misc]
    """Two branches with the same weights, for an image and for its mirror image."""

    def __init__(self, side: int, branch: Any, last: Any) -> None:
        super().__init__()
        self.side, self.branch, self.last = side, branch, last

    def forward(self, x: Any) -> Any:
        """Return z for inputs of shape (B, side * side)."""
        mirrored = x.reshape(-1, self.side, self.side).flip(2).reshape(-1, self.side**2)
        return self.last(self.branch(x) + self.branch(mirrored))


def network(workload: Workload) -> Any:
    """Return the network of a workload, to be trained from its initial weights."""
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "squash": Squash}[workload.activation]
    weights = initial_weights(workload)
    if workload.two_branches:
        first, second, last = (_linear(W) for W in weights)
        branch = torch.nn.Sequential(first, activation(), Residual(second, activation()))
        return Mirrored(side(workload), branch, last)
    near = neighbors(workload)
    modules: list[Any] = [_norm(workload.sizes[0])] if workload.batch_norm else []
    for l, W in enumerate(weights):
        hidden = l < len(weights) - 1
        normalised = workload.batch_norm and hidden
        if workload.dropout:
            modules.append(torch.nn.Dropout(workload.dropout[l]))
        if near is not None and hidden:
            sources, targets = edges(near)
            modules.append(Neighborhoods(*(torch.from_numpy(part) for part in (sources, targets, W[sources, targets]))))
        else:
            modules.append(_linear(W, bias=not normalised))
        if normalised:
            modules.append(_norm(W.shape[1]))
        if hidden:
            modules.append(activation())
    return torch.nn.Sequential(*modules)


def _linear(W: Any, *, bias: bool = True) -> Any:
    layer = torch.nn.Linear(*W.shape, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(W.T))
        if bias:
            layer.bias.zero_()
    return layer


def _norm(n: int) -> Any:
    return torch.nn.BatchNorm1d(n, eps=NORM_EPS, momentum=1 - SMOOTHING)
