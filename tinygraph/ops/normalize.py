"""Batch normalisation (65.167)-(65.188)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import Array
from ..errors import ShapeError
from ..op import Gradient, Op, check_dtypes, documents
from ..tensor import Operand, Tensor
from .elementwise import check_floating, power, square
from .reduce import mean, sum


@dataclass(frozen=True)
class BatchNorm(Op):
    """Columns normalised over the batch, scaled and shifted: ``v = a (z - mean) / sqrt(var + eps) - theta``.

    The variance divides by B - `ddof`: (65.170b) has ddof = 1, (65.212b) has 0. The rule contains the terms by
    which a sample enters the statistics of the others (Problem 65.19).
    """

    name = "batch_norm"
    rule = (
        "dz = s (u - mean(u) - n sum(u n) / (B - ddof)) with u = a dv, s = 1 / sqrt(var + eps), n = s (z - mean); "
        "da = sum(dv n), dtheta = -sum(dv)"
    )

    eps: float = 1e-6
    ddof: int = 1

    def check(self, *inputs: Tensor) -> None:
        """Raise an error unless z is (B, n) with B > ddof, and a and theta are (n,)."""
        check_floating(self, inputs)
        check_dtypes(self, inputs)
        z, a, theta = (t.shape for t in inputs)
        if len(z) != 2 or a != z[1:] or theta != z[1:]:
            raise ShapeError(f"batch_norm: expected z (B, n), a (n,) and theta (n,), got {z}, {a} and {theta}")
        if z[0] <= self.ddof:
            raise ShapeError(
                f"batch_norm: a batch of {z[0]} has no variance with ddof={self.ddof}; use a larger batch, ddof=0 "
                "for a batch of at least 1, or evaluation mode"
            )

    def forward(self, xp: Any, z: Array, a: Array, theta: Array, out: Array | None = None) -> Array:
        centred = z - xp.sum(z, axis=0) * (1.0 / z.shape[0])
        variance = xp.sum(xp.square(centred), axis=0) * (1.0 / (z.shape[0] - self.ddof))
        return xp.subtract(centred * (a / xp.sqrt(variance + self.eps)), theta, out=out)

    def backward(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor, theta: Tensor) -> tuple[Gradient, ...]:
        freedom = z.shape[0] - self.ddof
        centred = z - mean(z, 0)
        s = power(sum(square(centred), 0) * (1.0 / freedom) + self.eps, -0.5)
        n = centred * s

        def dz() -> Tensor:
            u = a * dv
            return s * (u - mean(u, 0) - n * (sum(u * n, 0) * (1.0 / freedom)))

        return dz, lambda: sum(dv * n, 0), lambda: -sum(dv, 0)


@documents(BatchNorm)
def batch_norm(z: Operand, a: Operand, theta: Operand, eps: float = 1e-6, ddof: int = 1) -> Tensor:
    """Return ``a (z - mean) / sqrt(var + eps) - theta`` with mean and variance over the batch (65.167)-(65.172).

    Parameters
    ----------
    z : tensor of shape (B, n)
    a, theta : tensors of shape (n,)
        Scale and shift of each column; the shift is subtracted.
    eps : float
        Added to the variance.
    ddof : {0, 1}
        The variance divides by B - ddof.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or the batch has no more than `ddof` rows.
    """
    return BatchNorm(float(eps), int(ddof))(z, a, theta)
