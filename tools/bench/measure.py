"""Contenders take turns at a workload, each in a process of its own, so that their threads never meet."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tinygraph.tools.bench.contenders import CONTENDERS, OWN, Contender
from tinygraph.tools.bench.workloads import Workload

PAUSE = 0.15  # seconds between turns: threads of OpenBLAS go on spinning for 0.105 after their last product
SLOWEST = 5.0  # seconds a step, beyond which a contender has no further turn
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
ARE_OURS = (OWN, "eager")

Say = Callable[[str], None]


@dataclass
class Result:
    """What was measured of one workload.

    Attributes
    ----------
    workload : Workload
    blocks : dict of str to list of float
        Seconds a step in every block, by contender.
    warm_up : dict of str to dict
        What each contender's worker said when it was ready.
    left_out : dict of str to str
        Why a contender has no blocks.
    """

    workload: Workload
    blocks: dict[str, list[float]] = field(default_factory=dict)
    warm_up: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """Seconds a step by contender."""
        return {name: statistics.median(blocks) for name, blocks in self.blocks.items()}

    @property
    def spreads(self) -> dict[str, float]:
        """The range of the middle half of the blocks over their median, by contender: large on a busy machine."""
        found = {}
        for name, blocks in self.blocks.items():
            low, _, high = statistics.quantiles(blocks, method="inclusive") if len(blocks) > 1 else blocks * 3
            found[name] = (high - low) / self.medians[name]
        return found

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


class WorkerError(Exception):
    """A worker that gave an error, or no answer; the text is one line."""


class Worker:
    """The process of one contender; a context manager that ends it."""

    def __init__(self, workload: str, contender: str, threads: int | None) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        environment = os.environ | (dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinygraph.tools.bench.worker", workload, contender],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        if threads and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, sorted(os.sched_getaffinity(0))[:threads])

    def answer(self) -> dict[str, Any]:
        """Return the next answer.

        Raises
        ------
        WorkerError
            If it is an error, or the process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().split("\n")
            last = next((text.strip() for text in reversed(said) if text.strip()), "it said nothing")
            raise WorkerError(f"its process ended with status {self._process.wait()}: {last[:300]}")
        said_now: dict[str, Any] = json.loads(line)
        if "error" in said_now:
            raise WorkerError(said_now["error"])
        return said_now

    def seconds(self, steps: int) -> float:
        """Let it do so many steps; return the seconds they took."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer tells why
        return float(self.answer()["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def run(
    workload: Workload, names: Collection[str], *, rounds: int, seconds: float, threads: int | None, say: Say
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
    """
    result = Result(workload)
    workers: dict[str, Worker] = {}
    shuffled = random.Random(0)
    try:
        for name in names:
            _start(CONTENDERS[name], result, workers, threads, say)
        steps = {name: max(1, round(seconds / rounds / said["step"])) for name, said in result.warm_up.items()}
        for number in range(rounds):
            say(f"{workload.name}: round {number + 1} of {rounds}")
            for name in shuffled.sample(list(workers), len(workers)):  # nobody always follows the same other
                time.sleep(PAUSE)
                try:
                    each = workers[name].seconds(steps[name]) / steps[name]
                except WorkerError as error:
                    result.left_out[name] = str(error)
                    result.blocks.pop(name, None)
                    workers.pop(name).close()
                    continue
                result.blocks[name].append(each)
                if each > SLOWEST:
                    workers.pop(name).close()
    finally:
        for worker in workers.values():
            worker.close()
    return result


def _start(contender: Contender, result: Result, workers: dict[str, Worker], threads: int | None, say: Say) -> None:
    """Start the worker of a contender and wait until it is ready, or note why it takes no part."""
    name, workload = contender.name, result.workload
    if contender.version is None:
        result.left_out[name] = "not installed"
        return
    say(f"{workload.name}: {contender.title} gets ready")
    worker = Worker(workload.name, name, threads)
    try:
        said = worker.answer()
        if "unsuitable" in said:
            raise WorkerError(said["unsuitable"])
        first, last = said["losses"]
        if not last < first:
            raise WorkerError(f"it does not learn: on one batch the loss went from {first:.4g} to {last:.4g}")
    except WorkerError as error:
        result.left_out[name] = str(error)
        worker.close()
        return
    except BaseException:
        worker.close()
        raise
    result.warm_up[name], result.blocks[name], workers[name] = said, [], worker
