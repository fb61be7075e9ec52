"""Batch normalisation as a module, with the averages it uses in testing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ops.elementwise import sqrt
from ..ops.normalize import batch_norm
from ..ops.reduce import mean, var
from ..tensor import Operand, Tensor, as_tensor, no_grad, parameter, tensor
from .module import Module


class BatchNorm(Module):
    """Signals normalised over the batch in training, by running averages in testing (65.167)-(65.188).

    Parameters
    ----------
    n : int
        How many columns.
    smoothing : float
        The factor lambda of the running averages, the weight of the old value: ``r <- lambda r + (1 - lambda) s``.
        (PyTorch's `momentum` weighs the new one.)
    eps : float
        Added to the variance.
    ddof : {0, 1}
        The variance divides by B - ddof; 1 needs batches of two or more in training.
    dtype : dtype

    Attributes
    ----------
    a, theta : Tensor of shape (n,)
        Learned scale, starting at 1, and shift, starting at 0 and subtracted.
    mean, variance : Tensor of shape (n,)
        The running averages, starting at 0 and 1.
    """

    a: Tensor
    theta: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(
        self, n: int, smoothing: float = 0.95, eps: float = 1e-6, ddof: int = 1, *, dtype: Any = np.float32
    ) -> None:
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ArgumentError(f"BatchNorm: n must be a whole number of at least 1, got {n!r}")
        if not 0 <= smoothing < 1:
            raise ArgumentError(f"BatchNorm: smoothing must be at least 0 and below 1, got {smoothing!r}")
        if ddof not in (0, 1):
            raise ArgumentError(f"BatchNorm: ddof must be 0 or 1, got {ddof!r}")
        if not eps > 0:
            raise ArgumentError(f"BatchNorm: eps must be above 0, got {eps!r}")
        self.smoothing, self.eps, self.ddof = smoothing, eps, ddof
        self.a = parameter(np.ones(n, dtype), name="a", role="scale")
        self.theta = parameter(np.zeros(n, dtype), name="theta", role="bias")
        self.mean = tensor(np.zeros(n, dtype), name="mean")
        self.variance = tensor(np.ones(n, dtype), name="variance")

    def forward(self, z: Operand) -> Tensor:
        """Return the normalised signals for `z` of shape (B, n)."""
        if not self.training:
            signals = as_tensor(z, self.a)
            v = (signals - self.mean) * (self.a / sqrt(self.variance + self.eps)) - self.theta
            v.name = "v"
            return v
        v = batch_norm(z, self.a, self.theta, self.eps, self.ddof)
        v.name = "v"
        with no_grad():
            keep = self.smoothing
            self.mean.assign_(keep * self.mean + (1 - keep) * mean(z, 0))
            self.variance.assign_(keep * self.variance + (1 - keep) * var(z, 0, ddof=self.ddof))
        return v

    def describe(self) -> str:
        """Return size and smoothing."""
        return f"{self.a.shape[0]}, smoothing={self.smoothing}, ddof={self.ddof}"


def population_statistics(net: Module, batches: Iterable[Any]) -> None:
    """Replace running averages by the averages over all of `batches`, in one pass after training.

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
