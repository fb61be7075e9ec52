"""A step as a program: what a trace records, what passes rewrite, what a replay runs.

A program is a function from values to values. Assignments are not among its instructions: a leaf's value at the
end is one of the results (`stores`), so passes need no notion of memory; where results are kept is decided last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..backend import Array, Backend
from ..op import ElementwiseOp, Op
from ..ops.elementwise import Cast, Comparison, Where
from ..ops.matmul import MatMul
from ..ops.reduce import BroadcastTo, Reduction
from ..ops.shape import Reshape
from ..tensor import Tensor

Kind = Literal["argument", "gradient", "state", "constant", "result"]


@dataclass(eq=False)
class Value:
    """One array of a program; it is written once.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    kind : {"argument", "gradient", "state", "constant", "result"}
        Copied in from an argument, or from the `grad` a leaf has at the start; the content of a leaf's memory at
        the start; a fixed array; or what an instruction makes.
    name, scope : str
        What it is called in listings, and the path of the module call it belongs to.
    leaf : Tensor or None
        The leaf behind "gradient" and "state".
    array : array or None
        The content of a "constant"; the memory of a "state".
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: Kind = "result"
    name: str = ""
    scope: str = ""
    leaf: Tensor | None = None
    array: Array = None

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self.size * self.dtype.itemsize


@dataclass(eq=False, frozen=True)
class Instruction:
    """An operation applied to values."""

    op: Op
    inputs: tuple[Value, ...]
    output: Value


@dataclass(frozen=True)
class Program:
    """What a compiled function computes, for arguments of given shapes.

    Attributes
    ----------
    backend : Backend
    arguments : tuple of Value
        Of kind "argument" and "gradient", in the order in which a replay copies them in.
    instructions : tuple of Instruction
        In an order of evaluation.
    outputs : tuple of Value
        What a replay copies out.
    stores : dict of Tensor to Value
        What leaves hold at the end.
    chains : tuple of (first, end)
        Runs of instructions, by position, that may go through their arrays together, piece by piece.
    """

    backend: Backend
    arguments: tuple[Value, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[Value, ...]
    stores: Mapping[Tensor, Value] = field(default_factory=dict)
    chains: tuple[tuple[int, int], ...] = ()

    @property
    def results(self) -> tuple[Value, ...]:
        """The values that something outside wants."""
        return (*self.outputs, *self.stores.values())

    def readers(self) -> dict[Value, list[Instruction]]:
        """Return for every value the instructions that read it, in order, one that reads it twice twice."""
        found: dict[Value, list[Instruction]] = {}
        for instruction in self.instructions:
            for v in instruction.inputs:
                found.setdefault(v, []).append(instruction)
        return found

    def makers(self) -> dict[Value, Instruction]:
        """Return for every result the instruction that makes it."""
        return {i.output: i for i in self.instructions}

    def states(self) -> list[Value]:
        """Return the values of kind "state" that are read, in order."""
        values = dict.fromkeys(v for i in self.instructions for v in i.inputs)
        values |= dict.fromkeys(self.results)
        return [v for v in values if v.kind == "state"]

    def rewritten(self, instructions: Iterable[Instruction], instead: Mapping[Value, Value] | None = None) -> Program:
        """Return the program with other instructions, values replaced as `instead` says."""
        if not instead:
            return replace(self, instructions=tuple(instructions), chains=())

        def now(v: Value) -> Value:
            while v in instead:
                v = instead[v]
            return v

        changed = tuple(
            i if not any(v in instead for v in i.inputs) else replace(i, inputs=tuple(map(now, i.inputs)))
            for i in instructions
        )
        stores = {leaf: now(v) for leaf, v in self.stores.items()}
        return replace(self, instructions=changed, outputs=tuple(map(now, self.outputs)), stores=stores, chains=())


class Builder:
    """Appends instructions to a list, working out shapes and dtypes.

    Parameters
    ----------
    backend : Backend
    scope : str
        The scope of the values it makes.
    """

    def __init__(self, backend: Backend, scope: str = "") -> None:
        self.backend, self.scope = backend, scope
        self.instructions: list[Instruction] = []

    def __call__(self, op: Op, *inputs: Value | float, output: Value | None = None) -> Value:
        """Apply `op`; numbers become constants of the dtype of the first floating input."""
        like = next(v for v in inputs if isinstance(v, Value))
        values = tuple(v if isinstance(v, Value) else self.number(v, like.dtype) for v in inputs)
        if output is None:
            output = Value(*infer(op, values, self.backend), scope=self.scope)
        self.instructions.append(Instruction(op, values, output))
        return output

    def number(self, value: float, dtype: np.dtype[Any]) -> Value:
        """Return a constant with no axes."""
        return constant(self.backend, np.array(value, dtype))


def constant(backend: Backend, host: np.ndarray) -> Value:
    """Return a constant with the content of a host array."""
    return Value(host.shape, host.dtype, "constant", array=backend.asarray(host))


def number_of(v: Value, backend: Backend) -> float | None:
    """Return the number that all entries of a constant are; None for anything else."""
    if v.kind != "constant" or not v.size:
        return None
    host = backend.to_host(v.array)
    first = host.reshape(-1)[0]
    return float(first) if v.size == 1 or bool((host == first).all()) else None


def infer(op: Op, inputs: tuple[Value, ...], backend: Backend) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of what `op` makes of `inputs`."""
    shape, dtype = inputs[0].shape, inputs[0].dtype
    if isinstance(op, BroadcastTo):
        return op.shape, dtype
    if isinstance(op, Cast):
        return shape, np.dtype(op.dtype)
    if isinstance(op, Reshape) and -1 not in op.shape:
        return op.shape, dtype
    if isinstance(op, ElementwiseOp):
        whole = np.broadcast_shapes(*(v.shape for v in inputs))
        if isinstance(op, Comparison):
            return whole, np.dtype(bool)
        return whole, inputs[1].dtype if isinstance(op, Where) else dtype
    if isinstance(op, MatMul) and len(shape) == 2 == len(inputs[1].shape):
        rows = shape[1] if op.transpose_a else shape[0]
        other = inputs[1].shape
        return (rows, other[0] if op.transpose_b else other[1]), dtype
    if isinstance(op, Reduction):
        axes = range(len(shape)) if op.axis is None else _axes(op.axis, len(shape))
        kept = [1 if a in axes else n for a, n in enumerate(shape) if op.keepdims or a not in axes]
        return tuple(kept), dtype
    trial = op.forward(backend.xp, *(backend.xp.zeros(v.shape, v.dtype) for v in inputs))
    return tuple(trial.shape), np.dtype(trial.dtype)


def _axes(axis: int | tuple[int, ...], ndim: int) -> set[int]:
    return {a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))}


def unused(values: Iterable[Value], program: Program) -> Iterator[Value]:
    """Yield those of `values` that neither an instruction nor the outside reads."""
    wanted = set(program.results).union(*(i.inputs for i in program.instructions))
    return (v for v in values if v not in wanted)
