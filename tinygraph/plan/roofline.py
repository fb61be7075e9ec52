"""The roofline of this machine, measured: what a profile shows the achieved rates beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..backend import Backend

SIDE = 1024  # of the matrices multiplied
COPIED = 1 << 24  # float32 numbers copied: 64 MB, more than a cache holds


@dataclass(frozen=True)
class Roofline:
    """The fastest seen of a few runs.

    Attributes
    ----------
    gflops : float
        Of a product of two large matrices, in 1e9 operations a second.
    gigabytes : float
        Read and written by a copy of a large array, in 1e9 bytes a second.
    dtype : str
    """

    gflops: float
    gigabytes: float
    dtype: str = "float32"


@cache
def roofline(backend: Backend) -> Roofline:
    """Measure the roofline of a backend, once a process; takes some tenths of a second."""
    xp = backend.xp
    a = backend.asarray(np.full((SIDE, SIDE), 0.5, np.float32))
    product = xp.zeros((SIDE, SIDE), xp.float32)
    source, target = xp.ones((COPIED,), xp.float32), xp.zeros((COPIED,), xp.float32)

    def multiply() -> None:
        backend.gemm(a, a, product)
        backend.synchronize()

    def copy() -> None:
        xp.copyto(target, source)
        backend.synchronize()

    return Roofline(2 * SIDE**3 / _fastest(multiply) / 1e9, 2 * 4 * COPIED / _fastest(copy) / 1e9)


def _fastest(run: Callable[[], None]) -> float:
    run()
    seconds = []
    for _ in range(15):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
