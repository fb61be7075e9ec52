"""Masks: which nodes dropout leaves awake (65.120)-(65.124)."""

from __future__ import annotations

from typing import Any

from ..backend import Array
from ..op import ElementwiseOp, Gradient, documents
from ..tensor import Operand, Tensor


class Mask(ElementwiseOp):
    """What a mask of zeros and ones lets through: ``x = y a``."""

    rule = "dy = dx a; da = 0"

    def forward(self, xp: Any, y: Array, a: Array, out: Array | None = None) -> Array:
        return xp.multiply(y, a, out=out)

    def backward(self, dx: Tensor, x: Tensor, y: Tensor, a: Tensor) -> tuple[Gradient, ...]:
        return lambda: mask(dx, a), None


_mask = Mask()


@documents(Mask)
def mask(y: Operand, a: Operand) -> Tensor:
    """Return ``y a``, the signals of awake nodes (65.121), for a mask `a` of zeros and ones whose shape broadcasts."""
    return _mask(y, a)
