"""Dead code: what nothing reads is not computed, unless it may do something besides."""

from __future__ import annotations

from ..program import Instruction, Program


def remove_dead_code(program: Program) -> Program:
    """Return the program without the instructions that no result and nothing opaque depends on."""
    wanted = set(program.results)
    kept: list[Instruction] = []
    for i in reversed(program.instructions):
        if i.output in wanted or i.is_opaque:
            kept.append(i)
            wanted.update(i.inputs)
    return program.rewritten(reversed(kept))
