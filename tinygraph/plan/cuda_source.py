"""The text of CUDA kernels: what every thread computes, for elements of one shape and for reductions.

Lengths and strides are written into the text, so that the compiler knows them. In a thread all loads come before all
stores: pointers may be equal, so the compiler lets no load overtake a store, and every store in between would be
another trip to memory that the thread waits for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..typing import Array, DType
from .c_expressions import C_TYPES, c_literal
from .kernel_roles import BLOCK, SHORT, UNROLLED, lanes_in_block, lengths_of, power_of_two

THREADS = 256  # in a block that is one of many; a power of two
FEW_BLOCKS = 64  # with fewer, a device is not busy
LONG = 64  # elements that a thread of a reduction adds up, beyond which more threads share them
MOST_BLOCKS = 1024  # that share a long reduction: enough loads under way to fill a device
REGISTERS = 32  # that a thread fills with elements before it stores any

PRELUDE = """
template <class T> __device__ T larger(T a, T b) { return a > b || a != a ? a : b; }  // NaN wins
template <class T> __device__ T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T> __device__ T added(T a, T b) { return a + b; }
template <class T> __device__ T multiplied(T a, T b) { return a * b; }
"""
COMBINE = {"sum": "added", "prod": "multiplied", "max": "larger", "min": "smaller"}


class Elements:
    """What a thread computes for one place of a shape: elements it loads, lines of C, elements it stores.

    In the lines ``$n`` stands for the element of the nth array.

    Parameters
    ----------
    broadcast_to : callable
        The backend's.
    shape : tuple of int
    letter : str
        What the names of values begin with.
    """

    def __init__(self, broadcast_to: Callable[..., Array], shape: tuple[int, ...], letter: str = "v") -> None:
        self.broadcast_to, self.shape, self.letter = broadcast_to, shape, letter
        self.lengths = lengths_of(shape)
        self.arrays: list[Array] = []
        self.loads: list[tuple[str, str, str]] = []  # type, name, element
        self.lines: list[str] = []
        self.stores: list[str] = []
        self.written: list[Array] = []
        self.targets: set[int] = set()  # the numbers of the arrays that are only written

    def place(self, a: Array, shape: tuple[int, ...] | None = None) -> str:
        """Return the element of an array as text; the array broadcasts to `shape`, by default that of all."""
        whole = self.broadcast_to(a, self.shape if shape is None else shape)
        self.arrays.append(whole[tuple(0 if n == 1 else slice(None) for n in whole.shape)])
        return f"${len(self.arrays) - 1}"

    def load(self, a: Array, shape: tuple[int, ...] | None = None) -> str:
        """Return the name of an element that is loaded first."""
        name = f"{self.letter}{len(self.arrays)}_in"
        self.loads.append((C_TYPES[a.dtype], name, self.place(a, shape)))
        return name

    def define(self, dtype: DType, text: str) -> str:
        """Return the name of a value that is computed."""
        name = f"{self.letter}{len(self.lines)}"
        self.lines.append(f"const {C_TYPES[dtype]} {name} = {text};")
        return name

    def store(self, a: Array, text: str, shape: tuple[int, ...] | None = None) -> None:
        """Store an element at the end."""
        self.stores.append(f"{self.target(a, shape)} = {text};")
        self.written.append(a)

    def target(self, a: Array, shape: tuple[int, ...] | None = None) -> str:
        """Return the element of an array that is only written to as text."""
        self.targets.add(len(self.arrays))
        return self.place(a, shape)

    @property
    def read(self) -> list[Array]:
        """The arrays that are not only written."""
        return [a for n, a in enumerate(self.arrays) if n not in self.targets]


class Piece:
    """Work of one kernel, or of a part of one.

    Attributes
    ----------
    arrays : list of array
    count : int
        Bounds the numbers it counts with.
    grid : tuple of int
        The blocks of `THREADS` threads that do it alone.
    trips : int
        How often one of their threads waits for memory.
    trips_in_block : int
        How often the threads of one block do if they do all.
    useful : int
        As many threads of one block have something to do.
    read, written : list of array
    flops : int
    """

    arrays: list[Array]
    count: int
    grid: tuple[int, ...]
    trips: int
    trips_in_block: int
    useful: int
    read: list[Array]
    written: list[Array]
    flops: int
    shared: np.dtype[Any] | None = None  # of the numbers that threads exchange

    @property
    def short(self) -> bool:
        """Whether one block does it about as fast as many."""
        return self.trips_in_block <= SHORT

    def text(self, names: Sequence[str], threads: int, alone: bool) -> list[str]:
        """Return the lines of C; `names` are those of the pointers to the arrays."""
        raise NotImplementedError


class Each(Piece):
    """A thread for each place of a shape; each goes through so many elements, one after the other."""

    def __init__(self, elements: Elements, length: int = 1) -> None:
        self.elements = elements
        self.arrays, self.read, self.written = elements.arrays, elements.read, elements.written
        self.count = math.prod(elements.lengths)
        self.grid = (-(-self.count // THREADS),)
        self.trips = -(-length // UNROLLED) if self.read else 0
        self.trips_in_block = self.trips * -(-self.count // BLOCK)
        self.useful = self.count
        self.flops = self.count * length * len(elements.lines)

    def text(self, names: Sequence[str], threads: int, alone: bool) -> list[str]:
        """Return the lines of C."""
        axes = Axes(self.elements.lengths, [strides_of(a) for a in self.arrays], "k")
        places = [f"{name}[{axes.place(n, 'c')}]" for n, name in enumerate(names)]
        body = [*axes.coordinates("c"), *lines_of(self.elements, places)]
        if alone:
            first = f"const index k = (index)blockIdx.x * {threads} + threadIdx.x;"
            return [first, f"if (k >= {self.count}) return;", *body]
        if self.count <= threads:
            return ["const index k = threadIdx.x;", f"if (k < {self.count}) {{", *indented(body), "}"]
        return [f"for (index k = threadIdx.x; k < {self.count}; k += {threads}) {{", *indented(body), "}"]


class Reduce(Piece):
    """A reduction: some threads, or some blocks, for each element of the output.

    Parameters
    ----------
    kind : {"sum", "prod", "max", "min"}
    inner : Elements
        What is computed for each element that is reduced.
    value : str
        What of it is reduced.
    kept : list of int
        The axes of `inner`'s shape that the output has; the others are reduced.
    outer : Elements
        What is computed for each element of the output, of which ``total`` is the reduced one.
    dtype : dtype
        Of the reduced numbers.
    parts : int
        Into so many parts the reduced axes are split; the output has an axis more, the first.
    """

    def __init__(
        self,
        kind: str,
        inner: Elements,
        value: str,
        kept: Sequence[int],
        outer: Elements,
        dtype: DType,
        parts: int = 1,
    ) -> None:
        self.kind, self.inner, self.value, self.outer, self.dtype = kind, inner, value, outer, dtype
        alive = [a for a, n in enumerate(inner.shape) if n != 1]
        first = [alive.index(a) for a in kept if a in alive]
        order = [*first, *(a for a in range(len(alive)) if a not in first)]
        self.inner_arrays = [a.transpose(*order) if order else a for a in inner.arrays]
        self.kept = tuple(inner.lengths[a] for a in first)
        self.reduced = tuple(inner.lengths[a] for a in order[len(first) :])
        self.arrays = [*self.inner_arrays, *outer.arrays]
        self.read, self.written = [*inner.read, *outer.read], [*inner.written, *outer.written]
        self.m, self.r, self.parts = math.prod(self.kept), math.prod(self.reduced), parts
        self.count = max(self.m, self.m * self.r)
        self.shared = dtype
        self.along = self._lie_along()
        if self.along or self.m == 1:
            self.lanes = min(THREADS, power_of_two(self.r))
        else:
            wide = min(32, power_of_two(self.m))
            while wide > 8 and self.m < wide * FEW_BLOCKS:
                wide //= 2
            self.lanes = min(THREADS // wide, power_of_two(self.r))
        blocks = -(-self.m // (THREADS // self.lanes))
        self.grid = (blocks, parts) if parts > 1 else (blocks,)
        self.trips = self._trips(-(-self.r // parts), self.lanes)
        lanes = lanes_in_block(self.m, self.r, BLOCK)
        self.trips_in_block = self._trips(self.r, lanes) * -(-self.m * lanes // BLOCK) if parts == 1 else SHORT + 1
        self.useful = self.m * power_of_two(self.r)
        self.flops = self.m * self.r * (1 + len(inner.lines)) + self.m * len(outer.lines)

    @property
    def wanted_parts(self) -> int:
        """Into how many parts the reduced axes should be split, for more blocks."""
        blocks = self.grid[0]
        if self.r <= LONG * self.lanes or blocks >= 2 * FEW_BLOCKS:
            return 1
        return max(1, min(MOST_BLOCKS // blocks, self.r // (LONG // UNROLLED * self.lanes)))

    def _lie_along(self) -> bool:
        """Whether neighbours in memory are reduced together, in the array that is largest."""
        if self.r < 2 or not self.inner_arrays:
            return False
        axes = Axes(self.reduced, [strides_of(a)[len(self.kept) :] for a in self.inner_arrays], "r")
        sizes = [touched(a) for a in self.inner_arrays]
        return axes.axes[-1][1][sizes.index(max(sizes))] == 1

    def _trips(self, r: int, lanes: int) -> int:
        return max(1, -(-r // (lanes * self._at_once()))) if self.read else 0

    def _at_once(self) -> int:
        """Return how many elements a thread loads without waiting."""
        if not self.inner.stores:
            return UNROLLED
        return max(1, min(UNROLLED, REGISTERS // max(1, len(self.inner.loads))))

    def text(self, names: Sequence[str], threads: int, alone: bool) -> list[str]:
        """Return the lines of C."""
        m, r, parts, c_type = self.m, self.r, self.parts, C_TYPES[self.dtype]
        n_inner, n_kept = len(self.inner_arrays), len(self.kept)
        lanes = self.lanes if alone else lanes_in_block(m, r, threads)
        side = threads // lanes  # elements of the output in a block
        blocks = -(-m // side)
        inner = Axes(self.reduced, [strides_of(a)[n_kept:] for a in self.inner_arrays], "r")
        steps = [strides_of(a)[:n_kept] for a in self.inner_arrays]
        steps += [strides_of(a)[len(a.shape) - n_kept :] for a in self.outer.arrays]
        outer = Axes(self.kept, steps, "j")
        read = [
            f"{names[n]}[{joined(outer.place(n, 'c'), inner.place(n, 'd'))}]" for n in range(len(self.inner_arrays))
        ]
        at = []
        for n, a in enumerate(self.outer.arrays, n_inner):
            part = f"(index)blockIdx.y * {strides_of(a)[0]}" if parts > 1 else "0"
            at.append(f"{names[n]}[{joined(part, outer.place(n, 'c'))}]")
        start, stop = "0", str(r)
        lines = []
        if parts > 1:
            length = -(-r // parts)
            lines = [
                f"const index start = (index)blockIdx.y * {length};",
                f"const index stop = start + {length} < {r} ? start + {length} : {r};",
            ]
            start, stop = "start", "stop"
        thread = (f"threadIdx.x % {lanes}", f"threadIdx.x / {lanes}")
        lane, place = thread if self.along else (f"threadIdx.x / {side}", f"threadIdx.x % {side}")
        number = "(index)blockIdx.x" if alone else "block"
        j = f"{number} * {side} + place" if alone or blocks > 1 else "place"
        mine = f"j < {m} && lane == 0"
        body = [
            f"const int lane = {lane}, place = {place};",
            f"const index j = {j};",
            *outer.coordinates("c"),
            *(f"const {t} {x} = {mine} ? {at[int(p[1:])]} : ({t})0;" for t, x, p in self.outer.loads),
            f"{c_type} total = {identity(self.kind, self.dtype)};",
            f"if (j < {m}) {{",
            *indented(self._loop(read, inner.coordinates("d"), start, stop, lanes)),
            "}",
        ]
        if lanes > 1:
            slot = f"shared_{self.dtype}[lane * {side} + place]"
            other = f"shared_{self.dtype}[(lane + half) * {side} + place]"
            body += [
                f"{slot} = total;",
                f"for (int half = {lanes // 2}; half > 0; half /= 2) {{",
                "    __syncthreads();",
                f"    if (lane < half) {slot} = total = {COMBINE[self.kind]}(total, {other});",
                "}",
            ]
        last = [*self.outer.lines, *self.outer.stores]
        body += [f"if ({mine}) {{", *indented(filled(line, at) for line in last), "}"]
        if alone or blocks == 1:
            return [*lines, *body]
        return [f"for (index block = 0; block < {blocks}; ++block) {{", *indented([*body, "__syncthreads();"]), "}"]

    def _loop(self, places: list[str], coordinates: list[str], start: str, stop: str, lanes: int) -> list[str]:
        """Return the lines in which a thread goes through its elements."""
        combine = f"total = {COMBINE[self.kind]}<{C_TYPES[self.dtype]}>(total, ({C_TYPES[self.dtype]}){self.value});"
        if not self.inner.stores:
            head = [f"#pragma unroll {UNROLLED}", f"for (index r = {start} + lane; r < {stop}; r += {lanes}) {{"]
            return [*head, *indented([*coordinates, *lines_of(self.inner, places), combine]), "}"]
        several = self._at_once()
        head = [
            "#pragma unroll",
            f"for (int q = 0; q < {several}; ++q) {{",
            f"    const index r = first + q * {lanes};",
        ]
        loads = [f"{x}s[q] = {filled(place, places)};" for _, x, place in self.inner.loads]
        taken = [f"const {t} {x} = {x}s[q];" for t, x, _ in self.inner.loads]
        last = [filled(line, places) for line in (*self.inner.lines, *self.inner.stores)]

        def for_each(*lines: str) -> list[str]:
            return [*head, f"    if (r < {stop}) {{", *indented(indented([*coordinates, *lines])), "    }", "}"]

        return [
            f"for (index first = {start} + lane; first < {stop}; first += {lanes * several}) {{",
            *indented(f"{t} {x}s[{several}];" for t, x, _ in self.inner.loads),
            *indented(for_each(*loads)),
            *indented(for_each(*taken, *last, combine)),
            "}",
        ]


class Axes:
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
        if not math.prod(shape):
            return  # nothing is counted, and no remainder taken
        for a, n in enumerate(shape):
            steps = tuple(s[a] for s in strides)
            if n == 1:
                continue
            if self.axes and all(x == y * n for x, y in zip(self.axes[-1][1], steps, strict=True)):
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


def kernel_text(pieces: Sequence[Piece]) -> tuple[str, int, list[Array]]:
    """Return the text of a kernel named NAME, its threads in a block, and its arguments.

    Several pieces are done one after the other by one block.
    """
    alone = len(pieces) == 1
    threads = THREADS if alone else min(BLOCK, max(32, power_of_two(max(p.useful for p in pieces))))
    pointers: dict[tuple[int, str], tuple[Array, str]] = {}
    lines: list[str] = []
    for n, piece in enumerate(pieces):
        names = []
        for a in piece.arrays:
            memory: Any = a.data
            key = memory.ptr, C_TYPES[a.dtype]
            longest, name = pointers.get(key, (a, f"p{len(pointers)}"))
            pointers[key] = (max(longest, a, key=touched), name)  # places are shared by values of several lengths
            names.append(name)
        body = piece.text(names, threads, alone)
        lines += body if alone else ["__syncthreads();"] * (n > 0) + ["{", *indented(body), "}"]
    spans = [sum(abs(s) * n for s, n in zip(strides_of(a), a.shape, strict=True)) for p in pieces for a in p.arrays]
    index = "int" if max(*(p.count for p in pieces), *spans, 0) < 1 << 30 else "long long"
    shared = dict.fromkeys(p.shared for p in pieces if p.shared is not None)
    head = [f"typedef {index} index;", *(f"__shared__ {C_TYPES[d]} shared_{d}[{threads}];" for d in shared)]
    parameters = ", ".join(f"{kind}* {name}" for (_, kind), (_, name) in pointers.items())
    bounds = f"__launch_bounds__({threads}) " if threads > THREADS else ""
    text = "\n".join([f'extern "C" __global__ void {bounds}NAME({parameters}) {{', *indented([*head, *lines]), "}"])
    return text, threads, [a for a, _ in pointers.values()]


def lines_of(elements: Elements, places: Sequence[str]) -> list[str]:
    """Return the lines of a thread: loads, computations, stores; `places` are the elements of the arrays."""
    loads = [f"const {kind} {name} = {place};" for kind, name, place in elements.loads]
    return [filled(line, places) for line in (*loads, *elements.lines, *elements.stores)]


def filled(line: str, places: Sequence[str]) -> str:
    """Return a line with the elements of the arrays in the place of ``$n``."""
    return re.sub(r"\$(\d+)", lambda found: places[int(found[1])], line)


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines that stand in a block."""
    return [f"    {line}" for line in lines]


def joined(*terms: str) -> str:
    """Return a sum of terms."""
    return " + ".join(t for t in terms if t != "0") or "0"


def strides_of(a: Array) -> tuple[int, ...]:
    """Return the strides of an array in elements."""
    return tuple(s // a.itemsize for s in a.strides)


def touched(a: Array) -> int:
    """Return how many elements of memory an array has."""
    return math.prod(n for n, s in zip(a.shape, a.strides, strict=True) if s)


def identity(kind: str, dtype: DType) -> str:
    """Return what a reduction starts with."""
    if kind in ("sum", "prod"):
        return c_literal(int(kind == "prod"), dtype)
    if dtype.kind == "f":
        return c_literal(-math.inf if kind == "max" else math.inf, dtype)
    limits = np.iinfo(dtype)
    lowest = f"({C_TYPES[dtype]})({limits.min + 1} - 1)" if limits.min else c_literal(0, dtype)
    return lowest if kind == "max" else c_literal(limits.max, dtype)
