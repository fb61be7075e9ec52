"""Instructions on NumPy arrays: direct calls of ufuncs and BLAS, with all that can be decided decided beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..backend import Array
from ..backend.numpy import mean_dtype
from ..backend.random import mask_bits
from .kernels import CodeGenerator, product_of
from .operations import Affine, ColumnSums, Dot, Gemm
from .primitives import PRIMITIVES
from .program import Instruction, Value

LARGE_UPDATE = 1 << 13  # elements from which BLAS adds a column times a row faster than any other product
REDUCTIONS: dict[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class NumpyCodeGenerator(CodeGenerator):
    """Code for NumPy arrays."""

    def computed(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool) -> list[str]:
        """Return the lines that compute an instruction."""
        return self._direct(i, inputs, out, in_group) or super().computed(i, inputs, out, in_group)

    def _direct(self, i: Instruction, inputs: list[Array], out: Array, in_group: bool) -> list[str] | None:
        """Return the lines that call NumPy and BLAS themselves, for an operation that is known here."""
        op: Any = i.op
        self.names(out, "y")
        if i.kind in PRIMITIVES and PRIMITIVES[i.kind].ufunc:
            ufunc: np.ufunc = getattr(np, i.kind)
            if i.kind in ("maximum", "minimum"):
                inputs = [_row(a, v, out) for a, v in zip(inputs, i.inputs, strict=True)]
            *inputs, y = (*inputs, out) if in_group else _flat(*inputs, out)
            return [self.line(ufunc, i.kind, *inputs, f"out={self.names(y, 'y')}")]
        if out.dtype.char in "fd" and out.size and all(a.size for a in inputs):
            product = product_of(i)
            if i.kind == "sum" and op.axis == 0 and out.ndim == 1 and inputs[0].ndim == 2 and _in_rows(inputs[0]):
                product = ColumnSums()
            if product is not None:
                return _Blas(self, product, inputs, out).lines
        if i.kind in REDUCTIONS:
            half = i.kind == "sum" and out.dtype.char == "e"  # added up in single precision
            return [self._reduce(REDUCTIONS[i.kind], op, inputs[0], out, np.float32 if half else None)]
        if i.kind == "mean" and out.size:
            wide = np.empty(out.shape, mean_dtype(out.dtype))
            count = self.literal(inputs[0].size // out.size)
            divide = self.line(np.divide, "divide", wide, count, f"out={self.names(out, 'y')}", "casting='same_kind'")
            return [self._reduce(np.add, op, inputs[0], wide, wide.dtype), divide]
        if i.kind == "bernoulli":
            return [self.line(_masks(op), "bernoulli", *inputs, out)]
        if i.kind == "where" and inputs[0].dtype == bool:
            condition, a, b = inputs
            choose = self.line(np.copyto, "copyto", out, a, f"where={self.names(condition, 'a')}")
            return [choose] if _same(b, out) else [self.line(np.copyto, "copyto", out, b), choose]
        if i.kind == "cast":
            return [self.line(np.copyto, "copyto", out, inputs[0], "'unsafe'")]
        if i.kind == "concatenate":
            arrays = "".join(f"{self.names(a, 'a')}, " for a in inputs)
            return [self.line(np.concatenate, "concatenate", f"({arrays})", self.literal(op.axis), out)]
        return None

    def _reduce(self, ufunc: np.ufunc, op: Any, x: Array, out: np.ndarray, dtype: Any) -> str:
        """Return the line that joins elements along the axes of an operation, in a dtype, by default that of `x`."""
        reduce = self.names(ufunc.reduce, f"{ufunc.__name__}_reduce")
        how = None if dtype is None else self.names(dtype, "dtype")
        arguments = self.names(x, "a"), self.literal(op.axis), how, self.names(out, "y"), bool(op.keepdims)
        return f"{reduce}({', '.join(map(str, arguments))})"


class _Blas:
    """The lines of one product: ``alpha s x + beta t c``.

    BLAS works column by column, so everything is given to it transposed.
    """

    def __init__(self, code: CodeGenerator, op: Affine, inputs: list[Array], out: np.ndarray) -> None:
        from scipy.linalg import blas

        self.code, self.blas, self.out = code, blas, out
        self.lines: list[str] = []
        self.calls: list[str] = []
        self.unsure: list[str] = []  # conditions under which the calls do what is wanted
        factors, self.c, s, t = op.split(tuple(inputs))
        self.alpha = self._scaled(op.alpha, s)
        self.beta = "0.0" if self.c is None else self._scaled(op.beta, t)
        if isinstance(op, Dot):
            self._dot(*factors)
            return
        if s is not None:  # BLAS may multiply a factor with it, and does not read what is multiplied by 0
            limits = ("-1.0 <=", "< 0.0") if op.alpha < 0 else ("0.0 <", "<= 1.0")
            self.unsure.append(f"{limits[0]} (_s := {self.alpha}) {limits[1]}")
            self.alpha = "_s"
        if t is not None:
            self.unsure.append(f"(_t := {self.beta})")
            self.beta = "_t"
        if self.c is not None and not _same(self.c, out):
            code.names(self.c, "c")
            self.lines += code.copy(out, self.c)
        if isinstance(op, Gemm):
            self._gemm(op, *factors)
        else:
            a = code.packed(factors[0], self.lines)
            self._gemv(a.T, np.ones(len(a), a.dtype), 0)
        if self.unsure:
            calls = self.calls[0] if len(self.calls) == 1 else f"({', '.join(self.calls)})"
            exact = code.line(partial(code.forward(op), *inputs, out), "exact")
            self.calls = [f"{calls} if {' and '.join(self.unsure)} else {exact}"]
        self.lines += self.calls

    def _scaled(self, factor: float, number: Array | None) -> str:
        """Return a factor times a number that is read when the line runs, if there is one."""
        text = self.code.literal(factor)
        if number is None:
            return text
        read = f"{self.code.names(number, 's')}.item()"
        return read if factor == 1.0 else f"{text} * {read}"

    def _call(self, routine: str, *arguments: Any) -> str:
        name = f"{'s' if self.out.dtype == np.float32 else 'd'}{routine}"
        texts = (str(a) if isinstance(a, int) else a for a in arguments)
        return self.code.line(getattr(self.blas, name), name, *texts)

    def _y(self, view: np.ndarray) -> str:
        return self.code.names(view, "y")

    def _gemm(self, op: Gemm, a: np.ndarray, b: np.ndarray) -> None:
        flip_a, flip_b, out = op.transpose_a, op.transpose_b, self.out
        if a.flags.f_contiguous and not a.flags.c_contiguous:
            a, flip_a = a.T, not flip_a
        if b.flags.f_contiguous and not b.flags.c_contiguous:
            b, flip_b = b.T, not flip_b
        a, b = (self.code.packed(x, self.lines) for x in (a, b))
        if out.shape[0] == 1:
            self._gemv(b.T, a.reshape(-1), int(flip_b))
        elif out.shape[1] == 1:
            self._gemv(a.T, b.reshape(-1), int(not flip_a))
        elif a.shape[0 if flip_a else 1] == 1 and self.c is not None and out.size >= LARGE_UPDATE:
            self._ger(b.reshape(-1), a.reshape(-1))
        else:
            flips = (int(flip_b), int(flip_a))
            self.calls.append(
                self._call("gemm", self.alpha, self.code.names(b.T, "b"), a.T, self.beta, self._y(out.T), *flips, 1)
            )

    def _gemv(self, matrix: np.ndarray, vector: np.ndarray, trans: int) -> None:
        """Append a matrix times a vector: a product with one row or one column."""
        y = self._y(self.out.reshape(-1))
        self.calls.append(self._call("gemv", self.alpha, matrix, vector, self.beta, y, 0, 1, 0, 1, trans, 1))

    def _ger(self, x: np.ndarray, y: np.ndarray) -> None:
        """Append a column times a row, added to what is there: one sample's gradient, if `x` is finite.

        BLAS skips the elements of `y` that are 0, whatever they are to be multiplied with.
        """
        self.unsure.append(f"{self._call('dot', x, x)} < {self.code.literal(math.inf)}")
        if self.beta != "1.0":
            self.calls.append(self._call("scal", self.beta, self._y(self.out.reshape(-1))))
        self.calls.append(self._call("ger", self.alpha, x, y, 1, 1, self._y(self.out.T), 1, 1, 1))

    def _dot(self, a: np.ndarray, b: np.ndarray) -> None:
        """Append a sum of products of elements."""
        product = self._call("dot", *(self.code.packed(x, self.lines).reshape(-1) for x in (a, b)))
        text = product if self.alpha == "1.0" else f"{self.alpha} * {product}"
        if self.c is not None:
            text += f" + {self.beta} * {self.code.names(self.c, 'c')}.item()"
        self.lines.append(f"{self.code.names(self.out, 'y')}[()] = {text}")


def _masks(op: Any) -> Callable[[np.ndarray, np.ndarray], None]:
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


def _flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays of as many elements as the last with one axis, and single numbers with none, if that is all.

    Ufuncs run through such arrays in one loop, and start it three times as fast.
    """
    size = arrays[-1].size
    if all(a.size == 1 or (a.size == size and a.flags.c_contiguous) for a in arrays):
        return [a.reshape(-1) if a.size == size else a.reshape(()) for a in arrays]
    return list(arrays)


def _row(a: np.ndarray, v: Value, out: np.ndarray) -> np.ndarray:
    """Return a fixed number as a row, which maximum and minimum take three times as fast."""
    return np.full(out.shape[-1:], a) if v.kind == "constant" and not a.ndim and out.ndim and out.shape[-1] >= 16 else a


def _same(c: np.ndarray, out: np.ndarray) -> bool:
    return c.shape == out.shape and c.__array_interface__["data"] == out.__array_interface__["data"]


def _in_rows(a: np.ndarray) -> bool:
    return bool(a.flags.c_contiguous)
