"""What holds for the operations that the current thread applies: whether they are recorded, where, and who watches."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, ClassVar, Protocol, TypeVar

from .structure import Scope

__all__ = ["enable_grad", "no_grad"]

F = TypeVar("F", bound=Callable[..., Any])


class SharedBatch(Protocol):
    """The rows of a batch that this process has, as layers use them that need the whole batch."""

    @property
    def whole(self) -> int:
        """The rows of the batch."""
        ...

    def first_row(self, x: Any) -> Any:
        """Return the first row of the batch, shape (1, n), without gradient."""

    def column_sums(self, x: Any) -> Any:
        """Return the sums over all rows of the batch, for own rows (b, n)."""

    def mask(self, p_off: float, like: Any) -> Any:
        """Return own rows of a mask that has a row for each of the batch."""


class _Mode(threading.local):
    recording: bool = True  # whether results remember their operation and inputs
    scope: Scope | None = None  # the module call under way
    watchers: tuple[Any, ...] = ()  # each a `watchers.Watcher`, the innermost first
    share: SharedBatch | None = None  # what this process has of a batch that several share

    def __init__(self) -> None:  # called in every thread
        self.blocks: list[tuple[_Recording, bool]] = []  # those under way, with what held before each


mode = _Mode()


class _Recording:
    """A block, or a function that is decorated; it keeps nothing, so one may be nested and shared by threads."""

    __slots__ = ()
    recording: ClassVar[bool]

    def __enter__(self) -> None:
        mode.blocks.append((self, mode.recording))
        mode.recording = self.recording

    def __exit__(self, *error: object) -> None:
        blocks = mode.blocks
        if blocks and blocks[-1][0] is self:
            mode.recording = blocks.pop()[1]
        else:
            self._leave_early(blocks)

    def _leave_early(self, blocks: list[tuple[_Recording, bool]]) -> None:
        """Leave a block inside which others still are, or none: that of a generator which is closed elsewhere."""
        for i in reversed(range(len(blocks))):
            if blocks[i][0] is self:
                before = blocks.pop(i)[1]
                blocks[i] = blocks[i][0], before
                return

    def __call__(self, function: F) -> F:
        """Return `function`, run in such a block; a generator is in it while it runs, not while it waits."""

        @wraps(function)
        def run(*args: object, **kwargs: object) -> Any:
            with self:
                return function(*args, **kwargs)

        @wraps(function)
        def generate(*args: object, **kwargs: object) -> Generator[object, object, object]:
            steps = function(*args, **kwargs)
            advance, given = steps.send, None
            try:
                while True:
                    with self:
                        result = advance(given)
                    try:
                        advance, given = steps.send, (yield result)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        advance, given = steps.throw, error
            except StopIteration as end:
                return end.value
            finally:
                with self:
                    steps.close()

        return generate if inspect.isgeneratorfunction(function) else run  # type: ignore[return-value]


class no_grad(_Recording):
    """A ``with`` block, or as ``@no_grad()`` a function, in which operations record nothing: values only, no graph.

    A generator that waits inside a ``with`` block leaves its mode to whoever goes on, until it is closed, in whatever
    order; a decorated one does not.
    """

    __slots__ = ()
    recording = False


class enable_grad(_Recording):
    """A ``with`` block, or a decorated function, in which operations are recorded, even inside `no_grad`."""

    __slots__ = ()
    recording = True
