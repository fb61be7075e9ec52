"""Operations that exist only in plans: what passes turn the public ones into. Gradients are taken before that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..op import Op
from ..typing import Array, Namespace


@dataclass(frozen=True)
class Elementwise(Op):
    """One of the `PRIMITIVES`, by its name."""

    differentiable = False

    function: str

    @property
    def name(self) -> str:  # type: ignore[override]
        """The function's name."""
        return self.function

    @property
    def label(self) -> str:
        """The function's name."""
        return self.function

    def forward(self, xp: Namespace, *arrays: Array, out: Array | None = None) -> Array:
        function = getattr(xp, self.function)
        return function(*arrays) if out is None else function(*arrays, out=out)


class Copy(Op):
    """The same elements in other memory."""

    differentiable = False

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return x.copy()


@dataclass(frozen=True)
class Affine(Op):
    """A product x of the first inputs, scaled and added to something: ``y = alpha s x + beta t c``.

    The other inputs are, if they are there: c, of a shape that broadcasts to that of y; s; and t, numbers with no
    axes that are known only when it runs.
    """

    differentiable = False
    factors: ClassVar[int] = 2  # how many inputs x is made of

    alpha: float = 1.0
    beta: float = 0.0
    has_c: bool = False
    has_s: bool = False
    has_t: bool = False

    def split(self, inputs: tuple[object, ...]) -> tuple[tuple[Any, ...], Any, Any, Any]:
        """Return what x is made of, then c, s and t; None for what is not there."""
        others = iter(inputs[self.factors :])
        c, s, t = (next(others) if there else None for there in (self.has_c, self.has_s, self.has_t))
        return inputs[: self.factors], c, s, t

    def product(self, xp: Namespace, *factors: Array) -> Array:
        """Return x."""
        raise NotImplementedError

    def forward(self, xp: Namespace, *arrays: Array, out: Array | None = None) -> Array:
        factors, c, s, t = self.split(arrays)
        y = self.product(xp, *factors) * self.alpha
        y = y if s is None else y * s
        if c is None:
            return y
        return y + (c * self.beta if t is None else c * self.beta * t)

    @property
    def formula(self) -> str:
        """The product x in words."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """All of it in words: ``-0.1 s a' b + c``."""
        text = f"{_factor(self.alpha)}{'s ' * self.has_s}{self.formula}"
        sign = "-" if self.beta < 0 else "+"
        return f"{text} {sign} {_factor(abs(self.beta))}{'t ' * self.has_t}c" if self.has_c else text


@dataclass(frozen=True)
class Gemm(Affine):
    """The product of two matrices, ``x = a b``."""

    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def formula(self) -> str:
        """The product, with ``'`` for what is transposed."""
        return f"a{chr(39) * self.transpose_a} b{chr(39) * self.transpose_b}"

    def product(self, xp: Namespace, *factors: Array) -> Array:
        a, b = factors
        return xp.matmul(a.T if self.transpose_a else a, b.T if self.transpose_b else b)


@dataclass(frozen=True)
class ColumnSums(Affine):
    """The sum of the rows of a matrix, ``x = sum(a)``: the product of a row of ones with it."""

    factors = 1
    formula = "sum(a)"  # pyright: ignore - a constant for a property

    def product(self, xp: Namespace, *factors: Array) -> Array:
        return xp.sum(factors[0], axis=0)


@dataclass(frozen=True)
class Dot(Affine):
    """The sum of the products of matching elements, ``x = sum(a b)``."""

    formula = "sum(a b)"  # pyright: ignore

    def product(self, xp: Namespace, *factors: Array) -> Array:
        return xp.sum(factors[0] * factors[1])


def _factor(number: float) -> str:
    return "" if number == 1 else "- " if number == -1 else f"{number:.4g} "
