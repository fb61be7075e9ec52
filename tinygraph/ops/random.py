"""Random numbers, and masks for dropout (65.120)-(65.124); the same on every backend from the same seed.

They are drawn by an operation from a key, a tensor with a seed and the number of the draw; so a graph shows
where chance comes in, and nothing can merge two draws. The number is raised by `assign_` after each draw.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import finite_number, number, positive
from ..backend import Backend, current
from ..backend.conversion import find_dtype
from ..backend.random import stream_seed
from ..errors import ArgumentError, DTypeError, ShapeError
from ..leaves import as_tensor, is_number
from ..mode import no_grad
from ..op import Gradients, Op
from ..operators import Operand
from ..tensors import Tensor, next_index
from ..typing import Array, DTypeLike, Namespace, Shape
from .axes import plain_lengths
from .declare import applies, operation
from .elementwise import add, multiply
from .state import preserved

__all__ = ["bernoulli", "mask", "normal", "uniform"]


@dataclass(frozen=True)
class Bernoulli(Op):
    """Zeros and ones drawn from a key: 0 with probability `p_off` - the chapter's Bernoulli(p, n)."""

    rule = "no gradient"
    differentiable = False
    p_off: float
    shape: tuple[int, ...]
    dtype: str = "float32"

    def forward(self, xp: Namespace, key: Array, out: Array | None = None) -> Array:
        return xp.bernoulli(key, self.p_off, self.shape, self.dtype)


@dataclass(frozen=True)
class Uniform(Op):
    """Numbers drawn from a key: of at least 0 and below 1, all equally likely."""

    rule = "no gradient"
    differentiable = False
    shape: tuple[int, ...]
    dtype: str = "float32"

    def forward(self, xp: Namespace, key: Array, out: Array | None = None) -> Array:
        if self.dtype != "float16":
            return xp.uniform(key, self.shape, self.dtype)
        return xp.minimum(xp.uniform(key, self.shape, "float32"), 1 - 2.0**-11).astype(self.dtype)


@dataclass(frozen=True)
class Normal(Op):
    """Numbers drawn from a key: of the standard normal distribution, by Box and Muller (1958) from two uniform ones."""

    rule = "no gradient"
    differentiable = False
    shape: tuple[int, ...]
    dtype: str = "float32"

    def forward(self, xp: Namespace, key: Array, out: Array | None = None) -> Array:
        half = self.dtype == "float16"
        drawn = xp.uniform(key, (2, *self.shape), "float32" if half else self.dtype)
        radius, cosine = xp.sqrt(xp.log(1 - drawn[0]) * -2), xp.cos(drawn[1] * (2 * math.pi))
        return (radius * cosine).astype(self.dtype) if half else xp.multiply(radius, cosine, out=out)


@dataclass
class _Stream:
    """The random numbers of one backend: the key of the next draw, and which seeding it belongs to."""

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
    """Let draws follow `manual_seed`; a compiled function calls this first, since it holds the keys."""
    for backend in _streams:
        _stream(backend)


@contextmanager
def preserved_streams() -> Iterator[None]:
    """Return a ``with`` block after which the streams go on as they would have without it."""
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
    p_off: float, shape: Sequence[int] | int, dtype: DTypeLike = np.float32, backend: Backend | None = None
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
    return _drawn(draw, current() if backend is None else backend)


def _drawn(draw: Op, backend: Backend) -> Tensor:
    """Return what is drawn from the key of a backend; raise its number."""
    with _drawing:
        stream = _stream(backend)
        drawn = draw(stream.key)
        with no_grad():
            stream.key.assign_(add(stream.key, stream.next))
    return drawn


def _draw_floats(
    kind: Any, shape: object, given: dict[str, Operand], dtype: DTypeLike | None, backend: Backend | None
) -> tuple[Tensor, list[Any]]:
    """Return what a kind of operation draws, beside the operands `given`: numbers, or tensors that broadcast to it.

    Dtype and backend are those of the tensors unless they are given.
    """
    caller, lengths = kind.name, plain_lengths(kind.name, shape)
    operands = [x if is_number(x) else as_tensor(x) for x in given.values()]
    tensors = [t for t in operands if isinstance(t, Tensor)]
    for name, t in zip(given, operands, strict=True):
        if isinstance(t, Tensor) and not _fits(t.shape, lengths):
            raise ShapeError(f"{caller}: {name} of shape {t.shape} does not broadcast to the shape {lengths} drawn")
    if dtype is None:
        dtype = next((t.dtype for t in tensors if t.dtype.kind == "f"), np.float32)
    found = find_dtype(dtype, caller)
    if found.char not in "efd":
        raise DTypeError(f"{caller}: expected float16, float32 or float64, got {found}")
    if backend is None:
        backend = tensors[0].backend if tensors else current()
    return _drawn(kind(lengths, found.name), backend), operands


def _fits(shape: Shape, drawn: Shape) -> bool:
    """Whether a shape broadcasts to the one that is drawn."""
    return len(shape) <= len(drawn) and all(n in (1, m) for n, m in zip(shape[::-1], drawn[::-1], strict=False))


def _scaled(drawn: Tensor, scale: Any, shift: Any) -> Tensor:
    """Return ``drawn scale + shift``, without what changes nothing."""
    if isinstance(scale, Tensor) or scale != 1:
        drawn = multiply(drawn, scale)
    return add(drawn, shift) if isinstance(shift, Tensor) or shift else drawn


@applies(Normal)
def normal(
    shape: Sequence[int] | int,
    mean: Operand = 0.0,
    std: Operand = 1.0,
    dtype: DTypeLike | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """Return normally distributed random numbers: ``mean + std z``, z of the standard normal distribution.

    A `mean` and a `std` that are tensors get gradients, as the sampling of a variational autoencoder needs them::

        z = tg.normal(mu.shape, mu, sigma)

    Parameters
    ----------
    shape : int or tuple of int
    mean, std : float, or tensor whose shape broadcasts to `shape`
        A `std` that is a number is not negative.
    dtype : floating dtype, optional
        By default that of `mean` or `std` where one is a tensor or an array, else float32.
    backend : Backend, optional
        Where the numbers live; by default that of `mean` or `std` where one is a tensor, else the current backend.

    Returns
    -------
    tensor of shape `shape`
        From the stream that `tinygraph.manual_seed` starts; each call draws anew, in a compiled function each replay.
        Backends agree to 4e-6 in z in single precision, to 1e-14 in double: logarithm, root and cosine are those of
        their libraries. In single precision z is at most 5.77 in size, in double 8.57.

    Raises
    ------
    ShapeError
        If `mean` or `std` does not broadcast to `shape`.
    DTypeError
        If the dtype is not floating.
    """
    if is_number(mean):
        mean = finite_number("normal: mean", mean)
    if is_number(std):
        std = positive("normal: std", std, zero=True)
    z, (mean, std) = _draw_floats(Normal, shape, {"mean": mean, "std": std}, dtype, backend)
    return _scaled(z, std, mean)


@applies(Uniform)
def uniform(
    shape: Sequence[int] | int,
    low: Operand = 0.0,
    high: Operand = 1.0,
    dtype: DTypeLike | None = None,
    backend: Backend | None = None,
) -> Tensor:
    """Return random numbers that are equally likely from `low` up to `high`: ``low + (high - low) u``, 0 <= u < 1.

    Parameters
    ----------
    shape : int or tuple of int
    low, high : float, or tensor whose shape broadcasts to `shape`
        `high` is not below `low`. A result may be `high` where the sum is rounded to it.
    dtype : floating dtype, optional
        By default that of `low` or `high` where one is a tensor or an array, else float32.
    backend : Backend, optional
        Where the numbers live; by default that of `low` or `high` where one is a tensor, else the current backend.

    Returns
    -------
    tensor of shape `shape`
        From the stream that `tinygraph.manual_seed` starts; each call draws anew, in a compiled function each replay.
        u is the same to the bit on every backend: a multiple of 2**-24 in single precision, of 2**-53 in double.

    Raises
    ------
    ShapeError
        If `low` or `high` does not broadcast to `shape`.
    DTypeError
        If the dtype is not floating.
    """
    if is_number(low):
        low = finite_number("uniform: low", low)
    if is_number(high):
        high = finite_number("uniform: high", high)
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise ArgumentError(f"uniform: low must not be above high, got {low!r} and {high!r}")
    u, (start, end) = _draw_floats(Uniform, shape, {"low": low, "high": high}, dtype, backend)
    return _scaled(u, end - start, start)


@operation("dy = dx a; da = 0", forward="multiply")
def mask(dx: Tensor, x: Tensor, y: Operand, a: Operand) -> Gradients:
    """Return ``y a``, the signals of awake nodes (65.121), for a mask `a` of zeros and ones whose shape broadcasts."""
    return lambda: mask(dx, a), None
