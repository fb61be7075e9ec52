"""Updates: the product that makes a gradient is added to the weights as it is computed (65.82).

``W <- (1 - 2 mu rho) W - (mu / B) Y' D`` is one call of BLAS with alpha and beta, in place; so is a momentum.
"""

from __future__ import annotations

from ...ops.elementwise import Add, Multiply
from ..program import Builder, Instruction, Program, Value
from .linear import Term, combination, count_uses, gemm, is_product, scale

ADD, MULTIPLY = Add(), Multiply()


def fold_updates(program: Program) -> Program:
    """Return the program with products taken into the sums of matrices that leaves take."""
    makers, uses = program.makers(), count_uses(program)
    replaced: dict[Value, list[Instruction]] = {}
    gone: set[Value] = set()
    for leaf, v in program.stores.items():
        if v not in makers or v in replaced:
            continue
        sum_of = combination(program, v, makers, uses)
        product = next((t for t in sum_of.terms if is_product(program, t, makers, uses)), None)
        if product is None:
            continue
        others = [t for t in sum_of.terms if t is not product]
        if any(t.value.shape != v.shape for t in others):
            continue
        old = [t for t in others if t.value.kind == "state" and t.value.array is leaf.data]
        rest = [t for t in others if t not in old]
        build = Builder(program.backend, v.scope)
        if not old and rest:
            old = [t for t in rest if t.value is rest[0].value]
            rest = [t for t in rest if t not in old]
        target = v if not rest else Value(v.shape, v.dtype, name=v.name, scope=v.scope)
        gemm(build, makers[product.value], product, old, target)
        _add(build, target, rest, v)
        replaced[v] = build.instructions
        gone.update(i.output for i in sum_of.inner)
        gone.add(product.value)
    kept: list[Instruction] = []
    for i in program.instructions:
        if i.output in replaced:
            kept.extend(replaced[i.output])
        elif i.output not in gone:
            kept.append(i)
    return program.rewritten(kept)


def _add(build: Builder, total: Value, rest: list[Term], output: Value) -> None:
    """Append the sum of `total` and the terms that are left."""
    for position, t in enumerate(rest, 1):
        s = scale(build, t.scales)
        part = t.value if s is None else build(MULTIPLY, t.value, s)
        part = part if t.factor == 1.0 else build(MULTIPLY, part, t.factor)
        total = build(ADD, total, part, output=output if position == len(rest) else None)
