"""What a neighbourhood layer costs: time and memory of forward and backward, next to other ways to do it.

Run ``python -m tinygraph.tools.neighborhood_cost``. Every node has 16 neighbours. The others are a dense layer
with a 0/1 mask, as long as its n x n matrix fits, and PyTorch's ``index_add`` over the edges. Times are medians
of interleaved blocks in one process; memory is the growth of a fresh process's peak over what it holds before the
work, edges and signals included.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import tinygraph as tg
from tinygraph.tools.memory import growth

NEIGHBOURS = 16
LARGEST_DENSE = 4000
Work = Callable[[], object]


def edges(n: int) -> tg.Neighborhoods:
    """Return neighbourhoods of `n` nodes with 16 different random neighbours each."""
    step = max(1, n // NEIGHBOURS)
    first = np.random.default_rng(0).integers(0, n, n)
    sources = (first[:, None] + step * np.arange(NEIGHBOURS)) % n
    return tg.Neighborhoods.from_edges(np.stack([sources.ravel(), np.repeat(np.arange(n), NEIGHBOURS)], 1), n, n)


def batch(n: int, B: int) -> np.ndarray:
    """Return signals of shape (B, n)."""
    return np.random.default_rng(1).standard_normal((B, n)).astype(np.float32)


def ours(n: int, B: int) -> Work:
    """Return forward and backward by `neighborhood_matmul`."""
    graph = edges(n)
    y = tg.tensor(batch(n, B), requires_grad=True)
    w = tg.parameter(np.ones(graph.n_edges, np.float32))
    ones = np.ones((B, n), np.float32)

    def work() -> None:
        y.grad = w.grad = None
        tg.neighborhood_matmul(y, w, graph).backward(ones)

    return work


def masked_dense(n: int, B: int) -> Work:
    """Return forward and backward by a dense product with a masked matrix."""
    mask = tg.tensor(edges(n).to_dense())
    y = tg.tensor(batch(n, B), requires_grad=True)
    W = tg.parameter(np.ones((n, n), np.float32))
    ones = np.ones((B, n), np.float32)

    def work() -> None:
        y.grad = W.grad = None
        (y @ (W * mask)).backward(ones)

    return work


def pytorch(n: int, B: int) -> Work:
    """Return forward and backward by PyTorch's ``index_add`` over the edges."""
    import torch

    graph = edges(n)
    source, target = torch.tensor(graph.sources), torch.tensor(graph.targets)
    y = torch.tensor(batch(n, B).T.copy(), requires_grad=True)  # nodes first: its fastest layout
    w = torch.ones(graph.n_edges, requires_grad=True)
    ones = torch.ones(n, B)

    def work() -> None:
        y.grad = w.grad = None
        torch.zeros(n, B).index_add(0, target, w[:, None] * y[source]).backward(ones)

    return work


CONTENDERS: dict[str, Callable[[int, int], Work]] = {
    "tinygraph": ours,
    "masked dense": masked_dense,
    "PyTorch": pytorch,
}


def seconds(n: int, B: int) -> dict[str, float]:
    """Return the median seconds of forward and backward for each contender that can run."""
    works: dict[str, Work] = {}
    for name, make in CONTENDERS.items():
        if name == "masked dense" and n > LARGEST_DENSE:
            continue
        try:
            works[name] = make(n, B)
        except ImportError:
            continue
    times: dict[str, list[float]] = {name: [] for name in works}
    repeats = 20 if n * B < 10**6 else 5
    for block in range(repeats + 1):  # the first warms up
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if block:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(ts) for name, ts in times.items()}


def megabytes(name: str, n: int, B: int) -> float:
    """Return by how much a fresh process's peak memory grows over forward and backward."""
    command = [sys.executable, "-m", "tinygraph.tools.neighborhood_cost", name, str(n), str(B)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    print(f"{'edges':>9} {'B':>3}  {'contender':<13} {'ms':>9} {'MB':>8}  tinygraph / it (time, memory)")
    for n in (64, 640, 6_400, 64_000):
        for B in (1, 32):
            times = seconds(n, B)
            memory = {name: megabytes(name, n, B) for name in times}
            for name, took in times.items():
                ratio = times["tinygraph"] / took, memory["tinygraph"] / max(memory[name], 0.01)
                print(
                    f"{n * NEIGHBOURS:9d} {B:3d}  {name:<13} {1e3 * took:9.2f} {memory[name]:8.1f}  "
                    f"{ratio[0]:.2f} {ratio[1]:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        CONTENDERS[sys.argv[1]](16, 1)()  # loads what is loaded at first use
        prepared = CONTENDERS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
        grown = growth()
        prepared()
        taken = grown()
        print("nan" if taken is None else taken / 2**20)
    else:
        main()
