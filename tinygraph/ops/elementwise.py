"""Arithmetic, functions of one variable, and comparisons, element by element.

Conventions where no derivative exists: that of `sqrt` and `abs` at 0 is 0, and so are those of ``0 ** 0``, of every
order. Division by zero, the logarithm of zero and what a negative exponent makes of zero stay infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..arguments import number
from ..backend.conversion import find_dtype
from ..errors import ArgumentError
from ..leaves import as_tensor, is_number
from ..op import Gradients, Op
from ..operators import Operand
from ..promotion import NUMBERS, holding, with_number
from ..tensors import Tensor
from ..typing import Array, DTypeLike, Namespace
from .declare import ElementwiseOp, FloatingOp, NumberOp, applies, instance, operation

__all__ = ["abs", "add", "astype", "clip", "cos", "divide", "divide_or_zero", "equal", "erf", "exp", "expm1", "gate"]
__all__ += [
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
]
__all__ += ["logical_xor", "maximum", "minimum", "multiply"]
__all__ += ["negative", "not_equal", "power", "sign", "sin", "sqrt", "square", "subtract", "where"]

# from where on 1 / x is finite
SAFE = {name: 4.0 / float(np.finfo(name).max) for name in ("float16", "float32", "float64")}

# -- arithmetic -----------------------------------------------------------------------------------------


@operation("da = dy, db = dy")
def add(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return ``a + b``; shapes broadcast."""
    return dy, dy


@operation("da = dy, db = -dy", NumberOp)
def subtract(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return ``a - b``; shapes broadcast."""
    return dy, lambda: -dy


@operation("da = dy b, db = dy a")
def multiply(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return ``a * b``, element by element; shapes broadcast."""
    return lambda: dy * b, lambda: dy * a


@operation("dp = dy, dmu = -dy d, dd = -dy mu", forward="scaled_difference")
def subtract_scaled(dy: Tensor, y: Tensor, p: Operand, mu: Operand, d: Operand) -> Gradients:
    """Return ``p - mu d``: a step of length `mu` against the direction `d`, as every optimiser takes it."""
    return dy, lambda: -(dy * d), lambda: -(dy * mu)


@dataclass(frozen=True)
class ScaledSum(FloatingOp):
    """Sum with fixed factors ``y = a u + b w``, such as an average that forgets."""

    rule = "du = a dy, dw = b dy"
    a: float
    b: float

    def forward(self, xp: Namespace, u: Array, w: Array, out: Array | None = None) -> Array:
        return xp.scaled_difference(u, -self.b, w, self.a, out=out)

    def backward(self, dy: Tensor, y: Tensor, u: Tensor, w: Tensor) -> Gradients:
        return lambda: self.a * dy, lambda: self.b * dy


@operation("da = dy / b, db = -dy y / b", FloatingOp)
def divide(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return ``a / b``; infinite or NaN where ``b = 0``, as in NumPy."""
    return lambda: dy / b, lambda: -(dy * y / b)


def _quotient_or_zero(xp: Namespace, a: Array, b: Array, out: Array | None = None) -> Array:
    if a.dtype.kind != "f":
        a = a.astype(b.dtype)
    if b.dtype.kind != "f":
        b = b.astype(a.dtype)
    none = b == 0
    return xp.where(none, 0, a / xp.where(none, 1, b))


@operation("da = dy / b, db = -dy y / b, both 0 where b = 0", FloatingOp, forward=_quotient_or_zero)
def divide_or_zero(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return ``a / b``, and 0 where ``b = 0``: how rules state a convention at a singular point."""
    return lambda: divide_or_zero(dy, b), lambda: -divide_or_zero(dy * y, b)


@operation("da = dy b a**(b - 1), db = dy y log(a)", FloatingOp)
def _power(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    def da() -> Tensor:
        # b a**(b - 1) with b = 0 is 0, and its derivative in b is 1 / a; both are 0 where 1 / a may be infinite
        singular = where(equal(b, 0), less(abs(a), SAFE[y.dtype.name]), False)
        return dy * where(singular, 0.0, multiply(b, power(where(singular, 1.0, a), subtract(b, 1.0))))

    def db() -> Tensor:
        # 0**b is 0 for all b > 0, and infinite for b < 0, with an infinite slope
        flat = where(equal(a, 0), greater_equal(b, 0), False)
        return dy * y * log(where(flat, 1.0, a))

    return da, db


@applies(_power.op)
def power(a: Operand, b: Operand) -> Tensor:
    """Return ``a ** b``; the derivatives are 0 where ``b = 0`` or ``a = 0`` leaves them open."""
    if isinstance(b, NUMBERS) and b == 2:
        a = as_tensor(a)
        return square(astype(a, with_number(a.dtype, b)))
    return _power(a, b)


@operation("dy flows to the larger operand, half to each where they are equal")
def maximum(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return the larger of `a` and `b`, element by element."""
    return _split_ties(dy, y, a, b)


@operation("dy flows to the smaller operand, half to each where they are equal")
def minimum(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return the smaller of `a` and `b`, element by element."""
    return _split_ties(dy, y, a, b)


def _split_ties(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return the gradients of the operand that is the result; each gets half where they are equal."""
    half = where(equal(a, b), 0.5, 1.0).astype(dy.dtype)
    return lambda: where(equal(a, y), dy * half, 0.0), lambda: where(equal(b, y), dy * half, 0.0)


# -- functions of one variable --------------------------------------------------------------------------


@operation("dx = -dy", NumberOp)
def negative(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return ``-x``."""
    return (-dy,)


@operation("dx = dy y", FloatingOp)
def exp(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the exponential of every element."""
    return (dy * y,)


@operation("dx = dy (y + 1)", FloatingOp)
def expm1(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return ``exp(x) - 1`` of every element, exact where `x` is close to 0."""
    return (dy * (y + 1.0),)


@operation("dx = dy / x", FloatingOp)
def log(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the natural logarithm of every element; ``-inf`` at 0."""
    return (dy / x,)


@operation("dx = dy / (1 + x)", FloatingOp)
def log1p(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return ``log(1 + x)`` of every element, exact where `x` is close to 0."""
    return (dy / add(1.0, x),)


@operation("dx = dy cos(x)", FloatingOp)
def sin(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the sine of every element, in radians."""
    return (dy * cos(x),)


@operation("dx = -dy sin(x)", FloatingOp)
def cos(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the cosine of every element, in radians."""
    return (-(dy * sin(x)),)


@operation("dx = dy / (2 y), 0 where y = 0", FloatingOp)
def sqrt(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the square root of every element; its derivative at 0 is 0 by convention."""
    return (divide_or_zero(dy, 2.0 * y),)


@operation("dx = dy sign(x), 0 where x = 0")
def abs(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the absolute value of every element; its derivative at 0 is 0."""
    return (dy * sign(x),)


@operation("dx = 0", NumberOp)
def sign(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return -1, 0 or 1 for every element."""
    return (None,)


@operation("dx = 2 dy x")
def square(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the square of every element."""
    return (2.0 * (dy * x),)


@operation("dx = dy 2 / sqrt(pi) exp(-x**2)", FloatingOp)
def erf(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the error function of every element (what (65.192) means, normalised so that erf(inf) = 1)."""
    return (dy * (2.0 / math.sqrt(math.pi)) * exp(-square(x)),)


def _same_elements(xp: Namespace, x: Array, out: Array | None = None) -> Array:
    return xp.multiply(x, 1, out=out)


@operation("dx = dy", FloatingOp, forward=_same_elements)
def copied(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return the same elements in memory of their own."""
    return (dy,)


@dataclass(frozen=True)
class Clip(ElementwiseOp):
    """Elements limited to an interval."""

    rule = "dx = dy inside the interval and at its ends, 0 outside"
    low: float | None = None
    high: float | None = None

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.clip(x, self.low, self.high, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (where(equal(x, y), dy, 0.0),)


@applies(Clip)
def clip(x: Operand, low: Operand | None = None, high: Operand | None = None) -> Tensor:
    """Return the elements limited to the interval from `low` to `high` (None: no limit on that side).

    Parameters
    ----------
    x : tensor
    low, high : float, or tensor or array that broadcasts against `x`
        Of limits that are tensors or arrays, each has the gradient where it is the result.
    """
    if low is None and high is None:
        raise ArgumentError("clip: give low, high or both")
    if all(limit is None or is_number(limit) for limit in (low, high)):
        limits = [None if limit is None else number("clip: a limit", limit) for limit in (low, high)]
        x = as_tensor(x)
        for limit in limits:
            if limit is not None:
                x = astype(x, holding(x.dtype, limit, "clip"))
        return Clip(*limits)(x)
    y = as_tensor(x) if low is None else where(less(x, low), low, x)
    return y if high is None else where(greater(y, high), high, y)


@dataclass(frozen=True)
class Cast(Op):
    """Elements converted to another dtype."""

    rule = "dx = dy, converted back"
    dtype: str

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return x.astype(self.dtype)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (dy.astype(x.dtype),)


@applies(Cast)
def astype(x: Operand, dtype: DTypeLike) -> Tensor:
    """Return `x` converted to `dtype`; a gradient is converted back."""
    x = as_tensor(x)
    target = find_dtype(dtype, "astype")
    return x if x.dtype == target else instance(Cast, target.name)(x)


# -- what optimisers apply, in one operation each -------------------------------------------------------


def _corrected_rate(xp: Namespace, mu: Array, power1: Array, power2: Array, out: Array | None = None) -> Array:
    return xp.multiply(mu, xp.sqrt(1.0 - power2) / (1.0 - power1), out=out)


@operation(
    "dmu = dy c, dpower1 = dy y / (1 - power1), dpower2 = -dy y / (2 (1 - power2)), c the factor of mu",
    FloatingOp,
    forward=_corrected_rate,
)
def corrected_rate(dy: Tensor, y: Tensor, mu: Operand, power1: Operand, power2: Operand) -> Gradients:
    """Return ``mu sqrt(1 - power2) / (1 - power1)``: the rate of Adam, whose averages start from 0 (65.98)."""
    return (
        lambda: dy * (sqrt(subtract(1.0, power2)) / subtract(1.0, power1)),
        lambda: dy * y / subtract(1.0, power1),
        lambda: dy * y / (2.0 * subtract(power2, 1.0)),
    )


@dataclass(frozen=True)
class OverRoot(FloatingOp):
    """Quotient ``y = m / (sqrt(s) + eps)``: the step of Adam and of RMSProp, of averages of gradient and square."""

    rule = "dm = dy / r, ds = -dy y / (2 sqrt(s) r) with r = sqrt(s) + eps, 0 where s = 0"
    eps: float

    def forward(self, xp: Namespace, m: Array, s: Array, out: Array | None = None) -> Array:
        return xp.divide(m, xp.sqrt(s) + self.eps, out=out)

    def backward(self, dy: Tensor, y: Tensor, m: Tensor, s: Tensor) -> Gradients:
        root = sqrt(s)
        return lambda: dy / (root + self.eps), lambda: divide_or_zero(dy * y, -2.0 * root * (root + self.eps))


# -- comparisons and what is chosen by them -------------------------------------------------------------


class Comparison(ElementwiseOp):
    """A truth value for each pair of elements; it carries no gradient."""

    differentiable = False
    compares = True


@operation("no gradient", Comparison)
def less(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a < b``, element by element (bool)."""
    return None, None


@operation("no gradient", Comparison)
def less_equal(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a <= b``, element by element (bool)."""
    return None, None


@operation("no gradient", Comparison)
def greater(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a > b``, element by element (bool)."""
    return None, None


@operation("no gradient", Comparison)
def greater_equal(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a >= b``, element by element (bool)."""
    return None, None


@operation("no gradient", Comparison)
def equal(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a = b``, element by element (bool)."""
    return None, None


@operation("no gradient", Comparison)
def not_equal(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether ``a != b``, element by element (bool)."""
    return None, None


class Logical(ElementwiseOp):
    """An operation on truth values, which gives truth values; it carries no gradient."""

    differentiable = False
    kinds = "b"


@operation("no gradient", Logical)
def logical_and(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether `a` and `b` both hold, element by element: ``a & b`` of truth values."""
    return None, None


@operation("no gradient", Logical)
def logical_or(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether `a` or `b` holds, or both, element by element: ``a | b`` of truth values."""
    return None, None


@operation("no gradient", Logical)
def logical_xor(dy: Tensor, y: Tensor, a: Operand, b: Operand) -> Gradients:
    """Return whether just one of `a` and `b` holds, element by element: ``a ^ b`` of truth values."""
    return None, None


@operation("no gradient", Logical)
def logical_not(dy: Tensor, y: Tensor, x: Operand) -> Gradients:
    """Return whether `x` does not hold, element by element: ``~x`` of truth values."""
    return (None,)


def _choice(xp: Namespace, condition: Array, a: Array, b: Array, out: Array | None = None) -> Array:
    return xp.where(condition, a, b)


@operation("da = dy where the condition holds, db = dy elsewhere, 0 otherwise", forward=_choice, promotes_from=1)
def _where(dy: Tensor, y: Tensor, condition: Operand, a: Operand, b: Operand) -> Gradients:
    return None, lambda: where(condition, dy, 0.0), lambda: where(condition, 0.0, dy)


@applies(_where.op)
def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """Return `a` where `condition` holds and `b` elsewhere, element by element.

    Parameters
    ----------
    condition : tensor or array of truth values
    a, b : tensors, arrays or numbers
        All three broadcast; a number takes the other's dtype.
    """
    return _where(condition, a, b)


def _gated(xp: Namespace, x: Array, z: Array, out: Array | None = None) -> Array:
    return xp.multiply(x, z > 0, out=out)


@operation("dx = dy where z > 0, 0 elsewhere; dz = 0", forward=_gated, promotes_from=None)
def gate(dy: Tensor, y: Tensor, x: Operand, z: Operand) -> Gradients:
    """Return `x` where ``z > 0`` and 0 elsewhere: the slope of a rectifier applied to `x`."""
    return lambda: gate(dy, z), None
