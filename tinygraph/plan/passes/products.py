"""Products take in what is scaled and added around them: biases, factors, decay, and the training step (65.82).

``y W - theta`` is one call of BLAS that starts from ``-theta``, ``W <- (1 - 2 mu rho) W - (mu / B) Y' D`` one that
writes over W, and a sum over all elements of ``a b`` one that makes no array of the products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...typing import Array
from ..kernel_roles import is_element, is_reduction
from ..operations import Affine, ColumnSums, Dot, Gemm
from ..program import Builder, Instruction, Program, Value, broadcast
from .simplify import is_normal, joined, scaled

LONGEST_DOT = 1 << 16  # elements of less than float64; longer sums keep the accuracy of adding in pairs
SCATTERED = ("transpose", "index", "broadcast_to")  # views that BLAS would need a copy of


@dataclass(frozen=True)
class Term:
    """One addend: ``factor`` times numbers known when it runs, ``scales``, times ``value``."""

    value: Value
    factor: float = 1.0
    scales: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Product:
    """A product as it was found: the operation for it, its factors, and values that nothing needs any more."""

    op: Affine
    factors: tuple[Value, ...]
    needless: tuple[Value, ...] = ()


def fold_products(program: Program) -> Program:
    """Return the program with sums around a product as one operation each, those that leaves take first."""
    return _Folding(program).run()


class _Folding:
    """The state of the pass: what makes and reads each value, and what has been replaced."""

    def __init__(self, program: Program) -> None:
        self.program, self.backend = program, program.backend
        self.makers = program.makers()
        self.uses: dict[Value, int] = {}
        for v in (*(v for i in program.instructions for v in i.inputs), *program.results):
            self.uses[v] = self.uses.get(v, 0) + 1
        self.replaced: dict[Value, list[Instruction]] = {}  # by the value that they make
        self.gone: set[Value] = set()

    def run(self) -> Program:
        """Return the rewritten program."""
        for leaf, v in self.program.stores.items():
            self.fold(v, leaf.data)
        for i in reversed(self.program.instructions):
            self.fold(i.output)
        kept: list[Instruction] = []
        for i in self.program.instructions:
            kept += self.replaced.get(i.output, () if i.output in self.gone else (i,))
        return self.program.rewritten(kept)

    def fold(self, v: Value, memory: Array = None) -> None:
        """Make `v` by one product, if there is one among its terms; `memory` is that of the leaf which takes it."""
        if v not in self.makers or v in self.replaced or v in self.gone or v.dtype.kind != "f":
            return
        update = memory is not None
        terms, inner = self.terms_of(v, update)
        candidates = ((t, self.product_of(t.value, v)) for t in terms if t.value.shape == v.shape)
        term, product = next(((t, found) for t, found in candidates if found is not None), (None, None))
        if term is None or product is None:
            return
        others = [t for t in terms if t is not term]
        old = (t.value for t in others if t.value.kind == "state" and t.value.array is memory)
        c = next(old, others[0].value if others else None)
        added, rest = [t for t in others if t.value is c], [t for t in others if t.value is not c]
        if c is not None and broadcast(c.shape, v.shape) != v.shape:
            return
        by_library = self.backend.fuses and self.by_library(Instruction(product.op, product.factors, v))
        if by_library and c is not None and not (update and c.array is memory) and not self.is_product(c):
            return  # the kernel after the product adds it, where it needs no copy before
        if any(t.value.shape != v.shape for t in rest) or (len(others) > 1 and not update):
            return
        if abs(term.factor) > 1:  # BLAS may multiply with it first, and leave the range of the dtype
            return
        build = Builder(self.backend, v.scope)
        y = Value(v.shape, v.dtype, name=v.name, scope=v.scope) if rest else v
        alpha, s = _coefficient(build, [term])
        if by_library and s is not None and alpha != 1.0:  # one number for all products that take it
            alpha, s = 1.0, build.elementwise("multiply", s, alpha)
        beta, t = _coefficient(build, added)
        if c is not None and not is_normal(beta, v.dtype):
            return
        op = replace(product.op, alpha=alpha, beta=beta, has_c=c is not None, has_s=s is not None, has_t=t is not None)
        extra = tuple(x for x in (c, s, t) if x is not None)
        build(op, (*product.factors, *extra), v.shape, v.dtype, y)
        for n, other in enumerate(rest, 1):
            factor, scale = _coefficient(build, [other])
            part = other.value if scale is None else build.elementwise("multiply", other.value, scale)
            part = part if factor == 1.0 else build.elementwise("multiply", part, factor)
            y = build.elementwise("add", y, part, output=v if n == len(rest) else None)
        self.replaced[v] = build.instructions
        self.gone.update(product.needless, (term.value,), (i.output for i in inner))

    def terms_of(self, v: Value, update: bool) -> tuple[list[Term], list[Instruction]]:
        """Take `v` apart; return the terms of the sum it is, and the instructions that compute nothing else."""
        terms: list[Term] = []
        inner: list[Instruction] = []
        todo = [Term(v)]
        while todo:
            t = todo.pop()
            addends = list(self.addends(t, update)) if t.value is v or self.uses[t.value] == 1 else []
            if addends and all(a.value.dtype == v.dtype for a in addends):
                inner.append(self.makers[t.value])
                todo += reversed(addends)
            else:
                terms.append(t)
        return terms, inner

    def addends(self, t: Term, update: bool) -> Iterator[Term]:
        """Yield the terms that a term is the sum of; none if it is no sum and no scaling.

        Nor if more than rounding would change: ``s (a + b)`` and ``s a + s b`` reach infinity at different places, and
        so do ``(a s) t`` and ``a (s t)`` with numbers that are known only when it runs. In an update, whose decay and
        step depend on it, they are taken for the same.
        """
        i = self.makers.get(t.value)
        if i is None or t.value in self.replaced:
            return
        by_number = scaled(i, self.backend)
        plain = abs(t.factor) == 1 and not t.scales
        if i.kind in ("add", "subtract"):
            if plain or (update and abs(t.factor) <= 1):
                yield Term(i.inputs[0], t.factor, t.scales)
                yield Term(i.inputs[1], t.factor if i.kind == "add" else -t.factor, t.scales)
        elif by_number is not None and by_number[0].shape == i.output.shape:
            factor = joined(t.factor, by_number[1], i.output.dtype)
            if factor is not None and (update or not t.scales or abs(by_number[1]) == 1):
                yield Term(by_number[0], factor, t.scales)
        elif i.kind == "multiply" and (plain or update):
            pairs = (i.inputs, i.inputs[::-1])
            x, s = next(((x, s) for x, s in pairs if x.shape and not s.shape and s.kind != "constant"), (None, None))
            if x is not None and s is not None:
                yield Term(x, t.factor, (*t.scales, s))

    def product_of(self, x: Value, v: Value) -> Product | None:
        """Return how `x` is a product of matrices, a sum of rows or a sum of products; None if it is none.

        Or if others than `v` read it; or if it is `v` and would gain nothing.
        """
        i = self.makers.get(x)
        if i is None or x in self.replaced or (x is not v and self.uses[x] != 1):
            return None
        op: Any = i.op
        if i.kind == "matmul" and all(len(f.shape) == 2 for f in i.inputs) and x is not v:
            return Product(Gemm(transpose_a=op.transpose_a, transpose_b=op.transpose_b), i.inputs)
        if i.kind != "sum" or op.keepdims:
            return None
        (a,) = i.inputs
        if len(a.shape) == 2 and op.axis == 0 and x is not v and not self.scattered(a):
            return Product(ColumnSums(), i.inputs)
        inner = self.makers.get(a)
        if (
            x.shape
            or inner is None
            or inner.kind not in ("multiply", "square")
            or self.uses[a] != 1
            or a in self.replaced
        ):
            return None
        factors = (inner.inputs[0], inner.inputs[-1])
        long = a.dtype.itemsize < 8 and a.size > LONGEST_DOT
        fits = all(f.like(a) and not self.scattered(f) for f in factors)
        return Product(Dot(), factors, (a,)) if fits and not long and a.dtype.kind == "f" else None

    def is_product(self, c: Value) -> bool:
        """Whether a value is a product that may be added to where it lies."""
        i = self.makers.get(c)
        return i is not None and i.kind == "matmul" and self.uses[c] == 1 and self.by_library(i)

    def by_library(self, product: Instruction) -> bool:
        """Whether a product is no kernel of ours, on a backend that has some."""
        return not (is_element(product) or is_reduction(product))

    def scattered(self, v: Value) -> bool:
        """Whether a value is a view whose elements do not lie one after the other."""
        return v in self.makers and self.makers[v].kind in SCATTERED


def _coefficient(build: Builder, terms: Sequence[Term]) -> tuple[float, Value | None]:
    """Return what terms with one value multiply it with: a number, times a number known when it runs, if any."""
    moving = [t for t in terms if t.scales]
    fixed = sum((t.factor for t in terms if not t.scales), 0.0)
    if not moving:
        return fixed, None
    parts: list[Value] = [t.scales[0] for t in moving]
    for n, t in enumerate(moving):
        for s in t.scales[1:]:
            parts[n] = build.elementwise("multiply", parts[n], s)
    if len(terms) == 1:
        return moving[0].factor, parts[0]
    parts = [build.elementwise("multiply", p, t.factor) for p, t in zip(parts, moving, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = build.elementwise("add", total, part)
    return 1.0, total if not fixed else build.elementwise("add", total, fixed)
