"""Dropout, nodes that sleep at random during training (65.120)-(65.124)."""

from __future__ import annotations

from ..arguments import fraction
from ..leaves import as_tensor
from ..mode import mode
from ..operators import Operand
from ..ops.random import bernoulli, mask
from ..tensors import Tensor
from .module import Module


class Dropout(Module):
    """Nodes put to sleep at random in training; in testing all are awake and signals are scaled.

    In training a node's signal is 0 with probability `p` (65.120) and passes unscaled otherwise (65.121). In testing
    signals are multiplied by ``1 - p``, which equals scaling the weights that follow, as the last line of listing
    (65.124) does. Unlike there, biases are not scaled: the source of a bias never sleeps in training.

    Parameters
    ----------
    p : float
        The probability of sleep, at least 0 and below 1.
    shared : bool
        Whether a mini-batch shares one mask, as in (65.122); else each sample has its own.
    """

    def __init__(self, p: float, shared: bool = True) -> None:
        self.p, self.shared = fraction("Dropout: p", p), shared

    def forward(self, y: Operand) -> Tensor:
        """Return the masked or scaled signals for `y` of shape (B, ...)."""
        signals = as_tensor(y)
        if not self.p:
            return signals
        if not self.training:
            return signals * (1 - self.p)
        if mode.share is not None and not self.shared:
            return mask(signals, mode.share.mask(self.p, signals))
        shape = (1, *signals.shape[1:]) if self.shared else signals.shape
        return mask(signals, bernoulli(self.p, shape, signals.dtype, signals.backend))

    def describe(self) -> str:
        """Return the probability and what a mask covers."""
        return f"{self.p}" + ("" if self.shared else ", shared=False")
