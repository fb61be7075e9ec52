"""What an instruction can be in a CUDA kernel: a function of matching elements, a reduction, or neither.

A thread that computes an element of a result may go on with what is computed of that element alone. So what counts is
which element an instruction reads: arrays of the same lengths, but for axes of length 1, have theirs in one order.
"""

from __future__ import annotations

import math
from typing import Any

from .c_expressions import C_TYPES, c_expression, c_literal, has_c_expression
from .kernels import product_of
from .memory import ORDERED
from .operations import Affine, ColumnSums, Gemm
from .program import Instruction, Value, axes_of

BLOCK = 1024  # threads of the largest block
UNROLLED = 8  # elements that a thread of a reduction loads without waiting
SHORT = 3  # trips to memory, one after the other, for which another block is not worth a launch
REDUCTIONS = ("sum", "prod", "max", "min")


def lengths_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its axes of length 1."""
    return tuple(n for n in shape if n != 1)


def is_element(i: Instruction) -> bool:
    """Whether the elements of the output are expressions in C of single elements of the inputs."""
    if has_c_expression(i):
        return True
    product = _affine(i)
    return product is not None and bool(i.output.size) and reduced_size(i) == 1


def is_reduction(i: Instruction) -> bool:
    """Whether the elements of the output are sums, products or extremes, which a kernel of ours computes."""
    known = all(v.dtype in C_TYPES for v in (*i.inputs, i.output))
    if not known or not i.output.size or is_element(i):
        return False
    if i.kind in REDUCTIONS:
        return i.output.dtype.kind != "b"
    if i.kind == "mean":
        return i.output.dtype.kind == "f" and i.inputs[0].size > 0
    product = _affine(i)
    if isinstance(product, Gemm):
        return 1 in i.output.shape or not reduced_size(i)
    return product is not None


def reduced_axes(i: Instruction) -> tuple[int, ...]:
    """Return the axes of the first input that a reduction or a product of two matrices joins."""
    product: Any = product_of(i)
    if isinstance(product, Gemm):
        return (0 if product.transpose_a else 1,)
    ndim = len(i.inputs[0].shape)
    if product is not None:
        return (0,) if isinstance(product, ColumnSums) else tuple(range(ndim))
    op: Any = i.op
    return axes_of(op.axis, ndim)


def reduced_size(i: Instruction) -> int:
    """Return how many elements, or products, a reduction or a product of two matrices adds up for each of its own."""
    return math.prod(i.inputs[0].shape[a] for a in reduced_axes(i))


def summands(i: Instruction) -> tuple[Value, ...]:
    """Return the inputs of which a reduction reads each element once, so that it may be computed on the way."""
    product = _affine(i)
    if product is None:
        return i.inputs[:1]
    return () if isinstance(product, Gemm) else i.inputs[: product.factors]


def lies_alike(view: Instruction) -> bool:
    """Whether a view has the elements of what it is a view of, in the same order and with the same axes."""
    return view.kind in ORDERED and lengths_of(view.output.shape) == lengths_of(view.inputs[0].shape)


def element_expression(i: Instruction, *operands: str) -> str:
    """Return the element of the output in C, given those of the inputs as text."""
    product = _affine(i)
    if product is None:
        return c_expression(i, *operands)
    factors, c, s, t = product.split(operands)
    return affine_expression(product, i.output, " * ".join(factors), c, s, t)


def affine_expression(op: Affine, out: Value, x: str, c: str | None, s: str | None, t: str | None) -> str:
    """Return ``alpha s x + beta t c`` in C; None for what is not there."""
    alpha, beta = (c_literal(number, out.dtype) for number in (op.alpha, op.beta))
    text = f"({x})" if op.alpha == 1.0 else f"{alpha} * ({x})"
    if s is not None:
        text = f"{s} * {text}" if op.alpha == 1.0 else f"{alpha} * {s} * ({x})"
    if c is None:
        return text
    added = c if op.beta == 1.0 else f"{beta} * {c}"
    if t is not None:
        added = f"{t} * {c}" if op.beta == 1.0 else f"{beta} * {t} * {c}"
    return f"{text} + {added}"


def trips_in_block(m: int, r: int) -> int:
    """Return how often one block waits for memory until it has reduced `r` elements to each of `m`."""
    lanes = lanes_in_block(m, r, BLOCK)
    return -(-m * lanes // BLOCK) * max(1, -(-r // (lanes * UNROLLED)))


def lanes_in_block(m: int, r: int, threads: int) -> int:
    """Return how many threads share an element of the output, where one block computes all `m`."""
    return max(1, min(power_of_two(r), threads // power_of_two(m)))


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def is_short(i: Instruction) -> bool:
    """Whether one block computes an element or a reduction about as fast as many would."""
    if is_element(i):
        return i.output.size <= SHORT * BLOCK
    return trips_in_block(i.output.size, reduced_size(i)) <= SHORT


def _affine(i: Instruction) -> Affine | None:
    """Return the product that an instruction is, if kernels know its dtypes."""
    floating = i.output.dtype.kind == "f" and all(v.dtype in C_TYPES for v in (*i.inputs, i.output))
    return product_of(i) if floating else None
