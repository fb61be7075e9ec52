"""Running a program over and over: its arrays, made once, and the code that works on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import Array, Backend
from .kernels import Names, Writer
from .kernels_cuda import CudaWriter
from .kernels_numpy import NumpyWriter
from .memory import Layout, room_of_piece
from .program import Program, Value

WRITERS: dict[str, type[Writer]] = {"numpy": NumpyWriter, "cupy": CudaWriter}


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
        backend = program.backend
        writer = WRITERS.get(backend.name, Writer)(backend, layout, self.arrays, self.names)
        self.lines = self._all_lines(writer)
        copies = [line for leaf, v in layout.copies.items() for line in writer.copy(leaf.data, self.arrays[v])]
        body = [line for lines in self.lines for line in lines] + copies
        self.source = "\n".join(body)
        self.run: Callable[[], None] = writer.finish(self.function("def run():", body)["run"])

    def _all_lines(self, writer: Writer) -> list[list[str]]:
        """Return the lines of every instruction; those of a chain stand at its first."""
        instructions = self.program.instructions
        chains = dict(self.program.chains)
        lines: list[list[str]] = []
        end = 0
        for position, i in enumerate(instructions):
            if position in chains:
                end = chains[position]
                lines.append(writer.chain(instructions[position:end]))
            elif position < end or i.output in self.layout.views:
                lines.append([])
            else:
                lines.append(writer.instruction(i))
        return lines

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
