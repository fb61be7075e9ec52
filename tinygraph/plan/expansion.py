"""The operations of a graph taken apart into those that their `forward` calls, for drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..backend import Backend
from ..op import Op
from ..operators import offers
from ..record import TRIAL_BATCHES, Node, number_text, shape_of
from .abstract import taken_apart
from .program import Instruction, Value, number_of

Step = Instruction | Value  # a constant is a value


@offers
def primitives_of(nodes: Sequence[Node], ops: Sequence[Sequence[Op | None]], backend: Backend) -> list[Node]:
    """Return the nodes of a graph with operations taken apart, as far as their `forward` tells; nothing is computed.

    Parameters
    ----------
    nodes : sequence of Node
    ops : sequence of sequence of Op
        The operation of every node, None for leaves; of one run, or of one with each of the `TRIAL_BATCHES`.
    backend : Backend
        On which they were computed.
    """
    made: list[Node] = []
    now: list[int] = []  # the new id of every node
    known: dict[object, tuple[list[Value], list[Step]]] = {}  # operands and steps of operations that were taken apart
    for node in nodes:
        runs = []
        for run, batch in zip(ops, TRIAL_BATCHES, strict=False):
            op, shapes = run[node.id], [(nodes[i].shape, nodes[i].dtype) for i in node.inputs]
            key = id(op), batch, *shapes, *[node.inputs.index(i) for i in node.inputs]
            if key not in known:
                values = {i: _value(nodes[i], batch) for i in node.inputs}
                operands = [values[i] for i in node.inputs]
                known[key] = operands, _steps(op, operands, backend)
            runs.append(known[key])
        if len({tuple([_kind(step) for step in steps]) for _, steps in runs}) > 1:
            runs = runs[:1]  # it depends on the batch by more than lengths and numbers
        places = {value: now[i] for i, value in zip(node.inputs, runs[0][0], strict=True)}
        if len(runs[0][1]) < 2:
            made.append(replace(node, id=len(made), inputs=tuple([now[i] for i in node.inputs]), part_of=node.id))
        else:
            for same in zip(*(steps for _, steps in runs), strict=True):
                made.append(_part(node, same, places, backend, len(made)))
                places[_value_of(same[0])] = made[-1].id
            made[-1] = _as_whole(made[-1], node)
        now.append(made[-1].id)
    return made


def _value(node: Node, batch: int) -> Value:
    """Return what a node gives with a batch of a given length, without content."""
    shape = tuple([n if isinstance(n, int) else int(n[:-1] or 1) * batch for n in node.shape])
    return Value(shape, np.dtype(node.dtype))


def _steps(op: Op | None, operands: Sequence[Value], backend: Backend) -> list[Step]:
    """Return what an operation is made of up to its result, constants before their first use."""
    taken = None if op is None else taken_apart(op, tuple(operands), backend, "")
    steps: list[Step] = []
    known = set(operands)
    for part in () if taken is None else taken.parts:
        steps += [v for v in dict.fromkeys(part.inputs) if v not in known]
        steps.append(part)
        known |= {*part.inputs, part.output}
        if taken is not None and part.output is taken.output:
            break
    return steps


def _kind(step: Step) -> tuple[str, int]:
    """Return what is the same for a step with every batch."""
    return ("", 0) if isinstance(step, Value) else (step.op.name, len(step.inputs))


def _value_of(step: Step) -> Value:
    return step if isinstance(step, Value) else step.output


def _part(whole: Node, same: Sequence[Step], places: Mapping[Value, int], backend: Backend, place: int) -> Node:
    """Return a step, as it is with every batch, as a node beside the operation that it is a part of."""
    step, values = same[0], [_value_of(one) for one in same]
    known: dict[str, Any] = {"shape": shape_of(*(v.shape for v in values)), "dtype": str(values[0].dtype)}
    known |= {"scope": whole.scope, "cluster": whole.cluster, "is_gradient": whole.is_gradient, "part_of": whole.id}
    if isinstance(step, Value):
        numbers = [n for v in values if (n := number_of(v, backend)) is not None]
        label = number_text(*numbers) if len(numbers) == len(values) else "constant"
        return Node(id=place, kind="constant", label=label, inputs=(), **known)
    inputs = tuple([places[v] for v in step.inputs])
    labels = {one.op.label for one in same if isinstance(one, Instruction)}
    label = step.op.label if len(labels) == 1 else step.op.name
    return Node(id=place, kind="op", label=label, op=step.op.name, inputs=inputs, **known)


def _as_whole(part: Node, whole: Node) -> Node:
    """Return the last part of an operation as what gives its result."""
    instead = {name: getattr(part, name) for name in ("id", "label", "op", "rule", "equation", "inputs", "part_of")}
    return replace(whole, sensitivity=None, **instead)
