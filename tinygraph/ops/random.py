"""Masks for dropout (65.120)-(65.124), drawn and applied; the same numbers on every backend from the same seed.

A mask is drawn by an operation from a key, a tensor with a seed and the number of the draw; so a graph shows
where chance comes in, and nothing can merge two draws. The number is raised by `assign_` after each draw.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import number
from ..backend import Array, Backend, current
from ..backend.conversion import find_dtype
from ..backend.random import stream_seed
from ..errors import ArgumentError
from ..mode import no_grad
from ..op import Gradients, Op
from ..operators import Operand
from ..tensors import Tensor, next_index
from .axes import plain_lengths
from .declare import applies, operation
from .elementwise import add
from .state import preserved

__all__ = ["bernoulli", "mask"]


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


@dataclass
class _Stream:
    """The masks of one backend: the key of the next draw, and which seeding it belongs to."""

    key: Tensor
    next: Tensor  # what a draw adds to the key
    generation: int


_streams: dict[Backend, _Stream] = {}
_drawing = threading.Lock()  # a draw reads the key and raises it: two threads must not draw from one key


def _stream(backend: Backend) -> _Stream:
    """Return the stream of a backend, begun anew if it was seeded since; the key keeps its memory."""
    seed, generation = stream_seed()
    stream = _streams.get(backend)
    if stream is None:
        start, step = (backend.asarray(np.array(pair, np.uint64)) for pair in ([seed, 0], [0, 1]))
        key = Tensor(start, backend, name="random key")
        key.scope = None  # it outlives the module call in which it is first drawn from
        stream = _Stream(key, Tensor(step, backend), generation)
        _streams[backend] = stream
    elif stream.generation != generation:
        # written at once, inside a compiled function too: this is not what the function does at every call
        backend.xp.copyto(stream.key.data, backend.asarray(np.array([seed, 0], np.uint64)))
        stream.key.mark_modified(next_index())
        stream.generation = generation
    return stream


def reseed_streams() -> None:
    """Let masks follow `manual_seed`; a compiled function calls this first, since it holds the keys."""
    for backend in _streams:
        _stream(backend)


@contextmanager
def preserved_streams() -> Iterator[None]:
    """Return a ``with`` block after which the streams of masks go on as they would have without it."""
    _stream(current())  # begun here, so that what happens inside is the same the first time as later
    reseed_streams()
    known = set(_streams)
    try:
        with preserved([stream.key for stream in _streams.values()]):
            yield
    finally:
        for backend in set(_streams) - known:  # its stream was begun inside
            del _streams[backend]


def stream_state(backend: Backend) -> np.ndarray:
    """Return the key of the next draw on `backend`: uint64 of shape (2,), the seed and the number of the draw."""
    return _stream(backend).key.numpy()


def set_stream_state(backend: Backend, state: np.ndarray) -> None:
    """Let the next draw on `backend` be the one with the key `state`."""
    _stream(backend).key.assign_(np.asarray(state, np.uint64))


@applies(Bernoulli)
def bernoulli(
    p_off: float, shape: Sequence[int] | int, dtype: Any = np.float32, backend: Backend | None = None
) -> Tensor:
    """Return a mask whose elements are 0 with probability `p_off` and 1 otherwise (65.120).

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
    if not 0 <= number("bernoulli: p_off", p_off) <= 1:
        raise ArgumentError(f"bernoulli: p_off must be from 0 to 1, got {p_off!r}")
    draw = Bernoulli(float(p_off), plain_lengths("bernoulli", shape), find_dtype(dtype, "bernoulli").name)
    with _drawing:
        stream = _stream(current() if backend is None else backend)
        drawn = draw(stream.key)
        with no_grad():
            stream.key.assign_(add(stream.key, stream.next))
    return drawn


@operation("dy = dx a; da = 0", forward="multiply")
def mask(dx: Tensor, x: Tensor, y: Operand, a: Operand) -> Gradients:
    """Return ``y a``, the signals of awake nodes (65.121), for a mask `a` of zeros and ones whose shape broadcasts."""
    return lambda: mask(dx, a), None
