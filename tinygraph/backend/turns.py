"""Streams of a device take turns in memory that they share."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import ModuleType

PER_THREAD = 2  # pointer of the default stream that is another in every thread; those below are default streams, too


class Turn:
    """Memory of which callers know nothing, for streams to use one after the other.

    Called before it is used on the current stream, which then waits for what the stream before has been asked for.
    """

    def __init__(self, cupy: ModuleType) -> None:
        self.cupy = cupy
        self.home = self.stream = cupy.cuda.get_current_stream()  # kept, so that no other gets the same pointer
        self.thread = threading.get_ident()

    def __call__(self) -> None:
        stream, thread = self.cupy.cuda.get_current_stream(), threading.get_ident()
        before = self.stream
        if stream.ptr == before.ptr and (stream.ptr != PER_THREAD or thread == self.thread):
            return
        if stream.ptr > PER_THREAD and stream.is_capturing():
            return  # nothing is computed now; who launches what is captured takes the turn then
        if before.ptr == PER_THREAD:  # of another thread, or left: nobody else can record an event on it
            self.cupy.cuda.Device().synchronize()
        else:
            stream.wait_event(before.record())
        self.stream, self.thread = stream, thread

    def __del__(self) -> None:
        # The memory goes back to the pool of the stream that it was made on.
        if self.stream.ptr != self.home.ptr:
            with suppress(Exception):  # at the end of a process, nothing is left to order
                self.home.wait_event(self.stream.record())
