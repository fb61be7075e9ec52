"""Primitives as expressions in C, for backends that make one kernel of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .primitives import PRIMITIVES
from .program import Instruction

C_TYPES: dict[np.dtype[Any], str] = {
    np.dtype(kind): text
    for kind, text in (
        (np.float32, "float"),
        (np.float64, "double"),
        (np.bool_, "bool"),
        (np.int8, "signed char"),
        (np.int32, "int"),
        (np.int64, "long long"),
        (np.uint8, "unsigned char"),
        (np.uint64, "unsigned long long"),
    )
}


def has_c_expression(i: Instruction) -> bool:
    """Whether `c_expression` knows the operation, for these dtypes."""
    dtypes = [v.dtype for v in (*i.inputs, i.output)]
    if i.kind not in PRIMITIVES or not i.output.size or any(d not in C_TYPES for d in dtypes):
        return False
    kind, of = i.output.dtype.kind, PRIMITIVES[i.kind].of
    if of == "any":
        return True
    if kind == "b" or any(d != i.output.dtype and d.kind != "b" for d in dtypes):
        return False  # truth values count as 0 and 1
    return of == "numbers" or kind == "f"


def c_expression(i: Instruction, *operands: str) -> str:
    """Return the element of the output, given those of the inputs as text."""
    primitive, out = PRIMITIVES[i.kind], i.output.dtype
    if primitive.of == "any":
        return primitive.c.format(*operands)
    alike = [x if v.dtype == out else f"({C_TYPES[out]}){x}" for x, v in zip(operands, i.inputs, strict=True)]
    return primitive.c.format(*alike)


def c_literal(value: Any, dtype: np.dtype[Any]) -> str:
    """Return a number of a dtype as it is written in C, exactly."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind in "iu":
        return f"({C_TYPES[dtype]}){int(value)}{'ULL' if dtype.kind == 'u' else 'LL'}"
    number = float(value)
    if math.isnan(number):
        return f"({C_TYPES[dtype]})(1e300 * 1e300 * 0.0)"
    if math.isinf(number):
        return f"({C_TYPES[dtype]})({'-' * (number < 0)}1e300 * 1e300)"
    text = number.hex() + "f" * (dtype == np.float32)
    return f"({text})" if text.startswith("-") else text
