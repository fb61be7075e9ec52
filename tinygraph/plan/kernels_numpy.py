"""Instructions on NumPy arrays: direct calls of ufuncs and BLAS, with all that can be decided decided beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array
from ..backend.random import mask_bits
from ..op import Op
from ..ops.activation import Tanh
from ..ops.elementwise import (
    Abs,
    Add,
    Cast,
    Divide,
    Equal,
    Exp,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Log,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    NotEqual,
    Power,
    Sign,
    Sqrt,
    Square,
    Subtract,
    Where,
)
from ..ops.matmul import MatMul
from ..ops.random import Bernoulli
from ..ops.reduce import BroadcastTo, Max, Min, Sum
from ..ops.shape import Concatenate, Reshape
from .kernels import Names, Writer
from .operations import ColumnSums, Combined, Copy, Dot, Function, Gemm
from .program import Instruction

UFUNCS: dict[type[Op], np.ufunc] = {
    Add: np.add,
    Subtract: np.subtract,
    Multiply: np.multiply,
    Divide: np.divide,
    Negative: np.negative,
    Maximum: np.maximum,
    Minimum: np.minimum,
    Exp: np.exp,
    Log: np.log,
    Sqrt: np.sqrt,
    Square: np.square,
    Abs: np.absolute,
    Sign: np.sign,
    Tanh: np.tanh,
    Power: np.power,
    Less: np.less,
    LessEqual: np.less_equal,
    Greater: np.greater,
    GreaterEqual: np.greater_equal,
    Equal: np.equal,
    NotEqual: np.not_equal,
}
COLUMN_SUMS = Sum(0)
REDUCTIONS: dict[type[Op], np.ufunc] = {Sum: np.add, Max: np.maximum, Min: np.minimum}


class NumpyWriter(Writer):
    """Writes lines for NumPy arrays."""

    def lines(self, i: Instruction, inputs: list[Array], out: Array, in_chain: bool = False) -> list[str]:
        """Return the lines that run an instruction on these arrays; in a chain they stand for those of every piece."""
        return _direct(i, inputs, out, self.names, in_chain) or super().lines(i, inputs, out, in_chain)


def _direct(i: Instruction, inputs: list[Array], out: Array, names: Names, in_chain: bool) -> list[str] | None:
    """Return the lines that call NumPy and BLAS themselves, for an operation that is known here."""
    op = i.op
    kind = type(op)
    blas = out.dtype.char in "fd" and all(a.size for a in inputs) and out.size
    if kind in UFUNCS or isinstance(op, Function):
        ufunc = UFUNCS[kind] if kind in UFUNCS else getattr(np, op.function)  # type: ignore[attr-defined]
        if ufunc in (np.maximum, np.minimum):
            inputs = [_row(a, out) for a in inputs]
        *inputs, out = (*inputs, out) if in_chain else _flat(*inputs, out)
        return [_call(names, ufunc, *inputs, out=out)]
    if kind is Sum and blas and op == COLUMN_SUMS and out.ndim == 1 and inputs[0].flags.c_contiguous:
        return _column_sums(ColumnSums(), inputs, out, names)
    if kind in REDUCTIONS:
        return [_reduction(names, op, inputs[0], out)]
    if isinstance(op, MatMul) and blas and inputs[0].ndim == 2 == inputs[1].ndim:
        return _gemm(Gemm(transpose_a=op.transpose_a, transpose_b=op.transpose_b), inputs, out, names)
    if kind is Gemm and blas:
        return _gemm(op, inputs, out, names)  # type: ignore[arg-type]
    if kind is Dot and blas:
        return _dot(op, inputs, out, names)  # type: ignore[arg-type]
    if kind is ColumnSums and blas:
        return _column_sums(op, inputs, out, names)  # type: ignore[arg-type]
    if isinstance(op, Bernoulli):
        return [f"{names(_masks(op), 'bernoulli')}({names(inputs[0], 'key')}, {names(out, 'y')})"]
    if kind is Where:
        copy = names(np.copyto, "copyto")
        condition, a, b = (names(x, "a") for x in inputs)
        y = names(out, "y")
        choose = f"{copy}({y}, {a}, where={condition})"
        return [choose] if _same(inputs[2], out) else [f"{copy}({y}, {b})", choose]
    if kind in (Copy, Reshape, BroadcastTo):
        target = out if kind is not Reshape else out.reshape(inputs[0].shape)
        return [f"{names(np.copyto, 'copyto')}({names(target, 'y')}, {names(inputs[0], 'a')})"]
    if kind is Cast:
        return [f"{names(np.copyto, 'copyto')}({names(out, 'y')}, {names(inputs[0], 'a')}, 'unsafe')"]
    if kind is Concatenate:
        arrays = "".join(f"{names(a, 'a')}, " for a in inputs)
        axis = op.axis  # type: ignore[attr-defined]
        return [f"{names(np.concatenate, 'concatenate')}(({arrays}), {axis}, {names(out, 'y')})"]
    return None


def _masks(op: Bernoulli) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a function that writes the mask of a key, as `Backend.bernoulli` draws it.

    NumPy gives the bits in an array of its own, which is freed at once; all other memory is made before.
    """
    bits = np.random.Philox(key=0)
    draw = bits.random_raw
    state: Any = bits.state
    n, (width, off) = math.prod(op.shape), mask_bits(op.p_off)
    words, kind, awake = -(-n * width // 64), np.dtype(f"uint{width}"), np.empty(op.shape, bool)

    def write(key: np.ndarray, out: np.ndarray) -> None:
        state["state"]["key"][:] = key
        bits.state = state
        np.greater_equal(draw(words).view(kind)[:n].reshape(op.shape), off, out=awake)
        np.copyto(out, awake)

    return write


def _call(names: Names, ufunc: np.ufunc, *arrays: Array, out: Array) -> str:
    texts = ", ".join(names(a, "a") for a in arrays)
    return f"{names(ufunc, ufunc.__name__)}({texts}, out={names(out, 'y')})"


def _flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays of as many entries as the last with one axis, and single numbers with none, if that is all.

    Ufuncs run through such arrays in one loop, and start it three times as fast.
    """
    size = arrays[-1].size
    if all(a.size == 1 or (a.size == size and a.flags.c_contiguous) for a in arrays):
        return [a.reshape(-1) if a.size == size else a.reshape(()) for a in arrays]
    return list(arrays)


def _row(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return a number as a row, which maximum and minimum take three times as fast."""
    if a.ndim or not out.ndim or a.base is not None or out.shape[-1] < 16:
        return a
    return np.full(out.shape[-1:], a) if a.flags.owndata else a


def _reduction(names: Names, op: Any, x: np.ndarray, out: np.ndarray) -> str:
    ufunc = REDUCTIONS[type(op)]
    name = names(ufunc.reduce, f"{ufunc.__name__}_reduce")
    return f"{name}({names(x, 'a')}, {op.axis!r}, None, {names(out, 'y')}, {op.keepdims})"


# -- products -------------------------------------------------------------------------------------------


def _gemm(op: Gemm, inputs: list[Array], out: np.ndarray, names: Names) -> list[str]:
    """Return the lines of a product; BLAS works column by column, so everything is given to it transposed."""
    from scipy.linalg import blas

    a, b, c, s, t = op.split(tuple(inputs))
    lines, alpha, beta, prefix = _prepared(op, c, s, t, out, names)
    flip_a, flip_b = op.transpose_a, op.transpose_b
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        a, flip_a = a.T, not flip_a
    if b.flags.f_contiguous and not b.flags.c_contiguous:
        b, flip_b = b.T, not flip_b
    a, b = _plain(a, names, lines), _plain(b, names, lines)
    m, n = out.shape
    k = a.shape[0] if flip_a else a.shape[1]
    if m == 1 or n == 1:
        lines.append(_gemv(flip_a, flip_b, blas, prefix, a, b, out, alpha, beta, names))
    elif k == 1 and c is not None:
        lines.extend(_ger(op, blas, prefix, a, b, out, alpha, beta, t is None, names))
    else:
        gemm = names(getattr(blas, f"{prefix}gemm"), f"{prefix}gemm")
        left, right, target = names(b.T, "b"), names(a.T, "a"), names(out.T, "y")
        flips = f"{int(flip_b)}, {int(flip_a)}"
        lines.append(f"{gemm}({alpha}, {left}, {right}, {beta}, {target}, {flips}, 1)")
    return lines


def _prepared(op: Combined, c: Any, s: Any, t: Any, out: np.ndarray, names: Names) -> tuple[list[str], str, str, str]:
    """Return the lines that bring c to its place, alpha and beta as expressions, and BLAS's letter of the dtype."""
    lines = []
    if c is not None and not _same(c, out):
        lines.append(f"{names(np.copyto, 'copyto')}({names(out, 'y')}, {names(c, 'c')})")
    alpha = repr(op.alpha) if s is None else _times(op.alpha, f"{names(s, 's')}.item()")
    beta = "0.0" if c is None else repr(op.beta) if t is None else _times(op.beta, f"{names(t, 't')}.item()")
    return lines, alpha, beta, "s" if out.dtype == np.float32 else "d"


def _column_sums(op: ColumnSums, inputs: list[Array], out: np.ndarray, names: Names) -> list[str]:
    """Return the lines of a sum of rows: the product with a vector of ones."""
    from scipy.linalg import blas

    a, c, s, t = op.split(tuple(inputs))
    lines, alpha, beta, prefix = _prepared(op, c, s, t, out, names)
    gemv = names(getattr(blas, f"{prefix}gemv"), f"{prefix}gemv")
    ones = names(np.ones(len(a), a.dtype), "ones")
    matrix = names(_plain(a, names, lines).T, "a")
    return [*lines, f"{gemv}({alpha}, {matrix}, {ones}, {beta}, {names(out, 'y')}, 0, 1, 0, 1, 0, 1)"]


def _dot(op: Dot, inputs: list[Array], out: np.ndarray, names: Names) -> list[str]:
    """Return the line of a sum of products of entries."""
    from scipy.linalg import blas

    lines: list[str] = []
    a, b = (_plain(x, names, lines).reshape(-1) for x in inputs)
    dot = names(blas.sdot if out.dtype == np.float32 else blas.ddot, "dot")
    product = f"{dot}({names(a, 'a')}, {names(b, 'b')})"
    return [*lines, f"{names(out, 'y')}[()] = {_times(op.factor, product)}"]


def _times(factor: float, text: str) -> str:
    return text if factor == 1.0 else f"{factor!r} * {text}"


def _plain(a: np.ndarray, names: Names, lines: list[str]) -> np.ndarray:
    """Return an array whose rows lie one after the other, as BLAS wants them; append the line that copies if not."""
    if a.flags.c_contiguous:
        return a
    packed = np.empty(a.shape, a.dtype)
    lines.append(f"{names(np.copyto, 'copyto')}({names(packed, 'packed')}, {names(a, 'a')})")
    return packed


def _same(c: np.ndarray, out: np.ndarray) -> bool:
    return c.shape == out.shape and c.__array_interface__["data"] == out.__array_interface__["data"]


def _gemv(
    flip_a: bool,
    flip_b: bool,
    blas: Any,
    prefix: str,
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    alpha: str,
    beta: str,
    names: Names,
) -> str:
    """Return the line for a product with one row or one column: a matrix times a vector."""
    if out.shape[0] == 1:
        matrix, vector, trans = b.T, a.reshape(-1), int(flip_b)
    else:
        matrix, vector, trans = a.T, b.reshape(-1), int(not flip_a)
    gemv = names(getattr(blas, f"{prefix}gemv"), f"{prefix}gemv")
    x, y = names(vector, "x"), names(out.reshape(-1), "y")
    return f"{gemv}({alpha}, {names(matrix, 'a')}, {x}, {beta}, {y}, 0, 1, 0, 1, {trans}, 1)"


def _ger(
    op: Gemm,
    blas: Any,
    prefix: str,
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    alpha: str,
    beta: str,
    fixed: bool,
    names: Names,
) -> list[str]:
    """Return the lines for a column times a row, added to what is there: one sample's gradient."""
    lines = []
    if not fixed or op.beta != 1.0:
        scal = names(getattr(blas, f"{prefix}scal"), f"{prefix}scal")
        lines.append(f"{scal}({beta}, {names(out.reshape(-1), 'y')})")
    ger = names(getattr(blas, f"{prefix}ger"), f"{prefix}ger")
    x, y, target = names(b.reshape(-1), "x"), names(a.reshape(-1), "x"), names(out.T, "y")
    lines.append(f"{ger}({alpha}, {x}, {y}, 1, 1, {target}, 1, 1, 1)")
    return lines
