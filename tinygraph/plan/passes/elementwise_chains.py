"""Elementwise chains: operations on the entries of arrays go through them together.

Piece by piece, if the arrays are large: what one writes the next then finds in the cache, and what only the chain
needs takes no more than a piece. Or as one kernel, on backends that fuse: what only the chain needs is in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ...ops.elementwise import Equal, Greater, GreaterEqual, Less, LessEqual, Maximum, Minimum, NotEqual
from ..entries import writes
from ..memory import ENTRY_BY_ENTRY, PIECE
from ..program import Instruction, Program, Value

SMALLEST = 1 << 17  # entries from which arrays are too large to stay in the cache
WINDOW = 64  # instructions that are looked through for the next member of a chain
Fits = Callable[[Instruction, tuple[int, ...]], bool]
MEMBERS = (*ENTRY_BY_ENTRY, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual)


def chain_elementwise(program: Program) -> Program:
    """Return the program with elementwise operations on large arrays of one shape side by side, and so marked."""
    fits = _fits_kernel if program.backend.fuses else _fits_pieces
    done: list[Instruction] = []
    chains: list[tuple[int, int]] = []
    for group in _groups(list(program.instructions), fits):
        if len(group) > 1:
            chains.append((len(done), len(done) + len(group)))
        done.extend(group)
    return replace(program.rewritten(done), chains=tuple(chains))


def _groups(left: list[Instruction], fits: Fits) -> Iterator[list[Instruction]]:
    """Yield chains and single instructions, in an order of evaluation."""
    while left:
        shape = left[0].output.shape
        if not fits(left[0], shape):
            yield [left.pop(0)]
            continue
        members, others, left = _gather(left, shape, fits)
        yield from _groups(others, fits)
        yield members


def _gather(
    left: list[Instruction], shape: tuple[int, ...], fits: Fits
) -> tuple[list[Instruction], list[Instruction], list[Instruction]]:
    """Return the chain that begins with the first instruction, what can run before it, and the rest in order."""
    members: list[Instruction] = []
    others: list[Instruction] = []
    late: list[Instruction] = []
    from_members: set[Value] = set()  # what members make, and what has to wait for it
    for i in left[:WINDOW]:
        waits = any(v in from_members for v in i.inputs)
        after_late = any(i2.output in i.inputs for i2 in late)
        if fits(i, shape) and not after_late:
            members.append(i)
            from_members.add(i.output)
        elif waits or after_late:
            late.append(i)
            from_members.add(i.output)
        else:
            others.append(i)
    return members, others, late + left[WINDOW:]


def _fits_kernel(i: Instruction, shape: tuple[int, ...]) -> bool:
    """Whether an instruction can be part of a kernel that makes entries of a shape."""
    return writes(i) and i.output.shape == shape


def _fits_pieces(i: Instruction, shape: tuple[int, ...]) -> bool:
    """Whether an instruction can go through arrays of a shape piece by piece."""
    return (
        isinstance(i.op, MEMBERS)
        and i.output.shape == shape
        and i.output.size >= SMALLEST
        and all(v.shape in (shape, ()) or (v.shape == shape[-1:] and shape[-1] <= PIECE) for v in i.inputs)
        and not i.op.view
        and not (isinstance(i.op, Maximum | Minimum) and any(not v.shape and v.kind != "constant" for v in i.inputs))
    )
