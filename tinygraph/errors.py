"""The errors tinygraph raises.

Every one of them is a `TinygraphError`, so a program (the command line, for one) can turn exactly the
mistakes a user can mend into one line; each also derives from the built-in error that fits, so that code
which knows nothing of tinygraph catches what it expects.
"""

from __future__ import annotations

import threading

__all__ = ["AnomalyError", "ArgumentError", "BackendError", "CompileError", "DTypeError", "DataError"]
__all__ += ["GradientError", "GraphError", "IndexRangeError", "RenderError", "ShapeError", "TinygraphError"]


class TinygraphError(Exception):
    """Base of every error that tinygraph raises on purpose; its text is one line that says what to do."""


class ShapeError(TinygraphError, ValueError):
    """Operands whose shapes do not fit together; the text names the op, the shapes and what would fit."""


class IndexRangeError(ShapeError, IndexError):
    """An index outside the axis it picks from."""


class DTypeError(TinygraphError, TypeError):
    """Operands of a dtype the operation does not take, or of two that it will not mix silently."""


class BackendError(TinygraphError, RuntimeError):
    """A backend that is missing or cannot run here, or arrays of two backends in one operation."""


class GradientError(TinygraphError, ArithmeticError):
    """A local backward rule that disagrees with central differences, or breaks its contract."""


class GraphError(TinygraphError, RuntimeError):
    """An operation that the recorded graph does not support: a missing path, a leaf changed after it was used."""


class CompileError(GraphError):
    """A function that a recording cannot stand for: it reads values on the host, or keeps what it computes."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        if refusals.made is not None:
            refusals.made.append(self)


class Refusals(threading.local):
    """The errors that were made while a thread records a function, which may catch them and go on.

    Attributes
    ----------
    made : list of CompileError or None
        None while nothing is recorded.
    """

    made: list[CompileError] | None = None


refusals = Refusals()


class AnomalyError(TinygraphError, FloatingPointError):
    """An output or gradient that is not finite, found by `detect_anomaly`; names the op that made it."""


class ArgumentError(TinygraphError, ValueError):
    """An argument outside what is allowed: an unknown name, a number out of range."""


class DataError(TinygraphError, ValueError):
    """Data that cannot be used: NaN, labels out of range, an empty batch, a missing or damaged file."""


class RenderError(TinygraphError, RuntimeError):
    """A drawing that could not be made; the text says which renderer is missing and how to get one."""
