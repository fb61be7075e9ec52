"""Where the values of a program are kept: in leaves, in each other's memory, or at a place in one arena.

Liveness decides: a place is free again after the last instruction that reads what is there. A value that a leaf
takes at the end is written into the leaf itself as soon as nothing wants the old content any more.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace

from ..tensors import Tensor
from ..typing import Array
from .operations import Affine, Copy
from .primitives import PRIMITIVES
from .program import Instruction, Program, Value

ALIGNMENT = 64  # bytes: a cache line
TILE = 1 << 14  # elements that a fusion group goes through at a time
ORDERED = ("reshape", "identity")  # views whose elements lie as they did


@dataclass
class Layout:
    """Where everything is.

    Attributes
    ----------
    size : int
        Bytes of the arena.
    offsets : dict of Value to int
        Places in the arena.
    views : dict of Value to Instruction
        Values that are another value's memory, and the instruction that says how.
    written_in_place : dict of Value to Tensor
        Values written into the memory of a leaf.
    copies : dict of Tensor to Value
        Leaves that take a value by a copy at the end.
    tiles : set of Value
        Values that only a fusion group reads: they have room for one tile, or none on a backend that fuses.
    """

    size: int = 0
    offsets: dict[Value, int] = field(default_factory=dict)
    views: dict[Value, Instruction] = field(default_factory=dict)
    written_in_place: dict[Value, Tensor] = field(default_factory=dict)
    copies: dict[Tensor, Value] = field(default_factory=dict)
    tiles: set[Value] = field(default_factory=set)


def keep_results_apart(program: Program) -> Program:
    """Return the program with copies of results that lie in the memory of a leaf which takes another value.

    A result that is what a leaf held at the start, or a view of it, would otherwise be overwritten before it is read.
    """
    base, _ = _bases(program, Layout())
    changing = {id(leaf.data) for leaf in program.stores}
    copies: list[Instruction] = []

    def apart(v: Value) -> Value:
        source = base.get(v, v)
        if source.kind != "state" or id(source.array) not in changing:
            return v
        copies.append(Instruction(Copy(), (v,), Value(v.shape, v.dtype, name=v.name, scope=v.scope)))
        return copies[-1].output

    outputs = tuple(apart(v) for v in program.outputs)
    stores = {leaf: apart(v) for leaf, v in program.stores.items()}
    if not copies:
        return program
    return replace(program, instructions=(*program.instructions, *copies), outputs=outputs, stores=stores)


def lay_out(program: Program, in_place: bool = True) -> Layout:
    """Return where the values of `program` are kept.

    Parameters
    ----------
    in_place : bool
        Whether outputs may be written over inputs that are read for the last time.
    """
    layout = Layout()
    base, scattered = _bases(program, layout)
    end = len(program.instructions)
    group_end = {p: end for first, end in program.groups for p in range(first, end)}
    last: dict[Value, int] = {}
    for position, i in enumerate(program.instructions):
        for v in i.inputs:
            # An element may be read after another one of the same operation or group is written where it lies.
            source = base.get(v, v)
            moved = v in scattered or v.size != source.size
            if position in group_end:
                own = v.size == i.output.size and (i.kind in PRIMITIVES or may_overwrite(i, v))
                read = position if own and not moved else group_end[position]
            else:
                read = position + (moved and i.kind in PRIMITIVES)
            last[source] = max(read, last.get(source, 0))
    for v in program.outputs:
        last[base.get(v, v)] = end
    _store(program, layout, base, last, in_place)
    for v in layout.copies.values():
        last[base.get(v, v)] = end
    _find_tiles(program, layout, base)
    _place(program, layout, last, in_place)
    return layout


def views_of(program: Program) -> set[Value]:
    """Return the values that are other values' memory."""
    return set(_bases(program, Layout())[0])


def _bases(program: Program, layout: Layout) -> tuple[dict[Value, Value], set[Value]]:
    """Tell which values are views; return for each the value whose memory it is, and which values are scattered."""
    base: dict[Value, Value] = {}
    scattered = {v for v in program.states() if not in_order(v.array)}  # whose elements do not lie one after the other
    for i in program.instructions:
        if not i.op.view:
            continue
        x = i.inputs[0]
        moved = i.kind not in ORDERED and i.output.size > 1
        if not moved and x in scattered and i.output.shape != x.shape:
            continue  # a new shape of elements that are scattered: a copy
        layout.views[i.output] = i
        base[i.output] = base.get(x, x)
        if moved or x in scattered:
            scattered.add(i.output)
    return base, scattered


def _store(program: Program, layout: Layout, base: dict[Value, Value], last: dict[Value, int], in_place: bool) -> None:
    """Decide which values are written into leaves, and which are copied there at the end."""
    makers = {i.output: position for position, i in enumerate(program.instructions)}
    states = {id(v.array): v for v in program.states()}
    for leaf, value in program.stores.items():
        old = states.get(id(leaf.data))
        position = makers.get(value, -1)
        free = old is None or last.get(old, -1) < position  # an old value that nobody reads counts as read before
        if old is not None and not free and in_place and last.get(old, -1) == position:
            free = may_overwrite(program.instructions[position], old)
        if (
            position >= 0
            and value not in base
            and free
            and value not in layout.written_in_place
            and in_order(leaf.data)
        ):
            layout.written_in_place[value] = leaf
        else:
            layout.copies[leaf] = value


def tile_size(v: Value) -> int:
    """Return how many elements a tile of `v` has at most: `TILE`, or a row if that is more."""
    return min(v.size, max(TILE, math.prod(v.shape[1:])))


def in_order(array: Array) -> bool:
    """Whether the elements of an array lie one after the other, the last axis fastest."""
    flags = getattr(array, "flags", None)
    return flags is None or bool(flags.c_contiguous)


def _find_tiles(program: Program, layout: Layout, base: dict[Value, Value]) -> None:
    """Find the values that are made and read in one fusion group, and nowhere else."""
    readers = program.readers()
    wanted = set(program.results) | set(base.values())
    for first, end in program.groups:
        members = set(program.instructions[first:end])
        for i in members:
            v = i.output
            if v not in wanted and v not in layout.written_in_place and set(readers.get(v, ())) <= members:
                layout.tiles.add(v)


def may_overwrite(i: Instruction, x: Value) -> bool:
    """Whether the output of an instruction may be written over its input `x` while it runs."""
    if x not in i.inputs or not x.like(i.output):
        return False
    if isinstance(i.op, Affine):
        return i.inputs.count(x) == 1 and x is i.op.split(i.inputs)[1]
    if i.kind == "where":
        return i.inputs.count(x) == 1 and x is i.inputs[2]
    return i.kind in PRIMITIVES and PRIMITIVES[i.kind].in_place


class _Arena:
    """Places in one piece of memory: each is taken where it fits best, and given back."""

    def __init__(self) -> None:
        self.top = 0  # nothing is taken from here on
        self.size = 0  # the most that `top` has been
        self._gaps: list[tuple[int, int]] = []  # the free places below, (length, start), the shortest first
        self._starts: dict[int, int] = {}  # their ends, by where they start
        self._ends: dict[int, int] = {}  # their starts, by where they end

    def take(self, length: int) -> int:
        """Return the start of a free place: in the shortest gap that is long enough, or on top."""
        k = bisect_left(self._gaps, (length, 0))
        if k == len(self._gaps):
            start, self.top = self.top, self.top + length
            self.size = max(self.size, self.top)
            return start
        gap, start = self._gaps[k]
        self._remove(start, start + gap)
        if gap > length:
            self._add(start + length, start + gap)
        return start

    def give_back(self, start: int, end: int) -> None:
        """Free a place; it becomes one with the free places beside it."""
        if start == end:
            return
        if start in self._ends:
            before = self._ends[start]
            self._remove(before, start)
            start = before
        if end in self._starts:
            after = self._starts[end]
            self._remove(end, after)
            end = after
        if end == self.top:
            self.top = start
        else:
            self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        insort(self._gaps, (end - start, start))
        self._starts[start], self._ends[end] = end, start

    def _remove(self, start: int, end: int) -> None:
        del self._gaps[bisect_left(self._gaps, (end - start, start))], self._starts[start], self._ends[end]


def _place(program: Program, layout: Layout, last: dict[Value, int], in_place: bool) -> None:
    """Give places in the arena to arguments and results, each from where it is made to where it is last read."""
    ends: dict[int, list[Value]] = {}
    group_end = {p: end - 1 for first, end in program.groups for p in range(first, end)}
    taken: dict[Value, tuple[int, int]] = {}  # offset and end of what is alive
    arena = _Arena()

    def put(v: Value) -> None:
        size = tile_size(v) if v in layout.tiles else v.size
        length = -(-size * v.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        start = arena.take(length)
        taken[v] = start, start + length
        layout.offsets[v] = start

    for v in program.arguments:
        if v in last:
            put(v)
            ends.setdefault(group_end.get(last[v], last[v]), []).append(v)
    for position, i in enumerate(program.instructions):
        y = i.output
        in_register = y in layout.tiles and program.backend.fuses
        if y not in layout.views and y not in layout.written_in_place and not in_register:
            inherited = next(
                (
                    x
                    for x in i.inputs
                    if in_place
                    and x in taken
                    and last[x] == position
                    and ((x in layout.tiles) == (y in layout.tiles) or tile_size(x) == x.size)
                    and may_overwrite(i, x)
                ),
                None,
            )
            if inherited is not None:
                taken[y] = taken.pop(inherited)
                layout.offsets[y] = layout.offsets[inherited]
            else:
                put(y)
            final = last.get(y, position)
            ends.setdefault(group_end.get(final, final), []).append(y)
        for x in ends.pop(position, []):
            if x in taken:
                arena.give_back(*taken.pop(x))
    layout.size = arena.size
