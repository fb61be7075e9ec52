"""Random masks, the same numbers on every backend from the same seed.

A mask is drawn by an operation from a key, a tensor with a seed and the number of the draw; so a graph shows
where chance comes in, and nothing can merge two draws. The number is raised by `assign_` after each draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, Backend, current
from ..backend.random import stream_seed
from ..errors import ArgumentError
from ..op import Op
from ..tensor import Tensor, no_grad
from .elementwise import add


@dataclass(frozen=True)
class Bernoulli(Op):
    """Zeros and ones drawn from a key: 0 with probability `p_off` - the chapter's Bernoulli(p, n)."""

    rule = "no gradient"
    differentiable = False
    p_off: float
    shape: tuple[int, ...]
    dtype: str = "float32"

    def forward(self, xp: Any, key: Array, out: Array | None = None) -> Array:
        return xp.bernoulli(key, self.p_off, self.shape, self.dtype)


_keys: dict[Backend, tuple[int, Tensor]] = {}  # by backend: the generation of the seed, and the key


def _key(backend: Backend) -> Tensor:
    seed, generation = stream_seed()
    if backend not in _keys or _keys[backend][0] != generation:
        start = np.array([seed, 0], np.uint64)
        _keys[backend] = generation, Tensor(backend.asarray(start), backend, name="random key")
    return _keys[backend][1]


@contextmanager
def stream_restored() -> Iterator[None]:
    """Return a ``with`` block after which the streams of masks go on as if it had not been."""
    before = [(key, key.data.copy(), key.modified) for key in map(_key, list(_keys))]
    known = set(_keys)
    try:
        yield
    finally:
        for key, data, modified in before:
            key.data, key.modified = data, modified
        for backend in set(_keys) - known:  # its stream was begun inside
            del _keys[backend]


def stream_state(backend: Backend) -> np.ndarray:
    """Return the key of the next draw on `backend`: uint64 of shape (2,), the seed and the number of the draw."""
    return _key(backend).numpy()


def set_stream_state(backend: Backend, state: np.ndarray) -> None:
    """Let the next draw on `backend` be the one with the key `state`."""
    _key(backend).assign_(np.asarray(state, np.uint64))


def bernoulli(
    p_off: float, shape: Sequence[int] | int, dtype: Any = np.float32, backend: Backend | None = None
) -> Tensor:
    """Return a mask whose entries are 0 with probability `p_off` and 1 otherwise (65.120).

    Parameters
    ----------
    p_off : float
        From 0 to 1.
    shape : int or tuple of int
    dtype : dtype
    backend : Backend, optional
        Where the mask lives; by default the current backend.

    Returns
    -------
    tensor of shape `shape`
        From the stream that `tinygraph.manual_seed` starts; each call draws anew.
    """
    if not 0 <= p_off <= 1:
        raise ArgumentError(f"bernoulli: p_off must be from 0 to 1, got {p_off!r}")
    lengths = (shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    key = _key(current() if backend is None else backend)
    drawn = Bernoulli(float(p_off), lengths, np.dtype(dtype).name)(key)
    with no_grad():
        key.assign_(add(key, key.backend.asarray(np.array([0, 1], np.uint64))))
    return drawn
