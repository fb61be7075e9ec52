"""Signals normalised, scaled and shifted: over the batch, and over the nodes of a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..mode import mode
from ..op import Gradients, Op, values_kept
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
    keeps = True
    axis: ClassVar[int]
    eps: float = 1e-6
    ddof: int = 0

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])

    def forward(
        self,
        xp: Namespace,
        z: Array,
        a: Array,
        theta: Array,
        out: Array | None = None,
        kept: list[Array] | None = None,
    ) -> Array:
        dtype, axis, stays = z.dtype, self.axis, self.axis != 0
        z, a = in_single(z), in_single(a)
        centred = z - self.first_of(z)
        offset = xp.mean(centred, axis=axis, keepdims=stays)
        centred -= offset
        variance = xp.sum(xp.square(centred), axis=axis, keepdims=stays) * (1.0 / (z.shape[axis] - self.ddof))
        s = 1 / xp.sqrt(variance + self.eps)
        if kept is not None:
            kept += offset, variance, s
        v = centred * s * a if stays else centred * (s * a)
        return xp.subtract(v, theta, out=out) if z.dtype == dtype else xp.subtract(v, in_single(theta)).astype(dtype)

    def first_of(self, z: Any) -> Any:
        """Return the first elements along the axis, of an array or a tensor."""
        return z[0] if self.axis == 0 else z[..., :1]

    def statistics(self, v: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is known of the input `z`, not in half precision, that gave `v`.

        It is that of the forward pass where nothing but values is asked for.

        Returns
        -------
        offset : Tensor
            The mean along the axis less the first elements.
        variance, s : Tensor
            The variance, and ``1 / sqrt(variance + eps)``.
        """
        kept = values_kept(v)
        if kept:
            return kept[0], kept[1], kept[2]
        axis, stays = self.axis, self.axis != 0
        shifted = z - self.first_of(z).detach()  # which changes no derivative
        offset = mean(shifted, axis, stays)
        variance = sum(square(shifted - offset), axis, stays) * (1.0 / (z.shape[axis] - self.ddof))
        return offset, variance, 1.0 / sqrt(variance + self.eps)

    def centred(self, v: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the deviations of `z` from its mean, and ``1 / sqrt(var + eps)``."""
        offset, _, s = self.statistics(v, z)
        return z - self.first_of(z).detach() - offset, s

    def backward(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor, theta: Tensor) -> Gradients:
        if z.dtype.char != "e":
            return self.gradients(dv, v, z, a)
        single = self.gradients(*(t.astype(np.float32) for t in (dv, v, z, a)))
        return tuple(lambda g=g: g().astype(np.float16) for g in single)  # pyright: ignore

    def gradients(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor) -> tuple[Callable[[], Tensor], ...]:
        """Return the gradients of z, a and theta, in single or double precision."""
        raise NotImplementedError


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

    def gradients(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor) -> tuple[Callable[[], Tensor], ...]:
        rows = z.shape[0]
        centred, s = self.centred(v, z)
        total = cache(lambda: sum(dv, 0))
        moment = cache(lambda: sum(dv * centred, 0) * s)  # sum(dv n)

        def dz() -> Tensor:
            along = centred * (moment() * s * (1.0 / (rows - self.ddof)))  # a enters both sums as a factor
            return (dv - total() * (1.0 / rows) - along) * (s * a)

        return dz, moment, lambda: -total()


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

    def gradients(self, dv: Tensor, v: Tensor, z: Tensor, a: Tensor) -> tuple[Callable[[], Tensor], ...]:
        centred, s = self.centred(v, z)
        r, others = centred * s, tuple(range(z.ndim - 1))

        def dz() -> Tensor:
            u = a * dv
            return s * (u - mean(u, -1, True) - r * mean(u * r, -1, True))

        return dz, lambda: sum(dv * r, others), lambda: -sum(dv, others)


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
