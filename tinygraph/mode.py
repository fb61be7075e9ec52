"""What holds for the operations that the current thread applies: whether they are recorded, where, and who watches."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from .structure import Scope

__all__ = ["enable_grad", "no_grad"]


class _Mode(threading.local):
    recording: bool = True  # whether results remember their operation and inputs
    scope: Scope | None = None  # the module call under way
    watchers: tuple[Any, ...] = ()  # each a `watchers.Watcher`, the innermost first


mode = _Mode()


class _Recording:
    __slots__ = ("_outer",)
    recording: ClassVar[bool]

    def __enter__(self) -> None:
        self._outer, mode.recording = mode.recording, self.recording

    def __exit__(self, *error: object) -> None:
        mode.recording = self._outer


class no_grad(_Recording):
    """A ``with`` block in which operations record nothing: values only, no graph."""

    __slots__ = ()
    recording = False


class enable_grad(_Recording):
    """A ``with`` block in which operations are recorded, even inside `no_grad`."""

    __slots__ = ()
    recording = True
