"""Initialisation of weights and biases.

The chapter's are `standard_normal`, for biases (65.88); `normal`, Gaussian weights of variance 1 / n_in (65.89); and
three uniform ones: `uniform`, the heuristic +-1 / sqrt(n_in) (65.93a), `xavier_uniform`, for tanh (65.93b), and
`xavier_uniform_sigmoid`, four times as wide, for the sigmoid (65.93c). `xavier_normal` and `he_normal` are the field's:
the chapter has neither.

`n_in` is the number of nodes that feed the layer, n_l, and `n_out` the number of its own, n_{l+1}. Numbers
are drawn in float64 on the host, so every backend and dtype starts from the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Initializer = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 1), the chapter's start of biases (65.88)."""
    return rng.standard_normal(shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return weights from N(0, 1 / n_in), so that signals keep their size (65.89)."""
    return rng.standard_normal(shape) / math.sqrt(n_in)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return weights from the uniform distribution on [-1 / sqrt(n_in), 1 / sqrt(n_in)] (65.93a)."""
    return rng.uniform(-1.0, 1.0, shape) / math.sqrt(n_in)


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return weights from the uniform distribution on [-a, a] with a = sqrt(6 / (n_in + n_out)), for tanh (65.93b)."""
    return rng.uniform(-1.0, 1.0, shape) * math.sqrt(6.0 / (n_in + n_out))


def xavier_uniform_sigmoid(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return weights from the uniform distribution on [-4 a, 4 a], `a` as for `xavier_uniform`, for sigmoids (65.93c).

    A sigmoid's slope at 0 is a quarter of tanh's: signals and sensitivities keep their size there.
    """
    return 4.0 * xavier_uniform(rng, shape, n_in, n_out)


def xavier_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / (n_in + n_out)): the variance of `xavier_uniform`; not one of the chapter's."""
    return rng.standard_normal(shape) * math.sqrt(2.0 / (n_in + n_out))


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return draws from N(0, 2 / n_in), which keeps signals' size through rectifiers; not one of the chapter's."""
    return rng.standard_normal(shape) * math.sqrt(2.0 / n_in)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return zeros."""
    return np.zeros(shape)


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f
    for f in (
        normal,
        standard_normal,
        uniform,
        xavier_uniform,
        xavier_uniform_sigmoid,
        xavier_normal,
        he_normal,
        zeros,
    )
}
"""The initialisers by name, as `init=` and `init_bias=` take them."""
