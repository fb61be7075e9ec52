"""Numbers among the arguments that change at every call, such as an annealed factor: inputs of a plan."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import CompileError
from ..tensors import Tensor

NUMBERS = (int, float, np.floating, np.integer)


def may_be_input(x: object) -> bool:
    """Whether an argument is a number that may become an input."""
    return isinstance(x, NUMBERS) and type(x) in (int, float, getattr(x, "dtype", np.dtype(bool)).type)


class NumberInput:
    """Stands for a number while a function is recorded: arithmetic is noted, and done on Python numbers at each call.

    Parameters
    ----------
    name : str
        How the function reaches the number among its arguments.
    compute : callable
        Returns the number, given the numbers among the arguments by their positions.
    """

    __array_ufunc__ = None  # operators of NumPy's arrays give way to those here

    def __init__(self, name: str, compute: Callable[[Mapping[int, object]], object], refusals: list[str]) -> None:
        self.name, self.compute, self.refusals = name, compute, refusals

    __class__: Any = property(lambda self: float)  # for `isinstance`

    def refuse(self, how: str) -> NoReturn:
        """Say that the function does something with the number that a plan cannot do at each call."""
        self.refusals.append(self.name)
        raise CompileError(f"compile: the function {how}: the number {self.name!r}")

    def __getattr__(self, name: str) -> object:
        self.refuse(f"reads the attribute {name} of an argument")


def _arithmetic(function: Callable[..., object], swapped: bool = False) -> Callable[..., object]:
    def call(self: NumberInput, *others: object) -> Any:
        if any(type(x) is Tensor for x in others):
            return NotImplemented  # the tensor's own operator has its turn
        for x in others:
            if type(x) is not NumberInput and not isinstance(x, (*NUMBERS, np.bool_)):
                self.refuse(f"does arithmetic with an argument and a {type(x).__name__}")
        operands = (*others, self) if swapped else (self, *others)

        def compute(numbers: Mapping[int, object]) -> Any:
            return function(*(x.compute(numbers) if type(x) is NumberInput else x for x in operands))

        return NumberInput(self.name, compute, self.refusals)

    return call


def _refused(name: str) -> Callable[..., object]:
    return lambda self, *others: self.refuse(f"calls {name} of an argument")


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(NumberInput, f"__{_name}__", _arithmetic(getattr(operator, _name)))
    setattr(NumberInput, f"__r{_name}__", _arithmetic(getattr(operator, _name), swapped=True))
for _name in ("neg", "pos", "abs"):
    setattr(NumberInput, f"__{_name}__", _arithmetic(getattr(operator, _name)))
for _name in (
    *("bool", "float", "int", "index", "complex", "round", "trunc", "floor", "ceil", "divmod", "rdivmod", "array"),
    *("eq", "ne", "lt", "le", "gt", "ge", "str", "repr", "format", "hash", "copy", "deepcopy", "reduce_ex"),
):
    setattr(NumberInput, f"__{_name}__", _refused(f"__{_name}__"))
