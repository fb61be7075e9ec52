"""What a plan takes for granted: all that its function read is as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from types import MappingProxyType

from .places import MISSING, Read, is_only_itself, members
from .reads import count_without_cache, count_without_mode
from .straight import Straight, unpacked

CHECKS = {  # when to look closer, by the kind of a read: the cheapest comparison that can tell
    "item": "{holder}[{key!r}] is not {value}",
    "class": "{holder}[{key!r}] is not {value}",
    "attribute": "{holder}.{key} is not {value}",
    "cell": "{holder}.cell_contents is not {value}",
    "members": "len({holder}) != {length} or not all(map({is_}, {members}({holder}), {value}))",
}
FEW = 16  # members of a list that are compared one by one
GONE = "(AttributeError, LookupError, ValueError)"  # what a comparison raises where something is not there any more
OTHER = object()


class Unguarded:
    """An object that is taken as it is: what it holds changes on purpose."""


class Guards:
    """The reads of a recording, and lines of code that compare them all.

    Parameters
    ----------
    reads : sequence of Read
        With the values that must be there still.
    """

    def __init__(self, reads: Sequence[Read]) -> None:
        self.reads = reads

    def lines(self, code: Straight, no: str) -> list[str]:
        """Return lines that do `no`, say ``return False``, or raise one of `GONE`, if anything is not as it was."""
        return [line for n, read in enumerate(self.reads) for line in self._compared(code, n, read, no)]

    def _compared(self, code: Straight, n: int, read: Read, no: str) -> list[str]:
        """Return the lines that compare one read; an equal number in the place of another is as good from then on."""
        kind, key, value = read.kind, read.key, read.value
        holder = code(vars(read.holder) if kind == "class" else read.holder, "holder")
        if value is MISSING and kind in ("item", "class"):
            return [f"if {key!r} in {holder}: {no}"]
        if key is count_without_mode:
            return [f"if len({holder}) - ('training' in {holder}) != {value}: {no}"]
        if key is count_without_cache:
            return [f"if len({holder}) - ('__slotnames__' in {holder}) != {value}: {no}"]
        closer = [f"_now = {code(_now, 'now')}({code(read, 'read')})", f"if _now is {code(OTHER, 'other')}: {no}"]
        if value is MISSING or kind not in CHECKS:
            return closer
        if kind == "members" and not value:
            return [f"if len({holder}): {no}"]
        is_fixed = all(map(is_only_itself, value)) if kind == "members" else is_only_itself(value)
        is_short = kind == "members" and type(read.holder) is list and len(value) <= FEW
        if is_short and is_fixed:
            found = [f"_m{k}" for k in range(len(value))]
            others = (f"{x} is not {code(member, 'member')}" for x, member in zip(found, value, strict=True))
            return [unpacked(found, holder), f"if {' or '.join(others)}: {no}"]
        name = code(value, "value") if is_fixed else code.variable(value)
        if is_short:
            others = (f"{holder}[{k}] is not {name}[{k}]" for k in range(len(value)))
            condition = " or ".join([f"len({holder}) != {len(value)}", *others])
        elif key == "__class__":
            condition = f"type({holder}) is not {name}"
        else:
            length = len(value) // (1 + isinstance(read.holder, dict | MappingProxyType)) if kind == "members" else 0
            names = {"is_": code(is_, "is_"), "members": code(members, "members")} if kind == "members" else {}
            condition = CHECKS[kind].format(holder=holder, key=key, value=name, length=length, **names)
        if is_fixed:
            return [f"if {condition}: {no}"]
        return [f"if {condition}:", *(f" {line}" for line in (*closer, f"{name} = _now"))]


def _now(read: Read) -> object:
    """Look closer: return what is there now if it makes no difference, `OTHER` otherwise."""
    value = read.now()
    return value if read.alike(value, read.value) else OTHER
