"""The processes of the benchmark: one for each contender, and others that keep the machine busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygraph.errors import ArgumentError, TinygraphError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


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


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let `count` processes of `tinygraph.tools.bench.busy` compute all the time inside a ``with`` block.

    They have begun when it is entered, and are ended however it is left.

    Raises
    ------
    ArgumentError
        If so many cannot be started.
    TinygraphError
        If one of them ended before the block did, which was then not measured beside so many.
    """
    command = [sys.executable, "-m", "tinygraph.tools.bench.busy"]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
    pipe, processes = subprocess.PIPE, []
    try:
        try:
            for _ in range(count):
                started = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
                processes.append(started)
        except OSError as error:
            raise ArgumentError(f"busy: cannot start {count} processes: {error.strerror}; choose fewer") from None
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline():  # it writes one when it computes
                raise ArgumentError(f"busy: one of {count} processes ended with status {process.wait()}; choose fewer")
        yield
        for process in processes:
            if process.poll() is not None:
                raise TinygraphError(
                    f"busy: one of {count} processes ended with status {process.returncode} during the measurement, "
                    "whose figures are left out; run it again"
                )
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()
