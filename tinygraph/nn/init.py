"""Initialisation of weights and biases.

The chapter's are `standard_normal`, for biases (65.88); `normal`, Gaussian weights of variance 1 / n_in (65.89); and
three uniform ones: `uniform`, the heuristic +-1 / sqrt(n_in) (65.93a), `xavier_uniform`, for tanh (65.93b), and
`xavier_uniform_sigmoid`, four times as wide, for the sigmoid (65.93c). `xavier_normal` and `he_normal` are the field's:
the chapter has neither.

`n_in` is the number of nodes that feed the layer, n_l, and `n_out` the number of its own, n_{l+1}. Numbers
are drawn in float64 on the host, so every backend and dtype starts from the same ones.

Wherever a layer or a builder takes a name of `INITIALIZERS`, it takes a function of one's own as well::

    def sparse(shape, rng, dtype):
        return rng.standard_normal(shape) * (rng.random(shape) < 0.1)

    nn.Dense(64, 32, init=sparse, seed=0)

`rng` is a `numpy.random.Generator`, the one that the names draw from: it follows the layer's seed and is not that of
another layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arguments import choose
from ..backend import generator
from ..backend.conversion import find_dtype, host_array
from ..errors import ArgumentError, ShapeError
from ..operators import Operand
from ..typing import DType, DTypeLike

Initializer = str | Callable[[tuple[int, ...], np.random.Generator, DType], Operand]


def initial(
    argument: str,
    init: Initializer,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    n_in: int,
    n_out: int,
    dtype: DTypeLike | None,
) -> np.ndarray:
    """Return the first values of a parameter.

    Parameters
    ----------
    argument : str
        What errors call `init`.
    init : str or callable
        A name of `INITIALIZERS`, a function of that table, or ``f(shape, rng, dtype)``, which returns an array, a
        tensor or lists of numbers.
    rng : numpy.random.Generator
        What it draws from.
    shape : tuple of int
        Of the parameter.
    n_in, n_out : int
        What functions of the table are told besides.
    dtype : dtype or None
        Of the parameter, to which the values of a function of one's own are converted; None: float64.

    Raises
    ------
    ArgumentError
        If no initialisation has this name, or a number is not finite in this dtype.
    ShapeError
        If the array has another shape.
    """
    given: Any = init
    if not callable(given):
        return choose(argument, given, INITIALIZERS)(rng, shape, n_in, n_out)
    if given in INITIALIZERS.values():
        return given(rng, shape, n_in, n_out)  # type: ignore[no-any-return]
    own = f"{argument}: {getattr(given, '__name__', type(given).__name__)}(shape, rng, dtype)"
    kind = find_dtype(np.float64 if dtype is None else dtype, argument)
    result = given(shape, rng, kind)
    with np.errstate(over="ignore"):
        values = host_array(result, kind).astype(kind)
    if values.shape != shape:
        raise ShapeError(f"{own} must return an array of shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ArgumentError(f"{own} must return finite numbers, got infinite ones or NaN in {kind}")
    return values


def layer_seed(seed: int | None, *place: str | int) -> int | None:
    """Return the seed of the layer at `place` in a network built with `seed`; None stays None.

    A layer's initial numbers depend on its place in the network, not on when it is built.
    """
    return None if seed is None else int(generator(seed, "layer", *place).integers(2**63))


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


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return weights whose columns, or rows where these are fewer, have length 1 and are orthogonal; not the chapter's.

    A layer with as many nodes as the one before turns its signals and keeps their length, so that deep linear networks
    keep them exactly (Saxe, McClelland, Ganguli, 2014). All such matrices are equally likely: `Q` of a Gaussian
    matrix, with the signs that make the diagonal of `R` positive. With more than two axes, each matrix of the last two.
    """
    if len(shape) < 2:
        raise ArgumentError(f"orthogonal: expected the shape of a matrix, got {shape}; weights of layers have two axes")
    *stack, rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((*stack, max(rows, columns), min(rows, columns))))
    q = q * np.copysign(1.0, np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return q if rows >= columns else np.swapaxes(q, -2, -1)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
    """Return zeros."""
    return np.zeros(shape)


INITIALIZERS: dict[str, Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]] = {
    f.__name__: f
    for f in (
        normal,
        standard_normal,
        uniform,
        xavier_uniform,
        xavier_uniform_sigmoid,
        xavier_normal,
        he_normal,
        orthogonal,
        zeros,
    )
}
"""The initialisers by name, as `init=` and `init_bias=` take them."""
