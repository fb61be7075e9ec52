"""A step as a program: what a trace records, what passes rewrite, what a replay runs.

A program is a function from values to values. Assignments are not among its instructions: a leaf's value at the
end is one of the results (`stores`), so passes need no notion of memory; where results are kept is decided last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..backend import Backend
from ..op import Op
from ..tensors import Tensor
from ..typing import Array, Axis, DType
from .operations import Elementwise
from .primitives import dtypes_of

PACKAGE = f"{__name__.partition('.')[0]}."
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
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self.size * self.dtype.itemsize

    def like(self, other: Value) -> bool:
        """Whether shape and dtype are those of another value."""
        return self.shape == other.shape and self.dtype == other.dtype


@dataclass(eq=False, slots=True)
class Instruction:
    """An operation applied to values.

    Attributes
    ----------
    op : Op
    inputs : tuple of Value
    output : Value
    parts : tuple of Instruction
        What it is made of, the last or another with the same output; none if it is kept whole.
    kind : str
        The name of one of the library's operations; empty for any other, whatever that is called.
    """

    op: Op
    inputs: tuple[Value, ...]
    output: Value
    parts: tuple[Instruction, ...] = ()
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        self.kind = self.op.name if is_ours(type(self.op)) else ""

    @property
    def is_opaque(self) -> bool:
        """Whether it is not known what it does besides: draw a number, count a call."""
        return not self.kind and not self.parts

    def reading(self, inputs: tuple[Value, ...]) -> Instruction:
        """Return the instruction with other inputs."""
        return Instruction(self.op, inputs, self.output)

    def applied(self, inputs: tuple[Value, ...], scope: str) -> Instruction:
        """Return the operation and its parts applied to other values, of the same shapes and dtypes."""
        now = dict(zip(self.inputs, inputs, strict=True))
        parts = tuple([part._moved(now, scope) for part in self.parts])
        return self._moved(now, scope, parts)

    def _moved(self, now: dict[Value, Value], scope: str, parts: tuple[Instruction, ...] = ()) -> Instruction:
        """Return the instruction with the values that are now in the places of its own; a new one for its output."""
        inputs = tuple([now.get(v, v) for v in self.inputs])
        output = now.get(self.output)
        if output is None:
            output = now[self.output] = Value(self.output.shape, self.output.dtype, scope=scope)
        return Instruction(self.op, inputs, output, parts)


def is_ours(x: object) -> bool:
    """Whether a class or a function belongs to the library."""
    return str(x.__module__).startswith(PACKAGE)


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
    groups : tuple of (first, end)
        Fusion groups: runs of instructions, by position, that may go through their arrays together.
    """

    backend: Backend
    arguments: tuple[Value, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[Value, ...]
    stores: Mapping[Tensor, Value] = field(default_factory=dict)
    groups: tuple[tuple[int, int], ...] = ()

    @property
    def results(self) -> tuple[Value, ...]:
        """The values that something outside wants."""
        return (*self.outputs, *self.stores.values())

    def readers(self) -> dict[Value, list[Instruction]]:
        """Return for every value the instructions that read it, in order, one that reads it twice twice."""
        readers: dict[Value, list[Instruction]] = {}
        for i in self.instructions:
            for v in i.inputs:
                readers.setdefault(v, []).append(i)
        return readers

    def makers(self) -> dict[Value, Instruction]:
        """Return for every result the instruction that makes it."""
        return {i.output: i for i in self.instructions}

    def states(self) -> list[Value]:
        """Return the values of kind "state" that are read, in order."""
        values = dict.fromkeys(v for i in self.instructions for v in i.inputs)
        values |= dict.fromkeys(self.results)
        return [v for v in values if v.kind == "state"]

    def evaluate(self, arguments: Iterable[Array]) -> tuple[list[np.ndarray], dict[Tensor, np.ndarray]]:
        """Return host copies of outputs and stores, computed operation by operation; no leaf is changed."""
        backend = self.backend
        arrays: dict[Value, Array] = dict(zip(self.arguments, arguments, strict=True))
        for i in self.instructions:
            inputs = (arrays.get(v, v.array) for v in i.inputs)
            arrays[i.output] = backend.asarray(i.op.forward(backend.xp, *inputs))

        def host(v: Value) -> np.ndarray:
            return np.array(backend.to_host(arrays.get(v, v.array)))

        return [host(v) for v in self.outputs], {leaf: host(v) for leaf, v in self.stores.items()}

    def rewritten(self, instructions: Iterable[Instruction], instead: Mapping[Value, Value] | None = None) -> Program:
        """Return the program with other instructions, values replaced as `instead` says."""
        if not instead:
            return replace(self, instructions=tuple(instructions), groups=())

        def now(v: Value) -> Value:
            while v in instead:
                v = instead[v]
            return v

        changed = tuple(
            i if not any(v in instead for v in i.inputs) else i.reading(tuple(map(now, i.inputs))) for i in instructions
        )
        stores = {leaf: now(v) for leaf, v in self.stores.items()}
        return replace(self, instructions=changed, outputs=tuple(map(now, self.outputs)), stores=stores, groups=())


class Builder:
    """Appends instructions to a list.

    Parameters
    ----------
    backend : Backend
    scope : str
        The scope of the values it makes.
    """

    def __init__(self, backend: Backend, scope: str = "") -> None:
        self.backend, self.scope = backend, scope
        self.instructions: list[Instruction] = []

    def __call__(
        self,
        op: Op,
        inputs: tuple[Value, ...],
        shape: tuple[int, ...],
        dtype: DType,
        output: Value | None = None,
    ) -> Value:
        """Apply `op`; return its output, a new value unless it is given."""
        output = Value(shape, dtype, scope=self.scope) if output is None else output
        self.instructions.append(Instruction(op, inputs, output))
        return output

    def elementwise(self, name: str, *operands: Value | float, output: Value | None = None) -> Value:
        """Apply a primitive; Python numbers become constants of the dtype that NumPy would take them in."""
        kinds = tuple(x.dtype if isinstance(x, Value) else _weak(x) for x in operands)
        *wanted, dtype = dtypes_of(name, kinds)
        values = tuple(
            x if isinstance(x, Value) else constant(self.backend, np.array(x, kind))
            for x, kind in zip(operands, wanted, strict=True)
        )
        return self(Elementwise(name), values, broadcast(*(v.shape for v in values)), dtype, output)


def _weak(number: float) -> object:
    return np.dtype(bool) if isinstance(number, bool) else type(number)


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that arrays of these shapes broadcast to."""
    different = {s for s in shapes if s}
    return np.broadcast_shapes(*different) if len(different) > 1 else next(iter(different), ())


def constant(backend: Backend, host: np.ndarray) -> Value:
    """Return a constant with the content of a host array."""
    return Value(host.shape, host.dtype, "constant", array=backend.asarray(host))


def number_of(v: Value, backend: Backend) -> float | None:
    """Return the number that all elements of a constant are, sign of zero included; None for anything else."""
    if v.kind != "constant" or not v.size:
        return None
    host = backend.to_host(v.array).reshape(-1)
    first = host[0]
    alike = v.size == 1 or (host[-1] == first and (host == first).all())
    if not alike or (v.size > 1 and first == 0 and v.dtype.kind == "f" and np.signbit(host).any() != np.signbit(first)):
        return None
    number: float = host.item(0)
    return number


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes that a reduction over `axis` joins, counted from the front, in order."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(int(a) % ndim for a in (axis if isinstance(axis, tuple) else (axis,))))
