"""Which of several libraries of BLAS is the fastest on this machine: measured once, and kept.

Another library gives other bits, so what was chosen stays: a machine where nothing can be kept uses the first library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ..arguments import check_name
from ..errors import BackendError
from ..files import cache_folder
from .blas import LIBRARIES, BlasLibrary, load

VARIABLE = "TINYGRAPH_BLAS"
PRODUCTS = ((512, 32, 784), (512, 128, 512), (512, 784, 128), (64, 32, 64))  # rows, columns, and what is added up
MATRIX = 512, 784  # that is multiplied by a vector, and that a column times a row is added to
REPEATS = 7  # of which the fastest counts
SECONDS = 1e-3  # that a repeat takes at least
MARGIN = 0.95  # of the first library's time: what takes longer is not worth other bits


@cache
def blas_library() -> BlasLibrary | None:
    """Return the library for native plans: the one that `TINYGRAPH_BLAS` names, else the fastest that is installed.

    Where there are several, they are measured once on a machine; `fastest` says how.
    It is set to one thread; other users of BLAS in the process have libraries of their own.

    Raises
    ------
    ArgumentError
        If the variable names no library that is known.
    BackendError
        If it names one that is not installed.
    """
    wanted = os.environ.get(VARIABLE)
    names = [check_name(VARIABLE, wanted, LIBRARIES)] if wanted else list(LIBRARIES)
    found = [library for library in map(load, names) if library is not None]
    if found:
        return _fastest(found)
    if wanted:
        raise BackendError(
            f"{VARIABLE}={wanted}: it is not installed or cannot be loaded: pip install {LIBRARIES[wanted]}"
        )
    return None


def _fastest(libraries: list[BlasLibrary]) -> BlasLibrary:
    if len(libraries) == 1:
        return libraries[0]
    library, times = fastest(libraries, cache_folder())
    return replace(library, times=times)


def fastest(libraries: Sequence[BlasLibrary], folder: Path) -> tuple[BlasLibrary, dict[str, float]]:
    """Return the library to use, and how long each takes, as a multiple of the first one's time.

    Parameters
    ----------
    libraries : sequence of BlasLibrary
        The first is used unless another is faster by a margin.
    folder : Path
        Where measurements are kept.

    Returns
    -------
    library : BlasLibrary
    times : dict of str to float
        By the libraries' names; empty where nothing can be kept.
    """
    try:
        times = _kept(_file(libraries, folder), libraries)
    except OSError:
        return libraries[0], {}
    best = min(libraries, key=lambda library: times[library.name])
    return (best if times[best.name] < MARGIN else libraries[0]), times


def _file(libraries: Sequence[BlasLibrary], folder: Path) -> Path:
    """Return the file for this processor and these versions."""
    facts = [processor_name(), np.__version__, *(f"{library.name} {library.version}" for library in libraries)]
    return folder / f"blas-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.json"


def _kept(file: Path, libraries: Sequence[BlasLibrary]) -> dict[str, float]:
    """Return what a file holds; where there is none, measure; the first process to write decides."""
    wanted = {library.name for library in libraries}
    was_there = file.exists()
    if (times := _read(file, wanted)) is not None:
        return times
    file.parent.mkdir(parents=True, exist_ok=True)
    if was_there:  # and held something else
        file.unlink(missing_ok=True)
    own = file.with_suffix(f".{os.getpid()}")
    facts = {"processor": processor_name(), "times": measured(libraries)}
    try:
        own.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(own)
    finally:
        own.unlink(missing_ok=True)
    times = _read(file, wanted)
    if times is None:
        raise OSError(f"{file} does not hold what was written")
    return times


def _read(file: Path, names: set[str]) -> dict[str, float] | None:
    """Return the times in a file; None if it is not there or holds something else."""
    try:
        times = json.loads(file.read_text(encoding="utf-8"))["times"]
        result = {str(name): float(t) for name, t in times.items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if set(result) == names else None


def measured(libraries: Sequence[BlasLibrary]) -> dict[str, float]:
    """Return how long each library takes for some products in single precision, as a multiple of the first one's time.

    They take turns; a figure is the geometric mean over the products, of the fastest of some repeats each.
    """
    ratios: dict[str, list[float]] = {library.name: [] for library in libraries}
    for k in range(len(PRODUCTS) + 2):
        calls = [_call(library, k) for library in libraries]
        count = max(1, int(SECONDS / max(_seconds(calls[0], 1), 1e-7)))
        turns = [[_seconds(call, count) for call in calls] for _ in range(REPEATS)]
        best = [min(times) for times in zip(*turns, strict=True)]
        for library, t in zip(libraries, best, strict=True):
            ratios[library.name].append(t / best[0])
    return {name: round(float(np.exp(np.mean(np.log(r)))), 3) for name, r in ratios.items()}


def _seconds(call: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def _call(library: BlasLibrary, k: int) -> Callable[[], None]:
    """Return a call of the k-th product with bound arguments."""
    one, n = np.ones(1, np.float32), np.array([ord("N"), 1], np.int64)
    order: list[np.ndarray]
    if k < len(PRODUCTS):
        rows, columns, inner = PRODUCTS[k]
        arrays = [np.ones(size, np.float32) for size in (rows * inner, inner * columns, rows * columns)]
        m = np.array([rows, columns, inner], np.int64)
        name = "sgemm"
        order = [n[:1], n[:1], m[:1], m[1:2], m[2:], one, arrays[0], m[:1], arrays[1], m[2:], one, arrays[2], m[:1]]
    else:
        rows, columns = MATRIX
        matrix, row, column = (np.ones(size, np.float32) for size in (rows * columns, columns, rows))
        m, step = np.array([rows, columns], np.int64), n[1:]
        if k == len(PRODUCTS):
            name = "sgemv"
            order = [n[:1], m[:1], m[1:], one, matrix, m[:1], row, step, one, column, step]
        else:
            name = "sger"
            order = [m[:1], m[1:], one, column, step, row, step, matrix, m[:1]]
    bound = library.call(name, [a.ctypes.data for a in order])

    def call() -> None:
        bound()

    call.arrays = order  # type: ignore[attr-defined]  # which the addresses point to
    return call


def processor_name() -> str:
    """Return what the system calls the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
