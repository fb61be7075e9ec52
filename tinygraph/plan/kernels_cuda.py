"""Instructions as CUDA kernels: the elementwise operations of a fusion group as one, reductions, products of one row.

All kernels of a plan are one source, compiled at once. Lengths, strides and constants are written into it, so that
the compiler knows them; addresses are arguments, so that instructions of the same shapes share a kernel. Products
of matrices are calls of cuBLAS. If nothing else is left, the whole replay can be captured as one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..backend import CupyBackend
from ..backend.cupy import is_plain
from ..typing import Array
from .c_expressions import C_TYPES, c_literal
from .cuda_source import COMBINE, PRELUDE, Each, Elements, Piece, Reduce, kernel_text
from .device_model import Node
from .kernel_roles import (
    affine_expression,
    element_expression,
    is_element,
    is_reduction,
    lengths_of,
    lies_alike,
    reduced_axes,
)
from .kernels import CodeGenerator, product_of
from .memory import Layout
from .operations import ColumnSums, Dot, Gemm
from .program import Instruction, Program, Value

MOST_IN_A_THREAD = 1024  # elements along an axis that a thread goes through, for each of its own
MOST_POINTERS = 400  # of a kernel: its arguments take 4 kB at most


class CudaCodeGenerator(CodeGenerator):
    """Code for arrays of CuPy: launches of kernels, which it writes as well.

    Attributes
    ----------
    nodes : list of Node
        What a replay asks the device for, in order.
    """

    def __init__(self, program: Program, layout: Layout, arena: object) -> None:
        self.device = cast(CupyBackend, program.backend)
        self.functions: dict[str, str] = {}  # the text of each kernel but for its name, and the name
        self.launches: list[_Launch] = []
        self.pieces: dict[str, Piece] = {}  # by the line that stands for each until kernels are made of them
        self.costs: dict[str, Node] = {}  # of lines that are no kernels of ours
        self.nodes: list[Node] = []
        self.only_kernels = True  # and products; whether the replay can be captured
        super().__init__(program, layout, arena)

    def instruction(self, i: Instruction) -> list[str]:
        """Return the lines that run an instruction."""
        return self.group((i,)) if is_element(i) or is_reduction(i) else super().instruction(i)

    def computed(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool) -> list[str]:
        """Return the lines that compute an instruction that is neither made of elements nor a reduction."""
        lines = self._known(i, inputs, out) if all(a.dtype in C_TYPES for a in (*inputs, out)) else None
        if lines is None:
            self.only_kernels = False
            lines = super().computed(i, inputs, out, in_group)
        return lines

    def group(self, members: Sequence[Instruction]) -> list[str]:
        """Return the lines of a group: of one kernel, or of two if it is a reduction that many blocks share."""
        run = [i for i in members if i.output not in self.layout.views]
        place = next((n for n, i in enumerate(run) if not is_element(i)), None)
        texts: dict[Value, str] = {}
        if place is None:
            elements = self._elements(run[0].output.shape)
            self._compute(members, elements, texts)
            return self._pieces(Each(elements))
        reduction = run[place]
        at = list(members).index(reduction)
        after = members[at + 1 :]
        outer = self._elements(reduction.output.shape)
        texts[reduction.output] = outer.define(reduction.output.dtype, self._result(reduction, outer))
        self._save(reduction.output, outer, texts)
        self._compute(after, outer, texts)
        return self._reduce(reduction, members[:at], outer)

    def copy(self, target: Array, source: Array) -> list[str]:
        """Return the lines that write the elements of `source` to `target`."""
        if target.dtype in C_TYPES and source.dtype in C_TYPES:
            elements = self._elements(target.shape)
            elements.store(target, elements.load(source))
            return self._pieces(Each(elements)) if target.size else []
        self.only_kernels = False
        return super().copy(target, source)

    def arranged(self, lines: list[list[str]]) -> list[list[str]]:
        """Return the lines with neighbouring pieces that are short as one kernel each."""
        done: list[list[str]] = [[] for _ in lines]
        run: list[tuple[int, Piece]] = []

        def finish() -> None:
            if run:
                done[run[0][0]].append(self._launch([piece for _, piece in run]))
                run.clear()

        for n, some in enumerate(lines):
            for line in some:
                piece = self.pieces.get(line)
                joins = piece is not None and piece.short and all(p.short for _, p in run)
                if not joins or sum(len(p.arrays) for p in (piece, *(p for _, p in run)) if p) > MOST_POINTERS:
                    finish()
                if piece is not None:
                    run.append((n, piece))
                else:
                    done[n].append(line)
                    self.nodes.append(self.costs.get(line) or Node(line))
        finish()
        return done

    def finish(self, run: Callable[[], None]) -> Callable[[], None]:
        """Compile the kernels; return what a replay calls."""
        if self.launches:
            texts = (text.replace("NAME", name) for text, name in self.functions.items())
            module = self.device.module(PRELUDE + "\n".join(texts))
            for launch in self.launches:
                launch.function = module.get_function(launch.name)
        return self.backend.capture(run) if self.only_kernels else run

    # -- elements ---------------------------------------------------------------------------------------

    def _elements(self, shape: tuple[int, ...], letter: str = "v") -> Elements:
        return Elements(self.device.cupy.broadcast_to, shape, letter)

    def _compute(self, members: Sequence[Instruction], elements: Elements, texts: dict[Value, str]) -> None:
        """Let a thread compute instructions; `texts` has the names of the values it knows."""
        for i in members:
            if i.output in self.layout.views:
                if i.inputs[0] in texts and lies_alike(i):
                    texts[i.output] = texts[i.inputs[0]]
                continue
            operands = [self._operand(i, n, elements, texts) for n in range(len(i.inputs))]
            texts[i.output] = elements.define(i.output.dtype, element_expression(i, *operands))
            self._save(i.output, elements, texts)

    def _operand(self, i: Instruction, n: int, elements: Elements, texts: dict[Value, str]) -> str:
        """Return the element of an input as text; it is loaded if the thread does not know it."""
        v = i.inputs[n]
        known = v in texts
        a = self.arrays[v]
        product = product_of(i)
        if isinstance(product, Gemm) and n < 2:  # of one row and one column
            turned = product.transpose_b if n else product.transpose_a
            a = a.T if turned and not known else a
        elif isinstance(product, ColumnSums) and n == 0 and not known:  # of one row
            a = a[0]
        elif isinstance(product, Dot) and n < 2 and not known:  # of one element
            a = a.reshape(())
        return texts[v] if known else self._loaded(v, a, i.output.shape, elements, texts)

    def _loaded(self, v: Value, a: Array, shape: tuple[int, ...], elements: Elements, texts: dict[Value, str]) -> str:
        """Return a number as it is written in C, or the name of an element that is loaded."""
        if v.kind == "constant" and v.size == 1:
            return c_literal(self.backend.to_host(v.array).item(), v.dtype)
        name = elements.load(a, shape)
        if v.size == 1 or lengths_of(v.shape) == elements.lengths:
            texts[v] = name
        return name

    def _save(self, v: Value, elements: Elements, texts: dict[Value, str]) -> None:
        if v not in self.layout.tiles:
            elements.store(self.arrays[v], texts[v], v.shape)

    # -- reductions -------------------------------------------------------------------------------------

    def _result(self, i: Instruction, outer: Elements) -> str:
        """Return the element of a reduction's output in C, made of ``total`` and of elements that are loaded."""
        if i.kind == "mean":
            return f"total / {c_literal(i.inputs[0].size // i.output.size, i.output.dtype)}"
        product = product_of(i)
        if product is None:
            return "total"
        texts: dict[Value, str] = {}
        _, c, s, t = product.split(i.inputs)
        names = [
            None if v is None else self._loaded(v, self.arrays[v], i.output.shape, outer, texts) for v in (c, s, t)
        ]
        return affine_expression(product, i.output, "total", *names)

    def _reduce(self, i: Instruction, before: Sequence[Instruction], outer: Elements) -> list[str]:
        """Return the lines of a reduction, before which each thread computes what is reduced."""
        product: Any = product_of(i)
        texts: dict[Value, str] = {}
        dtype = i.output.dtype
        xs = [self.arrays[v] for v in i.inputs[: product.factors if product else 1]]
        if isinstance(product, Gemm):
            a, b = xs
            a, b = a.T if product.transpose_a else a, b.T if product.transpose_b else b
            (m, n), k = i.output.shape, a.shape[1]
            inner, kept = self._elements((m, n, k), "u"), [0, 1]
            factors = [inner.load(a[:, None, :]), inner.load(b.T[None])]
        else:
            shape = i.inputs[0].shape
            joins = reduced_axes(i)
            inner, kept = self._elements(shape, "u"), [a for a in range(len(shape)) if a not in joins]
            self._compute(before, inner, texts)
            values = i.inputs[: len(xs)]
            factors = [texts.get(v) or self._loaded(v, self.arrays[v], shape, inner, texts) for v in values]
        value = f"({C_TYPES[dtype]}){factors[0]}"
        if len(factors) > 1:
            value = inner.define(dtype, " * ".join(f"({C_TYPES[dtype]}){x}" for x in factors))
        kind = i.kind if i.kind in COMBINE else "sum"
        piece = Reduce(kind, inner, value, kept, outer, dtype)
        parts = piece.wanted_parts
        if parts == 1:
            return self._pieces(piece)
        partial = self.device.cupy.zeros((parts, *piece.kept), dtype)
        first = self._elements(piece.kept)
        first.arrays, first.stores, first.written = [partial], ["$0 = total;"], [partial]
        again = self._elements(partial.shape, "u")
        rest = Reduce(kind, again, again.load(partial), range(1, partial.ndim), outer, dtype)
        return self._pieces(Reduce(kind, inner, value, kept, first, dtype, parts), rest)

    # -- instructions -----------------------------------------------------------------------------------

    def _known(self, i: Instruction, inputs: list[Array], out: Array) -> list[str] | None:
        """Return the lines for an operation that has kernels here or in the backend; None for others."""
        op: Any = i.op
        floating = out.dtype.kind == "f"
        if not out.size:
            return []
        product = product_of(i) if floating else None
        if isinstance(product, Gemm):
            return self._product(product, inputs, out)
        if i.kind == "matmul" and floating:
            return self._stacked(op, inputs, out)
        if i.kind in ("argmax", "argmin"):
            sign = ">" if i.kind == "argmax" else "<"
            return self._place_of_extreme(sign, op.axis % inputs[0].ndim, inputs[0], out)
        if i.kind in ("cumsum", "argsort", "take_along_axis", "add_along_axis"):
            return self._along_axis(i, op.axis % out.ndim, inputs, out)
        if i.kind == "concatenate":
            return self._concatenate(op.axis % out.ndim, inputs, out)
        if i.kind == "pad":
            inner = tuple(slice(before, n + before) for (before, _), n in zip(op.widths, inputs[0].shape, strict=True))
            return [*self._fill(out, op.value), *self.copy(out[inner], inputs[0])]
        if i.kind == "index_add" and len(inputs) == 1:
            return [*self._fill(out, 0), *self.copy(out[op.key], inputs[0])]
        if i.kind in ("bernoulli", "uniform") and floating:
            settings = (op.p_off,) if i.kind == "bernoulli" else ()
            drawn = (*map(self.literal, (*settings, op.shape)), repr(op.dtype))
            return [self._call(getattr(self.device, i.kind), i.kind, inputs[0], *drawn, out)]
        if i.kind in ("neighborhood_matmul", "edge_product") and floating:
            lines: list[str] = []
            packed = [self.packed(x, lines) for x in inputs]
            edges, n = self.names(op.neighborhoods, "edges"), op.neighborhoods.n_edges
            cost = {"flops": 2 * n * inputs[0].shape[0], "more": 8 * n}  # the ends of the edges: two int32
            if i.kind == "edge_product":
                return [*lines, self._call(self.device.sddmm, "sddmm", *packed, edges, out, **cost)]
            return [*lines, self._call(self.device.spmm, "spmm", *packed, edges, str(op.transposed), out, **cost)]
        return None

    def _product(self, op: Gemm, inputs: list[Array], out: Array) -> list[str]:
        """Return the lines of a product of matrices by cuBLAS."""
        (a, b), c, s, t = op.split(tuple(inputs))
        a, b = a.T if op.transpose_a else a, b.T if op.transpose_b else b
        lines: list[str] = [] if c is None or _same(c, out) else self.copy(out, c)
        a, b = (x if x.flags.f_contiguous else self.packed(x, lines) for x in (a, b))
        scales = self._factor(op.alpha, s, lines), "0.0" if c is None else self._factor(op.beta, t, lines)
        flops = 2 * out.size * a.shape[1]
        return [*lines, self._call(self.device.gemm, "gemm", a, b, out, *scales, flops=flops, adds=c is not None)]

    def _stacked(self, op: Any, inputs: list[Array], out: Array) -> list[str]:
        """Return the lines of a product of stacks by cuBLAS."""
        if not all(x.size for x in inputs):
            return self._fill(out, 0)
        xp, lead = self.device.cupy, out.shape[:-2]
        lines: list[str] = []
        factors: list[Array] = []
        for x, turned in zip(inputs, (op.transpose_a, op.transpose_b), strict=True):
            x = xp.swapaxes(x, -1, -2) if turned else x
            x = x if is_plain(x) else self.packed(x, lines)
            factors.append(xp.broadcast_to(x, lead + x.shape[-2:]))
        flops = 2 * out.size * factors[0].shape[-1]
        return [*lines, self._call(self.device.stacked, "stacked", *factors, out, flops=flops)]

    def _factor(self, fixed: float, number: Array | None, lines: list[str]) -> str:
        """Return the factor of a product as text: a number, or an array that the appended lines compute."""
        if number is None:
            return self.literal(fixed)
        if fixed != 1.0:
            product = self.device.cupy.zeros((), number.dtype)
            elements = self._elements(())
            elements.store(product, f"{c_literal(fixed, number.dtype)} * {elements.load(number, ())}")
            lines += self._pieces(Each(elements))
            number = product
        return self.names(number, "s")

    def _place_of_extreme(self, sign: str, axis: int, x: Array, out: Array) -> list[str]:
        length, step, kind = x.shape[axis], x.strides[axis] // x.itemsize, C_TYPES[x.dtype]
        elements = self._elements(out.shape)
        element = elements.place(x[(slice(None),) * axis + (0,)])
        elements.lines = [
            f"const {kind}* from = &{element};",
            f"{kind} best = *from;",
            "long long place = 0;",
            f"for (int n = 1; n < {length}; ++n) {{",
            f"    const {kind} x = from[n * (long long){step}];",
            f"    if (x {sign} best || (x != x && best == best)) {{ best = x; place = n; }}",
            "}",
        ]
        elements.store(out, "place")
        return self._pieces(Each(elements, length))

    def _along_axis(self, i: Instruction, axis: int, inputs: list[Array], out: Array) -> list[str] | None:
        """Return the lines of what goes through the elements along an axis; None where a thread would go too far."""
        x, *others = inputs
        if not x.size:
            return self._fill(out, 0)
        if i.kind == "take_along_axis":
            return self._take_along(axis, x, others[0], out)
        if x.shape[axis] > MOST_IN_A_THREAD:
            return None
        if i.kind == "argsort":
            op: Any = i.op
            return self._order(axis, op.descending, x, out)
        return self._running_sums(axis, x, out) if i.kind == "cumsum" else self._add_along(axis, x, others[0], out)

    def _running_sums(self, axis: int, x: Array, out: Array) -> list[str]:
        """Return the lines of a kernel with a thread for each row."""
        rows = (slice(None),) * axis + (0,)
        elements, kind = self._elements(out[rows].shape), C_TYPES[out.dtype]
        first, target = elements.place(x[rows]), elements.target(out[rows])
        elements.written.append(out)
        elements.lines = [
            f"const {C_TYPES[x.dtype]}* from = &{first};",
            f"{kind}* to = &{target};",
            f"{kind} total = 0;",
            f"for (long long n = 0; n < {x.shape[axis]}; ++n) {{",
            f"    total += ({kind})from[n * {_step(x, axis)}];",
            f"    to[n * {_step(out, axis)}] = total;",
            "}",
        ]
        return self._pieces(Each(elements, x.shape[axis]))

    def _order(self, axis: int, descending: bool, x: Array, out: Array) -> list[str]:
        """Return the lines of a kernel with a thread for each element, which counts those that stand before it."""
        elements, kind, length = self._elements(x.shape), C_TYPES[x.dtype], x.shape[axis]
        row = (slice(None),) * axis + (slice(1),)
        own, index = elements.load(x), elements.load(self._coordinate(axis, x.shape))
        first, target = elements.place(x[row]), elements.target(out[row])
        elements.written.append(out)
        sign, a, b = (">", "b", "a") if descending else ("<", "a", "b")
        elements.lines = [
            f"const {kind}* from = &{first};",
            f"long long* to = &{target};",
            "long long before = 0;",
            f"for (long long n = 0; n < {length}; ++n) {{",
            f"    const {kind} a = from[n * {_step(x, axis)}], b = {own};",
            f"    const bool is_first = a {sign} b || ({a} == {a} && {b} != {b});",
            f"    const bool is_last = b {sign} a || ({b} == {b} && {a} != {a});",
            f"    before += is_first || (!is_last && n < {index});",
            "}",
            f"to[before * {_step(out, axis)}] = {index};",
        ]
        return self._pieces(Each(elements, length))

    def _take_along(self, axis: int, x: Array, indices: Array, out: Array) -> list[str]:
        elements, length = self._elements(out.shape), x.shape[axis]
        index, first = elements.load(indices), elements.place(x[(slice(None),) * axis + (slice(1),)])
        elements.lines = [
            f"const long long n = (long long){index} % {length};",
            f"const {C_TYPES[x.dtype]}* from = &{first};",
        ]
        elements.store(out, f"from[(n < 0 ? n + {length} : n) * {_step(x, axis)}]")
        return self._pieces(Each(elements))

    def _add_along(self, axis: int, x: Array, indices: Array, out: Array) -> list[str]:
        """Return the lines of a kernel with a thread for each element, which adds up what is meant for it, in order."""
        elements, kind, length = self._elements(out.shape), C_TYPES[x.dtype], out.shape[axis]
        row = (slice(None),) * axis + (slice(1),)
        own = elements.load(self._coordinate(axis, out.shape))
        first, picked = elements.place(x[row]), elements.place(indices[row])
        elements.lines = [
            f"const {kind}* from = &{first};",
            f"const {C_TYPES[indices.dtype]}* at = &{picked};",
            f"{kind} total = 0;",
            f"for (long long n = 0; n < {x.shape[axis]}; ++n) {{",
            f"    const long long place = (long long)at[n * {_step(indices, axis)}] % {length};",
            f"    if ((place < 0 ? place + {length} : place) == {own}) total += from[n * {_step(x, axis)}];",
            "}",
        ]
        elements.store(out, "total")
        return self._pieces(Each(elements, x.shape[axis]))

    def _coordinate(self, axis: int, shape: tuple[int, ...]) -> Array:
        """Return the index of every element along an axis, in a shape that broadcasts to `shape`."""
        xp = self.device.cupy
        return xp.arange(shape[axis]).reshape((-1,) + (1,) * (len(shape) - axis - 1))

    def _concatenate(self, axis: int, inputs: list[Array], out: Array) -> list[str]:
        lines: list[str] = []
        start = 0
        for x in inputs:
            place = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            lines += self.copy(out[place], x)
            start += x.shape[axis]
        return lines

    def _fill(self, out: Array, value: float) -> list[str]:
        elements = self._elements(out.shape)
        elements.store(out, c_literal(value, out.dtype))
        return self._pieces(Each(elements))

    # -- lines ------------------------------------------------------------------------------------------

    def _pieces(self, *pieces: Piece) -> list[str]:
        """Return lines that stand for pieces of kernels."""
        lines = [f"# piece {len(self.pieces) + n}" for n in range(len(pieces))]
        self.pieces.update(zip(lines, pieces, strict=True))
        return lines

    def _call(
        self, function: object, hint: str, *arguments: object, flops: int = 0, more: int = 0, adds: bool = False
    ) -> str:
        """Return the line of a call that writes the last array among its arguments, and note what it costs.

        Parameters
        ----------
        more : int
            Bytes it reads that are none of its arguments.
        adds : bool
            Whether it adds to what is there.
        """
        line = self.line(function, hint, *arguments)
        *read, out = (a for a in arguments if not isinstance(a, str))
        node = Node.of(hint, [*read, out] if adds else read, [out], 1 + adds, flops)
        self.costs[line] = replace(node, bytes=node.bytes + more)
        return line

    def _launch(self, pieces: Sequence[Piece]) -> str:
        """Return the line that launches a kernel."""
        text, threads, arrays = kernel_text(pieces)
        name = self.functions.setdefault(text, f"kernel{len(self.functions)}")
        launch = _Launch(name, pieces[0].grid if len(pieces) == 1 else (1,), threads)
        self.launches.append(launch)
        trips = pieces[0].trips if len(pieces) == 1 else sum(p.trips_in_block for p in pieces)
        read, written = [a for p in pieces for a in p.read], [a for p in pieces for a in p.written]
        self.nodes.append(Node.of(name, read, written, trips, sum(p.flops for p in pieces)))
        return f"{self.names(launch, name)}({', '.join(self.names(a, 'a') for a in arrays)})"


@dataclass(eq=False)
class _Launch:
    """A kernel on a grid of blocks, to be called with its arrays once it is compiled."""

    name: str
    grid: tuple[int, ...]
    threads: int
    function: Callable[..., None] = field(init=False)

    def __call__(self, *arrays: Array) -> None:
        self.function(self.grid, (self.threads,), arrays)


def _step(a: Array, axis: int) -> str:
    """Return the distance between neighbours along an axis, in elements."""
    return f"{a.strides[axis] // a.itemsize}LL"


def _same(a: Array, b: Array) -> bool:
    memory: tuple[Any, Any] = a.data, b.data
    return bool(memory[0].ptr == memory[1].ptr and a.shape == b.shape and a.strides == b.strides)
