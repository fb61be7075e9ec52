"""Updates in plain NumPy, in place, for the contenders that bring none of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, Workload

Update = Callable[[Sequence[np.ndarray]], None]


def updater(workload: Workload, params: Sequence[np.ndarray]) -> Update:
    """Return a function that takes the gradients of `params` and changes them; matrices are weights with decay."""
    rho, lr = workload.rho, workload.lr
    b1, b2 = BETAS
    n = 0
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]

    def decayed(p: np.ndarray, g: np.ndarray) -> np.ndarray:
        return g + 2 * rho * p if rho and p.ndim == 2 else g

    def sgd(grads: Sequence[np.ndarray]) -> None:
        for p, g in zip(params, grads, strict=True):
            p -= lr * decayed(p, g)

    def adam(grads: Sequence[np.ndarray]) -> None:
        nonlocal n
        n += 1
        rate, correction = lr / (1 - b1**n), 1 - b2**n
        for p, g, (m, s) in zip(params, grads, moments, strict=True):
            slope = decayed(p, g)
            m *= b1
            m += (1 - b1) * slope
            s *= b2
            s += (1 - b2) * slope**2
            p -= rate * m / (np.sqrt(s / correction) + ADAM_EPS)

    return adam if workload.optimizer == "adam" else sgd


class Averages:
    """The running mean and variance of a batch normalisation over `n` columns."""

    def __init__(self, n: int) -> None:
        self.mean: np.ndarray = np.zeros(n, np.float32)
        self.variance: np.ndarray = np.ones(n, np.float32)

    def add(self, mean: np.ndarray, variance: np.ndarray, smoothing: float) -> None:
        """Take in the statistics of a batch."""
        self.mean = smoothing * self.mean + (1 - smoothing) * mean
        self.variance = smoothing * self.variance + (1 - smoothing) * variance
