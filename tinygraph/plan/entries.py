"""Operations on matching entries as expressions in C, for backends that make one kernel of several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import Op
from ..ops.activation import Tanh
from ..ops.elementwise import (
    Abs,
    Add,
    Cast,
    Divide,
    Equal,
    Erf,
    Exp,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Log,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    NotEqual,
    Power,
    Sign,
    Sqrt,
    Square,
    Subtract,
    Where,
)
from .operations import Copy, Function
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

# Of numbers, whole or not, to numbers of the same kind.
ARITHMETIC: dict[type[Op], str] = {
    Add: "{0} + {1}",
    Subtract: "{0} - {1}",
    Multiply: "{0} * {1}",
    Negative: "-{0}",
    Square: "{0} * {0}",
    Maximum: "larger({0}, {1})",
    Minimum: "smaller({0}, {1})",
    Sign: "{0} > 0 ? 1 : {0} < 0 ? -1 : {0}",  # 0 and NaN stay what they are
}
# Of numbers with fractions.
FLOATING: dict[type[Op], str] = {
    Divide: "{0} / {1}",
    Power: "pow({0}, {1})",
    Exp: "exp({0})",
    Log: "log({0})",
    Sqrt: "sqrt({0})",
    Tanh: "tanh({0})",
    Erf: "erf({0})",
    Abs: "fabs({0})",
}
FUNCTIONS = ("log1p", "expm1", "tanh")  # those of `Function` that C calls by the same name
# Of entries of any kind.
OTHERS: dict[type[Op], str] = {
    Less: "{0} < {1}",
    LessEqual: "{0} <= {1}",
    Greater: "{0} > {1}",
    GreaterEqual: "{0} >= {1}",
    Equal: "{0} == {1}",
    NotEqual: "{0} != {1}",
    Where: "{0} ? {1} : {2}",
    Cast: "{0}",
    Copy: "{0}",
}


def writes(i: Instruction) -> bool:
    """Whether `expression` knows the operation, for these dtypes."""
    dtypes = [v.dtype for v in (*i.inputs, i.output)]
    if not i.output.size or any(d not in C_TYPES for d in dtypes):
        return False
    kind = i.output.dtype.kind
    if type(i.op) in OTHERS:
        return True
    if kind == "b" or any(d != i.output.dtype and d.kind != "b" for d in dtypes):
        return False  # truth values count as 0 and 1
    return type(i.op) in ARITHMETIC or (kind == "f" and _floating(i.op) is not None)


def expression(i: Instruction, *operands: str) -> str:
    """Return what an entry of the output is, given those of the inputs as text."""
    if type(i.op) in OTHERS:
        return OTHERS[type(i.op)].format(*operands)
    template = ARITHMETIC.get(type(i.op)) or _floating(i.op)
    assert template is not None, i.op.name  # `writes` was asked before
    out = i.output.dtype
    alike = [x if v.dtype == out else f"({C_TYPES[out]}){x}" for x, v in zip(operands, i.inputs, strict=True)]
    return template.format(*alike)


def _floating(op: Op) -> str | None:
    if isinstance(op, Function):
        return f"{op.function}({{0}})" if op.function in FUNCTIONS else None
    return FLOATING.get(type(op))


def literal(value: Any, dtype: np.dtype[Any]) -> str:
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
