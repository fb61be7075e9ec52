"""The elementwise functions that plans know, one a row: how C writes each, and what NumPy can do with it.

A new one needs its row here, and is then fused, written in place and folded like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from ..typing import DType


@dataclass(frozen=True)
class Primitive:
    """A function of matching elements.

    Attributes
    ----------
    c : str
        The element of the result in C; ``{0}``, ``{1}``, ... are those of the operands.
    of : {"floats", "numbers", "any"}
        The dtypes for which that is so: floating, all numbers, or truth values as well.
    ufunc : bool
        Whether NumPy has it under the same name as a ufunc, which takes ``out``.
    compares : bool
        Whether its result is a truth value, of operands that meet in a dtype of their own.
    """

    c: str
    of: Literal["floats", "numbers", "any"] = "floats"
    ufunc: bool = True
    compares: bool = False

    @property
    def in_place(self) -> bool:
        """Whether the result may be written over an operand of the same shape and dtype while it is read."""
        return self.ufunc and not self.compares


def _of_floats(*names: str) -> dict[str, Primitive]:
    return {name: Primitive(f"{name}({{0}})") for name in names}


def _comparison(sign: str) -> Primitive:
    return Primitive(f"{{0}} {sign} {{1}}", "any", compares=True)


PRIMITIVES: dict[str, Primitive] = {
    "add": Primitive("{0} + {1}", "numbers"),
    "subtract": Primitive("{0} - {1}", "numbers"),
    "multiply": Primitive("{0} * {1}", "numbers"),
    "divide": Primitive("{0} / {1}"),
    "negative": Primitive("-{0}", "numbers"),
    "square": Primitive("{0} * {0}", "numbers"),
    "power": Primitive("pow({0}, {1})"),
    "maximum": Primitive("larger({0}, {1})", "numbers"),
    "minimum": Primitive("smaller({0}, {1})", "numbers"),
    "sign": Primitive("{0} > 0 ? 1 : {0} < 0 ? -1 : {0}", "numbers"),  # 0 and NaN stay what they are
    "abs": Primitive("fabs({0})"),
    "erf": Primitive("erf({0})", ufunc=False),
    **_of_floats("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh"),
    "less": _comparison("<"),
    "less_equal": _comparison("<="),
    "greater": _comparison(">"),
    "greater_equal": _comparison(">="),
    "equal": _comparison("=="),
    "not_equal": _comparison("!="),
    "logical_and": Primitive("{0} && {1}", "any", compares=True),
    "logical_or": Primitive("{0} || {1}", "any", compares=True),
    "logical_xor": Primitive("!{0} != !{1}", "any", compares=True),
    "logical_not": Primitive("!{0}", "any", compares=True),
    "where": Primitive("{0} ? {1} : {2}", "any", ufunc=False),
    "cast": Primitive("{0}", "any", ufunc=False),
    "copy": Primitive("{0}", "any", ufunc=False),
}


@cache
def dtypes_of(name: str, operands: tuple[DType | type, ...]) -> tuple[DType, ...]:
    """Return the dtypes in which a primitive takes its operands, and that of its result, by NumPy's rules.

    Parameters
    ----------
    name : str
        Of a primitive that the backend's `xp` has.
    operands : tuple of dtypes, or int and float for Python numbers
        A Python number adapts to the arrays beside it.

    Raises
    ------
    TypeError
        If NumPy has no such function for these dtypes.
    """
    if name == "where":
        result = np.result_type(*(0 if d is int else 0.0 if d is float else d for d in operands[1:]))
        return (np.dtype(bool), result, result, result)
    ufunc: np.ufunc = getattr(np, name) if PRIMITIVES[name].ufunc else np.exp
    return ufunc.resolve_dtypes((*operands, None))
