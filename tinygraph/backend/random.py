"""Seeded random numbers, drawn on the host so that they are the same on every backend.

The generator is counter-based (Philox): the key is the seed together with what the numbers are for, so a
layer's initial weights depend neither on the order in which layers are built nor on the backend.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import ArgumentError


class _Seeding:
    """The seed in force and the number of draws made from it."""

    seed: int | None = None
    draws = itertools.count()
    generation = 0  # how often it was seeded


seeding = _Seeding()


def manual_seed(seed: int) -> None:
    """Make every later draw without a seed of its own repeatable.

    Parameters
    ----------
    seed : int
        Zero or positive, below 2**64.
    """
    seeding.seed = check_seed(seed)
    seeding.draws = itertools.count()
    seeding.generation += 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Return a ``with`` block in which draws on the host without a seed of their own follow `seed`."""
    before = seeding.seed, seeding.draws
    seeding.seed, seeding.draws = check_seed(seed), itertools.count()
    try:
        yield
    finally:
        seeding.seed, seeding.draws = before


def stream_seed() -> tuple[int, int]:
    """Return the seed in force, taken from the system where none was given, and how often it was set."""
    if seeding.seed is None:
        seeding.seed = secrets.randbits(64)
    return seeding.seed, seeding.generation


def mask_bits(p_off: float) -> tuple[int, int]:
    """Return how many bits decide an element of a mask, 8, 16 or 32, and how many of their values, from 0, give 0.

    They are as few as give `p_off` exactly; if none do, 32, which meet it to 2**-33.
    """
    bits = next((bits for bits in (8, 16) if p_off * 2**bits % 1 == 0), 32)
    return bits, round(p_off * 2**bits)


def check_seed(seed: int) -> int:
    """Return `seed`, or raise an error that says what a seed is."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ArgumentError(f"seed: expected a whole number from 0 to 2**64 - 1, got {seed!r}")
    return int(seed)


def generator(seed: int | None = None, *purpose: str | int) -> np.random.Generator:
    """Return a host generator for `purpose`; without a seed, the next one of the process-wide stream.

    Parameters
    ----------
    seed : int, optional
        Without it the generator depends on `manual_seed` and on the number of draws since.
    *purpose : str or int
        What the numbers are for, ``("init", "layer1.W")`` say; other purposes get independent numbers.
    """
    if seed is None:
        seed, purpose = stream_seed()[0], ("draw", next(seeding.draws))
    text = repr((check_seed(seed), *purpose))
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
