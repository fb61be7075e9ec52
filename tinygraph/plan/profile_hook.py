"""The interpreter's profile function, which sees every call: set for a ``with`` block, and taken away inside it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


class Profiled:
    """A ``with`` block in which `function` is called with the frame, the event and its argument, for each call."""

    def __init__(self, function: Callable[[FrameType, str, object], None]) -> None:
        self.function = function

    def __enter__(self) -> None:
        self._before: Any = sys.getprofile()
        sys.setprofile(self.function)

    def __exit__(self, *exception: object) -> None:
        _go_on(self._before)


class Unprofiled:
    """A ``with`` block in which no call is seen; inside one of `Profiled`."""

    def __enter__(self) -> None:
        self._before = sys.getprofile()
        sys.setprofile(None)

    def __exit__(self, *exception: object) -> None:
        _go_on(self._before)


def _go_on(before: Any) -> None:
    """Set what was the profile function before."""
    sys.setprofile(None)
    if callable(before):
        sys.setprofile(before)
    elif hasattr(before, "enable"):  # Python's own profiler
        before.enable()
