"""Sums of scaled matrices, taken apart: the common ground of the passes that fold things into products."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...ops.elementwise import Add, Multiply, Negative, Subtract
from ...ops.matmul import MatMul
from ...ops.reduce import Sum
from ..operations import ColumnSums, Combined, Gemm
from ..program import Builder, Instruction, Program, Value
from .constant_folding import scaled

ADD, MULTIPLY = Add(), Multiply()


Part = tuple[Value, float, tuple[Value, ...]]  # what, times a number, times numbers known at run time


@dataclass
class Term:
    """One addend: ``factor`` times numbers known at run time, ``scales``, times ``value``."""

    value: Value
    factor: float = 1.0
    scales: tuple[Value, ...] = ()


@dataclass
class Combination:
    """A sum of terms, and the instructions that computed it and nothing else."""

    terms: list[Term] = field(default_factory=list)
    inner: list[Instruction] = field(default_factory=list)


def combination(program: Program, v: Value, makers: dict[Value, Instruction], uses: dict[Value, int]) -> Combination:
    """Take `v` apart into a sum, through instructions whose result nothing else reads."""
    found = Combination()
    left: list[Part] = [(v, 1.0, ())]
    while left:
        value, factor, scales = left.pop()
        i = makers.get(value)
        if i is not None and (value is v or uses.get(value) == 1) and value.dtype.kind == "f":
            parts = _parts(program, i, factor, scales)
            if parts is not None and all(p[0].dtype == v.dtype for p in parts):
                found.inner.append(i)
                left.extend(reversed(parts))
                continue
        found.terms.append(Term(value, factor, scales))
    return found


def _parts(program: Program, i: Instruction, factor: float, scales: tuple[Value, ...]) -> list[Part] | None:
    """Return the addends of one instruction, scaled; None if it is no sum and no scaling."""
    if isinstance(i.op, Add | Subtract):
        sign = 1.0 if isinstance(i.op, Add) else -1.0
        return [(i.inputs[0], factor, scales), (i.inputs[1], factor * sign, scales)]
    if isinstance(i.op, Negative | Multiply):
        by_number = scaled(program, i.op, i.inputs)
        if by_number is not None and by_number[0].shape == i.output.shape:
            return [(by_number[0], factor * by_number[1], scales)]
    if isinstance(i.op, Multiply):
        for x, s in (i.inputs, i.inputs[::-1]):
            if not s.shape and x.shape and s.kind != "constant":
                return [(x, factor, (*scales, s))]
    return None


def is_product(program: Program, term: Term, makers: dict[Value, Instruction], uses: dict[Value, int]) -> bool:
    """Whether a term is a product of matrices, or a sum of rows, that nothing else reads and nothing was added to."""
    i = makers.get(term.value)
    if i is None or uses.get(term.value) != 1 or i.output.dtype.kind != "f":
        return False
    if isinstance(i.op, MatMul):
        return all(len(v.shape) == 2 for v in i.inputs)
    if isinstance(i.op, Sum):
        return len(i.inputs[0].shape) == 2 and i.op.axis == 0 and not i.op.keepdims
    return isinstance(i.op, Gemm) and not (i.op.adds or i.op.scales)


def gemm(build: Builder, product: Instruction, term: Term, others: list[Term], output: Value) -> None:
    """Append ``term + sum of others`` to `build` as one product; the others have one value in common."""
    inner = product.op
    alpha = term.factor * (inner.alpha if isinstance(inner, Gemm) else 1.0)
    extra: list[Value] = []
    beta, decays = 0.0, False
    if others:
        extra.append(others[0].value)
        fixed = sum(t.factor for t in others if not t.scales)
        moving = [t for t in others if t.scales]
        beta = fixed if not moving else 1.0
    s = scale(build, term.scales)
    if s is not None:
        extra.append(s)
    if others and moving:
        decays = True
        parts = [build(MULTIPLY, scale(build, t.scales), t.factor) for t in moving]  # type: ignore[arg-type]
        total = parts[0]
        for part in parts[1:]:
            total = build(ADD, total, part)
        extra.append(build(ADD, total, fixed) if fixed else total)
    settings: dict[str, Any] = {
        "alpha": alpha,
        "beta": beta,
        "adds": bool(others),
        "scales": s is not None,
        "decays": decays,
    }
    op: Combined
    if isinstance(inner, MatMul | Gemm):
        op = Gemm(**settings, transpose_a=inner.transpose_a, transpose_b=inner.transpose_b)
    else:
        op = ColumnSums(**settings)
    build(op, *product.inputs, *extra, output=output)


def scale(build: Builder, scales: tuple[Value, ...]) -> Value | None:
    """Return the product of numbers known at run time; None if there are none."""
    if not scales:
        return None
    total = scales[0]
    for s in scales[1:]:
        total = build(MULTIPLY, total, s)
    return total


def count_uses(program: Program) -> dict[Value, int]:
    """Return how often each value is read, results of the program counted as read."""
    uses: dict[Value, int] = {}
    for i in program.instructions:
        for v in i.inputs:
            uses[v] = uses.get(v, 0) + 1
    for v in program.results:
        uses[v] = uses.get(v, 0) + 1
    return uses
