"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ...backend import Backend
from ..program import Instruction, Program, Value

SMALL = 64  # entries of constants that are compared by content


def share_common_subexpressions(program: Program) -> Program:
    """Return the program with equal operations on equal inputs done once.

    A random operation reads a key that is another value for every draw, so no two draws are equal.
    """
    instead: dict[Value, Value] = {}
    seen: dict[Hashable, Value] = {}
    kept: list[Instruction] = []
    for i in program.instructions:
        inputs = tuple(instead.get(v, v) for v in i.inputs)
        key = (i.op, tuple(_key(v, program.backend) for v in inputs))
        try:
            known = seen.get(key)
        except TypeError:  # an operation with a field that has no hash
            known = None
        else:
            seen.setdefault(key, i.output)
        if known is None:
            kept.append(Instruction(i.op, inputs, i.output))
        else:
            instead[i.output] = known
            known.name = known.name or i.output.name
    return program.rewritten(kept, instead)


def _key(v: Value, backend: Backend) -> Any:
    """Return what two values share if they are equal: small constants their content, all others themselves."""
    if v.kind == "constant" and v.size <= SMALL:
        return v.shape, v.dtype.str, backend.to_host(v.array).tobytes()
    return v
