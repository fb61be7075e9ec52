"""Instructions on NumPy arrays as records for the native machine, beside the lines of Python that do the same.

What no record can say stays a line: there the machine stops, Python does it, and the machine goes on.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..backend.blas import FEWEST, BlasLibrary, address_of
from ..backend.random import mask_bits
from ..typing import Array, DType, DTypeLike
from .float_errors import FloatErrors
from .kernels_numpy import NumpyCodeGenerator, Product
from .memory import TILE, Layout, in_order
from .native import SCRATCH, Machine, loop_of
from .passes.fusion import is_exact, parts_of
from .program import Instruction, Program, Value
from .records import (
    ADD_ROWS,
    CAST,
    CHECK,
    CHOOSE,
    COPY,
    DOT,
    DRAW,
    FINITE,
    GEMM,
    GEMV,
    GER,
    LOOP,
    MOST_OPERANDS,
    MOVE,
    NUMBER,
    REDUCE,
    STOP,
    UFUNC,
    Call,
    Field,
)
from .sharing import Sharing

Record = dict[int, int]
CASTS = {("?", "f"): 0, ("?", "d"): 1, ("l", "f"): 2, ("l", "d"): 3, ("f", "d"): 4, ("d", "f"): 5}
SUMS = {("f", "f"): 0, ("f", "d"): 1, ("d", "d"): 2}
HEAVY = {"exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "power"}
LARGE = 1 << 17  # elements from which a function of them is done in tasks
LARGE_HEAVY = 1 << 14  # the same for functions that take long
LEAST_BLOCK = 1 << 18  # multiplications of a product of matrices that are worth a second task
SMALL_BLOCK = 1 << 22  # those that are worth a third, and so on
FEW_BLOCKS = 8  # tasks of a product, as long as these have fewer multiplications than a large block
LARGE_BLOCK = 1 << 26
WIDTH = 128  # of the rows of a block, at least
LENGTH = 256  # of its columns where the first matrix is transposed, at least
VECTOR_TASK = 1 << 16  # elements of the matrix that a task of another product has at least
MOST_TASKS = 16  # of such a product
BRIEF = 1 << 13  # elements in a plan that takes some microseconds
COLUMNS = 256  # of a task that adds up rows
AT_A_TIME = 8192  # elements that NumPy converts at a time; older versions add up no more at a time either
MOST_CONVERTED = 4 * AT_A_TIME
ROUND = 16  # rows or columns of a task are a multiple of this


class NativeCodeGenerator(NumpyCodeGenerator):
    """Code for NumPy arrays, which the native machine runs as soon as it is made.

    The lines of Python call the same routines in the same pieces: it makes no difference to the bits which of them run.
    """

    def __init__(self, program: Program, layout: Layout, arena: object, machine: Machine) -> None:
        self.machine = machine
        self._table: list[Record] = []
        self._stops: dict[int, tuple[list[str], int]] = {}  # lines for where the machine stops, and where it goes on
        self._records: list[Record] = []  # of the instruction at hand
        self._functions: list[tuple[str, ...]] = [("cast",), ("reduce",)]  # by the numbers that records have for them
        self._said = 0  # how many of its lines the records say
        self._kept: list[Any] = []  # memory whose addresses records hold
        self._tiles: dict[Value, np.ndarray] = {}  # room for a tile of each thread
        super().__init__(program, layout, arena)

    # -- instructions ------------------------------------------------------------------------------------

    def instruction(self, i: Instruction) -> list[str]:
        """Return the lines that run an instruction; add its records to the table."""
        self._records, self._said = [], 0
        lines = super().instruction(i)
        self._add(lines, self._said == len(lines))
        return lines

    def group(self, members: Sequence[Instruction]) -> list[str]:
        """Return the lines of a fusion group; add its records to the table."""
        records = self._loop_records(members) or self._group_records(members)
        self._records, self._said = [], 0
        lines = super().group(members)
        if records:
            self._records = records
        is_said = bool(records) or self._said == len(lines)  # those of a group of one tile are lines of their own
        self._add(lines, is_said)
        return lines

    def _add(self, lines: list[str], is_said: bool) -> None:
        """Add the records of an instruction to the table, or one at which the machine stops."""
        first = len(self._table)
        self._table += self._records if is_said else [_record(STOP)]
        for k in range(first, len(self._table)):
            if self._table[k][Field.OP] in (STOP, CHECK, FINITE):
                self._stops[k] = lines, len(self._table)

    def finish(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return what a replay calls: the machine with the table, or `run` as long as there is no machine."""
        for leaf, v in self.layout.copies.items():
            self._records, self._said = [], 0
            lines = self.copy(leaf.data, self.arrays[v])
            self._add(lines, self._said == len(lines))
        count, width = len(self._table), int(Field.END)
        memory = np.zeros(SCRATCH + count * width, np.int64)
        table = memory[SCRATCH:].reshape(count, width)
        for k, record in enumerate(self._table):
            for field, number in record.items():
                table[k, field] = number
        self._kept.append(memory)
        machine = self.machine
        steps = {k: (self.function("def step():", lines)["step"], after) for k, (lines, after) in self._stops.items()}
        call = np.zeros(len(Call), np.int64)
        call[Call.TABLE], call[Call.LAST], call[Call.CONTROL] = table.ctypes.data, count, machine.control.ctypes.data
        address = ctypes.c_int64(call.ctypes.data)
        known: object = call  # what NumPy did about errors at the latest replay
        errors, functions = machine.errors, self._functions
        is_brief = sum(max(v.size for v in (*i.inputs, i.output)) for i in self.program.instructions) < BRIEF

        has_tasks = machine.threads > 1 and bool((table[:, Field.TASKS] > 1).any())
        sharing = Sharing() if has_tasks else None

        def replay() -> None:
            nonlocal known
            native = machine.run
            if native is None:
                run()
                return
            if is_brief:
                native = machine.run_briefly or native
            state = errors.state()
            if state is not known or state is None:
                call[Call.MASK], known = errors.mask(), state
            if sharing is not None:
                call[Call.SHARED] = sharing.begin()
            k = native(address)
            if k != count:
                try:
                    while k != count:
                        if k < 0:
                            k = _tell_errors(errors, functions, table, -1 - k)
                        else:
                            step, k = steps[k]
                            step()
                        call[Call.FIRST] = k
                        k = native(address)
                finally:
                    call[Call.FIRST] = 0
            if sharing is not None:
                sharing.end()

        return replay

    # -- single calls ------------------------------------------------------------------------------------

    def ufunc(self, function: np.ufunc, inputs: list[np.ndarray], y: np.ndarray) -> str:
        """Return the line that computes the elements of `y`."""
        *wanted, made = function.resolve_dtypes((*(a.dtype for a in inputs), y.dtype))
        loop = loop_of(function, f"{''.join(d.char for d in wanted)}->{made.char}")
        converted = [self._converted(a, dtype) for a, dtype in zip(inputs, wanted, strict=True)]
        arrays = [a for a in converted if a is not None]
        if loop is not None and made == y.dtype and len(arrays) == len(inputs):
            name = self._number_of(function.__name__)
            record = _elementwise(UFUNC, [*arrays, y], y, FUNCTION=loop[0], DATA=loop[1], NAME=name)
            self._say(record, y, heavy=function.__name__ in HEAVY)
        return super().ufunc(function, inputs, y)

    def _number_of(self, *names: str) -> int:
        """Return the number of the names of functions that a record calls."""
        if names not in self._functions:
            self._functions.append(names)
        return self._functions.index(names)

    def _converted(self, a: np.ndarray, dtype: DType) -> np.ndarray | None:
        """Return an array of another dtype into which records write the elements of `a`; None if none can."""
        if a.dtype == dtype:
            return a
        kind, y = CASTS.get((a.dtype.char, dtype.char)), np.empty(a.shape, dtype)
        record = None if kind is None else _elementwise(CAST, [y, a], y, TYPE=kind)
        if record is None:
            return None
        self._kept.append(y)
        self._records.append(record)
        return y

    def copy(self, target: Array, source: Array) -> list[str]:
        """Return the lines that write the elements of `source` to `target`."""
        if target.dtype == source.dtype and target.itemsize in (1, 4, 8):
            record = _elementwise(COPY, [target, source], target, TYPE=target.itemsize)
            if record is not None and record[Field.S] == record[_at(Field.S, 1)] == target.itemsize:
                record[Field.OP], record[Field.FUNCTION] = MOVE, address_of(ctypes.memmove)
                record[Field.INNER] *= target.itemsize
            self._say(record)
        return super().copy(target, source)

    def choice(self, y: np.ndarray, x: np.ndarray, condition: np.ndarray) -> str:
        """Return the line that writes the elements of `x` to `y` where the condition is true."""
        if y.dtype == x.dtype and y.itemsize in (1, 4, 8):
            self._say(_elementwise(CHOOSE, [y, x, condition], y, TYPE=y.itemsize))
        return super().choice(y, x, condition)

    def cast(self, y: np.ndarray, x: np.ndarray) -> str:
        """Return the line that writes the elements of `x` to `y`, which is of another dtype."""
        kind = CASTS.get((x.dtype.char, y.dtype.char))
        if kind is not None:
            self._say(_elementwise(CAST, [y, x], y, TYPE=kind))
        return super().cast(y, x)

    def reduction(
        self,
        function: np.ufunc,
        x: np.ndarray,
        axis: object,
        y: np.ndarray,
        keepdims: bool,
        dtype: DTypeLike | None = None,
    ) -> str:
        """Return the line that joins elements along axes, in a dtype, by default that of `x`."""
        if y.dtype == (dtype or x.dtype) and x.size and _is_plain(x) and _is_plain(y) and not np.may_share_memory(x, y):
            if axis is None or axis in (x.ndim - 1, -1):
                self._join_rows(function, x, 1 if axis is None else x.size // x.shape[-1], y)
            elif function is np.add and axis == 0 and x.ndim == 2 and x.shape[1] > 1:
                self._add_rows(x, y)
        return super().reduction(function, x, axis, y, keepdims, dtype)

    def _join_rows(self, function: np.ufunc, x: np.ndarray, rows: int, y: np.ndarray) -> None:
        """Let records join the elements of each row, where NumPy does that in one loop."""
        length = x.size // rows
        loop = loop_of(function, f"{y.dtype.char}{y.dtype.char}->{y.dtype.char}")
        in_one_loop = length <= AT_A_TIME or (x.dtype == y.dtype and _long_rows_are_one_loop())
        if loop is None or y.dtype.char not in "fd" or not in_one_loop:
            return
        if x.dtype != y.dtype and x.size > MOST_CONVERTED:
            return
        converted = self._converted(x, y.dtype)
        if converted is None:
            return
        width = y.itemsize
        fields = {"FUNCTION": loop[0], "FACTOR": loop[1], "DATA": int(function is not np.add), "NAME": 1, "TYPE": width}
        record = _record(REDUCE, INNER=length, OUTER=rows, **fields)
        record |= {_at(Field.P, 0): _address(y), _at(Field.R, 0): width}
        record |= {_at(Field.P, 1): _address(converted), _at(Field.S, 1): width, _at(Field.R, 1): length * width}
        self._say(record)

    def _add_rows(self, x: np.ndarray, y: np.ndarray) -> None:
        """Let a record add up the rows of a matrix, one after the other, as NumPy does; a task takes some columns."""
        kind = SUMS.get((x.dtype.char, y.dtype.char))
        if kind is None:
            return
        rows, length = x.shape
        record = _record(ADD_ROWS, INNER=length, OUTER=rows, TYPE=kind, NAME=1)
        record |= {_at(Field.P, 0): _address(y), _at(Field.S, 0): y.itemsize, _at(Field.I, 0): COLUMNS * y.itemsize}
        record |= {_at(Field.P, 1): _address(x), _at(Field.S, 1): x.itemsize, _at(Field.I, 1): COLUMNS * x.itemsize}
        record[_at(Field.R, 1)] = x.strides[0]
        if x.size >= LARGE and length > COLUMNS:
            record |= {Field.TASKS: -(-length // COLUMNS), Field.STEP: COLUMNS, Field.TOTAL: length, Field.VARIED: 1}
        self._say(record)

    def quotient(self, x: np.ndarray, number: int, y: np.ndarray) -> str:
        """Return the line that divides by a number, and writes to an array that may be of a narrower dtype."""
        divisor, loop = np.array(number, x.dtype), loop_of(np.divide, f"{x.dtype.char}{x.dtype.char}->{x.dtype.char}")
        kind, name = CASTS.get((x.dtype.char, y.dtype.char)), self._number_of("divide")
        if loop is not None and (kind is not None or x.dtype == y.dtype) and not np.may_share_memory(x, y):
            self._kept.append(divisor)
            z = y if x.dtype == y.dtype else x
            records = [_elementwise(UFUNC, [x, divisor, z], z, FUNCTION=loop[0], DATA=loop[1], NAME=name)]
            if z is x:
                records.append(_elementwise(CAST, [y, x], y, TYPE=kind or 0, NAME=name))
            if None not in records:
                self._records += [r for r in records if r is not None]
                self._said += 1
        return super().quotient(x, number, y)

    def mask(self, op: Any, key: np.ndarray, y: np.ndarray) -> str:
        """Return the line that draws zeros and ones from a key."""
        width, off = mask_bits(op.p_off)
        self._say_drawn(_record(DRAW, FACTOR=width) | {_at(Field.FACTOR, 1): off}, key, y)
        return super().mask(op, key, y)

    def numbers(self, key: np.ndarray, y: np.ndarray) -> str:
        """Return the line that draws numbers from 0 to 1 from a key."""
        self._say_drawn(_record(NUMBER), key, y)
        return super().numbers(key, y)

    def _say_drawn(self, record: Record, key: np.ndarray, y: np.ndarray) -> None:
        """Let a record say a line that draws from a key."""
        if y.dtype.char in "fd" and y.size and _is_plain(y) and _is_plain(key) and sys.byteorder == "little":
            record |= {Field.INNER: y.size, Field.OUTER: 1, Field.TYPE: y.itemsize}
            record |= {_at(Field.P, 0): _address(y), _at(Field.S, 0): y.itemsize, _at(Field.P, 1): _address(key)}
            self._say(record, y, heavy=True)

    def _say(self, record: Record | None, y: np.ndarray | None = None, heavy: bool = False) -> None:
        """Let a record say a line; with `y` it is done in tasks if that is large."""
        if record is None:
            return
        if y is not None and y.size >= (LARGE_HEAVY if heavy else LARGE):
            _cut(record, LARGE_HEAVY // 2 if heavy else TILE)
        self._records.append(record)
        self._said += 1

    # -- products ----------------------------------------------------------------------------------------

    def product(self, p: Product, exact: Callable[[], None]) -> list[str]:
        """Return the line that computes a product: a call whose arguments are bound."""
        calls = _BoundProduct(p, exact, self.machine.blas)
        self._kept.append(calls)
        self._records += calls.records
        self._said += 1
        return [self.line(calls, p.name)]

    # -- fusion groups -----------------------------------------------------------------------------------

    def _loop_records(self, members: Sequence[Instruction]) -> list[Record] | None:
        """Return a record for each part of a group that is a loop of its own; None if it cannot be made of loops."""
        loops, letter = _loops(), members[0].output.dtype.char
        if loops is None or not all(is_exact(i) for i in members):
            return None
        parts = [_LoopPart(self, part) for part in parts_of(members)]
        if any(a.disturbs(b) for a, b in itertools.permutations(parts, 2)):
            parts = [_LoopPart(self, members)]
        if not all(part.is_possible for part in parts):
            return None
        return [r for part in parts for r in part.records(loops, letter, self._number_of(*part.names))]

    def _group_records(self, members: Sequence[Instruction]) -> list[Record] | None:
        """Return the records of a fusion group, whose tasks are its tiles; None if they cannot say it."""
        shape = members[0].output.shape
        values = list(dict.fromkeys(v for i in members for v in (*i.inputs, i.output)))
        by_rows = any(
            v.shape not in (shape, ()) or (v not in self.layout.tiles and not in_order(self.arrays[v])) for v in values
        )
        if by_rows and len(shape) != 2:
            return None
        size = members[0].output.size
        row = shape[-1] if by_rows else 1
        length = max(1, TILE // row)
        total = size // row
        records = []
        for i in members:
            operands = [*i.inputs, i.output]
            letters = "".join(v.dtype.char for v in i.inputs) + "->" + i.output.dtype.char
            loop = loop_of(getattr(np, i.kind), letters)
            if loop is None or len(operands) > 3:
                return None
            record = _record(
                UFUNC,
                FUNCTION=loop[0],
                DATA=loop[1],
                NAME=self._number_of(i.kind),
                TASKS=-(-total // length),
                STEP=length,
                TOTAL=total,
                VARIED=2 if by_rows else 1,
                INNER=row if by_rows else length,
                OUTER=length if by_rows else 1,
            )
            for n, v in enumerate(operands):
                width = v.dtype.itemsize
                if v in self.layout.tiles:
                    a = self._tile(v, length * row)
                    element, line, task, thread = width, row * width, 0, a.strides[0]
                else:
                    a = self.arrays[v]
                    thread = 0
                    if not v.shape:
                        element = line = task = 0
                    elif v.shape != shape:
                        element, line, task = a.strides[-1], 0, 0
                    elif by_rows:
                        element, line, task = a.strides[1], a.strides[0], length * a.strides[0]
                    else:
                        element, line, task = width, 0, length * width
                if not a.flags.aligned or not (v in self.layout.tiles or _is_apart(a, self.arrays[i.output])):
                    return None
                record |= {_at(Field.P, n): _address(a), _at(Field.S, n): element, _at(Field.R, n): line}
                record |= {_at(Field.I, n): task, _at(Field.H, n): thread}
            records.append(record)
        records[0][Field.SPAN] = len(records)
        return records

    def keep(self, memory: np.ndarray) -> None:
        """Keep memory whose address a record holds."""
        self._kept.append(memory)

    def _tile(self, v: Value, size: int) -> np.ndarray:
        """Return room for a tile of a value, a row for each thread."""
        if v not in self._tiles:
            self._tiles[v] = np.empty((self.machine.threads, size), v.dtype)
        return self._tiles[v]


def _tell_errors(errors: FloatErrors, functions: Sequence[tuple[str, ...]], table: np.ndarray, k: int) -> int:
    """Tell the floating-point errors of the records that are done together from the k-th on; return what is next.

    Raises
    ------
    FloatingPointError
        If NumPy would.
    """
    after = k + int(table[k, Field.SPAN])
    met = [(int(row[Field.STATUS]), functions[int(row[Field.NAME])]) for row in table[k:after]]
    table[k:after, Field.STATUS] = 0
    for status, names in met:
        if status:
            errors.tell(status, names)
    return after


class _LoopPart:
    """A part of a fusion group that is one loop over elements.

    Attributes
    ----------
    names : list of str
        Of its functions.
    is_possible : bool
        Whether a record can say it.
    """

    def __init__(self, code: NativeCodeGenerator, members: Sequence[Instruction]) -> None:
        self.members = members
        self.names = list(dict.fromkeys(i.kind for i in members))
        made = {i.output for i in members}
        self.read = [v for v in dict.fromkeys(v for i in members for v in i.inputs) if v not in made]
        self.written = [i.output for i in members if i.output not in code.layout.tiles]
        self.shape, self._code = members[0].output.shape, code
        self._arrays = [code.arrays[v] for v in (*self.read, *self.written)]
        results = self._arrays[len(self.read) :]
        are_apart = all(a.flags.aligned and all(_is_apart(a, y) for y in results) for a in self._arrays)
        self._packing: list[Record | None] = []
        self._arrays[: len(self.read)] = map(self._packed, self._arrays[: len(self.read)])
        self._rows = self._as_rows()
        self.is_possible = (
            are_apart and self._rows is not None and len(self._arrays) <= MOST_OPERANDS and None not in self._packing
        )

    def _packed(self, a: np.ndarray) -> np.ndarray:
        """Return an operand, or an array in its place to which its elements are copied, if they do not lie in rows."""
        if a.shape != self.shape or a.ndim < 2 or _between_rows(a, self.shape) is not None:
            return a
        packed = np.empty(a.shape, a.dtype)
        self._code.keep(packed)
        self._packing.append(_elementwise(COPY, [packed, a], packed, TYPE=a.itemsize))
        return packed

    def disturbs(self, other: _LoopPart) -> bool:
        """Whether it writes what another part reads or writes."""
        return any(
            np.may_share_memory(self._code.arrays[y], self._code.arrays[x])
            for y in self.written
            for x in (*other.read, *other.written)
        )

    def _as_rows(self) -> tuple[int, int, list[int]] | None:
        """Return how many rows of how many elements it goes through, and each operand's distance between rows.

        Elements lie one after the other, or there is one for all; None if they do not.
        """
        size = self.members[0].output.size
        whole = [a for a in self._arrays if a.ndim or not self.shape]
        if all(a.shape == self.shape and a.flags.c_contiguous for a in whole):
            return 1, size, [0] * len(self._arrays)
        distances = [_between_rows(a, self.shape) for a in self._arrays]
        if None in distances:
            return None
        return size // self.shape[-1], self.shape[-1], [d for d in distances if d is not None]

    def records(self, loops: Any, letter: str, name: int) -> list[Record]:
        """Return its record, cut into tasks if there is much to do, behind those that pack operands."""
        assert self._rows is not None
        rows, length, distances = self._rows
        record = _record(LOOP, NAME=name, INNER=length, OUTER=rows)
        steps = [0] * len(self._arrays)  # from task to task
        if rows * length * len(self.members) >= LARGE and rows * length > TILE:
            by_rows = rows > 1
            step, total = (max(1, TILE // length), rows) if by_rows else (TILE, length)
            record |= {Field.TASKS: -(-total // step), Field.STEP: step, Field.TOTAL: total, Field.VARIED: 1 + by_rows}
            steps = [step * d if by_rows else step * a.itemsize * min(a.ndim, 1) for a, d in self._placed(distances)]
        slots = {v: n for n, v in enumerate((*self.read, *(i.output for i in self.members)))}
        loop = loops.Loop(
            letter,
            tuple(not v.shape for v in self.read),
            tuple((i.kind, tuple(slots[v] for v in i.inputs)) for i in self.members),
            tuple(slots[v] for v in self.written),
        )
        facts = (n for (a, d), s in zip(self._placed(distances), steps, strict=True) for n in (_address(a), d, s))
        memory = np.array([len(self._arrays), *facts], np.int64)
        self._code.keep(memory)
        record |= {Field.FUNCTION: loops.address_of(loop), Field.NUMBERS: _address(memory)}
        return [*(r for r in self._packing if r is not None), record]

    def _placed(self, distances: Sequence[int]) -> Iterator[tuple[np.ndarray, int]]:
        """Yield each operand with its distance from row to row."""
        return zip(self._arrays, distances, strict=True)


def _between_rows(a: np.ndarray, shape: tuple[int, ...]) -> int | None:
    """Return the bytes from one row of an operand to the next, 0 where it has one for all; None if that varies."""
    if not a.ndim:
        return 0
    if a.shape[-1] != shape[-1] or a.strides[-1] != a.itemsize:
        return None
    if a.shape != shape:
        return 0 if a.ndim == 1 else None
    return a.strides[0] if a.ndim == 2 else a.shape[-1] * a.itemsize if a.flags.c_contiguous else None


class _BoundProduct:
    """A product as calls with bound arguments, and as records; a large one is cut into tasks.

    Parameters
    ----------
    p : Product
    exact : callable
        Computes it where BLAS may not do what is wanted.
    blas : BlasLibrary

    Attributes
    ----------
    records : list of dict
    """

    def __init__(self, p: Product, exact: Callable[[], None], blas: BlasLibrary) -> None:
        self.p, self.exact, self.blas = p, exact, blas
        self.records: list[Record] = []
        self._calls: list[Callable[[], object]] = []
        self._numbers: list[np.ndarray] = []
        self._kept: list[object] = []  # memory whose addresses calls and records hold
        self._scales = self._scales_of(p.alpha, p.beta)
        self._alpha, self._beta = (self._scales[k : k + 1].view(p.y.dtype)[:1] for k in (0, 1))
        if p.routine == "dot":
            self._dot()
            return
        if p.s is not None or p.t is not None:
            self.records.append(self._record(CHECK))
        if p.routine == "ger":
            self.records.append(self._record(FINITE, "dot", [p.a.size, 1], p.a))
        {"gemm": self._gemm, "gemv": self._gemv, "ger": self._ger}[p.routine]()

    def _scales_of(self, alpha: float, beta: float) -> np.ndarray:
        """Return factors as a record has them: in the product's dtype, and those that they begin with."""
        scales = np.array([0.0, 0.0, alpha, beta])
        for k in (0, 1):
            scales[k : k + 1].view(self.p.y.dtype)[0] = scales[2 + k]
        return scales

    def _side_by_side(self, count: int) -> None:
        """Let the latest records be the tasks of one product."""
        if count > 1:
            self.records[-count] |= {Field.SPAN: count, Field.TASKS: count, Field.APART: 1}

    def __call__(self) -> None:
        """Compute it."""
        p = self.p
        alpha, beta = (c if x is None else c * x.item() for c, x in ((p.alpha, p.s), (p.beta, p.t)))
        if p.routine == "dot":
            y = alpha * self._dot_of(p.a, p.b)
            p.y[()] = y + beta * p.y.item() if beta != 0.0 or p.t is not None else y
            return
        is_sure = p.s is None or (-1.0 <= alpha < 0.0 if p.alpha < 0 else 0.0 < alpha <= 1.0)
        is_sure = is_sure and (p.t is None or beta != 0.0)
        if not is_sure or (p.routine == "ger" and not self._dot_of(p.a, p.a) < math.inf):
            self.exact()
            return
        self._alpha[0], self._beta[0] = alpha, beta
        for call in self._calls:
            call()

    def _dot_of(self, a: np.ndarray, b: np.ndarray) -> float:
        routine = self.blas.routine(f"{self.p.name[0]}dot")
        routine.restype = ctypes.c_double if a.dtype == np.float64 else ctypes.c_float
        n, step = ctypes.c_int(a.size), ctypes.c_int(1)
        places = (ctypes.c_void_p(_address(x)) for x in (a, b))
        first, second = places
        return float(routine(ctypes.byref(n), first, ctypes.byref(step), second, ctypes.byref(step)))

    def _record(self, op: int, routine: str = "", numbers: Sequence[int] = (), *arrays: np.ndarray) -> Record:
        """Return a record with a routine of BLAS, the whole numbers that it takes, and its arrays."""
        memory = np.zeros(8, np.int64)
        memory[: len(numbers)] = numbers
        self._numbers.append(memory)
        p = self.p
        record = _record(
            op,
            FUNCTION=self.blas.address(p.name[0] + routine) if routine else 0,
            NUMBERS=_address(memory),
            TYPE=int(p.y.dtype == np.float64),
            SCALES=_address(self._scales),
            FACTOR=0 if p.s is None else _address(p.s),
        )
        record[_at(Field.FACTOR, 1)] = 0 if p.t is None else _address(p.t)
        for k, a in enumerate(arrays):
            record[_at(Field.P, k)] = _address(a)
        return record

    def _call(self, routine: str, *addresses: int) -> None:
        self._calls.append(self.blas.call(self.p.name[0] + routine, addresses))

    def _dot(self) -> None:
        p = self.p
        self.records.append(self._record(DOT, "dot", [p.a.size, 1], p.a, p.b, p.y))

    def _gemm(self) -> None:
        """Add the tasks of a product of matrices: each makes a block of the result."""
        p = self.p
        m, n = p.y.shape
        flip_a, flip_b = p.flips
        k = p.a.shape[0 if flip_a else 1]
        work = m * n * k
        count = max(min(work // LEAST_BLOCK, 2), min(work // SMALL_BLOCK, FEW_BLOCKS), work // LARGE_BLOCK)
        if flip_a and work < 2 * FEWEST:
            count = 1  # threads of OpenBLAS would wait for each other to rearrange the matrix
        blocks = list(_blocks(m, n, count, LENGTH if flip_a else ROUND, bool(flip_b)))
        for rows, columns in blocks:
            a = p.a[:, rows] if flip_a else p.a[rows]
            b = p.b[columns] if flip_b else p.b[:, columns]
            y = p.y[rows, columns]
            letters = (ord("T" if flip else "N") for flip in p.flips)
            numbers = [*letters, *y.shape, k, _leading(p.a), _leading(p.b), _leading(p.y)]
            self.records.append(self._record(GEMM, "gemm", numbers, a, b, y))
            onednn = self.blas.onednn_for(p.name, len(y), y.shape[1], k)
            self.records[-1][Field.DATA] = 0 if onednn is None else address_of(onednn.product)
            at, c = _address(self._numbers[-1]), _address(self._scales)
            flips = (at, at + 8, at + 16, at + 24, at + 32)
            self._call("gemm", *flips, c, _address(a), at + 40, _address(b), at + 48, c + 8, _address(y), at + 56)
        self._side_by_side(len(blocks))

    def _gemv(self) -> None:
        """Add the tasks of a matrix times a vector: pieces of the result, or terms of all of it.

        Each goes through the same columns, which are rows of weights, as the tasks of an update of these weights do:
        what a thread has in its cache may stay there.
        """
        p = self.p
        (flip,) = p.flips
        is_whole = not flip and (p.s is not None or p.t is not None)
        pieces = _pieces(p.a.shape[1], 1 if is_whole else _count_of(p.a.size))
        terms = np.zeros((0 if flip else len(pieces) - 1, p.y.size), p.y.dtype)
        afresh = self._scales_of(p.alpha, 0.0)
        for k, piece in enumerate(pieces):
            a, b = p.a[:, piece], p.b if flip else p.b[piece]
            if flip or not k:
                self._multiply(a, b, p.y[piece] if flip else p.y, flip, self._scales)
            else:
                self._multiply(a, b, terms[k - 1], flip, afresh)
        self._side_by_side(len(pieces))
        if len(terms):
            self._multiply(terms.T, np.ones(len(terms), p.y.dtype), p.y, 0, self._scales_of(1.0, 1.0))

    def _multiply(self, a: np.ndarray, b: np.ndarray, y: np.ndarray, flip: int, scales: np.ndarray) -> None:
        """Add a matrix times a vector."""
        numbers = [ord("T" if flip else "N"), 0, *a.shape, 0, _leading(a), 1, 1]
        self.records.append(self._record(GEMV, "gemv", numbers, a, b, y) | {Field.SCALES: _address(scales)})
        self._kept.append((a, b, y, scales))
        at, c = _address(self._numbers[-1]), _address(scales)
        matrix = (at, at + 16, at + 24, c, _address(a), at + 40)
        self._call("gemv", *matrix, _address(b), at + 48, c + 8, _address(y), at + 56)

    def _ger(self) -> None:
        """Add the tasks of a column times a row, added to a matrix: each does some columns."""
        p = self.p
        m, n = p.y.shape
        pieces = _pieces(n, _count_of(p.y.size))
        for columns in pieces:
            b, y = p.b[columns], p.y[:, columns]
            record = self._record(GER, "ger", [0, 0, *y.shape, y.size, 0, 1, m], p.a, b, y)
            record[Field.DATA] = self.blas.address(f"{p.name[0]}scal")
            self.records.append(record)
            at, c = _address(self._numbers[-1]), _address(self._scales)
            if p.beta != 1.0 or p.t is not None:
                self._call("scal", at + 32, c + 8, _address(y), at + 48)
            vectors = (_address(p.a), at + 48, _address(b), at + 48)
            self._call("ger", at + 16, at + 24, c, *vectors, _address(y), at + 56)
        self._side_by_side(len(pieces))


def _count_of(size: int) -> int:
    """Return into how many tasks a product of a vector and a matrix, or of two vectors, is cut: a power of 2."""
    return min(1 << max(0, (size // VECTOR_TASK).bit_length() - 1), MOST_TASKS)


def _pieces(length: int, count: int) -> list[slice]:
    """Return about `count` pieces of a length, all but the last of them of one size."""
    step = -(-length // (count * ROUND)) * ROUND
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _blocks(m: int, n: int, count: int, length: int, in_columns: bool) -> Iterator[tuple[slice, slice]]:
    """Yield up to `count` blocks of m rows and n columns: rows are halved first, columns while they have that length.

    The columns are samples: each block of them has to rearrange all weights, above all where these are transposed.
    With `in_columns` they are those of weights, and halved first while they are long: each lies in one piece.
    """
    rows = columns = 1
    while 2 * rows * columns <= count:
        if in_columns and n >= 2 * columns * LENGTH:
            columns *= 2
        elif m >= 2 * rows * WIDTH:
            rows *= 2
        elif n >= 2 * columns * length:
            columns *= 2
        else:
            break
    yield from itertools.product(_pieces(m, rows), _pieces(n, columns))


def _record(op: int, **fields: int) -> Record:
    """Return a record of one task."""
    return {Field.OP: op, Field.SPAN: 1, Field.TASKS: 1, **{Field[name]: number for name, number in fields.items()}}


def _elementwise(op: int, arrays: Sequence[np.ndarray], y: np.ndarray, **fields: int) -> Record | None:
    """Return a record that goes through arrays of the shape of `y`, or that broadcast to it; None if it takes more.

    It can say two axes; more are joined where their elements lie that way.
    """
    if not y.size or not all(a.flags.aligned and _is_apart(a, y) for a in arrays):
        return None
    shape, strides = _joined(y.shape, [np.broadcast_to(a, y.shape).strides for a in arrays])
    if len(shape) > 2:
        return None
    outer, inner = (1,) * (2 - len(shape)) + shape
    record = _record(op, INNER=inner, OUTER=outer, **fields)
    for k, (a, by_axis) in enumerate(zip(arrays, strides, strict=True)):
        line, element = (0,) * (2 - len(by_axis)) + by_axis
        record |= {_at(Field.P, k): _address(a), _at(Field.S, k): element, _at(Field.R, k): line}
    return record


def _is_apart(a: np.ndarray, y: np.ndarray) -> bool:
    """Whether writing `y` element by element leaves those of `a` alone that are still to be read.

    Where it does not, NumPy copies first.
    """
    places = (_address(x) for x in (a, y))
    is_same = len(set(places)) == 1 and (a.shape, a.strides) == (y.shape, y.strides)
    return is_same or not np.may_share_memory(a, y)


def _joined(
    shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return lengths and strides of as few axes as say the same."""
    kept: list[tuple[int, list[int]]] = []  # from the last axis on
    for axis in reversed(range(len(shape))):
        length, steps = shape[axis], [s[axis] for s in strides]
        if length == 1:
            continue
        if kept and all(step == kept[-1][0] * inner for step, inner in zip(steps, kept[-1][1], strict=True)):
            kept[-1] = kept[-1][0] * length, kept[-1][1]
        else:
            kept.append((length, steps))
    kept.reverse()
    return tuple(n for n, _ in kept), [tuple(steps[k] for _, steps in kept) for k in range(len(strides))]


def _cut(record: Record, tile: int) -> None:
    """Cut a record into tasks of about as many elements as a tile has: pieces of its one row, or rows."""
    inner, outer = record[Field.INNER], record[Field.OUTER]
    by_rows = outer > 1
    step, total = (max(1, tile // inner), outer) if by_rows else (tile, inner)
    if total > step:
        record |= {Field.TASKS: -(-total // step), Field.STEP: step, Field.TOTAL: total, Field.VARIED: 1 + by_rows}
        for k in range(3):
            record[_at(Field.I, k)] = step * record.get(_at(Field.R if by_rows else Field.S, k), 0)


def _at(field: Field, k: int) -> int:
    """Return where the k-th of several numbers of a field stands."""
    return int(field) + k


def _address(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


def _leading(a: np.ndarray) -> int:
    """Return the distance between the columns of a matrix that lies column by column, in elements."""
    return max(1, a.shape[0]) if a.flags.f_contiguous else a.strides[1] // a.itemsize


def _is_plain(a: np.ndarray) -> bool:
    return bool(a.flags.c_contiguous and a.flags.aligned)


@cache
def _long_rows_are_one_loop() -> bool:
    """Whether this NumPy adds up a long row in one go, by the bits of a sum."""
    x = np.random.default_rng(0).standard_normal(4 * AT_A_TIME)
    return bool(np.add.reduce(x) != sum(np.add.reduce(piece) for piece in x.reshape(4, AT_A_TIME)))


@cache
def _loops() -> Any:
    """Return the module that compiles loops; None where LLVM does not work, which the machine says in words."""
    try:
        from . import loops

        loops.address_of(loops.Loop("f", (False,), (("negative", (0,)),), (1,)))
    except Exception:
        return None
    return loops
