"""Instructions on NumPy arrays: direct calls of ufuncs and BLAS, with all that can be decided decided beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..backend.numpy import mean_dtype
from ..backend.random import mask_bits
from ..typing import Array, DTypeLike
from .kernels import CodeGenerator, product_of
from .operations import Affine, ColumnSums, Dot, Gemm
from .primitives import PRIMITIVES
from .program import Instruction, Value

LARGE_UPDATE = 1 << 13  # elements from which BLAS adds a column times a row faster than any other product
REDUCTIONS: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


@dataclass
class Product:
    """A product as a routine of BLAS computes it: ``y = alpha s x + beta t y``.

    BLAS works column by column, so everything is given to it transposed.

    Attributes
    ----------
    routine : {"gemm", "gemv", "ger", "dot"}
        Without the letter that says the dtype.
    a, b : numpy.ndarray
        The factors: two matrices, a matrix and a vector, or two vectors.
    y : numpy.ndarray
        What is written: a matrix, a vector, or for "dot" an array of one element.
    alpha, beta : float
    s, t : numpy.ndarray or None
        Numbers without axes that are read when the product runs.
    flips : tuple of int
        For each matrix whether it is transposed.
    """

    routine: str
    a: np.ndarray
    b: np.ndarray
    y: np.ndarray
    alpha: float
    beta: float
    s: np.ndarray | None
    t: np.ndarray | None
    flips: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The routine with the letter that says the dtype."""
        return f"{'s' if self.y.dtype == np.float32 else 'd'}{self.routine}"


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
            if i.kind in ("maximum", "minimum"):
                inputs = [_row(a, v, out) for a, v in zip(inputs, i.inputs, strict=True)]
            *inputs, y = (*inputs, out) if in_group else _flat(*inputs, out)
            return [self.ufunc(getattr(np, i.kind), inputs, y)]
        if out.dtype.char in "fd" and out.size and all(a.size for a in inputs):
            product = product_of(i)
            if i.kind == "sum" and op.axis == 0 and out.ndim == 1 and inputs[0].ndim == 2 and _in_rows(inputs[0]):
                product = ColumnSums()
            if product is not None:
                return self._product(product, inputs, out)
        if i.kind in REDUCTIONS:
            half = i.kind in ("sum", "prod") and out.dtype.char == "e"  # joined in single precision
            how = np.float32 if half else None
            return [self.reduction(REDUCTIONS[i.kind], inputs[0], op.axis, out, bool(op.keepdims), how)]
        if i.kind == "mean" and out.size:
            wide = np.empty(out.shape, mean_dtype(out.dtype))
            total = self.reduction(np.add, inputs[0], op.axis, wide, bool(op.keepdims), wide.dtype)
            return [total, self.quotient(wide, inputs[0].size // out.size, out)]
        if i.kind == "bernoulli":
            return [self.mask(op, inputs[0], out)]
        if i.kind == "uniform" and out.dtype.char in "fd" and out.flags.c_contiguous:
            return [self.numbers(inputs[0], out)]
        if i.kind == "where" and inputs[0].dtype == bool:
            condition, a, b = inputs
            before = [] if _same(b, out) else self.copy(out, b)
            return [*before, self.choice(out, a, condition)]
        if i.kind == "cast":
            return [self.cast(out, inputs[0])]
        if i.kind in ("argmax", "argmin") and out.dtype == np.intp:
            return [f"{self.names(getattr(inputs[0], i.kind), i.kind)}({op.axis}, {self.names(out, 'y')})"]
        if i.kind == "concatenate":
            arrays = "".join(f"{self.names(a, 'a')}, " for a in inputs)
            return [self.line(np.concatenate, "concatenate", f"({arrays})", self.literal(op.axis), out)]
        return None

    # -- single calls ------------------------------------------------------------------------------------

    def ufunc(self, function: np.ufunc, inputs: list[np.ndarray], y: np.ndarray) -> str:
        """Return the line that computes the elements of `y`."""
        return self.line(function, function.__name__, *inputs, f"out={self.names(y, 'y')}")

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
        reduce = self.names(function.reduce, f"{function.__name__}_reduce")
        how = None if dtype is None else self.names(dtype, "dtype")
        return f"{reduce}({self.names(x, 'a')}, {self.literal(axis)}, {how}, {self.names(y, 'y')}, {keepdims})"

    def quotient(self, x: np.ndarray, number: int, y: np.ndarray) -> str:
        """Return the line that divides by a number, and writes to an array that may be of a narrower dtype."""
        return self.line(np.divide, "divide", x, str(number), f"out={self.names(y, 'y')}", "casting='same_kind'")

    def mask(self, op: object, key: np.ndarray, y: np.ndarray) -> str:
        """Return the line that draws zeros and ones from a key."""
        return self.line(_masks(op), "bernoulli", key, y)

    def numbers(self, key: np.ndarray, y: np.ndarray) -> str:
        """Return the line that draws numbers from 0 to 1 from a key."""
        return self.line(_numbers(y.dtype), "uniform", key, y)

    def choice(self, y: np.ndarray, x: np.ndarray, condition: np.ndarray) -> str:
        """Return the line that writes the elements of `x` to `y` where the condition is true."""
        return self.line(np.copyto, "copyto", y, x, f"where={self.names(condition, 'a')}")

    def cast(self, y: np.ndarray, x: np.ndarray) -> str:
        """Return the line that writes the elements of `x` to `y`, which is of another dtype."""
        return self.line(np.copyto, "copyto", y, x, "'unsafe'")

    def product(self, p: Product, exact: Callable[[], None]) -> list[str]:
        """Return the lines that compute a product; `exact` does it where BLAS may not do what is wanted.

        BLAS may multiply a factor with s, and does not read what is multiplied by 0. It skips the elements of a column
        that are 0, whatever the row that it is multiplied with holds.
        """
        alpha, beta = self._scaled(p.alpha, p.s), self._scaled(p.beta, p.t)
        y = self.names(p.y, "y")
        if p.routine == "dot":
            text = self._blas(p, p.a, p.b)
            text = text if alpha == "1.0" else f"{alpha} * {text}"
            return [f"{y}[()] = {text}" if p.beta == 0 else f"{y}[()] = {text} + {beta} * {y}.item()"]
        unsure = []
        if p.s is not None:
            limits = ("-1.0 <=", "< 0.0") if p.alpha < 0 else ("0.0 <", "<= 1.0")
            unsure.append(f"{limits[0]} (_s := {alpha}) {limits[1]}")
            alpha = "_s"
        if p.t is not None:
            unsure.append(f"(_t := {beta})")
            beta = "_t"
        if p.routine == "gemm":
            calls = [self._blas(p, alpha, self.names(p.a, "b"), p.b, beta, y, *map(str, p.flips), "1")]
        elif p.routine == "gemv":
            calls = [self._blas(p, alpha, p.a, p.b, beta, y, "0", "1", "0", "1", str(p.flips[0]), "1")]
        else:
            finite = f"{self._routine(p, 'dot')}({self.names(p.a, 'a')}, {self.names(p.a, 'a')})"
            unsure.append(f"{finite} < {self.literal(math.inf)}")
            calls = [f"{self._routine(p, 'scal')}({beta}, {self.names(p.y.T.reshape(-1), 'y')})"] * (beta != "1.0")
            calls.append(self._blas(p, alpha, p.a, p.b, "1", "1", y, "1", "1", "1"))
        if not unsure:
            return calls
        text = calls[0] if len(calls) == 1 else f"({', '.join(calls)})"
        return [f"{text} if {' and '.join(unsure)} else {self.line(exact, 'exact')}"]

    def _scaled(self, factor: float, number: Array | None) -> str:
        """Return a factor times a number that is read when the line runs, if there is one."""
        text = self.literal(factor)
        if number is None:
            return text
        read = f"{self.names(number, 's')}.item()"
        return read if factor == 1.0 else f"{text} * {read}"

    def _routine(self, p: Product, routine: str) -> str:
        from scipy.linalg import blas

        name = p.name[0] + routine
        return self.names(getattr(blas, name), name)

    def _blas(self, p: Product, *arguments: object) -> str:
        texts = (a if isinstance(a, str) else self.names(a, "a") for a in arguments)
        return f"{self._routine(p, p.routine)}({', '.join(texts)})"

    # -- products ----------------------------------------------------------------------------------------

    def _product(self, op: Affine, inputs: list[Array], out: np.ndarray) -> list[str]:
        """Return the lines of a product ``alpha s x + beta t c``."""
        factors, c, s, t = op.split(tuple(inputs))
        lines: list[str] = []
        if c is not None and not _same(c, out):
            self.names(c, "c")
            lines += self.copy(out, c)
        numbers = op.alpha, op.beta if c is not None else 0.0, s, t
        if isinstance(op, Dot):
            a, b = (self.packed(x, lines).reshape(-1) for x in factors)
            product = Product("dot", a, b, out, *numbers)
        elif isinstance(op, Gemm):
            a, b = factors
            flip_a, flip_b = op.transpose_a, op.transpose_b
            if a.flags.f_contiguous and not a.flags.c_contiguous:
                a, flip_a = a.T, not flip_a
            if b.flags.f_contiguous and not b.flags.c_contiguous:
                b, flip_b = b.T, not flip_b
            a, b = (self.packed(x, lines) for x in (a, b))
            flips = int(flip_b), int(flip_a)
            if out.shape[0] == 1:
                product = Product("gemv", b.T, a.reshape(-1), out.reshape(-1), *numbers, flips[:1])
            elif out.shape[1] == 1:
                product = Product("gemv", a.T, b.reshape(-1), out.reshape(-1), *numbers, (int(not flip_a),))
            elif a.shape[0 if flip_a else 1] == 1 and c is not None and out.size >= LARGE_UPDATE:
                product = Product("ger", b.reshape(-1), a.reshape(-1), out.T, *numbers)
            else:
                product = Product("gemm", b.T, a.T, out.T, *numbers, flips)
        else:
            a = self.packed(factors[0], lines)
            product = Product("gemv", a.T, np.ones(len(a), a.dtype), out.reshape(-1), *numbers, (0,))
        return lines + self.product(product, partial(self.forward(op), *inputs, out))


def _masks(op: Any) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a function that writes the mask of a key, as `Backend.bernoulli` draws it.

    NumPy gives the bits in an array of its own, which is freed at once; all other memory is made before.
    """
    bits, begin = _generator()
    draw = bits.random_raw
    n, (width, off) = math.prod(op.shape), mask_bits(op.p_off)
    words, kind, awake = -(-n * width // 64), np.dtype(f"uint{width}"), np.empty(op.shape, bool)

    def write(key: np.ndarray, out: np.ndarray) -> None:
        begin(key)
        np.greater_equal(draw(words).view(kind)[:n].reshape(op.shape), off, out=awake)
        np.copyto(out, awake)

    return write


def _numbers(dtype: np.dtype[Any]) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a function that writes the numbers of a key, as `Backend.uniform` draws them, in a floating dtype."""
    bits, begin = _generator()
    draw: Any = np.random.Generator(bits).random

    def write(key: np.ndarray, out: np.ndarray) -> None:
        begin(key)
        draw(None, dtype, out)

    return write


def _generator() -> tuple[np.random.Philox, Callable[[np.ndarray], None]]:
    """Return a generator of bits, and a function that lets it begin with a key."""
    bits = np.random.Philox(key=0)
    state: Any = bits.state

    def begin(key: np.ndarray) -> None:
        state["state"]["key"][:] = key
        bits.state = state

    return bits, begin


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
