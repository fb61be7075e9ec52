"""A machine that runs records: one instruction of a plan each, made native once by numba for all plans.

A plan on NumPy arrays is a row of calls whose arguments never change. Here such a call is a record of addresses and
numbers, and a loop without Python runs one after the other: NumPy's own loops over elements, routines of BLAS, copies.
The results have the bits that NumPy's calls would give. A record may be cut into tasks, which other threads take part
in: how they are cut depends on shapes only, so that results never depend on who does what.

This module imports numba; `native` loads it where that is installed.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core.base import BaseContext
from numba.core.typing import Context, Signature
from numba.extending import intrinsic

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
    LAYOUT,
    LOOP,
    MOVE,
    NUMBER,
    REDUCE,
    STOP,
    UFUNC,
    Call,
    Control,
    Field,
)
from .updates import FUSED, IN_TWO_PASSES

Values: TypeAlias = Sequence[ir.Value]
Typed: TypeAlias = tuple[Signature, Callable[..., ir.Value]]  # the types of an intrinsic, and what writes its code

IS_X86 = platform.machine() in ("x86_64", "AMD64")
_I64 = ir.IntType(64)
_TYPES: dict[str, tuple[ir.Type, types.Type]] = {  # by NumPy's letters
    "b": (ir.IntType(8), types.int8),
    "i": (ir.IntType(32), types.int32),
    "l": (_I64, types.int64),
    "f": (ir.FloatType(), types.float32),
    "d": (ir.DoubleType(), types.float64),
}


def _pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    return builder.inttoptr(address, ir.PointerType(to))


def _reader(letter: str) -> Callable[..., Any]:
    kind, result = _TYPES[letter]

    @intrinsic
    def read(typing: Context, address: types.Type) -> Typed:
        def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            return builder.load(_pointer(builder, arguments[0], kind))

        return result(types.int64), code

    return read


def _writer(letter: str) -> Callable[..., Any]:
    kind, taken = _TYPES[letter]

    @intrinsic
    def write(typing: Context, address: types.Type, value: types.Type) -> Typed:
        def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            builder.store(arguments[1], _pointer(builder, arguments[0], kind))
            return context.get_dummy_value()

        return types.void(types.int64, taken), code

    return write


def _caller(count: int, letter: str = "") -> Callable[..., Any]:
    """Return a call of the function at an address with `count` integers or addresses."""
    kind, result = _TYPES[letter] if letter else (ir.VoidType(), types.void)

    @intrinsic
    def call(typing: Context, function: types.Type, given: types.Type) -> Typed:
        def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            target = _pointer(builder, arguments[0], ir.FunctionType(kind, [_I64] * count))
            y = builder.call(target, [builder.extract_value(arguments[1], k) for k in range(count)])
            return y if letter else context.get_dummy_value()

        return result(types.int64, types.UniTuple(types.int64, count)), code

    return call


@intrinsic
def multiply(
    typing: Context,
    function: types.Type,
    numbers: types.Type,
    scales: types.Type,
    a: types.Type,
    b: types.Type,
    y: types.Type,
) -> Typed:
    """Call a product that takes numbers by value and matrices row by row, so transposed; return what it returns."""

    def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        function, numbers, scales, a, b, y = arguments
        letter, factor, result = ir.IntType(8), ir.FloatType(), ir.IntType(32)

        def value(base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
            return builder.load(_pointer(builder, builder.add(base, ir.Constant(_I64, offset)), kind))

        flip_a, flip_b = (value(numbers, 8 * j, letter) for j in range(2))
        m, n, k, step_a, step_b, step_y = (value(numbers, 8 * j, _I64) for j in range(2, 8))
        alpha, beta = (value(scales, 8 * j, factor) for j in range(2))
        given = [flip_b, flip_a, n, m, k, alpha, b, step_b, a, step_a, beta, y, step_y]
        kind = ir.FunctionType(result, [x.type for x in given])
        return builder.call(_pointer(builder, function, kind), given)

    return types.int32(*[types.int64] * 6), code


def _atomic(operation: str) -> Callable[..., Any]:
    """Return a change of the integer at an address that no other thread interrupts; it gives what that was."""

    @intrinsic
    def change(typing: Context, address: types.Type, number: types.Type) -> Typed:
        def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            return builder.atomic_rmw(operation, _pointer(builder, arguments[0], _I64), arguments[1], "seq_cst")

        return types.int64(types.int64, types.int64), code

    return change


@intrinsic
def look(typing: Context, address: types.Type) -> Typed:
    """Return the integer at an address as it is now, though other threads write it."""

    def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        return builder.load_atomic(_pointer(builder, arguments[0], _I64), "acquire", 8)

    return types.int64(types.int64), code


@intrinsic
def pause(typing: Context) -> Typed:
    """Let the processor wait some cycles, as it is meant to between two looks."""

    def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        if IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def fused_multiply_add(typing: Context, a: types.Type, b: types.Type, c: types.Type) -> Typed:
    """Return ``a b + c``, rounded once."""

    def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        return builder.fma(*arguments)

    return a(a, a, a), code


def _memory(kind: types.Type) -> Callable[..., Any]:
    """Return what makes an address one of numbers of a type."""

    @intrinsic
    def memory(typing: Context, address: types.Type) -> Typed:
        def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(types.int64), code

    return memory


@intrinsic
def multiply_high(typing: Context, a: types.Type, b: types.Type) -> Typed:
    """Return the upper 64 bits of the product of two integers without sign."""

    def code(context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        wide = [builder.zext(x, ir.IntType(128)) for x in arguments]
        return builder.trunc(builder.lshr(builder.mul(*wide), ir.Constant(ir.IntType(128), 64)), _I64)

    return types.int64(types.int64, types.int64), code


get, get_f, get_d, get_b, get_i = (_reader(letter) for letter in "lfdbi")
put, put_f, put_d, put_b, put_i = (_writer(letter) for letter in "lfdbi")
call_1, call_2, call_3, call_4, call_9, call_11, call_13 = (_caller(n) for n in (1, 2, 3, 4, 9, 11, 13))
dot_s, dot_d = _caller(5, "f"), _caller(5, "d")
ask, ask_3 = _caller(1, "i"), _caller(3, "i")
memory_b, memory_h, memory_i = (_memory(kind) for kind in (types.uint8, types.uint16, types.uint32))
memory_f, memory_d = _memory(types.float32), _memory(types.float64)
add_atomically, set_atomically, exchange = (_atomic(name) for name in ("add", "or", "xchg"))

(OP, FUNCTION, DATA, SPAN, TASKS, APART, STEP, TOTAL, VARIED, INNER, OUTER) = (8 * int(f) for f in list(Field)[:11])
(P, S, R, I, H, NUMBERS, TYPE, FACTOR, SCALES, _, STATUS, RECORD) = (8 * int(f) for f in list(Field)[11:])
(CLAIM, REGION, IS_APART, DONE, STOPPED, WAIT, POST, SEMAPHORE) = (8 * int(c) for c in list(Control)[:8])
(HELPERS, BUSY, YIELD, UPDATE, MASK, TEST, CLEAR, GETCPU, GET_AFFINITY) = (8 * int(c) for c in list(Control)[8:17])
(ASLEEP, SET_AFFINITY, CPU, OPENMP_THREADS, SET_OPENMP_THREADS, SCRATCH) = (8 * int(c) for c in list(Control)[17:])
(CALL_TABLE, CALL_FIRST, CALL_LAST, CALL_CONTROL, CALL_MASK, CALL_SHARED) = (8 * int(c) for c in Call)
CLAIM_BITS, CLAIM_MASK = 21, (1 << 21) - 1  # of three numbers in one word: tasks taken from either end, and tasks
AFFINITY = 128  # bytes of the system's set of processors
LOOKS = 10000  # for the next region, before a helper goes to sleep: some 0.2 ms, twice what it may take to wake one
PATIENT = 20000  # looks at whether the last task is done, before the processor is left to others
DRAWN = 128  # bytes that are drawn at a time
PHILOX = tuple(  # two multipliers, and what is added to the key in each round
    n - (1 << 64) for n in (0xD2E7470EE14C6C93, 0xCA5A826395121157, 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
)


@njit(nogil=True)
def _factors(r: int) -> bool:
    """Whether BLAS does what is wanted with the factors of a product as they are now; note them if so."""
    scales, is_double = get(r + SCALES), get(r + TYPE)
    alpha, beta = get_d(scales + 16), get_d(scales + 24)
    s, t = get(r + FACTOR), get(r + FACTOR + 8)
    if s:
        negative = alpha < 0
        alpha *= get_d(s) if is_double else get_f(s)
        if not (-1.0 <= alpha < 0.0 if negative else 0.0 < alpha <= 1.0):
            return False
    if t:
        beta *= get_d(t) if is_double else get_f(t)
        if beta == 0.0:
            return False
    if is_double:
        put_d(scales, alpha)
        put_d(scales + 8, beta)
    else:
        put_f(scales, np.float32(alpha))
        put_f(scales + 8, np.float32(beta))
    return True


@njit(nogil=True)
def _dot(r: int, a: int, b: int) -> float:
    n, step = get(r + NUMBERS), get(r + NUMBERS) + 8
    if get(r + TYPE) == 1:
        return float(dot_d(get(r + FUNCTION), (n, a, step, b, step)))
    return float(dot_s(get(r + FUNCTION), (n, a, step, b, step)))


@njit(nogil=True)
def _add_rows(kind: int, columns: int, rows: int, y: int, x: int, step: int) -> None:
    """Add up the rows of a matrix, one after the other."""
    for j in range(columns):
        if kind == 0:
            put_f(y + 4 * j, np.float32(0.0))
        else:
            put_d(y + 8 * j, 0.0)
    for _ in range(rows):
        if kind == 0:
            for j in range(columns):
                put_f(y + 4 * j, get_f(y + 4 * j) + get_f(x + 4 * j))
        elif kind == 1:
            for j in range(columns):
                put_d(y + 8 * j, get_d(y + 8 * j) + np.float64(get_f(x + 4 * j)))
        else:
            for j in range(columns):
                put_d(y + 8 * j, get_d(y + 8 * j) + get_d(x + 8 * j))
        x += step


@njit(nogil=True)
def _philox_round(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    high, low = multiply_high(c0, PHILOX[0]), c0 * PHILOX[0]
    high_2, low_2 = multiply_high(c2, PHILOX[1]), c2 * PHILOX[1]
    return high_2 ^ c1 ^ k0, low_2, high ^ c3 ^ k1, low


@njit(nogil=True)
def _philox(key: int, block: int, y: int) -> None:
    """Write four blocks of Philox 4x64-10, from one on: side by side, since each round waits for the one before."""
    k0, k1 = get(key), get(key + 8)
    a, b, c, d = (block, 0, 0, 0), (block + 1, 0, 0, 0), (block + 2, 0, 0, 0), (block + 3, 0, 0, 0)
    for _ in range(10):
        a, b = _philox_round(*a, k0, k1), _philox_round(*b, k0, k1)
        c, d = _philox_round(*c, k0, k1), _philox_round(*d, k0, k1)
        k0, k1 = k0 + PHILOX[2], k1 + PHILOX[3]
    for four in (a, b, c, d):
        for word in four:
            put(y, word)
            y += 8


@njit(nogil=True)
def _compare(y: Any, x: Any, off: int) -> None:
    """Write 1 where a number is not below a limit, 0 elsewhere."""
    for j in range(len(y)):
        y[j] = np.float32(np.int64(x[j]) >= off)


@njit(nogil=True)
def _decide(y: Any, drawn: int, width: int, off: int) -> None:
    """Write a mask, an element by `width` drawn bits each."""
    if width == 8:
        _compare(y, carray(memory_b(drawn), len(y)), off)
    elif width == 16:
        _compare(y, carray(memory_h(drawn), len(y)), off)
    else:
        _compare(y, carray(memory_i(drawn), len(y)), off)


@njit(nogil=True)
def _draw(r: int, task: int, count: int, y: int, key: int, drawn: int) -> None:
    """Write zeros and ones, as `Backend.bernoulli` draws them; the first block of NumPy's generator has number 1."""
    width, off, size = get(r + FACTOR), get(r + FACTOR + 8), get(r + TYPE)
    each, block = 8 * DRAWN // width, 1 + task * get(r + STEP) * width // 256
    for start in range(0, count, each):
        _philox(key, block, drawn)
        n, block = min(each, count - start), block + 4
        if size == 4:
            _decide(carray(memory_f(y), n), drawn, width, off)
        else:
            _decide(carray(memory_d(y), n), drawn, width, off)
        y += size * each


@njit(nogil=True)
def _draw_numbers(task: int, step: int, size: int, count: int, y: int, key: int, drawn: int) -> None:
    """Write numbers from 0 to 1, as `Backend.uniform` draws them."""
    each, block = DRAWN // size, 1 + task * step * size // 32
    for start in range(0, count, each):
        _philox(key, block, drawn)
        block += 4
        for j in range(min(each, count - start)):
            if size == 4:
                put_f(y, np.float32((get_i(drawn + 4 * j) >> 8) & 0xFFFFFF) * np.float32(2.0**-24))
            else:
                put_d(y, np.float64((get(drawn + 8 * j) >> 11) & 0x1FFFFFFFFFFFFF) * 2.0**-53)
            y += size


@njit(nogil=True)
def _widen(y: Any, x: Any) -> None:
    """Write truth values as numbers."""
    for j in range(len(y)):
        y[j] = np.float32(x[j])


@njit(nogil=True)
def _update(kind: int, alpha: Any, beta: Any, a: Any, b: Any, y: Any) -> None:
    """Scale a matrix `y` and add a row `a` times a column `b`, in one pass; how the sum is rounded is the kind."""
    for j in range(len(b)):
        factor = alpha * b[j]
        if kind == FUSED:
            for k in range(len(a)):
                y[j, k] = fused_multiply_add(factor, a[k], beta * y[j, k])
        else:
            for k in range(len(a)):
                y[j, k] = beta * y[j, k] + factor * a[k]


@njit(nogil=True)
def _loop(function: int, operands: int, task: int, inner: int, outer: int, scratch: int) -> None:
    """Run a compiled loop over the rows of a task."""
    count = get(operands)
    for row in range(outer):
        for j in range(count):
            operand = operands + 8 + 24 * j
            put(scratch + 8 * j, get(operand) + row * get(operand + 8) + task * get(operand + 16))
        call_2(function, (scratch, inner))


@njit(nogil=True)
def _execute(r: int, task: int, control: int, scratch: int, thread: int) -> None:
    """Do one task of a record."""
    op, inner, outer = get(r + OP), get(r + INNER), get(r + OUTER)
    varied = get(r + VARIED)
    if varied:
        n = min(get(r + STEP), get(r + TOTAL) - task * get(r + STEP))
        if varied == 1:
            inner = n
        else:
            outer = n
    p0 = get(r + P) + task * get(r + I) + thread * get(r + H)
    p1 = get(r + P + 8) + task * get(r + I + 8) + thread * get(r + H + 8)
    p2 = get(r + P + 16) + task * get(r + I + 16) + thread * get(r + H + 16)
    s0, s1, s2 = get(r + S), get(r + S + 8), get(r + S + 16)
    r0, r1, r2 = get(r + R), get(r + R + 8), get(r + R + 16)
    if op == UFUNC:
        put(scratch + 64, inner)
        for _ in range(outer):
            put(scratch, p0)
            put(scratch + 8, p1)
            put(scratch + 16, p2)
            call_4(get(r + FUNCTION), (scratch, scratch + 64, r + S, get(r + DATA)))
            p0, p1, p2 = p0 + r0, p1 + r1, p2 + r2
    elif op == LOOP:
        _loop(get(r + FUNCTION), get(r + NUMBERS), task, inner, outer, scratch)
    elif op == GEMM:
        n, c, by_value = get(r + NUMBERS), get(r + SCALES), get(r + DATA)
        if not by_value or multiply(by_value, n, c, p0, p1, p2) != 0:
            where = (n, n + 8, n + 16, n + 24, n + 32, c, p0, n + 40, p1, n + 48, c + 8, p2, n + 56)
            call_13(get(r + FUNCTION), where)
    elif op == GEMV:
        n, c = get(r + NUMBERS), get(r + SCALES)
        call_11(get(r + FUNCTION), (n, n + 16, n + 24, c, p0, n + 40, p1, n + 48, c + 8, p2, n + 56))
    elif op == GER:
        n, c = get(r + NUMBERS), get(r + SCALES)
        scaled, kind = get_d(c + 24) != 1.0 or get(r + FACTOR + 8) != 0, get(control + UPDATE)
        if scaled and kind != IN_TWO_PASSES:
            columns, rows = get(n + 16), get(n + 24)
            if get(r + TYPE):
                a, b, y = (
                    carray(memory_d(p0), columns),
                    carray(memory_d(p1), rows),
                    carray(memory_d(p2), (rows, columns)),
                )
                _update(kind, get_d(c), get_d(c + 8), a, b, y)
            else:
                u, v, w = (
                    carray(memory_f(p0), columns),
                    carray(memory_f(p1), rows),
                    carray(memory_f(p2), (rows, columns)),
                )
                _update(kind, get_f(c), get_f(c + 8), u, v, w)
        else:
            if scaled:
                call_4(get(r + DATA), (n + 32, c + 8, p2, n + 48))
            call_9(get(r + FUNCTION), (n + 16, n + 24, c, p0, n + 48, p1, n + 48, p2, n + 56))
    elif op == MOVE:
        for _ in range(outer):
            call_3(get(r + FUNCTION), (p0, p1, inner))
            p0, p1 = p0 + r0, p1 + r1
    elif op == COPY:
        size = get(r + TYPE)
        for _ in range(outer):
            for j in range(inner):
                if size == 4:
                    put_i(p0 + j * s0, get_i(p1 + j * s1))
                elif size == 8:
                    put(p0 + j * s0, get(p1 + j * s1))
                else:
                    put_b(p0 + j * s0, get_b(p1 + j * s1))
            p0, p1 = p0 + r0, p1 + r1
    elif op == CHOOSE:
        size = get(r + TYPE)
        for _ in range(outer):
            for j in range(inner):
                if get_b(p2 + j * s2):
                    if size == 4:
                        put_i(p0 + j * s0, get_i(p1 + j * s1))
                    elif size == 8:
                        put(p0 + j * s0, get(p1 + j * s1))
                    else:
                        put_b(p0 + j * s0, get_b(p1 + j * s1))
            p0, p1, p2 = p0 + r0, p1 + r1, p2 + r2
    elif op == CAST:
        kind = get(r + TYPE)
        if kind == 0 and s0 == 4 and s1 == 1:
            for _ in range(outer):
                _widen(carray(memory_f(p0), inner), carray(memory_b(p1), inner))
                p0, p1 = p0 + r0, p1 + r1
            outer = 0
        for _ in range(outer):
            for j in range(inner):
                if kind == 0:
                    put_f(p0 + j * s0, np.float32(get_b(p1 + j * s1)))
                elif kind == 1:
                    put_d(p0 + j * s0, np.float64(get_b(p1 + j * s1)))
                elif kind == 2:
                    put_f(p0 + j * s0, np.float32(get(p1 + j * s1)))
                elif kind == 3:
                    put_d(p0 + j * s0, np.float64(get(p1 + j * s1)))
                elif kind == 4:
                    put_d(p0 + j * s0, np.float64(get_f(p1 + j * s1)))
                else:
                    put_f(p0 + j * s0, np.float32(get_d(p1 + j * s1)))
            p0, p1 = p0 + r0, p1 + r1
    elif op == REDUCE:
        size, first = get(r + TYPE), get(r + DATA)
        for _ in range(outer):
            if first:  # begins with its first element: a maximum
                if size == 4:
                    put_i(p0, get_i(p1))
                else:
                    put(p0, get(p1))
            elif size == 4:
                put_f(p0, np.float32(0.0))
            else:
                put_d(p0, 0.0)
            put(scratch, p0)
            put(scratch + 8, p1 + (s1 if first else 0))
            put(scratch + 16, p0)
            put(scratch + 64, inner - (1 if first else 0))
            put(scratch + 72, 0)
            put(scratch + 80, s1)
            put(scratch + 88, 0)
            call_4(get(r + FUNCTION), (scratch, scratch + 64, scratch + 72, get(r + FACTOR)))
            p0, p1 = p0 + r0, p1 + r1
    elif op == ADD_ROWS:
        _add_rows(get(r + TYPE), inner, outer, p0, p1, r1)
    elif op == DRAW:
        _draw(r, task, inner, p0, p1, scratch + 128)
    elif op == NUMBER:
        _draw_numbers(task, get(r + STEP), get(r + TYPE), inner, p0, p1, scratch + 128)
    elif op == DOT:
        s, t, c, is_double = get(r + FACTOR), get(r + FACTOR + 8), get(r + SCALES), get(r + TYPE)
        alpha, beta = get_d(c + 16), get_d(c + 24)
        if s:
            alpha *= get_d(s) if is_double else get_f(s)
        if t:
            beta *= get_d(t) if is_double else get_f(t)
        y = alpha * _dot(r, p0, p1)
        if beta != 0.0 or t:
            y += beta * (get_d(p2) if is_double else get_f(p2))
        if is_double:
            put_d(p2, y)
        else:
            put_f(p2, np.float32(y))


@njit(nogil=True)
def _clear(control: int, mask: int) -> None:
    """Forget the floating-point errors that this thread met."""
    if mask and ask(get(control + TEST), (mask,)):
        ask(get(control + CLEAR), (mask,))


@njit(nogil=True)
def _do(r: int, task: int, control: int, scratch: int, thread: int, mask: int) -> None:
    """Do one task of a record; note the floating-point errors where NumPy looks for them, as it does not in BLAS."""
    _execute(r, task, control, scratch, thread)
    if mask:
        met = ask(get(control + TEST), (mask,))
        if met:
            op = get(r + OP)
            if op in (UFUNC, LOOP, REDUCE, ADD_ROWS, CAST):
                set_atomically(r + STATUS, met)
            ask(get(control + CLEAR), (mask,))


@njit(nogil=True)
def _do_task(region: int, apart: int, task: int, control: int, scratch: int, thread: int, mask: int) -> None:
    """Do one task of a region: a record of its own, or a part of each record."""
    if apart:
        _do(region + task * RECORD, 0, control, scratch, thread, mask)
        return
    for k in range(get(region + SPAN)):
        _do(region + k * RECORD, task, control, scratch, thread, mask)


@njit(nogil=True)
def _left(claim: int) -> int:
    """Return how many tasks nobody has taken."""
    return (claim >> (2 * CLAIM_BITS)) - ((claim >> CLAIM_BITS) & CLAIM_MASK) - (claim & CLAIM_MASK)


@njit(nogil=True)
def _take_tasks(control: int, scratch: int, thread: int) -> None:
    """Do tasks of the region that is at hand as long as there are any.

    Who asked takes them from the first on, helpers from the last on: so each mostly works on the part of an array that
    it worked on before, which is in the cache of its processor.
    """
    while True:
        claim = add_atomically(control + CLAIM, 1 << CLAIM_BITS if thread else 1)
        if _left(claim) <= 0:
            return
        task = claim & CLAIM_MASK
        if thread:
            task = (claim >> (2 * CLAIM_BITS)) - 1 - ((claim >> CLAIM_BITS) & CLAIM_MASK)
        # The region cannot end before this task is done, so what is read of it is of this region.
        mask = get(control + MASK)
        if thread:
            _clear(control, mask)
        _do_task(get(control + REGION), get(control + IS_APART), task, control, scratch, thread, mask)
        add_atomically(control + DONE, 1)


@njit(nogil=True)
def _move_away(control: int, scratch: int) -> None:
    """Go to another processor than that of the thread that asks for help, if both are on one.

    The system may leave them there for a long time, since both sleep often; it wakes a thread where it was woken from.
    """
    if not get(control + GETCPU) or ask(get(control + GETCPU), (0,)) != look(control + CPU):
        return
    allowed, word, bit = scratch + 128, 8 * (look(control + CPU) // 64), 1 << (look(control + CPU) % 64)
    if not 0 <= word < AFFINITY or ask_3(get(control + GET_AFFINITY), (0, AFFINITY, allowed)) != 0:
        return
    put(allowed + word, get(allowed + word) & ~bit)
    ask_3(get(control + SET_AFFINITY), (0, AFFINITY, allowed))  # refused where it is the only one
    put(allowed + word, get(allowed + word) | bit)
    ask_3(get(control + SET_AFFINITY), (0, AFFINITY, allowed))


@njit(nogil=True)
def _share(region: int, apart: int, tasks: int, control: int, scratch: int, mask: int) -> None:
    """Do the tasks of a region together with the helpers that come."""
    put(control + REGION, region)
    put(control + IS_APART, apart)
    put(control + MASK, mask)
    if get(control + GETCPU):
        put(control + CPU, ask(get(control + GETCPU), (0,)))
    exchange(control + DONE, 0)
    exchange(control + CLAIM, tasks << (2 * CLAIM_BITS))
    woken = min(look(control + ASLEEP), tasks - 1)
    if woken:
        add_atomically(control + ASLEEP, -woken)
        for _ in range(woken):
            call_1(get(control + POST), (control + SEMAPHORE,))
    _take_tasks(control, scratch, 0)
    looks = 0
    while look(control + DONE) < tasks:
        looks += 1
        if looks < PATIENT:
            pause()
        else:
            ask(get(control + YIELD), (0,))


@njit(nogil=True)
def _has_met(r: int, span: int) -> bool:
    """Whether one of some records met a floating-point error."""
    met = False
    for j in range(span):
        met |= get(r + j * RECORD + STATUS) != 0
    return met


def _is_kept() -> bool:
    """Whether numba finds a folder for what it compiles; without one it compiles in every process."""
    try:
        njit(cache=True)(_pointer)
    except RuntimeError:
        return False
    return True


def _made_for(layout: int) -> tuple[Any, Any]:
    """Return what runs records and what helps, for a layout of records.

    Numba finds what it compiled by the source of this file, and by what functions made in others hold: the layout.
    """

    @cfunc(types.int64(types.int64), cache=KEPT, nogil=True)
    def run(call: int) -> int:
        """Run the records that a call says, with help if it is to be shared; return where it stopped.

        That is at the last, at a record that Python has to do, or, as -1 minus its number, after one with
        floating-point errors that are looked for. `call` is the address of the words of `Call`.
        """
        if not call:
            return layout
        table, k, end = get(call + CALL_TABLE), get(call + CALL_FIRST), get(call + CALL_LAST)
        control, mask, shared = get(call + CALL_CONTROL), get(call + CALL_MASK), get(call + CALL_SHARED)
        helpers = 0
        if shared and get(control + HELPERS) and exchange(control + BUSY, 1) == 0:
            helpers = 1
        scratch = control + SCRATCH
        if not helpers:
            scratch = table - 256  # the table's own, where another plan runs with the helpers
        threads = 0
        if get(control + SET_OPENMP_THREADS):
            threads = ask(get(control + OPENMP_THREADS), (0,))
            ask(get(control + SET_OPENMP_THREADS), (1,))
        _clear(control, mask)
        while k < end:
            r = table + k * RECORD
            op = get(r + OP)
            if op == STOP:
                break
            if op == CHECK and not _factors(r):
                break
            if op == FINITE and not _dot(r, get(r + P), get(r + P)) < np.inf:
                break
            span, tasks, apart = get(r + SPAN), get(r + TASKS), get(r + APART)
            if helpers and tasks > 1:
                _share(r, apart, tasks, control, scratch, mask)
            else:
                for task in range(tasks):
                    _do_task(r, apart, task, control, scratch, 0, mask)
            if mask and _has_met(r, span):
                k = -1 - k
                break
            k += span
        if helpers:
            exchange(control + BUSY, 0)
        if threads:
            ask(get(control + SET_OPENMP_THREADS), (threads,))
        return k

    @cfunc(types.int64(types.int64, types.int64), cache=KEPT, nogil=True)
    def help_out(control: int, thread: int) -> int:
        """Take part in the tasks of whoever asks for help, until told to stop; asleep after some time without."""
        looks, scratch = 0, control + SCRATCH + thread * 256
        if get(control + SET_OPENMP_THREADS):
            ask(get(control + SET_OPENMP_THREADS), (1,))
        while not look(control + STOPPED):
            if _left(look(control + CLAIM)) > 0:
                _move_away(control, scratch)
                _take_tasks(control, scratch, thread)
                looks = 0
            elif looks < LOOKS:
                looks += 1
                pause()
            else:
                add_atomically(control + ASLEEP, 1)
                ask(get(control + WAIT), (control + SEMAPHORE,))
                _move_away(control, scratch)
                looks = 0
        return layout

    return run, help_out


KEPT = _is_kept()
run, help_out = _made_for(LAYOUT)
