"""Early updates: a leaf takes its new value as soon as nothing reads the old one any more.

What the update reads is then free early, and the weights are still in the cache.
"""

from __future__ import annotations

from ..program import Instruction, Program, Value


def move_updates_forward(program: Program) -> Program:
    """Return the program with every instruction that makes a leaf's new value as early as it can be."""
    order = _numbers_first(program)
    place: dict[Value, tuple[int, ...]] = {i.output: (n,) for n, i in enumerate(order)}  # to be sorted by in the end
    makers = program.makers()
    states = {id(v.array): v for v in program.states()}
    outside = set(program.outputs)
    base: dict[Value, Value] = {}  # whose memory a view is
    readers: dict[Value, list[Value]] = {}  # by the memory they read
    for i in order:
        for v in i.inputs:
            readers.setdefault(base.get(v, v), []).append(i.output)
        if i.op.view:
            base[i.output] = base.get(i.inputs[0], i.inputs[0])
    for n, (leaf, v) in enumerate(program.stores.items(), 1):
        old = states.get(id(leaf.data))
        if v in place and old not in outside and not makers[v].is_opaque:
            before = readers.get(old, []) if old is not None else []
            waits = (*makers[v].inputs, *(y for y in before if y is not v))
            ready = max((place[x] for x in waits if x in place), default=(-1,))
            place[v] = min(place[v], (*ready, -n))  # right after what it waits for
    return program.rewritten(sorted(order, key=lambda i: place[i.output]))


def _numbers_first(program: Program) -> list[Instruction]:
    """Return the instructions with those first that make numbers of numbers in leaves: learning rates, say."""
    early: list[Instruction] = []
    late: list[Instruction] = []
    known: set[Value] = set()
    for i in program.instructions:
        ready = not i.is_opaque and all(
            v.size == 1 and (v.kind in ("state", "constant") or v in known) for v in i.inputs
        )
        if ready and i.output.size == 1:
            early.append(i)
            known.add(i.output)
        else:
            late.append(i)
    return early + late
