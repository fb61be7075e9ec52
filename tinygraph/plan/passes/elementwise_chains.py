"""Elementwise chains: operations on the entries of large arrays go through them together, piece by piece.

What one writes the next then finds in the cache, and what only the chain needs takes no more than a piece.
"""

from __future__ import annotations

from dataclasses import replace

from ...ops.elementwise import Equal, Greater, GreaterEqual, Less, LessEqual, Maximum, Minimum, NotEqual
from ..memory import ENTRY_BY_ENTRY, PIECE
from ..program import Instruction, Program, Value

SMALLEST = 1 << 17  # entries from which arrays are too large to stay in the cache
WINDOW = 64  # instructions that are looked through for the next member of a chain
MEMBERS = (*ENTRY_BY_ENTRY, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual)


def chain_elementwise(program: Program) -> Program:
    """Return the program with elementwise operations on large arrays of one shape side by side, and so marked."""
    left = list(program.instructions)
    done: list[Instruction] = []
    chains: list[tuple[int, int]] = []
    while left:
        if not _fits(left[0], left[0].output.shape):
            done.append(left.pop(0))
            continue
        members, others, rest = _gather(left)
        done.extend(others)
        if len(members) > 1:
            chains.append((len(done), len(done) + len(members)))
        done.extend(members)
        left = rest
    return replace(program.rewritten(done), chains=tuple(chains))


def _gather(left: list[Instruction]) -> tuple[list[Instruction], list[Instruction], list[Instruction]]:
    """Return the chain that begins with the first instruction, what can run before it, and the rest in order."""
    shape = left[0].output.shape
    members: list[Instruction] = []
    others: list[Instruction] = []
    late: list[Instruction] = []
    from_members: set[Value] = set()  # what members make, and what has to wait for it
    for i in left[:WINDOW]:
        waits = any(v in from_members for v in i.inputs)
        after_late = any(i2.output in i.inputs for i2 in late)
        if _fits(i, shape) and not after_late:
            members.append(i)
            from_members.add(i.output)
        elif waits or after_late:
            late.append(i)
            from_members.add(i.output)
        else:
            others.append(i)
    return members, others, late + left[WINDOW:]


def _fits(i: Instruction, shape: tuple[int, ...]) -> bool:
    """Whether an instruction can go through arrays of a shape piece by piece."""
    return (
        isinstance(i.op, MEMBERS)
        and i.output.shape == shape
        and i.output.size >= SMALLEST
        and all(v.shape in (shape, ()) or (v.shape == shape[-1:] and shape[-1] <= PIECE) for v in i.inputs)
        and not i.op.view
        and not (isinstance(i.op, Maximum | Minimum) and any(not v.shape and v.kind != "constant" for v in i.inputs))
    )
