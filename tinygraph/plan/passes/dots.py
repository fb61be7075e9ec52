"""Dots: a sum over all products of two arrays' entries is one call, and makes no array of the products."""

from __future__ import annotations

from ...ops.elementwise import Multiply, Square
from ...ops.reduce import Sum
from ..operations import Dot
from ..program import Instruction, Program, Value
from .constant_folding import scaled
from .linear import count_uses

LARGEST = 1 << 16  # entries of float32; longer sums keep the accuracy of adding in pairs


def fold_dots(program: Program) -> Program:
    """Return the program with sums of products and of squares as dots, a factor after them included."""
    makers, uses = program.makers(), count_uses(program)
    gone: set[Value] = set()
    kept: list[Instruction] = []
    for i in reversed(program.instructions):
        if i.output in gone:
            continue
        factor, total = 1.0, i
        split = scaled(program, i.op, i.inputs)
        if split is not None and uses.get(split[0]) == 1 and split[0] in makers:
            factor, total = split[1], makers[split[0]]
        products = _products(total, makers, uses)
        if products is None:
            kept.append(i)
            continue
        a, b = products
        gone.update((total.output, total.inputs[0]) if total is not i else (total.inputs[0],))
        kept.append(Instruction(Dot(factor), (a, b), i.output))
    return program.rewritten(reversed(kept))


def _products(
    total: Instruction, makers: dict[Value, Instruction], uses: dict[Value, int]
) -> tuple[Value, Value] | None:
    """Return the factors of a sum over all entries of a product that nothing else reads."""
    if not isinstance(total.op, Sum) or total.output.shape or uses.get(total.inputs[0]) != 1:
        return None
    product = makers.get(total.inputs[0])
    if product is None or product.output.dtype.kind != "f":
        return None
    if isinstance(product.op, Square):
        pair = (product.inputs[0], product.inputs[0])
    elif isinstance(product.op, Multiply):
        pair = (product.inputs[0], product.inputs[1])
    else:
        return None
    if product.output.dtype.itemsize < 8 and product.output.size > LARGEST:
        return None
    makes = [makers.get(v) for v in pair]
    plain = all(v.shape == product.output.shape and v.dtype == product.output.dtype for v in pair)
    return pair if plain and not any(m is not None and m.op.view for m in makes) else None
