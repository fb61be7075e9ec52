"""Contenders take turns at a workload, each in a process of its own, so that their threads never meet."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tinygraph.tools.bench.contenders import CONTENDERS, ON_CPU_ONLY, OWN, Contender
from tinygraph.tools.bench.workloads import Workload

PAUSE = 0.15  # seconds between turns: threads of OpenBLAS go on spinning for 0.105 after their last product
SLOWEST = 5.0  # seconds a step, beyond which a contender has no further turn
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
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
        What each contender's worker said when it was ready.
    left_out : dict of str to str
        Why a contender has no blocks.
    """

    workload: Workload
    device: str = CPU
    blocks: dict[str, list[float]] = field(default_factory=dict)
    events: dict[str, list[float]] = field(default_factory=dict)
    warm_up: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

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


class WorkerError(Exception):
    """A worker that gave an error, or no answer; the text is one line."""


class Worker:
    """The process of one contender, which `close` ends.

    Parameters
    ----------
    workload, contender, device : str
    threads : int, optional
        How many threads and processors it has; by default as the environment says.
    patience : float, optional
        Seconds after which a process that owes an answer is ended; by default it has all the time it takes.
    """

    def __init__(
        self, workload: str, contender: str, device: str, threads: int | None, patience: float | None = None
    ) -> None:
        self.patience = patience
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        environment = os.environ | (dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {})
        environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # or JAX would take most of a GPU's memory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinygraph.tools.bench.worker", workload, contender, device],
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
            If it is an error, the process has ended, or patience has.
        """
        assert self._process.stdout is not None
        line = ""
        alarm = threading.Timer(self.patience, self._process.kill) if self.patience is not None else None
        started = time.monotonic()
        try:
            if alarm:
                alarm.start()
            line = self._process.stdout.readline()
        finally:
            if alarm:
                alarm.cancel()
        if not line and self.patience is not None and time.monotonic() - started >= self.patience:
            raise WorkerError(f"no answer within {self.patience:g} s")
        if not line:
            self._errors.seek(0)
            printed = self._errors.read().split("\n")
            last = next((text.strip() for text in reversed(printed) if text.strip()), "it printed nothing")
            raise WorkerError(f"its process ended with status {self._process.wait()}: {last[:300]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def timed(self, steps: int) -> dict[str, float]:
        """Let it do so many steps; return the seconds they took as `tinygraph.tools.bench.worker.timed` does."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer tells why
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


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
    """
    result = Result(workload, device)
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
                if "events" in took:
                    result.events.setdefault(name, []).append(took["events"] / steps[name])
                if result.blocks[name][-1] > SLOWEST:
                    workers.pop(name).close()
    finally:
        for worker in workers.values():
            worker.close()
    return result


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
