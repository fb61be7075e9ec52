"""Dead code: what nothing reads is not computed."""

from __future__ import annotations

from ..program import Instruction, Program


def remove_dead_code(program: Program) -> Program:
    """Return the program without the instructions that no result depends on."""
    wanted = set(program.results)
    kept: list[Instruction] = []
    for i in reversed(program.instructions):
        if i.output in wanted:
            kept.append(i)
            wanted.update(i.inputs)
    return program.rewritten(reversed(kept))
