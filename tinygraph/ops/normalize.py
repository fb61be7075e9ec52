"""Signals normalised, scaled and shifted: over the batch, and over the nodes of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..mode import mode
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace
from .declare import applies, instance
from .elementwise import sqrt, square
from .reduce import in_single, mean, sum

__all__ = ["batch_norm", "layer_norm"]


@dataclass(frozen=True)
class Normalisation(Op):
    """Signals normalised along an axis, scaled and shifted: ``v = a (z - mean) / sqrt(var + eps) - theta``.

    The variance divides by N - `ddof`, N being the length of the axis. The rule is the exact gradient, with the terms
    by which an element enters mean and variance of all along the axis.

    They are centred on the first element before the mean is taken, so that equal elements become 0 exactly. Half
    precision is normalised in single.
    """

    promotes_from = 0
    axis: ClassVar[int]
    eps: float = 1e-6
    ddof: int = 0

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])

    def forward(self, xp: Namespace, z: Array, a: Array, theta: Array, out: Array | None = None) -> Array:
        dtype, n, kept = z.dtype, z.shape[self.axis], self.axis != 0
        z = in_single(z)
        shifted = z - (z[..., :1] if kept else z[:1])
        centred = shifted - xp.mean(shifted, axis=self.axis, keepdims=kept)
        variance = xp.sum(xp.square(centred), axis=self.axis, keepdims=kept) * (1.0 / (n - self.ddof))
        v = centred * (1 / xp.sqrt(variance + self.eps)) * in_single(a)
        return xp.subtract(v, theta, out=out) if z.dtype == dtype else xp.subtract(v, in_single(theta)).astype(dtype)

    def backward(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor, theta: Tensor) -> Gradients:
        if z.dtype.char == "e":
            single = self.backward(*(t.astype(np.float32) for t in (dv, v, z, a, theta)))
            return tuple(lambda g=g: g().astype(np.float16) for g in single)  # pyright: ignore
        axis, kept = self.axis, self.axis != 0
        freedom = z.shape[axis] - self.ddof
        first = z[..., :1] if kept else z[:1]
        shifted = z - first.detach()  # which changes no derivative
        centred = shifted - mean(shifted, axis, kept)
        s = 1.0 / sqrt(sum(square(centred), axis, kept) * (1.0 / freedom) + self.eps)
        n = centred * s
        others = tuple(range(z.ndim - 1))

        def dz() -> Tensor:
            u = a * dv
            return s * (u - mean(u, axis, kept) - n * (sum(u * n, axis, kept) * (1.0 / freedom)))

        return dz, lambda: sum(dv * n, others), lambda: -sum(dv, others)


@dataclass(frozen=True)
class BatchNorm(Normalisation):
    """Columns normalised over the batch, scaled and shifted: ``v = a (z - mean) / sqrt(var + eps) - theta`` (65.183).

    The variance divides by B - `ddof`: (65.170b) has ddof = 1, (65.212b) has 0. The rule is the exact gradient for
    both; for ddof = 0 it is that of Problem 65.19.
    """

    name = "batch_norm"
    rule = (
        "dz = s (u - mean(u) - n sum(u n) / (B - ddof)) with u = a dv, s = 1 / sqrt(var + eps), n = s (z - mean); "
        "da = sum(dv n), dtheta = -sum(dv)"
    )
    axis = 0
    ddof: int = 1

    def check(self, *inputs: Tensor) -> None:
        super().check(*inputs)
        z, a, theta = (t.shape for t in inputs)
        if len(z) != 2 or a != z[1:] or theta != z[1:]:
            raise ShapeError(f"batch_norm: expected z (B, n), a (n,) and theta (n,), got {z}, {a} and {theta}")
        if z[0] <= self.ddof:
            raise ShapeError(
                f"batch_norm: a batch of {z[0]} has no variance with ddof={self.ddof}; use a larger batch, ddof=0 "
                "for a batch of at least 1, or evaluation mode"
            )


@dataclass(frozen=True)
class LayerNorm(Normalisation):
    """The n signals of each sample normalised by themselves, scaled and shifted; the variance divides by n."""

    name = "layer_norm"
    rule = (
        "dz = s (u - mean(u) - r mean(u r)) with u = a dv, s = 1 / sqrt(var + eps), r = s (z - mean); "
        "da = sum(dv r), dtheta = -sum(dv), over all but the last axis"
    )
    axis = -1

    def check(self, *inputs: Tensor) -> None:
        super().check(*inputs)
        z, a, theta = (t.shape for t in inputs)
        if not z or not z[-1] or a != z[-1:] or theta != z[-1:]:
            raise ShapeError(
                f"layer_norm: expected z (..., n), a (n,) and theta (n,), n from 1 on, got {z}, {a} and {theta}"
            )


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
    ArgumentError
        If processes share the batch, see `fit`.
    """
    if mode.share is not None:
        raise ArgumentError(
            "batch_norm: processes share the batch, and this function sees a part of it: use nn.BatchNorm, which adds "
            "up over all of them"
        )
    return instance(BatchNorm, float(eps), int(ddof))(z, a, theta)


@applies(LayerNorm)
def layer_norm(z: Operand, a: Operand, theta: Operand, eps: float = 1e-6) -> Tensor:
    """Return signals normalised over the last axis: ``v = a (z - mean) / sqrt(var + eps) - theta``.

    Other than for `batch_norm`, mean and variance are those of one sample's own signals (Ba, Kiros and Hinton 2016),
    and the same in training and in testing.

    Parameters
    ----------
    z : tensor of shape (..., n)
    a, theta : tensors of shape (n,)
        Scale and shift of each node; the shift is subtracted.
    eps : float
        Added to the variance, which divides by n.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    return instance(LayerNorm, float(eps))(z, a, theta)
