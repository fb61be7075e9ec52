"""Checks of arguments: names that are looked up, whole numbers, positive numbers, fractions."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from .errors import ArgumentError

T = TypeVar("T")
REAL = int | float | np.integer | np.floating


def did_you_mean(name: object, names: Collection[str]) -> str:
    """Return the end of an error's text that offers the nearest of `names`, in lower or upper case; or nothing."""
    spelled = {known.lower(): known for known in names}
    near = get_close_matches(str(name).lower(), list(spelled), 1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""


def check_name(kind: str, name: object, names: Collection[str]) -> str:
    """Return `name`, or raise an `ArgumentError` that lists `names` if it is none of them; `kind` begins its text."""
    if not isinstance(name, str) or name not in names:
        raise ArgumentError(f"{kind} {name!r} is not known; known: {', '.join(names)}{did_you_mean(name, names)}")
    return name


def choose(kind: str, name: object, table: Mapping[str, T]) -> T:
    """Return the value that `table` has for `name`; errors are those of `check_name`."""
    return table[check_name(kind, name, table)]


def _scalar(value: object) -> Any:
    """Return the element of an array with no axes, and anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and not value.ndim else value


def number(name: str, value: object) -> int | float:
    """Return a number as one of Python's, which adapts to arrays beside it, or raise an `ArgumentError`."""
    plain = value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
    if not isinstance(plain, int | float):
        raise ArgumentError(f"{name} must be a number, got {value!r}")
    return plain


def whole(value: object) -> int | None:
    """Return a whole number as an int, and None for anything else; a truth value is none."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole_number(name: str, value: object, low: int, below: int | None = None) -> int:
    """Return `value` as an int, or raise an `ArgumentError` that says which whole numbers are allowed."""
    n = whole(value)
    if n is None or n < low or (below is not None and n >= below):
        allowed = f"of at least {low}" if below is None else f"from {low} to {below - 1}"
        raise ArgumentError(f"{name} must be a whole number {allowed}, got {value!r}")
    return n


def _is_finite(value: object) -> bool:
    """Whether `value` is a number that a float holds, neither infinite nor NaN."""
    try:
        return isinstance(value, REAL) and math.isfinite(value)
    except OverflowError:
        return False


def finite_number(name: str, value: object) -> float:
    """Return `value` as a float, or raise an `ArgumentError` if it is no finite number."""
    scalar = _scalar(value)
    if not _is_finite(scalar):
        raise ArgumentError(f"{name} must be a finite number, got {value!r}")
    return float(scalar)


def positive(name: str, value: object, *, zero: bool = False) -> float:
    """Return a finite positive number (or zero, if allowed) as a float, or raise an `ArgumentError` that says so."""
    scalar = _scalar(value)
    if not _is_finite(scalar) or scalar < 0 or (scalar == 0 and not zero):
        raise ArgumentError(f"{name} must be a finite number {'of at least' if zero else 'above'} 0, got {value!r}")
    return float(scalar)


def fraction(name: str, value: object) -> float:
    """Return a number of at least 0 and below 1 as a float, or raise an `ArgumentError` that says so."""
    scalar = _scalar(value)
    if isinstance(scalar, bool) or not isinstance(scalar, REAL) or not 0 <= scalar < 1:
        raise ArgumentError(f"{name} must be at least 0 and below 1, got {value!r}")
    return float(scalar)


def pair_of_fractions(name: str, pair: object) -> tuple[float, float]:
    """Return two numbers of at least 0 and below 1 as floats, or raise an `ArgumentError` that says so."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ArgumentError(f"{name} must be a pair of numbers, got {pair!r}")
    return fraction(f"{name}[0]", pair[0]), fraction(f"{name}[1]", pair[1])


def truth_value(name: str, value: object) -> bool:
    """Return a truth value, 0 or 1 as a bool, or raise an `ArgumentError` that says so."""
    if not isinstance(value, bool | np.bool_) and whole(value) not in (0, 1):
        raise ArgumentError(f"{name} must be True or False, got {value!r}")
    return bool(value)
