"""Instructions on NumPy arrays: direct calls of ufuncs and BLAS, with all that can be decided decided beforehand."""

from __future__ import annotations

from ..backend import Array, Backend
from .kernels import Names, lines_for
from .program import Instruction


def lines_for_numpy(backend: Backend, i: Instruction, inputs: list[Array], out: Array, names: Names) -> list[str]:
    """Return the lines that run an instruction on these arrays."""
    return lines_for(backend, i, inputs, out, names)
