"""Instructions as lines of Python: what a replay runs.

A writer writes lines for instructions, given the arrays of their values. The one here calls each operation's own
`forward` and works for any backend; `kernels_numpy` and `kernels_cuda` know their arrays better.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..backend import Array, Backend
from ..op import Op
from ..ops.elementwise import Maximum, Minimum
from .memory import PIECE, Layout, in_order
from .operations import Gemm
from .program import Instruction, Value, number_of


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


class Writer:
    """Writes the lines of one replay.

    Parameters
    ----------
    backend : Backend
    layout : Layout
    arrays : dict of Value to array
        Where each value is.
    names : Names
        What the lines call things by.
    """

    def __init__(self, backend: Backend, layout: Layout, arrays: dict[Value, Array], names: Names) -> None:
        self.backend, self.layout, self.arrays, self.names = backend, layout, arrays, names

    def instruction(self, i: Instruction) -> list[str]:
        """Return the lines that run an instruction."""
        return self.lines(i, [self.arrays[v] for v in i.inputs], self.arrays[i.output])

    def lines(self, i: Instruction, inputs: list[Array], out: Array, in_chain: bool = False) -> list[str]:
        """Return the lines that run an instruction on these arrays; in a chain they stand for those of every piece."""
        names = self.names
        arrays = ", ".join(names(a, "a") for a in inputs)
        run: Any = _gemm(self.backend, i.op) if isinstance(i.op, Gemm) else _run(self.backend, i.op, out)
        return [f"{names(run, i.op.name)}({arrays}, {names(out, 'y')})"]

    def chain(self, members: Sequence[Instruction]) -> list[str]:
        """Return the lines of a chain: a loop over pieces, each a tuple of views of the arrays."""
        shape = members[0].output.shape
        inputs = [v for i in members for v in i.inputs]
        by_rows = any(
            v.shape not in (shape, ()) or v in self.layout.views or not in_order(self.arrays[v]) for v in inputs
        )
        size = members[0].output.size
        row = size // shape[0]
        length = min(shape[0], max(1, PIECE // row)) if by_rows else min(size, PIECE)
        total = shape[0] if by_rows else size
        whole: dict[Value, Array] = {}  # arrays of which each piece sees a part
        again: dict[Value, Array] = {}  # arrays of which each piece sees the beginning
        xp = self.backend.xp
        for i in members:
            for v in (*i.inputs, i.output):
                if v in self.layout.pieces:
                    room = self.arrays[v]
                    again[v] = room[: length * row].reshape((length, *shape[1:])) if by_rows else room
                elif v.shape == shape:
                    whole[v] = self.arrays[v] if by_rows else self.arrays[v].reshape(-1)
                elif isinstance(i.op, Maximum | Minimum) and not v.shape and not by_rows:
                    again[v] = xp.full((length,), number_of(v, self.backend), v.dtype)
        values = [*whole, *again]
        pieces: list[tuple[Array, ...]] = []
        for start in range(0, total, length):
            end = min(start + length, total)
            parts = [whole[v][start:end] for v in whole] + [again[v][: end - start] for v in again]
            pieces.append(tuple(parts))
        inner: list[str] = []
        for i in members:
            arrays = [pieces[0][values.index(v)] if v in values else self.arrays[v] for v in i.inputs]
            inner.extend(self.lines(i, arrays, pieces[0][values.index(i.output)], in_chain=True))
        targets = ", ".join(self.names(a, "p") for a in pieces[0])
        head = f"for {targets}, in {self.names(pieces, 'pieces')}:"
        return [head, *(f"    {line}" for line in inner)]

    def copy(self, target: Array, source: Array) -> list[str]:
        """Return the lines that write the entries of `source` to `target`."""
        return [f"{self.names(self.backend.xp.copyto, 'copyto')}({self.names(target, 'y')}, {self.names(source, 'a')})"]

    def finish(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return what a replay calls, now that all lines are written and `run` runs them."""
        return run


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
        alpha = op.alpha if s is None else s * op.alpha
        beta = 0.0 if c is None else op.beta if t is None else t * op.beta
        if c is not None and c is not out:
            backend.xp.copyto(out, c)
        backend.gemm(a.T if op.transpose_a else a, b.T if op.transpose_b else b, out, alpha, beta)

    return run
