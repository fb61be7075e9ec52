"""Which arrays lie in the same memory."""

from __future__ import annotations

import numpy as np

from ..typing import Array


def owner(array: Array) -> object:
    """Return the object whose memory an array lies in: itself, unless it is a view."""
    if type(array) is not np.ndarray:
        array = getattr(array, "_host", array)  # of the strict backend
    elif array.base is None:
        return array
    while True:
        base = getattr(array, "base", None)
        if base is None:
            return array
        array = base


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays may have an element in common."""
    if owner(a) is not owner(b):
        return False
    a, b = getattr(a, "_host", a), getattr(b, "_host", b)
    return np.may_share_memory(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else True
