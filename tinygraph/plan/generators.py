"""Generators of random numbers: what they will draw, and how that is put back."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np

GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)


def shared_generators() -> dict[str, object]:
    """Return the generators behind the functions of NumPy's and Python's modules, by the modules' names."""
    methods: dict[str, Any] = {"numpy.random": np.random.random, "random": random.random}
    return {name: method.__self__ for name, method in methods.items()}


def state_of(generator: object) -> bytes:
    """Return the state of a generator of random numbers; the system's has none."""
    try:
        return pickle.dumps(generator.getstate() if isinstance(generator, random.Random) else generator)
    except NotImplementedError:
        return b""


def set_state(generator: Any, state: bytes) -> None:
    """Put a generator back to a state that `state_of` returned."""
    if not state:
        return
    before = pickle.loads(state)  # written by `state_of` in this process
    if isinstance(generator, random.Random):
        generator.setstate(before)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(before.get_state())
    else:
        bits, old = (getattr(g, "bit_generator", g) for g in (generator, before))
        bits.state = old.state
