"""Bias: ``y W - theta`` is one product that starts from ``-theta``; so is any product with a factor or an addend."""

from __future__ import annotations

import numpy as np

from ..program import Builder, Instruction, Program, Value
from .linear import combination, count_uses, gemm, is_product


def fold_bias(program: Program) -> Program:
    """Return the program with biases, addends and factors taken into products."""
    makers, uses = program.makers(), count_uses(program)
    replaced: dict[Value, list[Instruction]] = {}
    gone: set[Value] = set()
    for i in reversed(program.instructions):
        v = i.output
        if v in gone or len(v.shape) != 2:
            continue
        sum_of = combination(program, v, makers, uses)
        products = [t for t in sum_of.terms if is_product(program, t, makers, uses) and t.value is not v]
        if not products or products[0].value.shape != v.shape:
            continue
        product = products[0]
        others = [t for t in sum_of.terms if t is not product]
        if others and any(t.value is not others[0].value for t in others):
            continue
        if others and np.broadcast_shapes(others[0].value.shape, v.shape) != v.shape:
            continue
        build = Builder(program.backend, v.scope)
        gemm(build, makers[product.value], product, others, v)
        replaced[v] = build.instructions
        gone.update(j.output for j in sum_of.inner)
        gone.add(product.value)
    kept: list[Instruction] = []
    for i in program.instructions:
        if i.output in replaced:
            kept.extend(replaced[i.output])
        elif i.output not in gone:
            kept.append(i)
    return program.rewritten(kept)
