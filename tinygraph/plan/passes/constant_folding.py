"""Constant folding: what depends on constants only is computed once, and operations that change nothing go."""

from __future__ import annotations

import numpy as np

from ...op import ElementwiseOp, Op
from ...ops.elementwise import Add, Divide, Multiply, Negative, Subtract
from ...ops.reduce import BroadcastTo
from ...ops.shape import Reshape
from ..program import Instruction, Program, Value, constant, number_of

LARGEST = 1 << 16  # entries of a constant that a plan may hold in the place of an instruction


def fold_constants(program: Program) -> Program:
    """Return the program with constants folded and neutral operations left out."""
    instead: dict[Value, Value] = {}
    kept: list[Instruction] = []
    makers: dict[Value, Instruction] = {}
    xp = program.backend.xp
    for given in program.instructions:
        i = Instruction(given.op, tuple(instead.get(v, v) for v in given.inputs), given.output)
        i = _joined(program, _with_numbers(program, i), makers)
        neutral = _neutral(program, i)
        if neutral is not None:
            instead[i.output] = neutral
        elif i.output.size <= LARGEST and all(v.kind == "constant" for v in i.inputs):
            result = i.op.forward(xp, *(v.array for v in i.inputs))
            host = program.backend.to_host(program.backend.asarray(result)).copy()
            instead[i.output] = constant(program.backend, host)
        else:
            kept.append(i)
            makers[i.output] = i
    return program.rewritten(kept, instead)


def _with_numbers(program: Program, i: Instruction) -> Instruction:
    """Let matrices whose entries are all one number be that number, and factors that are numbers come last."""
    if not isinstance(i.op, ElementwiseOp):
        return i
    inputs = list(i.inputs)
    for position, v in enumerate(inputs):
        number = number_of(v, program.backend) if v.shape else None
        others = [x.shape for x in inputs[:position] + inputs[position + 1 :]]
        if number is not None and others and np.broadcast_shapes(*others) == i.output.shape:
            inputs[position] = constant(program.backend, np.array(number, v.dtype))
    if isinstance(i.op, Multiply | Add) and inputs[0].kind == "constant" and inputs[1].kind != "constant":
        inputs.reverse()
    return i if tuple(inputs) == i.inputs else Instruction(i.op, tuple(inputs), i.output)


def _neutral(program: Program, i: Instruction) -> Value | None:
    """Return the input that the output equals, if there is one."""
    x = i.inputs[0]
    same = x.shape == i.output.shape and x.dtype == i.output.dtype
    if isinstance(i.op, Reshape | BroadcastTo):
        return x if same else None
    if isinstance(i.op, Multiply | Add | Subtract | Divide) and len(i.inputs) == 2:
        a, b = i.inputs
        idle = 1.0 if isinstance(i.op, Multiply | Divide) else 0.0
        if same and number_of(b, program.backend) == idle:
            return a
        if isinstance(i.op, Multiply | Add) and b.shape == i.output.shape and b.dtype == i.output.dtype:
            return b if number_of(a, program.backend) == idle else None
    return None


def _joined(program: Program, i: Instruction, makers: dict[Value, Instruction]) -> Instruction:
    """Join two factors that are numbers, and changes of sign with what they meet: ``(x 2) 3`` is ``x 6``."""
    if isinstance(i.op, Add | Subtract):
        inner = makers.get(i.inputs[1])
        if inner is not None and isinstance(inner.op, Negative):
            op: Op = Add() if isinstance(i.op, Subtract) else Subtract()
            return Instruction(op, (i.inputs[0], inner.inputs[0]), i.output)
        return i
    split = scaled(program, i.op, i.inputs)
    if split is None:
        return i
    x, factor = split
    inner = makers.get(x)
    if inner is None or inner.output.shape != i.output.shape:
        return i
    again = scaled(program, inner.op, inner.inputs)
    if again is None:
        return i
    number = constant(program.backend, i.output.dtype.type(factor * again[1]).reshape(()))
    return Instruction(Multiply(), (again[0], number), i.output)


def scaled(program: Program, op: Op, inputs: tuple[Value, ...]) -> tuple[Value, float] | None:
    """Return x and c for an operation that is ``c x`` with a number c, both floating; None for any other."""
    if isinstance(op, Negative) and inputs[0].dtype.kind == "f":
        return inputs[0], -1.0
    if not isinstance(op, Multiply) or inputs[0].dtype.kind != "f" or inputs[0].dtype != inputs[1].dtype:
        return None
    for x, c in (inputs, inputs[::-1]):
        factor = number_of(c, program.backend) if len(c.shape) <= len(x.shape) else None
        if factor is not None and c.size == 1:
            return x, factor
    return None
