"""A network over a graph of a million nodes, shared out: ``mpiexec -n 2 python -m tinygraph.tools.scale.large_graph``.

Each process makes the edges to its own nodes, rows of a grid, and nobody has the whole graph. It learns which half of
the grid is brighter.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.ops.neighborhood import grid_edges
from tinygraph.parallel import LocalNeighborhoods, Partition, processes_of
from tinygraph.parallel.layers import PartitionedDense, PartitionedNeighborhoodDense

SAMPLES, EPOCHS = 8, 3


def main() -> None:
    """Train, and print losses and seconds."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    processes = processes_of("mpi")
    if processes is None:
        raise SystemExit("start it with: mpiexec -n 2 python -m tinygraph.tools.scale.large_graph")
    partition = Partition.even(side**2, processes.size)
    own = partition.own(processes.rank)
    edges = grid_edges((side, side), 1, np.arange(own.start, own.stop))
    local = LocalNeighborhoods(edges, partition, partition, processes.rank)
    net = nn.Sequential(
        PartitionedNeighborhoodDense(local, processes, "relu", seed=0),
        PartitionedDense(partition, 2, processes, seed=1),
        output="softmax",
    )
    rng = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % 2
    signals = rng.standard_normal((SAMPLES, side**2), np.float32)[:, own]
    upper = np.arange(own.start, own.stop) < side**2 // 2
    signals[np.ix_(labels == 1, upper)] += 0.1
    start = time.perf_counter()
    optimizer = optim.Adam(net.parameters(), min(1e-3, 1 / side**2))  # every weight moves the same two sums
    history = tg.fit(net, losses.cross_entropy, (signals, labels), optimizer, EPOCHS, 4, progress=False)
    seconds = time.perf_counter() - start
    exchanged = processes.gather(net[0].exchange.sent)
    count = sum(processes.gather(local.graph.n_edges))
    if processes.rank == 0:
        losses_ = ", ".join(f"{loss:.4f}" for loss in history.losses)
        print(
            f"{side**2:,} nodes, {count:,} edges on {processes.size} processes, {sum(exchanged):,} signals "
            f"exchanged: {EPOCHS} epochs of {SAMPLES} samples in {seconds:.1f} s, losses {losses_}"
        )


if __name__ == "__main__":
    main()
