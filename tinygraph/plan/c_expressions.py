"""Primitives as expressions in C, for backends that make one kernel of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..typing import DType
from .primitives import PRIMITIVES, dtypes_of
from .program import Instruction

C_TYPES: dict[np.dtype[Any], str] = {
    np.dtype(kind): text
    for kind, text in (
        (np.float32, "float"),
        (np.float64, "double"),
        (np.bool_, "bool"),
        (np.int8, "signed char"),
        (np.int16, "short"),
        (np.int32, "int"),
        (np.int64, "long long"),
        (np.uint8, "unsigned char"),
        (np.uint16, "unsigned short"),
        (np.uint32, "unsigned int"),
        (np.uint64, "unsigned long long"),
    )
}
WRAPPING = ("add", "subtract", "multiply", "negative", "square")  # of whole numbers, modulo a power of two


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
    """Return the element of the output, given those of the inputs as text.

    Operands meet in the dtypes in which NumPy computes; C would compare int64 and float32 in float32, say.
    """
    primitive, out = PRIMITIVES[i.kind], i.output.dtype
    dtypes = [v.dtype for v in i.inputs]
    if i.kind in ("cast", "copy"):
        return primitive.c.format(*operands)
    if primitive.of == "any":
        wanted = list(dtypes_of(i.kind, tuple(dtypes))[:-1])
        if primitive.compares and wanted[0] != wanted[-1]:
            return _compared_by_sign(primitive.c, wanted[0].kind == "i", *operands)
    else:
        wanted = [out] * len(dtypes)
    alike = [x if d == w else f"({C_TYPES[w]}){x}" for x, d, w in zip(operands, dtypes, wanted, strict=True)]
    if out.kind in "iu" and i.kind in WRAPPING:  # a result beyond a signed type is undefined in C
        unsigned = C_TYPES[np.dtype(np.uint64 if out.itemsize == 8 else np.uint32)]
        return f"({C_TYPES[out]})({primitive.c.format(*(f'({unsigned}){x}' for x in alike))})"
    return primitive.c.format(*alike)


def _compared_by_sign(c: str, first_is_signed: bool, a: str, b: str) -> str:
    """Return the comparison of int64 with uint64, or of uint64 with int64, for which C has no common type."""
    unsigned = C_TYPES[np.dtype(np.uint64)]
    if first_is_signed:
        return f"{a} < 0 ? {c.format(a, 0)} : {c.format(f'({unsigned}){a}', b)}"
    return f"{b} < 0 ? {c.format(0, b)} : {c.format(a, f'({unsigned}){b}')}"


def c_literal(value: float, dtype: DType) -> str:
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
