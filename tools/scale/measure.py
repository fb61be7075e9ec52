"""What steps and sums over processes take here: run by ``mpiexec``, one thread in each process.

``python -m tinygraph.tools.scale.measure FILE`` times steps of several mini-batches, of all processes at the same time,
each for itself; on several also sums of several sizes and steps that are shared out. Process 0 writes what it found to
FILE as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.parallel import Communicator, processes_of
from tinygraph.parallel.shares import Shares
from tinygraph.plan import native
from tinygraph.plan.plan import Plan, traffic
from tinygraph.train.objective import Objective
from tinygraph.train.step import Step

SIZES = (784, 512, 512, 10)
SHARES = (4, 8, 16, 32, 64, 128, 256, 512)  # samples of one process
SHARED = (32, 128, 512, 1024)  # of all together
LENGTHS = tuple(2**k for k in range(8, 23, 2))  # float32 numbers that are added up
COPIED = 1 << 26  # bytes, more than a cache holds
SECONDS = 0.4  # of each measurement


def _step(batch: int, processes: Communicator | None) -> tuple[Callable[[], None], Plan]:
    """Return what takes a step of gradient descent on a share of a mini-batch, and its plan."""
    rng = np.random.default_rng(0)
    net = tg.models.fully_connected(SIZES, seed=0)
    objective = Objective(net, losses.cross_entropy)
    samples = rng.standard_normal((batch, SIZES[0]), np.float32), rng.integers(SIZES[-1], size=batch)
    shares = None if processes is None else Shares([samples], processes)
    step = Step(objective, optim.SGD(net.parameters(), 0.01), True, shares)
    (own,) = [samples] if shares is None else list(shares)
    x, y = own[0], np.eye(SIZES[-1], dtype=np.float32)[own[1]]
    step(x, y)
    made = native.machine()
    if made is not None:
        made.wait()
    run: Any = step.run
    return lambda: step(x, y), run.plan


def _seconds(run: Callable[[], object], processes: Communicator | None) -> float:
    """Return the median seconds of a call, of the slowest process; all make the same number of calls."""
    run()
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    count = max(10, min(2000, int(SECONDS / max(once, 1e-6))))
    count = count if processes is None else processes.broadcast(count)
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    mine = statistics.median(taken)
    return mine if processes is None else max(processes.gather(mine))


def measured() -> dict[str, Any]:
    """Return the seconds of steps, and of several processes those of sums and of steps that are shared out."""
    processes = processes_of("mpi")
    found: dict[str, Any] = {"processes": 1 if processes is None else processes.size, "steps": []}
    for b in SHARES:
        run, plan = _step(b, None)
        row = {"batch": b, "flops": plan.flops, "bytes": sum(map(traffic, plan.program.instructions))}
        found["steps"].append(row | {"seconds": _seconds(run, processes)})
    found["parameters"] = sum(p.size for p in tg.models.fully_connected(SIZES, seed=0).parameters())
    copy = np.zeros((2, COPIED // 4), np.float32)
    found["memory"] = 2 * COPIED / _seconds(lambda: np.copyto(copy[1], copy[0]), processes)
    if processes is None:
        return found
    sums = ((n, np.ones(n, np.float32), np.empty(n, np.float32)) for n in LENGTHS)
    found["sums"] = [
        {"numbers": n, "seconds": _seconds(lambda a=a, out=out: processes.sum(a, out=out), processes)}  # type: ignore[misc]
        for n, a, out in sums
    ]
    found["shared"] = [{"batch": b, "seconds": _seconds(_step(b, processes)[0], processes)} for b in SHARED]
    return found


def main() -> None:
    """Measure, and write a file."""
    found = measured()
    processes = processes_of("mpi")
    if processes is None or processes.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
