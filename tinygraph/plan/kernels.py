"""Instructions as lines of Python: what a replay runs, for any backend.

A kernel writes lines for one instruction, given names for its arrays. Kernels for NumPy are in `kernels_numpy`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..backend import Array, Backend
from ..op import Op
from .operations import Gemm
from .program import Instruction


class Names:
    """Names for the objects that generated code uses; the same object has one name."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def __call__(self, thing: Any, hint: str) -> str:
        """Return the name of an object, chosen after `hint`."""
        name = self._names.get(id(thing))
        if name is None:
            clean = "".join(c if c.isalnum() else "_" for c in hint) or "v"
            clean = clean if clean[0].isalpha() else f"v{clean}"
            name = clean
            while name in self.objects:
                name = f"{clean}_{len(self.objects)}"
            self._names[id(thing)] = name
            self.objects[name] = thing
        return name


Kernel = Callable[[Instruction, list[Array], Array, Names], list[str]]


def lines_for(backend: Backend, i: Instruction, inputs: list[Array], out: Array, names: Names) -> list[str]:
    """Return the lines that run an instruction on these arrays: through the operation's own `forward`."""
    arrays = ", ".join(names(a, "a") for a in inputs)
    if isinstance(i.op, Gemm):
        run: Any = _gemm(backend, i.op)
    else:
        run = _run(backend, i.op, out)
    return [f"{names(run, i.op.name)}({arrays}, {names(out, 'y')})"]


def _run(backend: Backend, op: Op, out: Array) -> Callable[..., None]:
    xp, forward = backend.xp, op.forward
    takes_out = "out" in inspect.signature(forward).parameters

    def run(*arrays: Array) -> None:
        *inputs, target = arrays
        result = forward(xp, *inputs, out=target) if takes_out else forward(xp, *inputs)
        if result is not target:
            xp.copyto(target, result)

    return run


def _gemm(backend: Backend, op: Gemm) -> Callable[..., None]:
    def run(*arrays: Array) -> None:
        *inputs, out = arrays
        a, b, c, s, t = op.split(tuple(inputs))
        alpha = op.alpha if s is None else op.alpha * float(backend.to_host(s))
        beta = 0.0 if c is None else op.beta if t is None else op.beta * float(backend.to_host(t))
        if c is not None and c is not out:
            backend.xp.copyto(out, c)
        backend.gemm(a.T if op.transpose_a else a, b.T if op.transpose_b else b, out, alpha, beta)

    return run
