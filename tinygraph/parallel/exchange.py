"""Signals of nodes that other processes have: got before a layer, and their gradients handed back after it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..tensors import Tensor
from ..typing import Namespace
from .communicator import Communicator
from .partition import LocalNeighborhoods


class Exchange:
    """The messages between processes whose nodes feed one another; all of them make it together.

    Parameters
    ----------
    local : LocalNeighborhoods
    processes : Communicator

    Attributes
    ----------
    sent, got : int
        How many signals of each sample this process sends and gets.
    """

    def __init__(self, local: LocalNeighborhoods, processes: Communicator) -> None:
        comm, self._wait = processes.world, processes.ends.wait
        self.before, self.own, self.after = local.before, local.own, local.after
        counts = np.array([len(nodes) for nodes in local.needed])
        wanted = np.empty_like(counts)
        self._wait(comm.Alltoall, counts, wanted)
        self._nodes = np.empty(int(wanted.sum()), np.int64)  # of this process, in the order in which others want them
        comm.Alltoallv([np.concatenate(local.needed), counts], [self._nodes, wanted])
        sources, targets = (np.flatnonzero(c).tolist() for c in (counts, wanted))
        self._forth = comm.Create_dist_graph_adjacent(sources, targets)
        self._back = comm.Create_dist_graph_adjacent(targets, sources)
        self._counts, self._wanted = counts[sources], wanted[targets]
        self._parts = [slice(a, b) for a, b in pairwise(accumulate(self._wanted.tolist(), initial=0))]
        self.sent, self.got = len(self._nodes), local.before + local.after

    @property
    def width(self) -> int:
        """How many signals of each sample there are here, own ones and those of others."""
        return int(self.before + self.own + self.after)

    def extended(self, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return own signals (B, own) among those of others (B, width)."""
        batch = len(y)
        sending = np.ascontiguousarray(y.T[self._nodes])
        got = np.empty((self.got, batch), y.dtype)
        self._wait(self._forth.Neighbor_alltoallv, [sending, self._wanted * batch], [got, self._counts * batch])
        z = np.empty((batch, self.width), y.dtype) if out is None else out
        z[:, : self.before] = got[: self.before].T
        z[:, self.before : self.before + self.own] = y
        z[:, self.before + self.own :] = got[self.before :].T
        return z

    def returned(self, dz: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return the gradients of own signals (B, own): those here, and those that others have for them added."""
        batch, end = len(dz), self.before + self.own
        sending = np.ascontiguousarray(np.concatenate([dz[:, : self.before], dz[:, end:]], axis=1).T)
        got = np.empty((self.sent, batch), dz.dtype)
        self._wait(self._back.Neighbor_alltoallv, [sending, self._counts * batch], [got, self._wanted * batch])
        dy = np.empty((batch, self.own), dz.dtype) if out is None else out
        dy[...] = dz[:, self.before : end]
        for part in self._parts:  # each process wants a node once; they come in the order of the processes
            dy[:, self._nodes[part]] += got[part].T
        return dy

    def __repr__(self) -> str:
        return f"Exchange({self.sent} sent, {self.got} got)"


@dataclass(frozen=True)
class Extend(Op):
    """Own signals (B, own) among those that other processes have for the neighbourhoods here."""

    name = "exchange"
    rule = "dy = dz of own signals, and what other processes that got them have"

    exchange: Exchange

    @property
    def label(self) -> str:
        """The name with how many signals come from other processes."""
        return f"{self.name}({self.exchange.got} got)"

    def check(self, *inputs: Tensor) -> None:
        _check(self, inputs[0], self.exchange.own)

    def forward(self, xp: Namespace, y: Array, out: Array | None = None) -> Array:
        return xp.on_host(self.exchange.extended, (y.shape[0], self.exchange.width), y, out=out)

    def backward(self, dz: Tensor, z: Tensor, y: Tensor) -> Gradients:
        return (lambda: Return(self.exchange)(dz),)


@dataclass(frozen=True)
class Return(Op):
    """The gradients of own signals: those here, and those that other processes have for them."""

    name = "exchange_back"
    rule = "dz = dy among those that other processes have"

    exchange: Exchange

    @property
    def label(self) -> str:
        """The name with how many gradients go to other processes."""
        return f"{self.name}({self.exchange.got} returned)"

    def check(self, *inputs: Tensor) -> None:
        _check(self, inputs[0], self.exchange.width)

    def forward(self, xp: Namespace, dz: Array, out: Array | None = None) -> Array:
        return xp.on_host(self.exchange.returned, (dz.shape[0], self.exchange.own), dz, out=out)

    def backward(self, dy: Tensor, y: Tensor, dz: Tensor) -> Gradients:
        return (lambda: Extend(self.exchange)(dy),)


def _check(op: Op, y: Tensor, width: int) -> None:
    check_floating(op, y)
    if y.ndim != 2 or y.shape[1] != width:
        raise ShapeError(f"{op.name}: expected signals of shape (B, {width}), those of own nodes, got {y.shape}")
