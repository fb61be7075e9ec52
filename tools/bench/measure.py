"""Contenders take turns at a workload, each in a process of its own, so that their threads never meet."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinygraph.tools.bench.contenders import CONTENDERS, ON_CPU_ONLY, OWN, Contender
from tinygraph.tools.bench.processes import Worker, WorkerError, busy_processes
from tinygraph.tools.bench.workloads import Workload

PAUSE = 0.15  # seconds between turns: threads of OpenBLAS go on spinning for 0.105 after their last product
SLOWEST = 5.0  # seconds a step, beyond which a contender has no further turn
ARE_OURS = (OWN, "eager")
EVENTS, WALL = "events", "wall clock"
DEVICES = CPU, GPU = "cpu", "cuda"

Say = Callable[[str], None]


@dataclass
class Result:
    """What was measured of one workload.

    Attributes
    ----------
    workload : Workload
    device : {"cpu", "cuda"}
    blocks : dict of str to list of float
        Seconds a step in every block by the clock on the wall, by contender.
    events : dict of str to list of float
        The same between two events of the device, for contenders whose library offers them.
    warm_up : dict of str to dict
        What each contender's worker said when it was ready; ``first_call`` are the seconds of its first step.
    memory : dict of str to int
        Bytes at the peak by contender, where they are known: on the CPU what its process took beyond what it had when
        its library was imported; on a GPU what its library counts.
    left_out : dict of str to str
        Why a contender has no blocks.
    busy : int
        How many other processes computed all the time.
    """

    workload: Workload
    device: str = CPU
    blocks: dict[str, list[float]] = field(default_factory=dict)
    events: dict[str, list[float]] = field(default_factory=dict)
    warm_up: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    busy: int = 0

    @property
    def clock(self) -> str:
        """What `medians`, `spreads` and `ratios` are by: events if all contenders have them, else the wall clock."""
        return EVENTS if self.blocks and self.events.keys() >= self.blocks.keys() else WALL

    @property
    def compared(self) -> dict[str, list[float]]:
        """The blocks by that clock."""
        return self.events if self.clock == EVENTS else self.blocks

    @property
    def medians(self) -> dict[str, float]:
        """Seconds a step by contender."""
        return {name: statistics.median(blocks) for name, blocks in self.compared.items()}

    @property
    def spreads(self) -> dict[str, float]:
        """The range of the middle half of the blocks over their median, by contender: large on a busy machine."""
        shares = {}
        for name, blocks in self.compared.items():
            low, _, high = statistics.quantiles(blocks, method="inclusive") if len(blocks) > 1 else blocks * 3
            shares[name] = (high - low) / self.medians[name]
        return shares

    @property
    def ratios(self) -> dict[str, float]:
        """The median of compiled tinygraph over that of each other contender; below 1: tinygraph is faster."""
        medians = self.medians
        if OWN not in medians:
            return {}
        return {name: medians[OWN] / seconds for name, seconds in medians.items() if name != OWN}

    @property
    def best_peer(self) -> str | None:
        """The fastest of those that are not tinygraph."""
        peers = {name: seconds for name, seconds in self.medians.items() if name not in ARE_OURS}
        return min(peers, key=lambda name: peers[name]) if peers else None


def run(
    workload: Workload,
    names: Collection[str],
    *,
    rounds: int,
    seconds: float,
    threads: int | None,
    say: Say,
    device: str = CPU,
    patience: float | None = None,
    busy: int = 0,
) -> Result:
    """Measure the contenders called `names` on a workload.

    Parameters
    ----------
    workload : Workload
    names : collection of str
    rounds : int
        How many blocks each contender has.
    seconds : float
        How long its blocks take together.
    threads : int, optional
        How many threads and processors a worker has; by default as the environment says.
    say : callable
        Takes a line about what is being done.
    device : {"cpu", "cuda"}
        Where they train; contenders that cannot are skipped.
    patience : float, optional
        Seconds a contender may take to get ready, and for a block; one that takes longer is skipped.
    busy : int
        How many other processes compute all the time, from before the first contender gets ready.

    Raises
    ------
    ArgumentError
        If so many busy processes cannot be started.
    TinygraphError
        If one of them ends by itself.
    """
    result = Result(workload, device, busy=busy)
    with busy_processes(busy):
        _take_turns(result, names, rounds, seconds, threads, say, patience)
    return result


def _take_turns(
    result: Result,
    names: Collection[str],
    rounds: int,
    seconds: float,
    threads: int | None,
    say: Say,
    patience: float | None,
) -> None:
    """Fill in `result`; the arguments are those of `run`."""
    workload = result.workload
    workers: dict[str, Worker] = {}
    shuffled = random.Random(0)
    try:
        for name in names:
            _start(CONTENDERS[name], result, workers, threads, say, patience)
        steps = {name: max(1, round(seconds / rounds / reply["step"])) for name, reply in result.warm_up.items()}
        for number in range(rounds):
            say(f"{workload.name}: round {number + 1} of {rounds}")
            for name in shuffled.sample(list(workers), len(workers)):  # nobody always follows the same other
                time.sleep(PAUSE)
                try:
                    took = workers[name].timed(steps[name])
                except WorkerError as error:
                    result.left_out[name] = str(error)
                    result.blocks.pop(name, None)
                    result.events.pop(name, None)
                    workers.pop(name).close()
                    continue
                result.blocks[name].append(took["seconds"] / steps[name])
                _note_memory(result, name, took)
                if "events" in took:
                    result.events.setdefault(name, []).append(took["events"] / steps[name])
                if result.blocks[name][-1] > SLOWEST:
                    workers.pop(name).close()
    finally:
        for worker in workers.values():
            worker.close()


def _note_memory(result: Result, name: str, reply: Mapping[str, Any]) -> None:
    """Take in the peak that a worker's answer tells, if it does."""
    if reply["memory"] is not None:
        result.memory[name] = reply["memory"]


def _start(
    contender: Contender,
    result: Result,
    workers: dict[str, Worker],
    threads: int | None,
    say: Say,
    patience: float | None,
) -> None:
    """Start the worker of a contender and wait until it is ready, or note why it takes no part."""
    name, workload = contender.name, result.workload
    if contender.version is None:
        result.left_out[name] = "not installed"
        return
    if result.device != CPU and not contender.on_gpu:
        result.left_out[name] = ON_CPU_ONLY
        return
    say(f"{workload.name}: {contender.title} gets ready")
    worker = Worker(workload.name, name, result.device, threads, patience)
    try:
        reply = worker.answer()
        if "unsuitable" in reply:
            raise WorkerError(reply["unsuitable"])
        first, last = reply["losses"]
        if not last < first:
            raise WorkerError(f"it does not learn: on one batch the loss went from {first:.4g} to {last:.4g}")
    except WorkerError as error:
        result.left_out[name] = str(error)
        worker.close()
        return
    except BaseException:
        worker.close()
        raise
    result.warm_up[name], result.blocks[name], workers[name] = reply, [], worker
    _note_memory(result, name, reply)
