"""What a replay costs a GPU, computed and not measured: the nodes of its graph, and the memory they wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..typing import Array


@dataclass(frozen=True)
class Device:
    """What a GPU can do at best.

    Attributes
    ----------
    name : str
    bandwidth : float
        Bytes of memory a second.
    flops : float
        Operations of float32 a second, outside of tensor cores.
    """

    name: str
    bandwidth: float
    flops: float


H200 = Device("H200", 4.8e12, 67e12)  # by its data sheet


@dataclass(frozen=True)
class Node:
    """One node of a graph: a kernel of ours or a call of a library.

    Attributes
    ----------
    name : str
    bytes : int
        Of memory read and written; what is read twice counts once.
    trips : int
        How often a thread waits for memory, at least: loads that do not depend on each other wait together.
    flops : int
    """

    name: str
    bytes: int = 0
    trips: int = 0
    flops: int = 0

    @classmethod
    def of(cls, name: str, read: Iterable[Array], written: Iterable[Array], trips: int, flops: int) -> Node:
        """Return the node that reads and writes these arrays."""
        return cls(name, _bytes(read) + _bytes(written), trips, flops)

    def seconds(self, device: Device) -> float:
        """Return the time below which the roofline of a device lets nothing come: that of its bytes or its flops."""
        return max(self.bytes / device.bandwidth, self.flops / device.flops)


@dataclass(frozen=True)
class Cost:
    """The cost of a replay, whose nodes run one after the other.

    Attributes
    ----------
    nodes : int
    bytes : int
    trips : int
        Of the longest chain: since nodes wait for each other, the sum of theirs.
    seconds : float
        The time that the roofline of a device gives, without launches and trips.
    """

    nodes: int
    bytes: int
    trips: int
    seconds: float

    @classmethod
    def of(cls, nodes: Iterable[Node], device: Device = H200) -> Cost:
        """Return the cost of nodes on a device."""
        nodes = list(nodes)
        seconds = sum(n.seconds(device) for n in nodes)
        return cls(len(nodes), sum(n.bytes for n in nodes), sum(n.trips for n in nodes), seconds)


def _bytes(arrays: Iterable[Array]) -> int:
    """Return how many bytes lie in arrays, each place once; of a repeated axis one element."""
    places: dict[int, int] = {}
    for a in arrays:
        size = a.itemsize
        for n, step in zip(a.shape, a.strides, strict=True):
            size *= n if step else 1
        memory: Any = a.data
        places[memory.ptr] = max(size, places.get(memory.ptr, 0))
    return sum(places.values())
