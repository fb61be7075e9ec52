"""`detect_anomaly`: which operation made the first value that is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .errors import AnomalyError, CompileError
from .op import Op
from .tensors import Tensor
from .watchers import Watcher, watching

__all__ = ["detect_anomaly"]


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Return a ``with`` block in which the first op whose output or gradient is not finite raises, named.

    Raises
    ------
    AnomalyError
        Inside the block; its text names the op, the module, the shapes and the first bad element.
    CompileError
        If the block stands inside a compiled function. Around a call of one it makes the call an eager one.
    """
    with watching(_Finite()):
        yield


class _Finite(Watcher):
    def made(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        if not isinstance(y.data, y.backend.array_type):
            raise CompileError(
                "detect_anomaly: inside a compiled function, where nothing is computed while it is recorded; put the "
                "with block around its call, which is then computed operation by operation"
            )
        if y.dtype.kind == "f" and not _is_finite(y):
            raise AnomalyError(_anomaly(op, inputs, y))


def _is_finite(t: Tensor) -> bool:
    return bool(t.backend.to_host(t.backend.xp.all(t.backend.xp.isfinite(t.data))))


def _anomaly(op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> str:
    """Return the words for the first element of `y` that is not finite."""
    host = y.backend.to_host(y.data)
    bad = np.argwhere(~np.isfinite(host))
    place = tuple(bad[0].tolist())
    where = f" in {y.scope.path}" if y.scope is not None and y.scope.path else ""
    shapes = ", ".join(str(t.shape) for t in inputs)
    cause = "from finite inputs" if all(map(_is_finite, inputs)) else "from inputs that were not finite already"
    return (
        f"{op.label}{where} of inputs {shapes} gave {host[place]} at {list(place)} ({len(bad)} of {host.size} "
        f"elements not finite), {cause}"
    )
