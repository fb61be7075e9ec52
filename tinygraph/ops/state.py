"""State: leaves that are updated in place, and what is left as it was, running averages and the keys of masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..mode import mode, no_grad
from ..op import Op
from ..tensors import Tensor, next_index
from ..watchers import Watcher, watching
from .elementwise import Cast


def update_(t: Tensor, op: Op, *operands: Tensor | float) -> Tensor:
    """Do ``t.assign_(op(*operands))`` for an elementwise operation, and return the leaf `t`.

    Where nothing is recorded, nobody watches and the operands fit `t` as they are, the operation writes into the memory
    of `t`, with the same bits; everything else, errors included, is left to the operation and `assign_`.
    """
    data, backend = t.data, t.backend
    dtype, shapes = data.dtype, (data.shape, ())
    for x in operands:
        if type(x) is float and dtype.kind == "f":
            continue
        if type(x) is not Tensor or x.backend is not backend:
            break
        if x.data.dtype is not dtype or x.data.shape not in shapes:
            break
    else:
        if not (mode.recording or mode.watchers) and t.op is None and t.modified >= 0 and t._sharing is None:
            t.modified = next_index()  # before: what raises a floating-point error has written
            arrays = [x.data if type(x) is Tensor else x for x in operands]
            result = op.forward(backend.xp, *arrays, out=data)
            if result is not data:
                backend.xp.copyto(data, result)
            return t
    return t.assign_(op(*operands))


class _Keeper(Watcher):
    """Keeps what leaves hold before they are assigned for the first time."""

    def __init__(self, leaves: Iterable[Tensor] | None) -> None:
        self.leaves = None if leaves is None else set(leaves)
        self.before: dict[Tensor, tuple[Tensor, int]] = {}

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        if t not in self.before and (self.leaves is None or t in self.leaves):
            with no_grad():  # copied by an operation, so that it holds when a compiled function is recorded as well
                self.before[t] = Cast(t.dtype.name)(t), t.modified
        return False


@contextmanager
def preserved(leaves: Iterable[Tensor] | None = None) -> Iterator[None]:
    """Return a ``with`` block after which `leaves`, or all, hold what they held before they were assigned in it."""
    keeper = _Keeper(leaves)
    try:
        with watching(keeper):
            yield
    finally:
        for t, (value, modified) in keeper.before.items():
            t.assign_(value)
            t.mark_modified(modified)
