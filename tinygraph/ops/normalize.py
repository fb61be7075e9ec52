"""Batch normalisation of signals: centring and normalising (65.169)-(65.170), scaling and shifting (65.177)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..operators import Operand
from ..tensors import Tensor
from .declare import applies, instance
from .elementwise import sqrt, square
from .reduce import in_single, mean, sum

__all__ = ["batch_norm"]


@dataclass(frozen=True)
class BatchNorm(Op):
    """Columns normalised over the batch, scaled and shifted: ``v = a (z - mean) / sqrt(var + eps) - theta`` (65.183).

    The variance divides by B - `ddof`: (65.170b) has ddof = 1, (65.212b) has 0. The rule is the exact gradient for
    both, with the terms by which a sample enters the mean and the variance of the whole batch; for ddof = 0 it is
    that of Problem 65.19.

    Columns are centred on their first elements before their means are taken, so that a constant one becomes 0 exactly.
    Half precision is normalised in single.
    """

    name = "batch_norm"
    rule = (
        "dz = s (u - mean(u) - n sum(u n) / (B - ddof)) with u = a dv, s = 1 / sqrt(var + eps), n = s (z - mean); "
        "da = sum(dv n), dtheta = -sum(dv)"
    )

    promotes_from = 0
    eps: float = 1e-6
    ddof: int = 1

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])
        z, a, theta = (t.shape for t in inputs)
        if len(z) != 2 or a != z[1:] or theta != z[1:]:
            raise ShapeError(f"batch_norm: expected z (B, n), a (n,) and theta (n,), got {z}, {a} and {theta}")
        if z[0] <= self.ddof:
            raise ShapeError(
                f"batch_norm: a batch of {z[0]} has no variance with ddof={self.ddof}; use a larger batch, ddof=0 "
                "for a batch of at least 1, or evaluation mode"
            )

    def forward(self, xp: Any, z: Array, a: Array, theta: Array, out: Array | None = None) -> Array:
        dtype = z.dtype
        z = in_single(z)
        shifted = z - z[:1]
        centred = shifted - xp.mean(shifted, axis=0)
        variance = xp.sum(xp.square(centred), axis=0) * (1.0 / (z.shape[0] - self.ddof))
        v = centred * (1 / xp.sqrt(variance + self.eps)) * in_single(a)
        return xp.subtract(v, theta, out=out) if z.dtype == dtype else xp.subtract(v, in_single(theta)).astype(dtype)

    def backward(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor, theta: Tensor) -> Gradients:
        if z.dtype.char == "e":
            single = self.backward(*(t.astype(np.float32) for t in (dv, v, z, a, theta)))
            return tuple(lambda g=g: g().astype(np.float16) for g in single)
        freedom = z.shape[0] - self.ddof
        shifted = z - z[:1].detach()  # which changes no derivative
        centred = shifted - mean(shifted, 0)
        s = 1.0 / sqrt(sum(square(centred), 0) * (1.0 / freedom) + self.eps)
        n = centred * s

        def dz() -> Tensor:
            u = a * dv
            return s * (u - mean(u, 0) - n * (sum(u * n, 0) * (1.0 / freedom)))

        return dz, lambda: sum(dv * n, 0), lambda: -sum(dv, 0)


@applies(BatchNorm)
def batch_norm(z: Operand, a: Operand, theta: Operand, eps: float = 1e-6, ddof: int = 1) -> Tensor:
    """Return the normalised signals ``v = a (z - mean) / sqrt(var + eps) - theta`` of a batch (65.183).

    Mean and variance are those of each column over the batch (65.170a)-(65.170b).

    Parameters
    ----------
    z : tensor of shape (B, n)
    a, theta : tensors of shape (n,)
        Scale and shift of each column (65.177); the shift is subtracted.
    eps : float
        Added to the variance.
    ddof : {0, 1}
        The variance divides by B - ddof: 1 as in (65.170b), 0 as in (65.212b).

    Raises
    ------
    ShapeError
        If the shapes do not fit, or the batch has no more than `ddof` rows.
    """
    return instance(BatchNorm, float(eps), int(ddof))(z, a, theta)
