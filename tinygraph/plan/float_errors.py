"""Floating-point errors that native loops meet: which are looked for, and how they are told, as NumPy does both."""

from __future__ import annotations

import ctypes
import platform
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend.blas import address_of

KINDS = {"divide": "divide by zero", "over": "overflow", "under": "underflow", "invalid": "invalid value"}
NEVER_DIVIDE = "add", "subtract", "multiply", "square", "negative", "sqrt"
_NUMPY = {"divide": 1, "over": 2, "under": 4, "invalid": 8}  # what a function that is called is told
_X86, _ARM = ({"invalid": 1, "divide": 4, "over": 8, "under": 16}, {"invalid": 1, "divide": 2, "over": 4, "under": 8})
_MICROSOFT = {"under": 2, "over": 4, "divide": 8, "invalid": 16}


class FloatErrors:
    """The floating-point errors of this machine's processor.

    Attributes
    ----------
    test, clear : int
        Addresses of the functions of C that tell and forget them.
    state : callable
        Its result is another object whenever what NumPy does about them changed; None where nothing tells.
    """

    def __init__(self) -> None:
        is_arm = platform.machine().lower() in ("aarch64", "arm64")
        self._bits = _MICROSOFT if sys.platform == "win32" else _ARM if is_arm else _X86
        library = _library()
        self.state = _context_variable()
        self.test, self.clear = address_of(library.fetestexcept), address_of(library.feclearexcept)

    def mask(self) -> int:
        """Return those that NumPy would not ignore now (`numpy.errstate`), as the processor numbers them."""
        how: dict[str, str] = dict(np.geterr())  # type: ignore[arg-type]
        return sum(bit for kind, bit in self._bits.items() if how[kind] != "ignore")

    def tell(self, met: int, names: Sequence[str]) -> None:
        """Warn of errors that one of some functions met, raise them, or whatever NumPy is told to do with each of them.

        Raises
        ------
        FloatingPointError
        """
        kinds = [kind for kind in KINDS if met & self._bits[kind]]
        hows: dict[str, str] = dict(np.geterr())  # type: ignore[arg-type]
        for kind in kinds:
            might = [name for name in names if kind != "divide" or name not in NEVER_DIVIDE] or names
            how, text = hows[kind], f"{KINDS[kind]} encountered in {' or '.join(might)}"
            if how == "raise":
                raise FloatingPointError(text)
            if how == "warn":
                warnings.warn(text, RuntimeWarning, stacklevel=5)
            elif how == "print":
                print(f"Warning: {text}", file=sys.stderr)
            elif how == "call":
                np.geterrcall()(KINDS[kind], sum(_NUMPY[k] for k in kinds))  # type: ignore[operator, misc]
            elif how == "log":
                np.geterrcall().write(f"Warning: {text}\n")  # type: ignore[union-attr]


def _library() -> Any:
    if sys.platform == "win32":
        return ctypes.CDLL("ucrtbase")
    own = ctypes.CDLL(None)
    return own if hasattr(own, "fetestexcept") else ctypes.CDLL("libm.so.6")


def _context_variable() -> Callable[[], object]:
    """Return what reads the variable in which NumPy keeps what to do about errors, if this version has one."""
    from numpy._core import umath

    variable = getattr(umath, "_extobj_contextvar", None)
    return (lambda: None) if variable is None else variable.get
