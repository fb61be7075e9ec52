"""Runs that a device repeats by itself, as CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from .cublas import Cublas
from .nvidia import first_line

ATTEMPTS = (2, 4, 8)  # the calls at which a capture is tried; at the first, kernels are loaded


class Captured:
    """A run that a device repeats by itself: asked for step by step, recorded as a graph, then launched as a whole.

    Parameters
    ----------
    cupy : module
    run : callable
        Asks for kernels and products and nothing else.
    blas : callable
        Returns the handle of cuBLAS if there is one. Graphs contain the addresses of its workspace and numbers, so a
        graph keeps it, and takes its turn in them.
    """

    def __init__(self, cupy: ModuleType, run: Callable[[], None], blas: Callable[[], Cublas | None]) -> None:
        self.cupy, self.run, self._find_blas = cupy, run, blas
        self.calls = 0
        self.graph: Any = None
        self.blas: Cublas | None = None

    def __call__(self) -> None:
        if self.graph is None:
            self.calls += 1
            if self.calls in ATTEMPTS:
                self._try_to_record()
        if self.graph is None:
            self.run()
        elif self.blas is None:
            self.graph.launch()
        else:
            with self.blas.lock:
                self.blas.turn()
                self.graph.launch()

    def _try_to_record(self) -> None:
        """Record the run. What failed may have been memory, or another thread, and is tried again."""
        self.blas = self._find_blas()  # the first call has made it, if there are products
        try:
            self.graph = self._record()
        except Exception as error:
            if self.calls == ATTEMPTS[-1]:
                warnings.warn(
                    f"cupy: a plan runs step by step, since it cannot be captured as a graph: {first_line(error)}",
                    RuntimeWarning,
                    stacklevel=4,
                )

    def _record(self) -> object:
        """Return the graph of what a run asks for; nothing of it is computed meanwhile."""
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            try:
                stream.begin_capture()
                self.run()
            except BaseException:
                with suppress(Exception):
                    stream.end_capture()
                raise
            return stream.end_capture()
