"""How much memory a process takes at its peak."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak() -> int | None:
    """Return the most bytes that this process had in memory so far, None where the system does not tell."""
    with suppress(OSError, StopIteration):  # getrusage would count the parent's as well
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def growth() -> Callable[[], int | None]:
    """Return a function that returns by how many bytes the peak has grown beyond what the process holds now.

    Where the system cannot let the peak start anew, as only Linux can, it is by how much the old one was exceeded.
    """
    with suppress(OSError):
        RESET.write_text("5")
    before = peak()

    def grown() -> int | None:
        now = peak()
        return None if before is None or now is None else now - before

    return grown
