"""Lowering: every operation is replaced by the primitives that it is made of, as its recording found them."""

from __future__ import annotations

from ..program import Instruction, Program


def lower(program: Program) -> Program:
    """Return the program with the parts of operations in their places; what has none is kept whole."""
    done: list[Instruction] = []
    for i in program.instructions:
        done += i.parts or (i,)
    return program.rewritten(done)
