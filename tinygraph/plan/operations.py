"""Operations that exist only in plans: what passes turn the public ones into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..op import ElementwiseOp, Op


class Copy(ElementwiseOp):
    """The same entries in other memory."""

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return x.copy()


@dataclass(frozen=True)
class Function(ElementwiseOp):
    """A function of the backend that no public operation is: ``log1p``, ``expm1``."""

    function: str

    @property
    def label(self) -> str:
        """The function's name."""
        return self.function

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        return getattr(xp, self.function)(*arrays, out=out)


@dataclass(frozen=True)
class Gemm(Op):
    """A product that is scaled and added to something: ``y = alpha s a b + beta t c``.

    Inputs are the matrices a and b, then, if they are there: c, of a shape that broadcasts to that of y; s; and t,
    numbers with no axes that are known only when it runs.
    """

    transpose_a: bool = False
    transpose_b: bool = False
    alpha: float = 1.0
    beta: float = 0.0
    adds: bool = False  # whether there is a c
    scales: bool = False  # whether there is an s
    decays: bool = False  # whether there is a t

    @property
    def label(self) -> str:
        """The formula: ``-0.1 s a' b + c``."""
        product = f"a{chr(39) * self.transpose_a} b{chr(39) * self.transpose_b}"
        text = f"{_factor(self.alpha)}{'s ' * self.scales}{product}"
        return f"{text} + {_factor(self.beta)}{'t ' * self.decays}c" if self.adds else text

    def split(self, inputs: tuple[Any, ...]) -> tuple[Any, Any, Any, Any, Any]:
        """Return a, b, c, s and t; None for what is not there."""
        rest = iter(inputs[2:])
        c, s, t = (next(rest) if there else None for there in (self.adds, self.scales, self.decays))
        return inputs[0], inputs[1], c, s, t

    def forward(self, xp: Any, *arrays: Array, out: Array | None = None) -> Array:
        a, b, c, s, t = self.split(arrays)
        y = xp.matmul(a.T if self.transpose_a else a, b.T if self.transpose_b else b) * self.alpha
        y = y if s is None else y * s
        if c is not None:
            y = y + c * self.beta if t is None else y + c * self.beta * t
        return y


def _factor(number: float) -> str:
    return "" if number == 1 else "- " if number == -1 else f"{number:.4g} "
