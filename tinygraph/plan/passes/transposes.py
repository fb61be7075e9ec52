"""Transposes: a product reads a transposed matrix as it lies in memory."""

from __future__ import annotations

from dataclasses import replace

from ...ops.matmul import MatMul
from ...ops.shape import Transpose
from ..program import Instruction, Program


def fold_transposes(program: Program) -> Program:
    """Return the program with transposes of matrices taken into the products that read them."""
    makers = program.makers()
    kept: list[Instruction] = []
    for i in program.instructions:
        if isinstance(i.op, MatMul) and all(len(v.shape) == 2 for v in i.inputs):
            for position, flag in enumerate(("transpose_a", "transpose_b")):
                source = makers.get(i.inputs[position])
                if source is not None and isinstance(source.op, Transpose) and source.op.axes in (None, (1, 0)):
                    inputs = list(i.inputs)
                    inputs[position] = source.inputs[0]
                    i = Instruction(replace(i.op, **{flag: not getattr(i.op, flag)}), tuple(inputs), i.output)
        kept.append(i)
    return program.rewritten(kept)
