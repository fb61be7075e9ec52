"""Kernels: which instructions a device computes by one, and in which order they are asked for.

A kernel makes elements of one shape. It may be a reduction: what makes the elements that are reduced can go before it
in the same thread, and what is made of each result after it. Then nothing of that is written to memory but what others
read. Work that one block does about as fast as many is put side by side: such kernels become one when code is written.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..kernel_roles import is_element, is_reduction, is_short, lengths_of, lies_alike, summands
from ..memory import views_of
from ..program import Instruction, Program, Value

MOST_ARRAYS = 200  # of a kernel: a launch takes 4 kB of arguments
LOOKED_THROUGH = 64  # kernels, the latest first, for one that an instruction fits in


def group_into_kernels(program: Program) -> Program:
    """Return the program with the instructions of each kernel side by side, and so marked."""
    kernels = _side_by_side(_Grouping(program).run())
    done: list[Instruction] = []
    groups: list[tuple[int, int]] = []
    for kernel in kernels:
        if len(kernel.members) - len(kernel.views) > 1:
            groups.append((len(done), len(done) + len(kernel.members)))
        done += kernel.members
    return replace(program.rewritten(done), groups=tuple(groups))


@dataclass(eq=False)
class _Kernel:
    """Instructions that are computed together, and views of their results.

    Attributes
    ----------
    lengths : tuple of int, optional
        Of the axes of the results that may still be added; None if there can be none.
    reduces : bool
        Whether one of them is a reduction; those before it make what is reduced.
    after : set of Value
        Those whose elements a further member may take from its thread.
    waits : set of _Kernel
        What has to run before.
    """

    position: int
    lengths: tuple[int, ...] | None = None
    members: list[Instruction] = field(default_factory=list)
    views: set[Value] = field(default_factory=set)  # among their results
    values: set[Value] = field(default_factory=set)  # that they read or write
    after: set[Value] = field(default_factory=set)
    reduces: bool = False
    waits: set[_Kernel] = field(default_factory=set)

    @property
    def short(self) -> bool:
        """Whether one block computes it about as fast as many would."""
        first = next((n for n, i in enumerate(self.members) if is_reduction(i)), 0)
        members = (i for i in self.members[first:] if i.output not in self.views)
        return self.lengths is not None and all(is_short(i) for i in members)


class _Grouping:
    """The state of the pass.

    Instructions that make elements, and views, wait until somebody reads them. So they are next to their readers, and a
    mask, say, is computed where it is used rather than kept.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.views = views_of(program)
        self.makers = program.makers()
        self.elements = {i for i in program.instructions if is_element(i)}
        self.order = {i: n for n, i in enumerate(program.instructions)}
        self.states = {id(v.array): v for v in program.states()}
        self.taking: dict[Value, list[Value]] = {}  # the values that leaves take: what the leaves held before
        for leaf, v in program.stores.items():
            old = self.states.get(id(leaf.data))
            if old is not None:
                self.taking.setdefault(v, []).append(old)
        self.base: dict[Value, Value] = {}  # whose memory a view is
        self.readers: dict[Value, list[Instruction]] = {}  # of a leaf's old content, directly or by a view
        old_contents = {v for values in self.taking.values() for v in values}
        for i in program.instructions:
            if i.output in self.views:
                self.base[i.output] = self.base.get(i.inputs[0], i.inputs[0])
            for v in i.inputs:
                source = self.base.get(v, v)
                if source in old_contents:
                    self.readers.setdefault(source, []).append(i)
        self.kernels: list[_Kernel] = []
        self.home: dict[Value, _Kernel] = {}  # the kernel that makes a value, or whose result it is a view of
        self.placed: set[Instruction] = set()

    def run(self) -> list[_Kernel]:
        """Return the kernels in an order of evaluation."""
        results = set(self.program.results)
        for i in self.program.instructions:
            if i.output in results or not (i.output in self.views or i in self.elements):
                self.place(i)
        return self.kernels

    def place(self, root: Instruction) -> None:
        """Find kernels for an instruction and for all that it waits for."""
        for unit in self.units(root):
            last = unit[-1]
            if last.output in self.views:
                self.add(self.home.get(self.base[last.output]) or self.opened(None), unit)
            elif last in self.elements:
                lengths = lengths_of(last.output.shape)
                self.add(self.open_kernel(unit, lengths) or self.opened(lengths), unit)
            elif is_reduction(last):
                kernel = self.kernel_before(last) or self.opened(None)
                self.add(kernel, unit)
                kernel.lengths, kernel.reduces, kernel.after = lengths_of(last.output.shape), True, {last.output}
            else:
                self.add(self.opened(None), unit)

    def units(self, root: Instruction) -> Iterator[list[Instruction]]:
        """Yield what has to be placed for `root`, in order: with each instruction those that only it waits for."""
        needed = self.needed(root)
        unit_of: dict[Instruction, Instruction] = {root: root}
        readers: dict[Instruction, list[Instruction]] = {}
        for i in needed:
            for v in i.inputs:
                if v in self.makers:
                    readers.setdefault(self.makers[v], []).append(i)
        for i in reversed(needed[:-1]):
            units = {unit_of[r] for r in readers.get(i, ())}
            one = next(iter(units)) if len(units) == 1 else None
            joins = (
                one is not None
                and {i, one} <= self.elements
                and lengths_of(i.output.shape) == lengths_of(one.output.shape)
                and all(self.reads_own(r, i.output) for r in readers[i])
            )
            unit_of[i] = one if joins and one is not None else i
        members: dict[Instruction, list[Instruction]] = {}
        for i in needed:
            members.setdefault(unit_of[i], []).append(i)
        for i in needed:
            if unit_of[i] is i:
                yield members[i]

    def needed(self, root: Instruction) -> list[Instruction]:
        """Return `root` after all that it waits for and that is not placed yet, in an order of evaluation."""
        found: list[Instruction] = []
        seen: set[Instruction] = set()
        todo = [(root, False)]
        while todo:
            i, ready = todo.pop()
            if ready:
                found.append(i)
            elif i not in seen and i not in self.placed:
                seen.add(i)
                todo.append((i, True))
                before = [self.makers[v] for v in i.inputs if v in self.makers]
                before += [r for old in self.taking.get(i.output, ()) for r in self.earlier_readers(old, i)]
                todo += [(j, False) for j in reversed(before)]
        return found

    def earlier_readers(self, old: Value, writer: Instruction) -> list[Instruction]:
        """Return what reads a leaf's old content, as the order stands, before the leaf takes a new one."""
        return [r for r in self.readers.get(old, ()) if self.order[r] < self.order[writer]]

    def open_kernel(self, unit: list[Instruction], lengths: tuple[int, ...]) -> _Kernel | None:
        """Return the latest kernel that these elements can be made in; None if there is none."""
        mine = {i.output for i in unit}
        values = {v for i in unit for v in (*i.inputs, i.output)}
        floor = 0
        for i in unit:
            for v in i.inputs:
                home = self.home.get(v)
                if v in mine or home is None:
                    continue
                own = v in home.after and self.reads_own(i, v)
                floor = max(floor, home.position + (not own))
            floor = max(floor, self.after_readers(i))
        for kernel in reversed(self.kernels[max(floor, len(self.kernels) - LOOKED_THROUGH) :]):
            related = not kernel.reduces or not kernel.after.isdisjoint(values)
            arrays = len(kernel.values) + len(values - kernel.values)
            if kernel.lengths == lengths and related and arrays <= MOST_ARRAYS:
                return kernel
        return None

    def kernel_before(self, i: Instruction) -> _Kernel | None:
        """Return the kernel that makes what a reduction joins, if it can go on with it."""
        for x in summands(i):
            kernel = self.home.get(x)
            if (
                kernel is None
                or kernel.reduces
                or x not in kernel.after
                or kernel.lengths != lengths_of(x.shape)
                or len(kernel.values) >= MOST_ARRAYS
            ):
                continue
            own = [v for v in summands(i) if v in kernel.after or self.position(v) < kernel.position]
            others = [v for v in i.inputs if v not in own]
            ready = len(own) == len(summands(i)) and all(self.position(v) < kernel.position for v in others)
            if ready and self.after_readers(i) <= kernel.position:
                return kernel
        return None

    def after_readers(self, writer: Instruction) -> int:
        """Return from which kernel on a leaf may take the result of an instruction, since its content is not read."""
        first = 0
        for old in self.taking.get(writer.output, ()):
            for r in self.earlier_readers(old, writer):
                home = self.home.get(r.output)
                if home is not None:
                    own = r.output in home.after and self.reads_own(r, old)
                    first = max(first, home.position + (not own))
        return first

    def reads_own(self, i: Instruction, v: Value) -> bool:
        """Whether an instruction reads of an input only the element in the place of the one that it makes."""
        return i in self.elements and lengths_of(v.shape) == lengths_of(i.output.shape)

    def position(self, v: Value) -> int:
        """Return where the kernel stands that makes a value, -1 for what is there from the start."""
        home = self.home.get(v)
        return -1 if home is None else home.position

    def opened(self, lengths: tuple[int, ...] | None) -> _Kernel:
        """Return a new kernel, the last."""
        self.kernels.append(_Kernel(len(self.kernels), lengths=lengths))
        return self.kernels[-1]

    def add(self, kernel: _Kernel, unit: Iterable[Instruction]) -> None:
        """Add instructions to a kernel."""
        for i in unit:
            for v in i.inputs:
                if v in self.home:
                    kernel.waits.add(self.home[v])
            for old in self.taking.get(i.output, ()):
                kernel.waits.update(self.home[r.output] for r in self.earlier_readers(old, i) if r.output in self.home)
            if i.output in self.views:
                kernel.views.add(i.output)
            if i.output not in self.views or (i.inputs[0] in kernel.after and lies_alike(i)):
                kernel.after.add(i.output)
            kernel.values.update((*i.inputs, i.output))
            kernel.members.append(i)
            self.home[i.output] = kernel
            self.placed.add(i)
        kernel.waits.discard(kernel)


def _side_by_side(kernels: list[_Kernel]) -> list[_Kernel]:
    """Return the kernels in an order in which short ones are neighbours, as far as they do not wait for others."""
    followers: dict[_Kernel, list[_Kernel]] = {}
    opaque: _Kernel | None = None
    for k in kernels:
        if any(i.is_opaque for i in k.members):
            if opaque is not None:
                k.waits.add(opaque)
            opaque = k
        for before in k.waits:
            followers.setdefault(before, []).append(k)
    missing = {k: len(k.waits) for k in kernels}
    done: list[_Kernel] = []
    ready: dict[bool, list[int]] = {True: [], False: []}  # positions of short kernels, and of others
    free = [k for k in reversed(kernels) if not missing[k]]  # to be sorted into these
    short = False
    while len(done) < len(kernels):
        while free:
            k = free.pop()
            if len(k.members) > len(k.views):
                insort(ready[k.short], k.position)
            else:
                free += _finish(k, done, followers, missing)
        short = short if ready[short] else not short
        if ready[short]:
            free = _finish(kernels[ready[short].pop(0)], done, followers, missing)
    return done


def _finish(
    k: _Kernel, done: list[_Kernel], followers: dict[_Kernel, list[_Kernel]], missing: dict[_Kernel, int]
) -> list[_Kernel]:
    """Append a kernel to those that are done; return those that have nothing more to wait for."""
    done.append(k)
    for f in followers.get(k, ()):
        missing[f] -= 1
    return [f for f in followers.get(k, ()) if not missing[f]]
