"""Operations that exist only in plans: what passes turn the public ones into. Gradients are taken before that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..op import ElementwiseOp, Op


class Copy(ElementwiseOp):
    """The same entries in other memory."""

    differentiable = False

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return x.copy()


@dataclass(frozen=True)
class Function(ElementwiseOp):
    """A function of the backend that no public operation is: ``log1p``, ``expm1``."""

    differentiable = False

    function: str

    @property
    def label(self) -> str:
        """The function's name."""
        return self.function

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        return getattr(xp, self.function)(*arrays, out=out)


@dataclass(frozen=True)
class Dot(Op):
    """The sum of the products of matching entries, scaled: ``y = factor sum(a b)``."""

    differentiable = False

    factor: float = 1.0

    @property
    def label(self) -> str:
        """The formula: ``-0.1 sum(a b)``."""
        return f"{_factor(self.factor)}sum(a b)"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.sum(a * b) * self.factor


@dataclass(frozen=True)
class Combined(Op):
    """Something computed from the first inputs, x, scaled and added to something: ``y = alpha s x + beta t c``.

    The other inputs are, if they are there: c, of a shape that broadcasts to that of y; s; and t, numbers with no
    axes that are known only when it runs.
    """

    differentiable = False

    alpha: float = 1.0
    beta: float = 0.0
    adds: bool = False  # whether there is a c
    scales: bool = False  # whether there is an s
    decays: bool = False  # whether there is a t

    def split(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what x is computed from, then c, s and t; None for what is not there."""
        raise NotImplementedError

    def rest(self, inputs: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Return c, s and t; None for what is not there."""
        left = iter(inputs)
        c, s, t = (next(left) if there else None for there in (self.adds, self.scales, self.decays))
        return c, s, t

    def combined(self, x: Array, c: Array, s: Array, t: Array) -> Array:
        """Return ``alpha s x + beta t c``."""
        y = x * self.alpha
        y = y if s is None else y * s
        if c is None:
            return y
        return y + (c * self.beta if t is None else c * self.beta * t)

    def formula(self, x: str) -> str:
        """Return the formula in words, with `x` for what is computed."""
        text = f"{_factor(self.alpha)}{'s ' * self.scales}{x}"
        sign = "-" if self.beta < 0 else "+"
        return f"{text} {sign} {_factor(abs(self.beta))}{'t ' * self.decays}c" if self.adds else text


@dataclass(frozen=True)
class Gemm(Combined):
    """A product of two matrices, the first inputs, scaled and added to something: ``y = alpha s a b + beta t c``."""

    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def label(self) -> str:
        """The formula: ``-0.1 s a' b + c``."""
        return self.formula(f"a{chr(39) * self.transpose_a} b{chr(39) * self.transpose_b}")

    def split(self, inputs: tuple[Any, ...]) -> tuple[Any, Any, Any, Any, Any]:
        """Return a, b, c, s and t; None for what is not there."""
        return inputs[0], inputs[1], *self.rest(inputs[2:])

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        a, b, *rest = self.split(arrays)
        return self.combined(xp.matmul(a.T if self.transpose_a else a, b.T if self.transpose_b else b), *rest)


@dataclass(frozen=True)
class ColumnSums(Combined):
    """The sum of the rows of a matrix, scaled and added to something: ``y = alpha s sum(a) + beta t c``."""

    @property
    def label(self) -> str:
        """The formula: ``s sum(a) + c``."""
        return self.formula("sum(a)")

    def split(self, inputs: tuple[Any, ...]) -> tuple[Any, Any, Any, Any]:
        """Return a, c, s and t; None for what is not there."""
        return inputs[0], *self.rest(inputs[1:])

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        a, *rest = self.split(arrays)
        return self.combined(xp.sum(a, axis=0), *rest)


def _factor(number: float) -> str:
    return "" if number == 1 else "- " if number == -1 else f"{number:.4g} "
