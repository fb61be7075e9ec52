"""State that is left as it was: running averages, the keys of masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..mode import no_grad
from ..tensors import Tensor
from ..watchers import Watcher, watching
from .elementwise import Cast


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
            t.modified = modified
