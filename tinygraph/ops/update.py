"""The step that every optimiser takes."""

from __future__ import annotations

from typing import Any

from ..backend import Array
from ..op import ElementwiseOp, Gradient, documents
from ..tensor import Operand, Tensor


class Descend(ElementwiseOp):
    """A step against a direction: ``y = p - mu d``."""

    rule = "dp = dy, dmu = -dy d, dd = -dy mu"

    def forward(self, xp: Any, p: Array, mu: Array, d: Array, out: Array | None = None) -> Array:
        return xp.subtract(p, mu * d, out=out)

    def backward(self, dy: Tensor, y: Tensor, p: Tensor, mu: Tensor, d: Tensor) -> tuple[Gradient, ...]:
        return dy, lambda: -(dy * d), lambda: -(dy * mu)


_descend = Descend()


@documents(Descend)
def descend(p: Operand, mu: Operand, d: Operand) -> Tensor:
    """Return ``p - mu d``: a step of length `mu` against the direction `d`."""
    return _descend(p, mu, d)
