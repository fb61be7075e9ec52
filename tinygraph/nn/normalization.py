"""Normalisations as modules: over the batch, with the averages used in testing, and over the nodes of a layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..arguments import finite_number, fraction, positive, whole_number
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor, parameter, tensor
from ..mode import SharedBatch, mode, no_grad
from ..operators import Operand
from ..ops.declare import instance
from ..ops.elementwise import sqrt, square, subtract_scaled
from ..ops.normalize import BatchNorm as ByBatch
from ..ops.normalize import layer_norm
from ..ops.reduce import in_single
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer
from .layers import initial_bias
from .module import Module


class BatchNorm(Module):
    """Batch normalisation of signals: by the batch in training (65.183), by smoothed averages in testing (65.175).

    Before any training the smoothed variance is 0, as in listing (65.187), so in evaluation mode an untrained
    module divides by ``sqrt(eps)`` alone: signals come out a thousandfold for the default `eps`. After k batches
    the averages have the fraction ``1 - smoothing**k`` of their weight, 99 % after 90. `population_statistics`
    replaces them.

    Parameters
    ----------
    n : int
        How many columns.
    smoothing : float
        The factor lambda of the running averages, the weight of the old value:
        ``r <- lambda r + (1 - lambda) s`` (65.175). (PyTorch's `momentum` weighs the new one.)
    eps : float
        Added to the variance wherever it is used (65.169).
    ddof : {0, 1}
        The variance divides by B - ddof; 1, as in (65.170b), needs batches of two or more in training.
    a : float
        Where the scale starts. Listing (65.187) starts it at 0, from where a network with a hidden layer never
        learns more than its output's `theta`.
    init_bias : str or callable
        How `theta` is drawn, as for `Dense`.
    seed : int, optional
        Makes that draw repeatable, as for `Dense`.
    dtype : dtype

    Attributes
    ----------
    a, theta : Tensor of shape (n,)
        Learned scale and shift (65.177); the shift is subtracted.
    mean, variance : Tensor of shape (n,)
        The smoothed mean and variance (65.175), starting at 0; `eps` is no part of the variance, so the diagonal
        of S_s^2 in (65.176b) is ``variance + eps``.
    """

    a: Tensor
    theta: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        n: int,
        smoothing: float = 0.95,
        eps: float = 1e-6,
        ddof: int = 1,
        *,
        a: float = 1.0,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n = whole_number("BatchNorm: n", n, 1)
        self.smoothing, self.eps = fraction("BatchNorm: smoothing", smoothing), positive("BatchNorm: eps", eps)
        if ddof not in (0, 1):
            raise ArgumentError(f"BatchNorm: ddof must be 0 or 1, got {ddof!r}")
        self.ddof = ddof
        self.a = parameter(np.full(n, finite_number("BatchNorm: a", a)), name="a", role="scale", dtype=dtype)
        self.theta = initial_bias(n, n, init_bias, seed, dtype)
        self.mean = tensor(np.zeros(n), dtype, name="mean")
        self.variance = tensor(np.zeros(n), dtype, name="variance")

    def forward(self, z: Operand) -> Tensor:
        """Return the normalised signals v for `z` of shape (B, n)."""
        if not self.training:
            signals = as_tensor(z, self.a)
            if signals.shape[-1:] != self.a.shape:
                n = self.a.shape[0]
                raise ShapeError(f"batch_norm: expected z (B, {n}), a column for each of the {n}, got {signals.shape}")
            v: Tensor = (signals - self.mean) * (self.a / sqrt(self.variance + self.eps)) - self.theta
            v.name = "v"
            return v
        if mode.share is not None:
            return self._of_shares(as_tensor(z, self.a), mode.share)
        z = as_tensor(z, self.a)
        z = z if z.dtype.kind == "f" else z.astype(self.a.dtype)
        normalised: Any = instance(ByBatch, self.eps, self.ddof)
        v = normalised(z, self.a, self.theta)
        v.name = "v"
        with no_grad():
            # A constant column has exactly its mean, also where means are rounded, and the variance 0; what stays the
            # same is kept to the bit by r - (1 - lambda) (r - s) for lambda r + (1 - lambda) s.
            new = 1 - self.smoothing
            z = in_single(z)
            offset, variance, _ = normalised.statistics(v, z)
            for running, of_batch in ((self.mean, normalised.first_of(z) + offset), (self.variance, variance)):
                running.assign_(subtract_scaled(running, new, running - of_batch.astype(running.dtype)))
        return v

    def _of_shares(self, z: Tensor, share: SharedBatch) -> Tensor:
        """Return the normalised signals for own rows of a batch that processes share, by the statistics of all rows."""
        if z.ndim != 2 or z.shape[1:] != self.a.shape:
            raise ShapeError(f"batch_norm: expected z (B, {self.a.shape[0]}), got shape {z.shape}")
        if share.whole <= self.ddof:
            raise ShapeError(
                f"batch_norm: a batch of {share.whole} has no variance with ddof={self.ddof}; use a larger batch, "
                "ddof=0 for a batch of at least 1, or evaluation mode"
            )
        first = share.first_row(z)
        shifted = z - first
        mean = share.column_sums(shifted) * (1.0 / share.whole)
        centred = shifted - mean
        variance = share.column_sums(square(centred)) * (1.0 / (share.whole - self.ddof))
        v: Tensor = centred * (1.0 / sqrt(variance + self.eps)) * self.a - self.theta
        v.name = "v"
        with no_grad():
            new = 1 - self.smoothing
            self.mean.assign_(self.mean + new * (first[0] + mean - self.mean))
            self.variance.assign_(self.variance + new * (variance - self.variance))
        return v

    def describe(self) -> str:
        """Return size and smoothing."""
        return f"{self.a.shape[0]}, smoothing={self.smoothing}, ddof={self.ddof}"


class LayerNorm(Module):
    """Layer normalisation: the signals of each sample by their own mean and variance (Ba, Kiros and Hinton 2016).

    Samples do not meet, so it is the same in training and in testing, and for a batch of one.

    Parameters
    ----------
    n : int
        How many signals, the length of the last axis.
    eps : float
        Added to the variance; PyTorch's is 1e-5.
    a : float
        Where the scale starts.
    init_bias, seed, dtype
        As for `BatchNorm`.

    Attributes
    ----------
    a, theta : Tensor of shape (n,)
        Learned scale and shift; the shift is subtracted.
    """

    a: Tensor
    theta: Tensor

    def __init__(
        self,
        n: int,
        eps: float = 1e-6,
        *,
        a: float = 1.0,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n = whole_number("LayerNorm: n", n, 1)
        self.eps = positive("LayerNorm: eps", eps)
        self.a = parameter(np.full(n, finite_number("LayerNorm: a", a)), name="a", role="scale", dtype=dtype)
        self.theta = initial_bias(n, n, init_bias, seed, dtype)

    def forward(self, z: Operand) -> Tensor:
        """Return the normalised signals v for `z` of shape (..., n): the same shape."""
        v = layer_norm(z, self.a, self.theta, self.eps)
        v.name = "v"
        return v

    def describe(self) -> str:
        """Return the size."""
        return str(self.a.shape[0])


def population_statistics(net: Module, batches: Iterable[Any]) -> None:
    """Replace smoothed averages by the plain averages over all of `batches`, once the network is trained.

    The chapter has the smoothed ones (65.175) only.

    Parameters
    ----------
    net : Module
        Its batch normalisations get the mean over the batches of their batches' means and variances; nothing
        else is changed, and masks are off.
    batches : iterable
        Yields inputs, or pairs (x, y) of which x is used.
    """
    norms = [module for _, module in net.named_modules() if isinstance(module, BatchNorm)]
    before = [module.smoothing for module in norms]
    with net._in_mode(False), no_grad():
        for module in norms:
            module.training = True
        try:
            for k, batch in enumerate(batches):
                for module in norms:
                    module.smoothing = k / (k + 1)  # a running average that forgets nothing
                net(batch[0] if isinstance(batch, tuple | list) else batch)
        finally:
            for module, smoothing in zip(norms, before, strict=True):
                module.smoothing = smoothing
