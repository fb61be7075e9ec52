"""`Watcher`: who is told what happens to tensors, as an anomaly check or the recording of a compiled function is."""

# ruff: noqa: D401 -- a method that is called when something happens says when

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from .backend import Backend
from .mode import mode
from .op import Op
from .tensors import Tensor
from .typing import Array, DType


class Watcher:
    """Methods called with what the current thread does to tensors inside ``with watching(...)``.

    A subclass overrides those it needs. Of several the innermost is asked first. Where one answers `computes` or
    `assigns`, its answer stands for what would have been done, and those around it are not asked.
    """

    def computes(self, op: Op, inputs: tuple[Tensor, ...]) -> Array | None:
        """Called before an operation is computed; return what stands for the array of its result, or None."""

    def made(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        """Called with the result `y` of an operation."""

    def assigns(self, t: Tensor, source: Tensor) -> bool:
        """Called when the leaf `t` is to take the value of `source`; return whether it has."""
        return False

    def reads(self, t: Tensor, how: str) -> None:
        """Called when the value of `t` is read on the host by the method `how`."""

    def requires(self, t: Tensor, check: Callable[[np.ndarray], None]) -> None:
        """Called where `check` raises an error if the content of `t` does not fit; it was, if that is on the host."""

    def takes(self, number: object, dtype: DType, backend: Backend) -> Tensor | None:
        """Called with a number that stands beside tensors of `dtype`; return the tensor to take for it, or None."""

    def copies(self) -> None:
        """Called when `tensor` or `parameter` is to make a leaf of a copy of numbers."""

    def creates(self, leaf: Tensor) -> None:
        """Called with a leaf that `zeros` or another function of a shape has made."""

    def shares(self, source: Tensor | Array, leaf: Tensor) -> bool:
        """Called with a leaf that shares the memory of a tensor it was detached from, or of an array given for it.

        Return whether what happens to that array is followed; the leaf is given a copy if nobody does.
        """
        return False

    def reads_grad(self, t: Tensor) -> None:
        """Called when the attribute `grad` of `t` is read."""

    def writes_grad(self, t: Tensor) -> None:
        """Called when the attribute `grad` of `t` is about to be set."""

    def enters(self, module: object, inputs: tuple[object, ...]) -> tuple[object, ...]:
        """Called when a module's forward pass begins, inside its scope; return the inputs it is given."""
        return inputs


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Return a ``with`` block in which `watcher` is among those who watch the current thread."""
    outer = mode.watchers
    mode.watchers = (watcher, *outer)
    try:
        yield
    finally:
        mode.watchers = outer
