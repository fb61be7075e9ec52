"""What a record of the native machine consists of."""

from __future__ import annotations

import zlib
from enum import IntEnum

STOP, UFUNC, GEMM, GEMV, GER, DOT, MOVE, COPY, CHOOSE, CAST, REDUCE, ADD_ROWS, DRAW, NUMBER, CHECK, FINITE = range(16)
LOOP = 16
MOST_OPERANDS = 24  # of a loop


class Field(IntEnum):
    """Where what stands in a record, in words of 64 bits.

    OP, FUNCTION, DATA : what is done, the address of the function, and what it is given besides, or for products of
        matrices and updates the address of another
    SPAN, TASKS, APART : how many records are done together, in how many tasks, and whether each task is a record
    STEP, TOTAL, VARIED : of a record whose tasks are parts: their length, the whole, and which length it is
    INNER, OUTER : how many elements, how many times
    P, S, R, I, H : addresses of up to three arrays, and their distances in bytes from element to element, from row to
        row, from task to task, from thread to thread; the first array is written, but for functions of NumPy's
    NUMBERS, TYPE : the memory with a product's numbers, and what tells types apart; for a loop the memory with how many
        operands there are, and for each its address and its distances from row to row and from task to task
    FACTOR, SCALES : the addresses of s and t, and of alpha and beta of the product's dtype with those they begin with
    NAME, STATUS : what NumPy calls the function, as a number, and the floating-point errors that it met
    """

    OP = 0
    FUNCTION = 1
    DATA = 2
    SPAN = 3
    TASKS = 4
    APART = 5
    STEP = 6
    TOTAL = 7
    VARIED = 8
    INNER = 9
    OUTER = 10
    P = 11
    S = 14
    R = 17
    I = 20
    H = 23
    NUMBERS = 26
    TYPE = 27
    FACTOR = 28
    SCALES = 30
    NAME = 31
    STATUS = 32
    END = 33


class Control(IntEnum):
    """Where what stands in the memory that threads share, in words of 64 bits; what many write stands apart."""

    CLAIM = 0
    REGION = 8
    IS_APART = 9
    DONE = 16
    STOPPED = 24
    WAIT = 25
    POST = 26
    SEMAPHORE = 27  # 4 words
    HELPERS = 32
    BUSY = 40
    YIELD = 48
    UPDATE = 49  # how a rank-one update is done in one pass: a number of `updates`
    MASK = 51  # the floating-point errors that are looked for
    TEST = 52
    CLEAR = 53
    GETCPU = 54
    GET_AFFINITY = 55
    ASLEEP = 56  # how many helpers wait at the semaphore
    SET_AFFINITY = 57
    CPU = 58  # where the thread runs that asks for help
    OPENMP_THREADS = 59  # what tells and sets how many OpenMP gives to a thread's products, if it makes any
    SET_OPENMP_THREADS = 60
    SCRATCH = 64  # 32 words for each thread


class Call(IntEnum):
    """Where what stands in the memory that a call of the machine is given, in words of 64 bits.

    TABLE, FIRST, LAST : the address of the records, and which of them to run: from one on, up to another
    CONTROL, MASK, SHARED : the memory that threads share, the floating-point errors to look for, whether to share tasks
    """

    TABLE = 0
    FIRST = 1
    LAST = 2
    CONTROL = 3
    MASK = 4
    SHARED = 5


# another number where anything stands elsewhere
LAYOUT = zlib.crc32(repr((*Field, *Control, *Call, UFUNC, LOOP)).encode())
