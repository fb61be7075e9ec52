"""Single rows: a sum or an extreme over axes of length 1 is the entry itself, seen in another shape."""

from __future__ import annotations

import math

from ...ops.reduce import Max, Min, Sum
from ...ops.shape import Reshape
from ..program import Instruction, Program


def view_single_rows(program: Program) -> Program:
    """Return the program without reductions over axes of length 1."""
    return program.rewritten(
        Instruction(Reshape(i.output.shape), i.inputs, i.output) if _joins_nothing(i) else i
        for i in program.instructions
    )


def _joins_nothing(i: Instruction) -> bool:
    return isinstance(i.op, Sum | Max | Min) and math.prod(i.output.shape) == math.prod(i.inputs[0].shape) > 0
