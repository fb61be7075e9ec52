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

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        self.leaves = set(leaves)
        self.before: dict[Tensor, tuple[Tensor, int]] = {}

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        if t in self.leaves and t not in self.before:
            with no_grad():  # copied by an operation, so that it holds when a compiled function is recorded as well
                self.before[t] = Cast(t.dtype.name)(t), t.modified
        return False


@contextmanager
def preserved(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Return a ``with`` block after which `leaves` hold what they held before, as if they had not been assigned."""
    keeper = _Keeper(leaves)
    try:
        with watching(keeper):
            yield
    finally:
        for t, (value, modified) in keeper.before.items():
            t.assign_(value)
            t.modified = modified
