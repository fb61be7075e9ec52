"""What a plan takes for granted: all that its function read is as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from .places import MISSING, Read, members
from .reads import count_without_cache, count_without_mode

CHECKS = {  # when to look closer, by the kind of a read: the cheapest comparison that can tell
    "item": "H{n}[{key!r}] is not V{n}",
    "class": "H{n}[{key!r}] is not V{n}",
    "attribute": "H{n}.{key} is not V{n}",
    "cell": "H{n}.cell_contents is not V{n}",
    "members": "(len(H{n}) != {length} or not all(map(is_, members(H{n}), V{n})))",
}
FEW = 16  # members of a list that are compared one by one
MOST = 40  # conditions in one function: the interpreter is slow with names beyond the first 128


class Unguarded:
    """An object that is taken as it is: what it holds changes on purpose."""


class Guards:
    """A function made for the reads of a recording, which compares them all.

    Parameters
    ----------
    reads : sequence of Read
        With the values that must be there still.

    Attributes
    ----------
    check : callable
        Returns whether all is as it was.
    """

    check: Callable[[], bool]

    def __init__(self, reads: Sequence[Read]) -> None:
        self.reads = reads
        self._space: dict[str, Any] = {"is_": is_, "members": members, "same": self._same}
        for n, read in enumerate(reads):
            self._space[f"V{n}"] = read.value
            self._space[f"H{n}"] = vars(read.holder) if read.kind == "class" else read.holder
        conditions = [f"    if {_condition(n, read)}: return False\n" for n, read in enumerate(reads)]
        starts = range(0, len(conditions), MOST)
        source = "".join(f"def check{n}():\n{''.join(conditions[n : n + MOST])}    return True\n" for n in starts)
        checks = " and ".join(f"check{n}()" for n in starts) or "True"
        source += f"def check():\n    try: return {checks}\n"
        source += "    except (AttributeError, LookupError, ValueError): return False\n"
        exec(compile(source, "<guards>", "exec"), self._space)
        self.check = self._space["check"]

    def _same(self, n: int) -> bool:
        """Look closer at one read; an equal number in the place of another is as good from now on."""
        value = self.reads[n].now()
        if not self.reads[n].alike(value, self._space[f"V{n}"]):
            return False
        self._space[f"V{n}"] = value
        return True


def _condition(n: int, read: Read) -> str:
    """Return the source of a condition that is true if a read is not as it was."""
    if read.value is MISSING and read.kind in ("item", "class"):
        return f"{read.key!r} in H{n}"
    if read.key is count_without_mode:
        return f"len(H{n}) - ('training' in H{n}) != {read.value}"
    if read.key is count_without_cache:
        return f"len(H{n}) - ('__slotnames__' in H{n}) != {read.value}"
    if read.value is MISSING or read.kind not in CHECKS:
        return f"not same({n})"
    if read.kind == "members" and not read.value:
        return f"len(H{n})"
    if read.kind == "members" and type(read.holder) is list and len(read.value) <= FEW:
        different = [
            f"len(H{n}) != {len(read.value)}",
            *(f"H{n}[{k}] is not V{n}[{k}]" for k in range(len(read.value))),
        ]
        return f"({' or '.join(different)}) and not same({n})"
    if read.key == "__class__":
        return f"type(H{n}) is not V{n} and not same({n})"
    length = len(read.holder) if read.kind == "members" else 0
    return CHECKS[read.kind].format(n=n, key=read.key, length=length) + f" and not same({n})"
