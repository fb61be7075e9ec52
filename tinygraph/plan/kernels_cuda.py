"""Instructions as CUDA kernels: the elementwise operations of a fusion group as one, reductions, products of one row.

All kernels of a plan are one source, compiled at once. Lengths, strides and constants are written into it, so that
the compiler knows them; addresses are arguments, so that instructions of the same shapes share a kernel. Products
of matrices are calls of cuBLAS. If nothing else is left, the whole replay can be captured as one graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..backend import Array, CupyBackend
from .c_expressions import C_TYPES, c_expression, c_literal, has_c_expression
from .kernels import CodeGenerator, product_of
from .memory import Layout
from .operations import Affine, ColumnSums, Dot, Gemm
from .program import Instruction, Program, Value, axes_of

THREADS = 256  # in a block; a power of two
FEW_BLOCKS = 64  # with fewer, a device is not busy
LONG = 64  # elements that a thread of a reduction adds up, beyond which more threads share them
PARTS = 128  # into which such a reduction is split at most

PRELUDE = """
template <class T> __device__ T larger(T a, T b) { return a > b || a != a ? a : b; }  // NaN wins
template <class T> __device__ T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T> __device__ T added(T a, T b) { return a + b; }
"""
COMBINE = {"sum": "added", "max": "larger", "min": "smaller"}

Body = Callable[..., list[str]]  # takes the elements of arrays as text, returns lines of C


class CudaCodeGenerator(CodeGenerator):
    """Code for arrays of CuPy: launches of kernels, which it writes as well."""

    def __init__(self, program: Program, layout: Layout, arena: Any) -> None:
        self.device = cast(CupyBackend, program.backend)
        self.functions: dict[str, str] = {}  # the text of each kernel but for its name, and the name
        self.launches: list[_Launch] = []
        self.only_kernels = True  # and products; whether the replay can be captured
        super().__init__(program, layout, arena)

    def instruction(self, i: Instruction) -> list[str]:
        """Return the lines that run an instruction."""
        return self.group((i,)) if has_c_expression(i) else super().instruction(i)

    def computed(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool) -> list[str]:
        """Return the lines that compute an instruction that is no expression in C."""
        lines = self._known(i, inputs, out) if all(a.dtype in C_TYPES for a in (*inputs, out)) else None
        if lines is None:
            self.only_kernels = False
            lines = super().computed(i, inputs, out, in_group)
        return lines

    def group(self, members: Sequence[Instruction]) -> list[str]:
        """Return the line that launches the kernel of a group: each thread goes through it for one element."""
        shape = members[0].output.shape
        arrays: list[Array] = []
        sources: dict[Value, int | str] = {}  # which array a value is read from, or its text
        targets: dict[Value, int] = {}
        for i in members:
            for v in i.inputs:
                if v not in sources:
                    number = v.kind == "constant" and v.size == 1
                    sources[v] = c_literal(self.backend.to_host(v.array).item(), v.dtype) if number else len(arrays)
                    if not number:
                        arrays.append(self.arrays[v])
            sources[i.output] = f"v{len(sources)}"
            if i.output not in self.layout.tiles:
                targets[i.output] = len(arrays)
                arrays.append(self.arrays[i.output])

        def body(*elements: str) -> list[str]:
            lines: list[str] = []
            texts: dict[Value, str] = {}
            for i in members:
                for v in i.inputs:
                    if v in texts:
                        continue
                    source = sources[v]
                    texts[v] = source if isinstance(source, str) else f"v{len(texts)}_in"
                    if not isinstance(source, str):
                        lines.append(f"const {C_TYPES[v.dtype]} {texts[v]} = {elements[source]};")
                texts[i.output] = str(sources[i.output])
                expression = c_expression(i, *(texts[v] for v in i.inputs))
                lines.append(f"const {C_TYPES[i.output.dtype]} {texts[i.output]} = {expression};")
                if i.output in targets:
                    lines.append(f"{elements[targets[i.output]]} = {texts[i.output]};")
            return lines

        return [self._each(shape, arrays, body)]

    def copy(self, target: Array, source: Array) -> list[str]:
        """Return the lines that write the elements of `source` to `target`."""
        if target.dtype in C_TYPES and source.dtype in C_TYPES:
            return [self._each(target.shape, [source, target], _assign)] if target.size else []
        self.only_kernels = False
        return super().copy(target, source)

    def finish(self, run: Callable[[], None]) -> Callable[[], None]:
        """Compile the kernels; return what a replay calls."""
        if self.launches:
            texts = (text.replace("NAME", name) for text, name in self.functions.items())
            module = self.device.module(PRELUDE + "\n".join(texts))
            for launch in self.launches:
                launch.function = module.get_function(launch.name)
        return self.backend.capture(run) if self.only_kernels else run

    # -- instructions -----------------------------------------------------------------------------------

    def _known(self, i: Instruction, inputs: list[Array], out: Array) -> list[str] | None:
        """Return the lines for an operation that has kernels here; None for others."""
        op: Any = i.op
        floating = out.dtype.kind == "f"
        if not out.size:
            return []
        if i.kind in COMBINE and out.dtype.kind != "b":
            return self._reduction(i.kind, axes_of(op.axis, inputs[0].ndim), inputs[0], out)
        if i.kind == "mean" and floating and inputs[0].size:
            count = c_literal(inputs[0].size // out.size, out.dtype)
            return self._reduction("sum", axes_of(op.axis, inputs[0].ndim), inputs[0], out, f"({{}}) / {count}")
        product = product_of(i) if floating else None
        if product is not None:
            return self._affine(product, inputs, out)
        if i.kind == "argmax":
            return self._argmax(op.axis % inputs[0].ndim, inputs[0], out)
        if i.kind == "concatenate":
            return self._concatenate(op.axis % out.ndim, inputs, out)
        if i.kind == "pad":
            inner = tuple(slice(before, n + before) for (before, _), n in zip(op.widths, inputs[0].shape, strict=True))
            return [self._fill(out, op.value), *self.copy(out[inner], inputs[0])]
        if i.kind == "index_add" and len(inputs) == 1:
            return [self._fill(out, 0), *self.copy(out[op.key], inputs[0])]
        if i.kind == "bernoulli" and floating:
            drawn = (self.literal(op.p_off), self.literal(op.shape), repr(op.dtype))
            return [self.line(self.device.bernoulli, "bernoulli", inputs[0], *drawn, out)]
        if i.kind in ("neighborhood_matmul", "edge_product") and floating:
            lines: list[str] = []
            packed = [self.packed(x, lines) for x in inputs]
            edges = self.names(op.neighborhoods, "edges")
            if i.kind == "edge_product":
                return [*lines, self.line(self.device.sddmm, "sddmm", *packed, edges, out)]
            return [*lines, self.line(self.device.spmm, "spmm", *packed, edges, str(op.transposed), out)]
        return None

    def _reduction(self, kind: str, axes: tuple[int, ...], x: Array, out: Array, result: str = "{}") -> list[str]:
        kept = tuple(a for a in range(x.ndim) if a not in axes)
        lengths, joined = (tuple(x.shape[a] for a in some) for some in (kept, axes))
        elements = [x.transpose(*kept, *axes)]
        return self._reduce(kind, elements, lengths, joined, out.reshape(lengths), combine=result.format)

    def _affine(self, op: Affine, inputs: list[Array], out: Array) -> list[str]:
        """Return the lines of ``alpha s x + beta t c``: of a reduction, a kernel or a product by cuBLAS."""
        factors, c, s, t = op.split(tuple(inputs))
        others = [x for x in (c, s, t) if x is not None]
        alpha, beta = (c_literal(x, out.dtype) for x in (op.alpha, op.beta))

        def combine(x: str, *elements: str) -> str:
            texts = iter(elements)
            c_text, s_text, t_text = (next(texts) if a is not None else None for a in (c, s, t))
            text = f"{alpha} * {s_text} * ({x})" if s_text else f"{alpha} * ({x})"
            if c_text is None:
                return text
            return f"{text} + {beta} * {t_text} * {c_text}" if t_text else f"{text} + {beta} * {c_text}"

        if isinstance(op, Dot):
            return self._reduce("sum", factors, (), factors[0].shape, out, others, combine)
        if isinstance(op, ColumnSums):
            return self._reduce("sum", [factors[0].T], out.shape, factors[0].shape[:1], out, others, combine)
        assert isinstance(op, Gemm)
        a, b = factors
        a, b = a.T if op.transpose_a else a, b.T if op.transpose_b else b
        (m, n), k = out.shape, a.shape[1]
        if m == 1 or n == 1 or not k:
            spread = self.device.cupy.broadcast_to
            rows, columns = spread(a[:, None, :], (m, n, k)), spread(b.T[None], (m, n, k))
            return self._reduce("sum", [rows, columns], (m, n), (k,), out, others, combine)
        if k == 1:

            def outer(column: str, row: str, y: str, *rest: str) -> list[str]:
                return [f"{y} = {combine(f'{column} * {row}', *rest)};"]

            return [self._each(out.shape, [a, b, out, *others], outer)]
        lines: list[str] = [] if c is None or _same(c, out) else self.copy(out, c)
        a, b = (x if x.flags.f_contiguous else self.packed(x, lines) for x in (a, b))
        scales = self._factor(op.alpha, s, lines), "0.0" if c is None else self._factor(op.beta, t, lines)
        return [*lines, self.line(self.device.gemm, "gemm", a, b, out, *scales)]

    def _factor(self, fixed: float, number: Array | None, lines: list[str]) -> str:
        """Return the factor of a product as text: a number, or an array that the appended lines compute."""
        if number is None:
            return self.literal(fixed)
        if fixed != 1.0:
            product = self.device.cupy.zeros((), number.dtype)
            times = c_literal(fixed, number.dtype)
            lines.append(self._each((), [number, product], lambda x, y: [f"{y} = {times} * {x};"]))
            number = product
        return self.names(number, "s")

    def _argmax(self, axis: int, x: Array, out: Array) -> list[str]:
        length, step, kind = x.shape[axis], _strides(x)[axis], C_TYPES[x.dtype]
        first = x[(slice(None),) * axis + (0,)]

        def body(element: str, y: str) -> list[str]:
            return [
                f"const {kind}* from = &{element};",
                f"{kind} best = *from;",
                "long long place = 0;",
                f"for (int n = 1; n < {length}; ++n) {{",
                f"    const {kind} x = from[n * (long long){step}];",
                "    if (x > best || (x != x && best == best)) { best = x; place = n; }",
                "}",
                f"{y} = place;",
            ]

        return [self._each(out.shape, [first, out], body)]

    def _concatenate(self, axis: int, inputs: list[Array], out: Array) -> list[str]:
        lines: list[str] = []
        start = 0
        for x in inputs:
            place = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            lines += self.copy(out[place], x)
            start += x.shape[axis]
        return lines

    def _fill(self, out: Array, value: float) -> str:
        text = c_literal(value, out.dtype)
        return self._each(out.shape, [out], lambda y: [f"{y} = {text};"])

    # -- kernels ----------------------------------------------------------------------------------------

    def _each(self, shape: tuple[int, ...], arrays: Sequence[Array], body: Body) -> str:
        """Return the line that launches a kernel in which each thread runs `body` for one place of `shape`."""
        count = math.prod(shape)
        axes = _Axes(shape, [_strides(self.device.cupy.broadcast_to(a, shape)) for a in arrays], "k")
        lines = [
            f"const index k = (index)blockIdx.x * {THREADS} + threadIdx.x;",
            f"if (k >= {count}) return;",
            *axes.coordinates("c"),
            *body(*(f"p{n}[{axes.place(n, 'c')}]" for n in range(len(arrays)))),
        ]
        return self._launch(arrays, lines, (-(-count // THREADS),), count)

    def _reduce(
        self,
        kind: str,
        factors: Sequence[Array],
        kept: tuple[int, ...],
        reduced: tuple[int, ...],
        out: Array,
        others: Sequence[Array] = (),
        combine: Callable[..., str] = str,
    ) -> list[str]:
        """Return the lines that reduce the products of elements of `factors`.

        Parameters
        ----------
        kind : {"sum", "max", "min"}
        factors : list of arrays of shape (*kept, *reduced)
        out : array of shape `kept`
        others : list of arrays that broadcast to `kept`
        combine : callable
            Takes the reduced element and those of `others` as text, and returns the element of `out`.
        """
        xp = self.device.cupy
        m, r = math.prod(kept), math.prod(reduced)
        first = len(kept)
        inner = _Axes(reduced, [_strides(a)[first:] for a in factors], "r")
        largest = max(factors, key=lambda a: math.prod(n for n, s in zip(a.shape, a.strides, strict=True) if s))
        places = [id(a) for a in factors]
        along = r > 1 and inner.axes[-1][1][places.index(id(largest))] == 1  # whether neighbours are reduced together
        if along or m == 1:
            lanes = min(THREADS, _power_of_two(r))
        else:
            wide = min(32, _power_of_two(m))
            while wide > 8 and m < wide * FEW_BLOCKS:
                wide //= 2
            lanes = min(THREADS // wide, _power_of_two(r))
        side = THREADS // lanes  # elements of the output in a block
        blocks = -(-m // side)
        parts = 1
        if r > LONG * lanes and blocks < 2 * FEW_BLOCKS:
            parts = max(1, min(PARTS, r // (LONG // 8 * lanes), 4 * FEW_BLOCKS // blocks))
        dtype = out.dtype
        target, results = out, [out, *others]
        if parts > 1:
            target = xp.zeros((parts, *kept), dtype)
            results = [target[0]]
        outer = _Axes(
            kept,
            [_strides(a)[:first] for a in factors] + [_strides(xp.broadcast_to(a, kept)) for a in results],
            "j",
        )
        arrays = [*factors, *([target] if parts > 1 else results)]
        value = " * ".join(
            f"({C_TYPES[dtype]})p{n}[{_sum(outer.place(n, 'c'), inner.place(n, 'd'))}]" for n in range(len(factors))
        )
        at = [f"p{len(factors) + n}[{outer.place(len(factors) + n, 'c')}]" for n in range(len(results))]
        start, stop, result = "0", str(r), f"{at[0]} = {combine('total', *at[1:]) if parts == 1 else 'total'};"
        lines = []
        if parts > 1:
            length = -(-r // parts)
            lines = [
                f"const index start = (index)blockIdx.y * {length};",
                f"const index stop = start + {length} < {r} ? start + {length} : {r};",
            ]
            start, stop = "start", "stop"
            result = result.replace(f"p{len(factors)}[", f"p{len(factors)}[(index)blockIdx.y * {m} + ", 1)
        name = COMBINE[kind]
        thread = (f"threadIdx.x % {lanes}", f"threadIdx.x / {lanes}")
        lane, place = thread if along else (f"threadIdx.x / {side}", f"threadIdx.x % {side}")
        lines += [
            f"const int lane = {lane}, place = {place};",
            f"const index j = (index)blockIdx.x * {side} + place;",
            *outer.coordinates("c"),
            f"{C_TYPES[dtype]} total = {_identity(kind, dtype)};",
            f"if (j < {m}) {{",
            "#pragma unroll 8",
            f"    for (index r = {start} + lane; r < {stop}; r += {lanes}) {{",
            *(f"        {line}" for line in inner.coordinates("d")),
            f"        total = {name}<{C_TYPES[dtype]}>(total, {value});",
            "    }",
            "}",
        ]
        if lanes > 1:
            mine = f"shared[lane * {side} + place]"
            lines += [
                f"__shared__ {C_TYPES[dtype]} shared[{THREADS}];",
                f"{mine} = total;",
                f"for (int half = {lanes // 2}; half > 0; half /= 2) {{",
                "    __syncthreads();",
                f"    if (lane < half) {mine} = total = {name}(total, shared[(lane + half) * {side} + place]);",
                "}",
            ]
        lines.append(f"if (lane == 0 && j < {m}) {result}")
        launch = self._launch(arrays, lines, (blocks, parts) if parts > 1 else (blocks,), max(m, m * r))
        if parts == 1:
            return [launch]
        moved = target.transpose(*range(1, first + 1), 0)
        return [launch, *self._reduce(kind, [moved], kept, (parts,), out, others, combine)]

    def _launch(self, arrays: Sequence[Array], lines: list[str], grid: tuple[int, ...], count: int) -> str:
        """Return the line that launches a kernel with these lines; `count` bounds the numbers it counts with."""
        spans = [sum(abs(s) * n for s, n in zip(_strides(a), a.shape, strict=True)) for a in arrays]
        index = "int" if max(count, *spans) < 1 << 30 else "long long"
        parameters = ", ".join(f"{C_TYPES[a.dtype]}* p{n}" for n, a in enumerate(arrays))
        text = "\n".join(
            [f'extern "C" __global__ void NAME({parameters}) {{', f"    typedef {index} index;"]
            + [f"    {line}" for line in lines]
            + ["}"]
        )
        name = self.functions.setdefault(text, f"kernel{len(self.functions)}")
        launch = _Launch(name, grid)
        self.launches.append(launch)
        return f"{self.names(launch, name)}({', '.join(self.names(a, 'a') for a in arrays)})"


class _Launch:
    """A kernel on a grid of blocks, to be called with its arrays once it is compiled."""

    function: Callable[..., None]

    def __init__(self, name: str, grid: tuple[int, ...]) -> None:
        self.name, self.grid = name, grid

    def __call__(self, *arrays: Array) -> None:
        self.function(self.grid, (THREADS,), arrays)


class _Axes:
    """Axes that a number counts through, neighbours merged where they lie one after the other in every array.

    Parameters
    ----------
    shape : tuple of int
    strides : list of tuple of int
        For each array, in elements.
    number : str
        What counts.
    """

    def __init__(self, shape: tuple[int, ...], strides: Sequence[tuple[int, ...]], number: str) -> None:
        self.number = number
        self.axes: list[tuple[int, tuple[int, ...]]] = []
        for n, steps in zip(shape, zip(*strides, strict=True), strict=True):
            if n == 1:
                continue
            if self.axes and all(a == b * n for a, b in zip(self.axes[-1][1], steps, strict=True)):
                self.axes[-1] = (self.axes[-1][0] * n, steps)
            else:
                self.axes.append((n, steps))

    def coordinates(self, letter: str) -> list[str]:
        """Return the lines that set the coordinates, if there are several axes."""
        lines = []
        below = 1
        for a in range(len(self.axes) - 1, -1, -1):
            text = self.number if below == 1 else f"{self.number} / {below}"
            lines.append(f"const index {letter}{a} = {text}{f' % {self.axes[a][0]}' if a else ''};")
            below *= self.axes[a][0]
        return lines if len(self.axes) > 1 else []

    def place(self, array: int, letter: str) -> str:
        """Return where an array's element lies, counted from its first."""
        terms = []
        for a, (_, steps) in enumerate(self.axes):
            name = f"{letter}{a}" if len(self.axes) > 1 else self.number
            if steps[array]:
                terms.append(name if steps[array] == 1 else f"{name} * {steps[array]}")
        return " + ".join(terms) or "0"


def _assign(source: str, target: str) -> list[str]:
    return [f"{target} = {source};"]


def _sum(*terms: str) -> str:
    return " + ".join(t for t in terms if t != "0") or "0"


def _strides(a: Array) -> tuple[int, ...]:
    """Return the strides of an array in elements."""
    return tuple(s // a.itemsize for s in a.strides)


def _same(a: Array, b: Array) -> bool:
    return bool(a.data.ptr == b.data.ptr and a.shape == b.shape and a.strides == b.strides)


def _power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def _identity(kind: str, dtype: np.dtype[Any]) -> str:
    """Return what a reduction starts with."""
    if kind == "sum":
        return c_literal(0, dtype)
    if dtype.kind == "f":
        return c_literal(-math.inf if kind == "max" else math.inf, dtype)
    limits = np.iinfo(dtype)
    lowest = f"({C_TYPES[dtype]})({limits.min + 1} - 1)" if limits.min else c_literal(0, dtype)
    return lowest if kind == "max" else c_literal(limits.max, dtype)
