"""Initial weights (65.88), (65.89), (65.93a)-(65.93c), and He's for rectifiers.

`n_in` is the number of nodes that feed the layer, n_l, and `n_out` the number of its own, n_{l+1}. Numbers
are drawn in float64 on the host, so every backend and dtype starts from the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Initializer = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 1) (65.88)."""
    return rng.standard_normal(shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 1 / n_in), so that signals keep their size (65.89)."""
    return rng.standard_normal(shape) / math.sqrt(n_in)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from U[-1 / sqrt(n_in), 1 / sqrt(n_in)] (65.93a)."""
    return rng.uniform(-1.0, 1.0, shape) / math.sqrt(n_in)


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from U[-a, a] with a = sqrt(6 / (n_in + n_out)) (65.93b)."""
    return rng.uniform(-1.0, 1.0, shape) * math.sqrt(6.0 / (n_in + n_out))


def xavier_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / (n_in + n_out)) (65.93c)."""
    return rng.standard_normal(shape) * math.sqrt(2.0 / (n_in + n_out))


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / n_in), which keeps the size of signals through rectifiers."""
    return rng.standard_normal(shape) * math.sqrt(2.0 / n_in)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return zeros."""
    return np.zeros(shape)


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (normal, standard_normal, uniform, xavier_uniform, xavier_normal, he_normal, zeros)
}
