"""Layers over a graph whose nodes are shared out: each process has its nodes' signals, weights and biases.

All processes compute one loss alike, so each calls the same functions with the same labels; `tinygraph.fit` trains such
a network without ``parallel=``, which would share out the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arguments import whole_number
from ..backend.random import generator
from ..errors import ArgumentError
from ..leaves import parameter
from ..nn import Module, Sequential
from ..nn.init import INITIALIZERS, Initializer, initial
from ..nn.layers import Activation, Layer, of_bias
from ..operators import Operand
from ..ops.neighborhood import neighborhood_matmul
from ..ops.products import matmul
from ..tensors import Tensor
from .all_sum import AllSum
from .communicator import Communicator
from .exchange import Exchange, Extend
from .partition import LocalNeighborhoods, Partition

AT_A_TIME = 1 << 20  # numbers that are drawn, of which a process keeps its own


class PartitionedNeighborhoodDense(Layer):
    """A `nn.NeighborhoodDense` of which this process has some nodes; signals of others are exchanged before it.

    Parameters
    ----------
    local : LocalNeighborhoods
    processes : Communicator
    activation, bias, init, init_bias, seed, dtype
        As for `nn.NeighborhoodDense`; each process keeps its part of what one process would draw. Without a seed that
        of process 0 is taken.

    Attributes
    ----------
    w : Tensor of shape (edges to own nodes,)
    theta : Tensor of shape (own nodes,), or None
    """

    def __init__(
        self,
        local: LocalNeighborhoods,
        processes: Communicator,
        activation: str | Activation | None = None,
        bias: bool = True,
        init: Initializer = "normal",
        *,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        if isinstance(activation, list | tuple):
            raise ArgumentError("PartitionedNeighborhoodDense: expected one activation for all nodes, got a list")
        self.local, self.processes = local, processes
        self.exchange = Exchange(local, processes)
        counts = processes.gather((local.graph.n_edges, local.graph.n_out, local.own))
        edges, nodes, sources = (int(sum(column)) for column in zip(*counts, strict=True))
        before = sum(n for n, *_ in counts[: processes.rank])
        fan_in, fan_out = (max(1, round(edges / max(1, n))) for n in (nodes, sources))
        seed = _common(seed, processes)
        own = slice(before, before + local.graph.n_edges)
        self.w = parameter(_part(init, seed, "w", (edges,), own, (fan_in, fan_out), dtype), name="w", dtype=dtype)
        super().__init__(fan_in, local.graph.n_out, activation, bias, init_bias="zeros", seed=seed, dtype=dtype)
        if self.theta is not None:
            start = sum(n for _, n, _ in counts[: processes.rank])
            mine = slice(start, start + local.graph.n_out)
            drawn = _part(of_bias(init_bias), seed, "theta", (nodes,), mine, (fan_in, nodes), dtype)
            self.theta.assign_(drawn.astype(self.theta.dtype))

    def forward(self, y: Operand) -> Tensor:
        """Return ``f(z - theta)`` (B, own nodes) for the signals `y` of own nodes of the layer before."""
        return self.activate(neighborhood_matmul(Extend(self.exchange)(y), self.w, self.local.graph))

    def describe(self) -> str:
        """Return the edges, what is exchanged, and the activation."""
        return f"{self.local!r}{self._options()}"


class PartitionedDense(Module):
    """A `nn.Dense` fed by nodes that are shared out; its own nodes every process has.

    Parameters
    ----------
    inputs : Partition
        Of the layer before.
    n_out : int
    processes : Communicator
    init, seed, dtype
        As for `nn.Dense`; each process keeps the rows of its nodes.

    Attributes
    ----------
    W : Tensor of shape (own nodes, n_out)
    theta : Tensor of shape (n_out,)
        The same in all processes.
    """

    def __init__(
        self,
        inputs: Partition,
        n_out: int,
        processes: Communicator,
        init: Initializer = "normal",
        *,
        seed: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        n_out = whole_number("PartitionedDense: n_out", n_out, 1)
        self.inputs, self.processes = inputs, processes
        own, n = inputs.own(processes.rank), inputs.nodes
        seed = _common(seed, processes)
        self.W = parameter(_part(init, seed, "W", (n, n_out), own, (n, n_out), dtype), name="W", dtype=dtype)
        self.theta = parameter(np.zeros(n_out), name="theta", role="bias", dtype=dtype)

    def forward(self, y: Operand) -> Tensor:
        """Return ``z - theta`` (B, n_out), the same in all processes, for the signals `y` of own nodes."""
        return AllSum(self.processes, alike=True)(matmul(y, self.W)) - self.theta

    def describe(self) -> str:
        """Return the sizes."""
        return f"{self.inputs.nodes}, {self.W.shape[1]}, {self.W.shape[0]} of them here"


def is_partitioned(net: Module) -> bool:
    """Whether processes have parts of the network's nodes."""
    return any(isinstance(module, PARTITIONED) for _, module in net.named_modules())


PARTITIONED = (PartitionedNeighborhoodDense, PartitionedDense)


def whole_state(net: Sequential, processes: Communicator) -> dict[str, np.ndarray]:
    """Return the tensors of the network that one process would have, in every process, for its `load_state_dict`."""
    shared_out = {
        f"{path}.{name}"
        for path, module in net.named_modules()
        for name in ("w", "theta", "W")
        if isinstance(module, PartitionedNeighborhoodDense) or (isinstance(module, PartitionedDense) and name == "W")
    }
    whole = {}
    for name, t in net.named_tensors():
        parts = processes.gather(t.numpy()) if name in shared_out else [t.numpy()]
        whole[name] = np.concatenate(parts)
    return whole


def _common(seed: int | None, processes: Communicator) -> int:
    """Return the seed, or one that process 0 draws."""
    return processes.broadcast(int(generator(None).integers(2**63)) if seed is None else seed)


def _part(
    init: Initializer,
    seed: int,
    name: str,
    shape: tuple[int, ...],
    own: slice,
    fans: tuple[int, int],
    dtype: Any,
) -> np.ndarray:
    """Return own rows of what is drawn for a tensor of `shape`; of element after element a piece at a time."""
    rng = generator(seed, name)
    is_whole = init == "orthogonal" or init not in INITIALIZERS
    most = shape[0] if is_whole else max(1, AT_A_TIME // int(np.prod(shape[1:])))
    pieces = list(_pieces(shape[0], max(1, most))) or [0]
    kept, start = [], 0
    for rows in pieces:
        drawn = initial("init", init, rng, (rows, *shape[1:]), *fans, dtype)
        kept.append(drawn[max(0, own.start - start) : max(0, own.stop - start)])
        start += rows
    return np.concatenate(kept)


def _pieces(rows: int, most: int) -> Iterator[int]:
    for start in range(0, rows, most):
        yield min(most, rows - start)
