"""Running a program over and over: its arrays, made once, and the code that works on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import Array, Backend
from ..ops.elementwise import Maximum, Minimum
from .kernels import Names, lines_for
from .kernels_numpy import lines_for_numpy
from .memory import PIECE, Layout, in_order, room_of_piece
from .program import Instruction, Program, Value, number_of


class Replay:
    """A program bound to memory.

    Attributes
    ----------
    arrays : dict of Value to array
        Where each value is while it is alive.
    source : str
        The Python code that runs it, one line or a few for each instruction.
    run : callable
        Does it.
    """

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program, self.layout = program, layout
        self.arrays = self._bind()
        self.names = Names()
        self.lines = self._all_lines()
        copies = [
            f"{self.names(program.backend.xp.copyto, 'copyto')}({self.names(leaf.data, 'leaf')}, "
            f"{self.names(self.arrays[v], 'y')})"
            for leaf, v in layout.copies.items()
        ]
        body = [line for lines in self.lines for line in lines] + copies
        self.source = "\n".join(body)
        self.run: Callable[[], None] = self.function("def run():", body)["run"]

    def _all_lines(self) -> list[list[str]]:
        """Return the lines of every instruction; those of a chain stand at its first."""
        lines: list[list[str]] = []
        for position, i in enumerate(self.program.instructions):
            chain = next((c for c in self.program.chains if c[0] <= position < c[1]), None)
            if chain is None:
                lines.append(self._lines(i))
            else:
                lines.append(self._chain(chain) if position == chain[0] else [])
        return lines

    def _chain(self, chain: tuple[int, int]) -> list[str]:
        """Return the lines of a chain: a loop over pieces, each a tuple of views of the arrays."""
        members = self.program.instructions[chain[0] : chain[1]]
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
        xp = self.program.backend.xp
        for i in members:
            for v in (*i.inputs, i.output):
                if v in self.layout.pieces:
                    room = self.arrays[v]
                    again[v] = room[: length * row].reshape((length, *shape[1:])) if by_rows else room
                elif v.shape == shape:
                    whole[v] = self.arrays[v] if by_rows else self.arrays[v].reshape(-1)
                elif isinstance(i.op, Maximum | Minimum) and not v.shape and not by_rows:
                    again[v] = xp.full((length,), number_of(v, self.program.backend), v.dtype)
        values = [*whole, *again]
        pieces: list[tuple[Array, ...]] = []
        for start in range(0, total, length):
            end = min(start + length, total)
            parts = [whole[v][start:end] for v in whole] + [again[v][: end - start] for v in again]
            pieces.append(tuple(parts))
        inner: list[str] = []
        for i in members:
            arrays = [pieces[0][values.index(v)] if v in values else self.arrays[v] for v in i.inputs]
            inner.extend(self._emit(i, arrays, pieces[0][values.index(i.output)], in_chain=True))
        targets = ", ".join(self.names(a, "p") for a in pieces[0])
        head = f"for {targets}, in {self.names(pieces, 'pieces')}:"
        return [head, *(f"    {line}" for line in inner)]

    def _emit(self, i: Instruction, inputs: list[Array], out: Array, in_chain: bool = False) -> list[str]:
        backend = self.program.backend
        if backend.name == "numpy":
            return lines_for_numpy(backend, i, inputs, out, self.names, in_chain)
        return lines_for(backend, i, inputs, out, self.names)

    def _lines(self, i: Any) -> list[str]:
        if i.output in self.layout.views:
            return []
        return self._emit(i, [self.arrays[v] for v in i.inputs], self.arrays[i.output])

    def function(self, head: str, body: list[str], **more: Any) -> dict[str, Any]:
        """Return the namespace in which the lines `body` have been defined as a function."""
        space = {**self.names.objects, **more}
        arguments = ", ".join(f"{name}={name}" for name in space)
        text = head.replace("()", f"({arguments})") + "\n" + "\n".join(f"    {line}" for line in body or ["pass"])
        exec(compile(text, "<plan>", "exec"), space)
        return space

    def _bind(self) -> dict[Value, Array]:
        """Make the arena, and an array for every value."""
        program, layout = self.program, self.layout
        backend = program.backend
        arena = Arena(backend, layout.size)
        arrays: dict[Value, Array] = {}

        def array(v: Value) -> Array:
            if v not in arrays:
                if v in layout.offsets:
                    arrays[v] = arena.array(layout.offsets[v], v, v in layout.pieces)
                elif v in layout.homes:
                    arrays[v] = layout.homes[v].data
                else:
                    arrays[v] = v.array
            return arrays[v]

        for v in program.arguments:
            if v in layout.offsets:
                array(v)
        for i in program.instructions:
            inputs = [array(v) for v in i.inputs]
            if i.output in layout.views:
                arrays[i.output] = i.op.forward(backend.xp, *inputs)
            else:
                array(i.output)
        for v in program.results:
            array(v)
        return arrays


class Arena:
    """One piece of memory, and arrays at places in it."""

    def __init__(self, backend: Backend, size: int) -> None:
        self.backend = backend
        self.memory = backend.arena(size)

    def array(self, offset: int, v: Value, piece: bool) -> Array:
        """Return an array of the shape and dtype of `v` at a place, or for one piece of it."""
        shape = (room_of_piece(v),) if piece else v.shape
        return self.backend.array_at(self.memory, offset, shape, v.dtype)
