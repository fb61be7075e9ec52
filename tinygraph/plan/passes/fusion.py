"""Fusion groups: operations on matching elements of arrays go through them together.

Tile by tile, if the arrays are large: what one writes the next then finds in the cache, and what only the group
needs takes no more than a tile. Or as one kernel, on backends that fuse, or as one compiled loop: what only the group
needs is in registers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..memory import TILE
from ..primitives import PRIMITIVES
from ..program import Instruction, Program, Value
from .kernel_groups import group_into_kernels

SMALLEST = 1 << 17  # elements from which arrays are too large to stay in the cache
EXACT = {"add", "subtract", "multiply", "divide", "negative", "square", "sqrt"}  # of which small groups are made, too
WINDOW = 64  # instructions that are looked through for the next member of a group


def fuse_elementwise(program: Program) -> Program:
    """Return the program with elementwise operations on large arrays of one shape side by side, and so marked."""
    if program.backend.fuses:
        return group_into_kernels(program)
    done: list[Instruction] = []
    groups: list[tuple[int, int]] = []
    for group in _groups(program.instructions):
        if len(group) > 1:
            groups.append((len(done), len(done) + len(group)))
        done.extend(group)
    return replace(program.rewritten(done), groups=tuple(groups))


def _groups(instructions: Iterable[Instruction]) -> Iterator[list[Instruction]]:
    """Yield groups and single instructions, in an order of evaluation."""
    remaining = deque(instructions)
    while remaining:
        first = remaining.popleft()
        shape = first.output.shape
        if not _fits_tiles(first, shape):
            yield [first]
            continue
        window = [first, *(remaining.popleft() for _ in range(min(WINDOW - 1, len(remaining))))]
        before, members, late = _gather(window, shape)
        yield from _groups(before)
        yield members
        remaining.extendleft(reversed(late))


def _gather(window: list[Instruction], shape: tuple[int, ...]) -> tuple[list[Instruction], ...]:
    """Return what has to run before the group that begins with the first instruction, the group, and what comes after.

    Everything else stays behind, so that its result need not be kept for longer. Opaque instructions stay in order.
    """
    members: list[Instruction] = []
    made: set[Value] = set()  # by members
    waiting: set[Value] = set()  # what has to wait for members
    opaque_waits = False
    for i in window:
        if _fits_tiles(i, shape) and waiting.isdisjoint(i.inputs):
            members.append(i)
            made.add(i.output)
        elif not waiting.isdisjoint(i.inputs) or not made.isdisjoint(i.inputs) or (opaque_waits and i.is_opaque):
            waiting.add(i.output)
            opaque_waits |= i.is_opaque
    if window[0].output.size < SMALLEST:
        members = next(part for part in parts_of(members) if window[0] in part)
    group = set(members)
    before: list[Instruction] = []
    wanted = {v for i in members for v in i.inputs}
    opaque_before = False
    for i in reversed(window):
        if i not in group and i.output not in waiting and (i.output in wanted or (opaque_before and i.is_opaque)):
            before.append(i)
            wanted.update(i.inputs)
            opaque_before |= i.is_opaque
    before.reverse()
    group.update(before)
    return before, members, [i for i in window if i not in group]


def parts_of(members: Sequence[Instruction]) -> list[list[Instruction]]:
    """Return the parts of a group that share no value which one of them makes, each in order."""
    parts: list[tuple[set[Value], list[Instruction]]] = []
    for i in members:
        joined = [part for part in parts if not part[0].isdisjoint(i.inputs)]
        parts = [part for part in parts if part not in joined]
        outputs = {i.output}.union(*(part[0] for part in joined))
        parts.append((outputs, [*(x for part in joined for x in part[1]), i]))
    order = {i: n for n, i in enumerate(members)}
    return [sorted(part, key=order.__getitem__) for _, part in parts]


def is_exact(i: Instruction) -> bool:
    """Whether an instruction is arithmetic of one floating dtype that is rounded as the standard says, and cheap.

    A loop that does several of these in one pass has the same bits.
    """
    dtype = i.output.dtype
    return i.kind in EXACT and dtype.char in "fd" and all(v.dtype == dtype for v in i.inputs)


def _fits_tiles(i: Instruction, shape: tuple[int, ...]) -> bool:
    """Whether an instruction can go through arrays of a shape tile by tile."""
    return (
        i.kind in PRIMITIVES
        and PRIMITIVES[i.kind].ufunc
        and i.output.shape == shape
        and (i.output.size >= SMALLEST or (i.output.size > 0 and is_exact(i)))
        and all(v.shape in (shape, ()) or (v.shape == shape[-1:] and shape[-1] <= TILE) for v in i.inputs)
        and not (i.kind in ("maximum", "minimum") and any(not v.shape and v.kind != "constant" for v in i.inputs))
    )
