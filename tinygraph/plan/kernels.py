"""A program bound to memory: its arrays, made once, and lines of Python that work on them, which a replay runs.

The generator here calls each operation's own `forward` and works for any backend; `kernels_numpy` and
`kernels_cuda` know their arrays better.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from keyword import iskeyword
from typing import Any

from ..op import Op
from ..typing import Array
from .memory import TILE, Layout, in_order, tile_size
from .operations import Affine, Elementwise, Gemm
from .program import Instruction, Program, Value, number_of


def product_of(i: Instruction) -> Affine | None:
    """Return an operation as a product that may be scaled and added to; None if it is none."""
    op: Any = i.op
    if i.kind == "matmul" and all(len(v.shape) == 2 for v in i.inputs):
        return Gemm(transpose_a=op.transpose_a, transpose_b=op.transpose_b)
    return op if isinstance(op, Affine) else None


@lru_cache(maxsize=1024)
def _as_identifier(text: str) -> str:
    """Return a text as a name that begins with a letter."""
    clean = re.sub(r"\W", "_", text, flags=re.ASCII)
    return clean if clean[:1].isalpha() and not iskeyword(clean) else f"v{clean}"


@lru_cache(maxsize=1024)
def _takes_out(forward: Callable[..., object]) -> bool:
    """Whether an operation's `forward` takes the array to write to."""
    return "out" in inspect.signature(forward).parameters


class Names:
    """Names for the objects that generated code uses; the same object has one name.

    They begin with a letter: names that begin otherwise are free for the code itself.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def __call__(self, thing: object, hint: str) -> str:
        """Return the name of an object, chosen after `hint`."""
        name = self._names.get(id(thing))
        if name is None:
            name = clean = _as_identifier(hint)
            while name in self.objects:
                name = f"{clean}_{len(self.objects)}"
            self._names[id(thing)] = name
            self.objects[name] = thing
        return name


class CodeGenerator:
    """The code of a replay.

    Attributes
    ----------
    arrays : dict of Value to array
        Where each value is while it is alive.
    lines : list of list of str
        The Python code of each instruction; that of a fusion group stands at its first.
    source : str
        All of it.
    run : callable
        Does it.
    """

    def __init__(self, program: Program, layout: Layout, arena: object) -> None:
        self.program, self.layout, self.backend = program, layout, program.backend
        self.arrays = self._bind(arena)
        self.names = Names()
        copies = (self.copy(leaf.data, self.arrays[v]) for leaf, v in layout.copies.items())
        *self.lines, copied = self.arranged([*self._all_lines(), [line for lines in copies for line in lines]])
        body = [line for lines in (*self.lines, copied) for line in lines]
        self.source = "\n".join(body)
        self.run: Callable[[], None] = self.finish(self.function("def run():", body)["run"])

    def _bind(self, arena: object) -> dict[Value, Array]:
        """Make an array for every value."""
        program, layout, backend = self.program, self.layout, self.backend
        arrays: dict[Value, Array] = {}

        def bind(v: Value) -> Array:
            if v not in arrays:
                if v in layout.offsets:
                    shape = (tile_size(v),) if v in layout.tiles else v.shape
                    arrays[v] = backend.array_at(arena, layout.offsets[v], shape, v.dtype)
                else:
                    arrays[v] = layout.written_in_place[v].data if v in layout.written_in_place else v.array
            return arrays[v]

        for v in program.arguments:
            if v in layout.offsets:
                bind(v)
        for i in program.instructions:
            inputs = [bind(v) for v in i.inputs]
            if i.output in layout.views:
                arrays[i.output] = i.op.forward(backend.xp, *inputs)
            else:
                bind(i.output)
        for v in program.results:
            bind(v)
        return arrays

    def _all_lines(self) -> list[list[str]]:
        instructions = self.program.instructions
        groups = dict(self.program.groups)
        lines: list[list[str]] = []
        end = 0
        for position, i in enumerate(instructions):
            if position in groups:
                end = groups[position]
                lines.append(self.group(instructions[position:end]))
            elif position < end or i.output in self.layout.views:
                lines.append([])
            else:
                lines.append(self.instruction(i))
        return lines

    def function(self, head: str, body: list[str], **more: object) -> dict[str, Any]:
        """Return the namespace in which the lines `body` have been defined as a function."""
        space = {**self.names.objects, **more}
        text = head + "\n" + "\n".join(f"    {line}" for line in body or ["pass"])
        exec(compile(text, "<plan>", "exec"), space)
        return space

    # -- what a backend may do better --------------------------------------------------------------------

    def instruction(self, i: Instruction) -> list[str]:
        """Return the lines that run an instruction."""
        return self.call(i, [self.arrays[v] for v in i.inputs], self.arrays[i.output])

    def call(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool = False) -> list[str]:
        """Return the lines that run an instruction on these arrays; in a group they stand for those of every tile."""
        if i.kind in ("copy", "broadcast_to"):
            return self.copy(out, inputs[0])
        if i.kind == "reshape":
            return self.copy(out.reshape(inputs[0].shape), inputs[0])
        return self.computed(i, inputs, out, in_group)

    def computed(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool) -> list[str]:
        """Return the lines of `call` for an instruction that does more than move elements."""
        op = i.op
        run = self._gemm(op) if isinstance(op, Gemm) and not (op.has_s or op.has_t) else self.forward(op)
        return [self.line(run, op.name, *inputs, out)]

    def group(self, members: Sequence[Instruction]) -> list[str]:
        """Return the lines of a fusion group: a loop over tiles, each a tuple of views of the arrays."""
        shape = members[0].output.shape
        inputs = [v for i in members for v in i.inputs]
        by_rows = shape != () and any(
            v.shape not in (shape, ()) or v in self.layout.views or not in_order(self.arrays[v]) for v in inputs
        )
        size, row = members[0].output.size, math.prod(shape[1:])
        length = min(shape[0], max(1, TILE // row)) if by_rows else min(size, TILE)
        total = shape[0] if by_rows else size
        whole: dict[Value, Array] = {}  # arrays of which each tile sees a part
        again: dict[Value, Array] = {}  # arrays of which each tile sees the beginning
        for i in members:
            for v in (*i.inputs, i.output):
                if v in self.layout.tiles:
                    buffer = self.arrays[v]
                    again[v] = buffer[: length * row].reshape((length, *shape[1:])) if by_rows else buffer
                elif v.shape == shape:
                    whole[v] = self.arrays[v] if by_rows else self.arrays[v].reshape(-1)
                elif i.kind in ("maximum", "minimum") and not v.shape and not by_rows:
                    again[v] = self.backend.xp.full((length,), number_of(v, self.backend), v.dtype)
        values = [*whole, *again]
        tiles: list[tuple[Array, ...]] = []
        for start in range(0, total, length):
            end = min(start + length, total)
            parts = [whole[v][start:end] for v in whole] + [again[v][: end - start] for v in again]
            tiles.append(tuple(parts))
        first = dict(zip(values, tiles[0], strict=True))
        inner = [
            line
            for i in members
            for line in self.call(i, [first.get(v, self.arrays[v]) for v in i.inputs], first[i.output], in_group=True)
        ]
        if len(tiles) == 1:
            return inner
        targets = ", ".join(self.names(a, "p") for a in tiles[0])
        return [f"for {targets}, in {self.names(tiles, 'tiles')}:", *(f"    {line}" for line in inner)]

    def copy(self, target: Array, source: Array) -> list[str]:
        """Return the lines that write the elements of `source` to `target`."""
        return [self.line(self.backend.xp.copyto, "copyto", target, source)]

    def arranged(self, lines: list[list[str]]) -> list[list[str]]:
        """Return the lines of each instruction, and last of the copies to leaves, as they are run."""
        return lines

    def finish(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return what a replay calls, now that all lines are written and `run` runs them."""
        return run

    def packed(self, a: Array, lines: list[str]) -> Array:
        """Return an array whose elements lie one after the other; append the lines that copy if they did not."""
        if a.flags.c_contiguous:
            return a
        packed = self.backend.xp.zeros(a.shape, a.dtype)
        lines += self.copy(packed, a)
        return packed

    # -- lines -------------------------------------------------------------------------------------------

    def line(self, function: object, hint: str, *arguments: object) -> str:
        """Return a call; texts among the arguments stand as they are, arrays get names."""
        texts = (a if isinstance(a, str) else self.names(a, "a") for a in arguments)
        return f"{self.names(function, hint)}({', '.join(texts)})"

    def literal(self, value: object) -> str:
        """Return a fixed value as Python writes it, or a name for what Python writes otherwise: infinity, say."""
        items = value if type(value) is tuple else (value,)
        written = all(x is None or type(x) in (int, bool) or (type(x) is float and math.isfinite(x)) for x in items)
        return repr(value) if written else self.names(value, "fixed")

    def forward(self, op: Op) -> Callable[..., None]:
        """Return a function that computes an operation by its own `forward`, and writes it to its last argument."""
        xp, forward = self.backend.xp, op.forward
        chooses = isinstance(op, Elementwise) and op.function == "where"
        takes_out = not chooses and _takes_out(type(op).forward)

        def run(*arrays: Array) -> None:
            *inputs, out = arrays
            result = forward(xp, *inputs, out=out) if takes_out else forward(xp, *inputs)
            if result is not out:
                xp.copyto(out, result)

        return run

    def _gemm(self, op: Gemm) -> Callable[..., None]:
        """Return a function that computes a product with fixed factors in the memory of the result."""
        backend = self.backend

        def run(a: Array, b: Array, *others: Array) -> None:
            *c, out = others
            if c and c[0] is not out:
                backend.xp.copyto(out, c[0])
            a, b = a.T if op.transpose_a else a, b.T if op.transpose_b else b
            backend.gemm(a, b, out, op.alpha, op.beta if c else 0.0)

        return run
