"""A plan: a program after the passes and the memory it runs in, as an object to look at."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import Any, Unpack

import numpy as np

from ..describe import count_text, shown, table
from ..drawing import Options, View
from ..errors import GraphError
from ..graphs import Graph
from ..measured import Measured
from ..notebook import HTML, Displayed, html_table
from .arenas import Arenas
from .kernels import CodeGenerator
from .kernels_cuda import CudaCodeGenerator
from .kernels_native import NativeCodeGenerator
from .kernels_numpy import NumpyCodeGenerator
from .listing import names_of, nodes_of
from .memory import keep_results_apart, lay_out
from .native import machine
from .passes import IN_PLACE, NAMES, rewrite
from .program import Instruction, Program, Value
from .roofline import Roofline, roofline

GENERATORS: dict[str, type[CodeGenerator]] = {"numpy": NumpyCodeGenerator, "cupy": CudaCodeGenerator}
PRODUCTS = ("matmul", "gemm", "neighborhood_matmul", "edge_product")


class Plan(Displayed):
    """What a compiled function runs for arguments of one kind.

    Attributes
    ----------
    program : Program
        Its instructions, after the passes.
    traced : Program
        As they were recorded.
    passes : tuple of str
        The names of the passes that made one of the other.
    """

    def __init__(self, traced: Program, passes: Collection[str] | None = None, arenas: Arenas | None = None) -> None:
        self.passes = NAMES if passes is None else tuple(name for name in NAMES if name in passes)
        self.traced = traced
        self.program = keep_results_apart(rewrite(traced, self.passes))
        self.layout = lay_out(self.program, IN_PLACE in self.passes)
        self.memory = (arenas or Arenas())(traced.backend, self.layout.size)
        self.replay = self._generated()

    def _generated(self) -> CodeGenerator:
        name, arena = self.traced.backend.name, self.memory.arena
        native = machine() if name == "numpy" else None
        if native is not None:
            return NativeCodeGenerator(self.program, self.layout, arena, native)
        return GENERATORS.get(name, CodeGenerator)(self.program, self.layout, arena)

    def run(self) -> None:
        """Replay it once, on what its arguments' memory holds."""
        self.memory.holds = self
        self.replay.run()

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The Python code of a replay."""
        return self.replay.source

    @property
    def flops(self) -> int:
        """Floating-point operations of one replay."""
        return sum(flops(i) for i in self.program.instructions if i.output not in self.layout.views)

    @property
    def bytes(self) -> int:
        """Bytes of memory a plan holds besides the leaves it works on: the arena, where places are shared."""
        return self.layout.size

    @property
    def bytes_without_sharing(self) -> int:
        """Bytes that the recorded run's results take if each has memory of its own."""
        results = [i.output for i in self.traced.instructions if not i.op.view]
        return sum(v.nbytes for v in (*self.traced.arguments, *results))

    def __len__(self) -> int:
        """Return how many instructions a replay runs; views need none."""
        return sum(i.output not in self.layout.views for i in self.program.instructions)

    def __repr__(self) -> str:
        return f"Plan({len(self)} instructions, {count_text(self.flops, ' flops')}, {count_text(self.bytes, 'B')})"

    def __str__(self) -> str:
        return f"{table(self._rows())}\n{self._totals()}"

    def _display(self) -> dict[str, str]:
        return {HTML: html_table(self._rows(), title="Plan", below=self._totals())}

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the instructions as a table, with its head."""
        names = names_of(self.program)
        rows: list[tuple[str, ...]] = [("", "result", "shape", "instruction", "of", "flops", "bytes", "in")]
        for i in self.program.instructions:
            if i.output in self.layout.views:
                continue
            inputs = ", ".join(names[v] for v in i.inputs)
            facts = (count_text(flops(i)), count_text(traffic(i)))
            place = self._place(i.output, names)
            rows.append((str(len(rows)), names[i.output], _shape(i.output), shown(i.op.label), inputs, *facts, place))
        for leaf, v in self.layout.copies.items():
            name, moved = shown(leaf.name or "leaf"), count_text(2 * v.nbytes)
            rows.append((str(len(rows)), name, _shape(v), "copy", names[v], "0", moved, "leaf"))
        return rows

    def _totals(self) -> str:
        memory = (
            f"{count_text(self.bytes, 'B')} of memory, {count_text(self.bytes_without_sharing, 'B')} without sharing"
        )
        steps = len(self) + len(self.layout.copies)
        return f"{steps} instructions, {count_text(self.flops, ' flops')}, {memory}"

    def _place(self, v: Value, names: dict[Value, str]) -> str:
        if v in self.layout.written_in_place:
            leaf = self.layout.written_in_place[v]
            old = next((s for s in self.program.states() if s.leaf is leaf), None)
            return f"leaf {shown(leaf.name or '') if old is None else names[old]}".strip()
        if v not in self.layout.offsets:
            return "register"
        return ("tile" if v in self.layout.tiles else "arena") + f" +{self.layout.offsets[v]}"

    def graph(self) -> Graph:
        """Return the instructions as a graph, to list, sum up and draw; with their times: `Profile.graph`."""
        return Graph(nodes_of(self.program).values())

    def render(self, path: str | Path, **options: Unpack[Options]) -> Path:
        """Draw the instructions to a file that ends in .svg, .png, .pdf or .dot; return its path.

        Options are those of `Graph.render`; for `color_by="time"` the plan is run, see `profile`.
        """
        graph = self.profile().graph() if options.get("color_by") == "time" else self.graph()
        return graph.render(path, **options)

    # -- how long it takes ------------------------------------------------------------------------------

    def profile(self, repeats: int = 30) -> Profile:
        """Return how long each instruction takes: the median over replays on the latest arguments.

        What leaves hold is put back afterwards.

        Parameters
        ----------
        repeats : int
            How many replays are timed, after three that are not.

        Raises
        ------
        GraphError
            If the latest arguments are gone, since another plan of the function has run in the same memory.
        """
        if self.memory.holds is not self:
            raise GraphError(
                "profile: another plan of the function ran last; call it with arguments for this one first"
            )
        backend = self.program.backend
        before = [(leaf, leaf.data.copy()) for leaf in self.program.stores]
        lines = self.replay.lines
        timed = [position for position, body in enumerate(lines) if body]
        body: list[str] = ["_ = _now()"]
        for slot, position in enumerate(timed):
            body += [*lines[position], "_synchronize()", "_t = _now()", f"_times[{slot}].append(_t - _)", "_ = _now()"]
        times: list[list[float]] = [[] for _ in timed]
        space = self.replay.function(
            "def timed():", body, _now=time.perf_counter, _times=times, _synchronize=backend.synchronize
        )
        try:
            with np.errstate(all="ignore"):  # what lies in the place of an argument by now is computed with again
                for _ in range(repeats + 3):
                    space["timed"]()
        finally:
            for leaf, data in before:
                backend.xp.copyto(leaf.data, data)
        seconds = {self.program.instructions[p]: median(t[3:]) for p, t in zip(timed, times, strict=True)}
        return Profile(self, seconds, roofline(backend))


class Profile(Displayed):
    """Seconds of each instruction of a plan, beside what the machine can do.

    Attributes
    ----------
    seconds : dict of Instruction to float
        A fusion group counts as its first.
    roofline : Roofline
        Measured on this machine.
    """

    def __init__(self, plan: Plan, seconds: dict[Instruction, float], limits: Roofline) -> None:
        self.plan, self.seconds, self.roofline = plan, seconds, limits

    @property
    def total(self) -> float:
        """Seconds of a replay, as the sum of its instructions."""
        return sum(self.seconds.values())

    @property
    def in_products(self) -> float:
        """The share of the time that products of matrices take."""
        return sum(t for i, t in self.seconds.items() if i.kind in PRODUCTS) / (self.total or 1.0)

    def __repr__(self) -> str:
        return f"Profile({self.total * 1e6:.1f} us, {len(self.seconds)} instructions)"

    def __str__(self) -> str:
        return f"{table(self._rows())}\n{self._totals()}"

    def _display(self) -> dict[str, str]:
        return {HTML: html_table(self._rows(), numbers=4, title="Profile", below=self._totals())}

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the instructions as a table, with its head, the slowest first."""
        names = names_of(self.plan.program)
        rows: list[tuple[str, ...]] = [("result", "instruction", "shape", "us", "share", "GFLOP/s", "GB/s")]
        for i, t in sorted(self.seconds.items(), key=lambda item: -item[1]):
            members = self._members(i)
            work, moved = sum(map(flops, members)), sum(map(traffic, members))
            label = shown(i.op.label) if len(members) == 1 else f"{len(members)} fused, from {shown(i.op.label)}"
            rates = (f"{work / t / 1e9:.1f}", f"{moved / t / 1e9:.1f}")
            rows.append((names[i.output], label, _shape(i.output), f"{t * 1e6:.1f}", f"{t / self.total:.0%}", *rates))
        return rows

    def _totals(self) -> str:
        limits = self.roofline
        return (
            f"{self.total * 1e6:.1f} us, {self.in_products:.0%} of it in products; this machine: "
            f"{limits.gflops:.0f} GFLOP/s ({limits.dtype} product of 1024 x 1024 matrices), "
            f"{limits.gigabytes:.0f} GB/s (copy of 64 MB)"
        )

    def graph(self) -> Graph:
        """Return the plan's instructions as a graph whose colours tell their times; see `Graph.render`."""
        measured: dict[Value, Measured] = {}
        for i, seconds in self.seconds.items():
            members = self._members(i)
            measured |= {x.output: Measured(seconds=seconds, together=len(members)) for x in members}
        return Graph(nodes_of(self.plan.program, measured).values(), view=View(color_by="time"))

    def _members(self, i: Instruction) -> tuple[Instruction, ...]:
        """Return what the lines of an instruction compute: it, and those after it that have no lines."""
        instructions, lines = self.plan.program.instructions, self.plan.replay.lines
        first = instructions.index(i)
        end = next((n for n in range(first + 1, len(lines)) if lines[n]), len(lines))
        return tuple(x for x in instructions[first:end] if x.output not in self.plan.layout.views)


def flops(i: Instruction) -> int:
    """Return the floating-point operations of an instruction: two for each multiplication with addition."""
    op: Any = i.op
    if i.kind in ("matmul", "gemm"):
        return 2 * i.output.size * i.inputs[0].shape[-2 if op.transpose_a else -1]
    if i.kind in PRODUCTS:
        return 2 * int(op.neighborhoods.n_edges) * i.inputs[0].shape[0]
    if i.op.view or i.output.dtype.kind != "f":
        return 0
    return max(i.output.size, *(v.size for v in i.inputs))


def traffic(i: Instruction) -> int:
    """Return the bytes an instruction reads and writes."""
    return i.output.nbytes + sum(v.nbytes for v in dict.fromkeys(i.inputs))


def _shape(v: Value) -> str:
    return " x ".join(map(str, v.shape)) or "1"
