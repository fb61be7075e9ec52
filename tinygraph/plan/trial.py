"""The shape of an operation that is kept whole: its `forward` is run on zeros, and what that changes is put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np

from ..backend import Backend
from ..errors import CompileError
from ..op import Op
from ..typing import DType
from .generators import GENERATORS, set_state, shared_generators, state_of
from .program import Value, is_ours
from .purity import outer_values


def shape_and_dtype(op: Op, inputs: Sequence[Value], backend: Backend) -> tuple[tuple[int, ...], DType]:
    """Return shape and dtype of what `forward` makes of arrays of zeros, or of ones if that raises an error.

    Raises
    ------
    CompileError
        If both raise errors.
    """
    xp = backend.xp
    with np.errstate(all="ignore"), _put_back(op):
        try:
            made = op.forward(xp, *(xp.zeros(v.shape, v.dtype) for v in inputs))
        except Exception:
            try:
                made = op.forward(xp, *(xp.ones(v.shape, v.dtype) for v in inputs))
            except Exception as error:
                raise CompileError(
                    f"compile: {op.label}: forward was run on zeros and on ones, for the shape of its result, and "
                    f"raised {type(error).__name__}: {error}"
                ) from error
    return tuple(made.shape), np.dtype(made.dtype)


@contextmanager
def _put_back(op: Op) -> Iterator[None]:
    """Put back what is set of an operation and its classes, and the generators of random numbers that it knows."""
    classes = [c for c in type(op).__mro__ if not is_ours(c)]
    before = [(owner, dict(vars(owner))) for owner in (op, *classes)]
    states = [(x, state_of(x)) for x in _known(before) if isinstance(x, GENERATORS)]
    try:
        yield
    finally:
        for owner, values in before:
            set_, delete = _OF_CLASSES if isinstance(owner, type) else _OF_INSTANCES
            now = dict(vars(owner))
            for name in now.keys() - values.keys():
                delete(owner, name)
            for name, value in values.items():
                if name not in now or now[name] is not value:
                    set_(owner, name, value)
        for generator, state in states:
            set_state(generator, state)


_OF_CLASSES: tuple[Any, Any] = (type.__setattr__, type.__delattr__)
_OF_INSTANCES: tuple[Any, Any] = (object.__setattr__, object.__delattr__)  # a frozen dataclass has others


def _known(spaces: Sequence[tuple[object, Mapping[str, object]]]) -> Iterator[Any]:
    """Yield what operations hold, and what their functions reach by name."""
    yield from shared_generators().values()
    for _, space in spaces:
        for x in space.values():
            yield x
            if isinstance(x, FunctionType):
                yield from outer_values(x)
