"""cuBLAS, called through a handle of our own: CuPy refuses its own calls while a stream is captured."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import BackendError
from ..typing import Array, DType, Number
from .nvidia import library
from .turns import Turn

WORKSPACE = 32 << 20  # bytes that cuBLAS may work in, as its documentation advises for recent devices
TF32 = "TINYGRAPH_TF32"  # environment variable: 1 lets products of float32 round their factors to 10 bits


class Cublas:
    """A handle of cuBLAS, which works on CuPy's current stream, captured or not.

    Threads and streams share it: `lock` is held from where a stream takes its `turn` in the workspace to where all is
    asked for.
    """

    def __init__(self, cupy: ModuleType) -> None:
        self.cupy = cupy
        self.library = library("cublas")
        self.lock, self.turn = threading.Lock(), Turn(cupy)
        self.handle = ctypes.c_void_p()
        self._ask("cublasCreate_v2", ctypes.byref(self.handle))
        self.workspace = cupy.empty(WORKSPACE, np.uint8)
        self.stream: Any = None
        self.on_device = False  # whether factors are read from the device's memory
        self.fixed: dict[tuple[float, str], Array] = {}  # numbers in the device's memory
        if os.environ.get(TF32, "0") not in ("", "0"):
            self._ask("cublasSetMathMode", self.handle, 3)  # CUBLAS_TF32_TENSOR_OP_MATH

    def gemm(
        self,
        a: Array,
        b: Array,
        out: Array,
        alpha: Number,
        beta: Number,
        count: int = 1,
        apart: Sequence[int] = (0, 0, 0),
    ) -> None:
        """Compute ``out = alpha a b + beta out``; `out` is row-major, `a` and `b` row-major or column-major.

        Parameters
        ----------
        count : int
            So many products are computed, of which these matrices are the first.
        apart : three of int
            How many elements further the next ones lie: a, b and out.
        """
        # cuBLAS is column-major, so the transposed product is asked for: out' = b' a'. A row-major matrix read
        # column by column is its transpose.
        (left, flip_left, lead_left), (right, flip_right, lead_right) = _columns(b), _columns(a)
        m, n, k = out.shape[1], out.shape[0], a.shape[1]
        letter = "S" if out.dtype.char == "f" else "D"
        routine = f"cublas{letter}gemm_v2" if count == 1 else f"cublas{letter}gemmStridedBatched"
        sizes = [ctypes.c_int(x) for x in (flip_left, flip_right, m, n, k)]
        steps = apart[1], apart[0], apart[2]
        matrices: list[list[Any]] = []
        x: Any
        for x, lead, step in zip((left, right, out), (lead_left, lead_right, m), steps, strict=True):
            matrices.append([ctypes.c_void_p(x.data.ptr), ctypes.c_int(lead)])
            if count > 1:
                matrices[-1].append(ctypes.c_longlong(step))
        last = [ctypes.c_int(count)] if count > 1 else []
        with self.lock:
            self._use_stream()
            factors, keep = self._factors(alpha, beta, out.dtype)
            head = (self.handle, *sizes, factors[0], *matrices[0], *matrices[1])
            self._ask(routine, *head, factors[1], *matrices[2], *last)
            del keep

    def _factors(self, alpha: Number, beta: Number, dtype: DType) -> tuple[list[ctypes.c_void_p], object]:
        """Return pointers to both factors, and what must live until they are read."""
        numbers = (alpha, beta)
        on_device = any(isinstance(x, self.cupy.ndarray) for x in numbers)
        if on_device != self.on_device:
            self._ask("cublasSetPointerMode_v2", self.handle, int(on_device))
            self.on_device = on_device
        if on_device:
            arrays: list[Any] = [
                x if isinstance(x, self.cupy.ndarray) else self._number(float(x), dtype) for x in numbers
            ]
            return [ctypes.c_void_p(x.data.ptr) for x in arrays], arrays
        host = np.array([float(x) for x in numbers], dtype)
        return [ctypes.c_void_p(host.ctypes.data + k * host.itemsize) for k in (0, 1)], host

    def _number(self, x: float, dtype: DType) -> Array:
        key = x, dtype.char
        if key not in self.fixed:
            self.fixed[key] = self.cupy.asarray(np.array(x, dtype))
        return self.fixed[key]

    def _use_stream(self) -> None:
        self.turn()
        stream = self.cupy.cuda.get_current_stream()
        if self.stream is None or stream.ptr != self.stream.ptr:
            self._ask("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream.ptr))
            workspace = ctypes.c_void_p(self.workspace.data.ptr)  # asked for again: a new stream forgets it
            self._ask("cublasSetWorkspace_v2", self.handle, workspace, ctypes.c_size_t(WORKSPACE))
            self.stream = stream  # kept, so that no other gets its pointer

    def _ask(self, routine: str, *arguments: object) -> None:
        status = getattr(self.library, routine)(*arguments)
        if status:
            raise BackendError(f"cupy: {routine} of cuBLAS failed with status {status}")


def _columns(a: Array) -> tuple[Array, int, int]:
    """Return a matrix, whether it lies transposed to how cuBLAS reads it, and its leading size."""
    if a.flags.c_contiguous:
        return a, 0, a.shape[1]
    return a, 1, a.shape[0]
