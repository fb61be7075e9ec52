"""Early updates: a leaf takes its new value as soon as nothing reads the old one any more.

What the update reads is then free early, and the weights are still in the cache.
"""

from __future__ import annotations

from ..program import Instruction, Program, Value


def move_updates_forward(program: Program) -> Program:
    """Return the program with every instruction that makes a leaf's new value as early as it can be."""
    order = _numbers_first(program)
    states = {id(v.array): v for v in program.states()}
    outside = set(program.outputs)
    for leaf, v in program.stores.items():
        old = states.get(id(leaf.data))
        place = {i.output: position for position, i in enumerate(order)}
        if v not in place or (old is not None and old in outside):
            continue
        update = order[place[v]]
        ready = max((place[x] for x in update.inputs if x in place), default=-1)
        if old is not None:
            ready = max([ready, *(place[i.output] for i in _readers(order, old) if i is not update)])
        if ready + 1 < place[v]:
            order.remove(update)
            order.insert(ready + 1, update)
    return program.rewritten(order)


def _readers(order: list[Instruction], v: Value) -> list[Instruction]:
    """Return the instructions that read a value or a view of it."""
    seen = {v}
    found = []
    for i in order:
        if any(x in seen for x in i.inputs):
            found.append(i)
            if i.op.view:
                seen.add(i.output)
    return found


def _numbers_first(program: Program) -> list[Instruction]:
    """Return the instructions with those first that make numbers of numbers in leaves: learning rates, say."""
    early: list[Instruction] = []
    late: list[Instruction] = []
    known: set[Value] = set()
    for i in program.instructions:
        if i.output.size == 1 and all(
            v.size == 1 and (v.kind in ("state", "constant") or v in known) for v in i.inputs
        ):
            early.append(i)
            known.add(i.output)
        else:
            late.append(i)
    return early + late
