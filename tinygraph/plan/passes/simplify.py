"""Simplification: each instruction, in order, is rewritten by rules until none fits; equal ones are done once.

A rule takes an instruction whose inputs are simplified already. It returns the value that the output equals, an
instruction to put in its place, or None if it does not fit. It belongs to a pass, by whose name it can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np

from ...backend import Backend
from ...ops.shape import Reshape
from ...typing import DType
from ..operations import Elementwise
from ..primitives import PRIMITIVES
from ..program import Instruction, Program, Value, broadcast, constant, number_of

SHARING = "common subexpressions"
LARGEST = 1 << 16  # elements of a constant that a plan may hold in the place of an instruction
SMALL = 64  # elements of constants that are compared by content

Rule = Callable[["Simplifier", Instruction], "Value | Instruction | None"]
RULES: list[tuple[str, tuple[str, ...], Rule]] = []


def rule(name: str, *kinds: str) -> Callable[[Rule], Rule]:
    """Add a rule of the pass `name` for operations of these kinds (none: for all)."""

    def add(function: Rule) -> Rule:
        RULES.append((name, kinds, function))
        return function

    return add


def simplify(program: Program, names: Collection[str]) -> Program:
    """Return the program after the passes called `names`, as far as they are rules or the sharing of equals."""
    return Simplifier(program, names).run()


class Simplifier:
    """The state of one simplification: what makes each value by now."""

    def __init__(self, program: Program, names: Collection[str]) -> None:
        self.program, self.backend = program, program.backend
        self.rules = [(kinds, function) for name, kinds, function in RULES if name in names]
        self.rules_of: dict[str, list[Rule]] = {}
        self.shares = SHARING in names
        self.makers: dict[Value, Instruction] = {}

    def run(self) -> Program:
        """Return the simplified program."""
        instead: dict[Value, Value] = {}
        seen: dict[Any, Value] = {}
        for before in self.program.instructions:
            inputs = tuple(instead.get(v, v) for v in before.inputs)
            i = self.simplest(before if inputs == before.inputs else before.reading(inputs))
            if isinstance(i, Instruction) and self.shares and i.kind and (key := self.key(i)) is not None:
                known: Value = seen.setdefault(key, i.output)
            else:
                known = i if isinstance(i, Value) else i.output
            if known is not before.output:
                instead[before.output] = known
                known.name = known.name or before.output.name
            else:
                self.makers[before.output] = i  # type: ignore[assignment]
        return self.program.rewritten(self.makers.values(), instead)

    def simplest(self, i: Instruction) -> Value | Instruction:
        """Return what is left when no rule fits any more."""
        kind = i.kind
        if kind not in self.rules_of:
            self.rules_of[kind] = [function for kinds, function in self.rules if not kinds or kind in kinds]
        for function in self.rules_of[kind]:
            better = function(self, i)
            if better is not None:
                return better if isinstance(better, Value) else self.simplest(better)
        return i

    def key(self, i: Instruction) -> Any:
        """Return what equal instructions have in common, if that can be told.

        A random one reads a key that is another for every draw. A stranger's, kept whole, has no kind: two of it
        may give different things.
        """
        try:
            fields = [_hashable(x) for x in vars(i.op).values()]
        except TypeError:  # a field without a hash
            return None
        return (
            type(i.op),
            *fields,
            *(self.content(v) if v.kind == "constant" and v.size <= SMALL else v for v in i.inputs),
        )

    def content(self, v: Value) -> object:
        """Return what equal constants have in common."""
        return v.shape, v.dtype.str, self.backend.to_host(v.array).tobytes()

    def maker(self, v: Value, *kinds: str) -> Instruction | None:
        """Return the instruction that makes `v`, if it is of one of these kinds."""
        maker = self.makers.get(v)
        return maker if maker is not None and maker.kind in kinds else None


def _hashable(field: object) -> object:
    """Return what equal fields of operations have in common, slices and what they stand among included.

    Raises
    ------
    TypeError
        If that cannot be told.
    """
    if isinstance(field, slice):
        return slice, _hashable(field.start), _hashable(field.stop), _hashable(field.step)
    if isinstance(field, tuple):
        return tuple(map(_hashable, field))
    if isinstance(field, int | float):  # -0.0 == 0.0 == 0 == False
        return type(field), str(field)
    hash(field)
    return field


def scaled(i: Instruction, backend: Backend) -> tuple[Value, float] | None:
    """Return x and c for an operation that is ``c x`` with a number c, both floating; None for any other.

    Neither for 0, infinities, NaN and subnormal numbers: what is made of them depends on x, or on every bit of c.
    """
    if i.kind == "negative" and i.inputs[0].dtype.kind == "f":
        return i.inputs[0], -1.0
    if i.kind != "multiply" or i.inputs[0].dtype.kind != "f" or i.inputs[0].dtype != i.inputs[1].dtype:
        return None
    for x, c in (i.inputs, i.inputs[::-1]):
        factor = number_of(c, backend) if len(c.shape) <= len(x.shape) and c.size == 1 else None
        if factor is not None and is_normal(factor, x.dtype):
            return x, factor
    return None


def is_normal(number: float, dtype: DType) -> bool:
    """Whether a number has full precision in a floating dtype: it is not 0, subnormal, infinite or NaN."""
    limits = np.finfo(dtype)
    return float(limits.tiny) <= abs(number) <= float(limits.max)


def joined(a: float, b: float, dtype: DType) -> float | None:
    """Return ``a b`` if ``x (a b)`` is ``(x a) b`` but for rounding, whatever x is; None otherwise.

    If one is larger and one smaller than 1, the first may take x out of the range of the dtype, and back comes neither
    an infinity nor a zero.
    """
    return a * b if (abs(a) - 1) * (abs(b) - 1) >= 0 and is_normal(a * b, dtype) else None


@rule("constant folding")
def number_for_matrix(p: Simplifier, i: Instruction) -> Instruction | None:
    """Take the number for a constant matrix whose elements are all that number."""
    if i.kind in PRIMITIVES and len(i.inputs) > 1:
        for k, v in enumerate(i.inputs):
            number = number_of(v, p.backend) if v.shape else None
            if number is not None:
                scalar = constant(p.backend, np.array(number, v.dtype))
                inputs = (*i.inputs[:k], scalar, *i.inputs[k + 1 :])
                if broadcast(*(x.shape for x in inputs)) == i.output.shape:
                    return i.reading(inputs)
    return None


@rule("constant folding", "add", "multiply")
def constant_last(p: Simplifier, i: Instruction) -> Instruction | None:
    """Make ``x + c`` of ``c + x``."""
    a, b = i.inputs
    return i.reading((b, a)) if a.kind == "constant" != b.kind else None


@rule("constant folding", "add", "subtract")
def negative_addend(p: Simplifier, i: Instruction) -> Instruction | None:
    """Make ``a - b`` of ``a + -b``, and ``a + b`` of ``a - -b``."""
    inner = p.maker(i.inputs[1], "negative")
    if inner is None or inner.output.dtype != i.output.dtype:
        return None
    return Instruction(Elementwise("subtract" if i.kind == "add" else "add"), (i.inputs[0], *inner.inputs), i.output)


@rule("constant folding", "negative", "multiply")
def two_factors(p: Simplifier, i: Instruction) -> Instruction | None:
    """Make ``x 6`` of ``(x 2) 3``, unless the product of the numbers leaves their range."""
    outer = scaled(i, p.backend)
    inner = p.maker(outer[0], "negative", "multiply") if outer else None
    if outer is None or inner is None or inner.output.shape != i.output.shape:
        return None
    again = scaled(inner, p.backend)
    number = joined(again[1], outer[1], i.output.dtype) if again else None
    if again is None or number is None:
        return None
    factor = constant(p.backend, np.array(number, i.output.dtype))
    return Instruction(Elementwise("multiply"), (again[0], factor), i.output)


@rule("constant folding", "add", "subtract", "multiply", "divide")
def neutral(p: Simplifier, i: Instruction) -> Value | None:
    """Make ``x`` of ``x + -0``, ``x - 0``, ``x 1`` and ``x / 1``; ``x + 0`` makes 0 of -0."""
    idle = {"add": -0.0, "subtract": 0.0}.get(i.kind, 1.0)
    pairs = (i.inputs, i.inputs[::-1]) if i.kind in ("add", "multiply") else (i.inputs,)
    for x, c in pairs:
        number = number_of(c, p.backend) if x.like(i.output) else None
        if number is None or number != idle:
            continue
        if number or x.dtype.kind != "f" or np.signbit(number) == np.signbit(idle):
            return x
    return None


@rule("constant folding", "reshape", "broadcast_to", "cast")
def same_shape(p: Simplifier, i: Instruction) -> Value | None:
    """Leave a shape and a dtype that are there already."""
    return i.inputs[0] if i.inputs[0].like(i.output) else None


@rule(SHARING, "index")
def shortest_key(p: Simplifier, i: Instruction) -> Instruction | None:
    """Make ``x[:1]`` of ``x[:1, ...]``."""
    op: Any = i.op
    longer = len(op.key) > 1 and op.key[-1] is Ellipsis
    return Instruction(replace(op, key=op.key[:-1]), i.inputs, i.output) if longer else None


@rule("constant folding")
def computed_once(p: Simplifier, i: Instruction) -> Value | None:
    """Compute what depends on constants only, once."""
    if not i.kind or i.output.size > LARGEST or any(v.kind != "constant" for v in i.inputs):
        return None
    result = p.backend.asarray(i.op.forward(p.backend.xp, *(v.array for v in i.inputs)))
    return constant(p.backend, p.backend.to_host(result).copy())


@rule("transposes", "matmul")
def transposed_factor(p: Simplifier, i: Instruction) -> Instruction | None:
    """Let a product read a transposed matrix as it lies in memory."""
    for k, flag in enumerate(("transpose_a", "transpose_b")):
        source = p.maker(i.inputs[k], "transpose")
        if source is not None and len(i.inputs[0].shape) == 2 == len(i.inputs[1].shape):
            op: Any = replace(i.op, **{flag: not getattr(i.op, flag)})
            return Instruction(op, (*i.inputs[:k], source.inputs[0], *i.inputs[k + 1 :]), i.output)
    return None


@rule("single rows", "sum", "prod", "max", "min")
def nothing_to_join(p: Simplifier, i: Instruction) -> Instruction | None:
    """See the element itself in another shape, where a reduction is over axes of length 1."""
    same = i.output.size == i.inputs[0].size > 0 and i.output.dtype == i.inputs[0].dtype
    return Instruction(Reshape(i.output.shape), i.inputs, i.output) if same else None
