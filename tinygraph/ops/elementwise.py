"""Arithmetic and functions of single entries.

Conventions at the edge of a domain: the derivative of `sqrt` and `abs` at 0 is 0; where `power` meets
``0 ** 0`` its derivatives are 0 too. Division by zero and the logarithm of zero stay infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array
from ..errors import ArgumentError, DTypeError
from ..op import ElementwiseOp, Gradient, Op, documents
from ..tensor import Operand, Tensor, as_tensor, functions


class FloatingOp(ElementwiseOp):
    """An elementwise operation whose result is not a whole number even for whole numbers."""

    def check(self, *inputs: Tensor) -> None:
        """Raise an error if dtypes differ or are not floating, or shapes do not broadcast."""
        if inputs[0].data.dtype.kind != "f":
            check_floating(self, inputs)
        if len(inputs) > 1:
            ElementwiseOp.check(self, *inputs)


def check_floating(op: Op, inputs: tuple[Tensor, ...]) -> None:
    """Raise an error if no input is floating."""
    for t in inputs:
        if t.data.dtype.kind == "f":
            return
    raise DTypeError(
        f"{op.label}: expected a floating tensor, got {inputs[0].dtype}; convert it with .astype('float32')"
    )


# -- arithmetic -----------------------------------------------------------------------------------------


class Add(ElementwiseOp):
    """Sum ``y = a + b``."""

    rule = "da = dy, db = dy"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.add(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return dy, dy


class Subtract(ElementwiseOp):
    """Difference ``y = a - b``."""

    rule = "da = dy, db = -dy"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.subtract(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return dy, lambda: -dy


class Multiply(ElementwiseOp):
    """Product of matching entries ``y = a b``."""

    rule = "da = dy b, db = dy a"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.multiply(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return lambda: dy * b, lambda: dy * a


class Divide(FloatingOp):
    """Quotient ``y = a / b``."""

    rule = "da = dy / b, db = -dy y / b"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.divide(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return lambda: dy / b, lambda: -(dy * y / b)


class DivideOrZero(FloatingOp):
    """Quotient ``y = a / b``, and 0 where ``b = 0``: how rules state a convention at a singular point."""

    rule = "da = dy / b, db = -dy y / b, both 0 where b = 0"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.multiply(a, xp.where(b == 0, 0, xp.divide(1, xp.where(b == 0, 1, b))).astype(b.dtype), out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return lambda: divide_or_zero(dy, b), lambda: -divide_or_zero(dy * y, b)


class Negative(ElementwiseOp):
    """Negation ``y = -x``."""

    rule = "dx = -dy"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.negative(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (-dy,)


class Power(FloatingOp):
    """Power ``y = a ** b``."""

    rule = "da = dy b a**(b - 1), db = dy y log(a)"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.power(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        # Where b = 0 the power is the constant 1; where a = 0 the logarithm has no value: 0 by convention.
        def da() -> Tensor:
            return dy * b * power(where(equal(b, 0), 1.0, a), where(equal(b, 0), 0.0, b - 1.0))

        return da, lambda: dy * y * log(where(equal(a, 0), 1.0, a))


class Maximum(ElementwiseOp):
    """The larger of two entries, ``y = max(a, b)``."""

    rule = "dy flows to the larger operand, half to each where they are equal"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.maximum(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return _to_the_winner(dy, y, a, b)


class Minimum(ElementwiseOp):
    """The smaller of two entries, ``y = min(a, b)``."""

    rule = "dy flows to the smaller operand, half to each where they are equal"

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.minimum(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return _to_the_winner(dy, y, a, b)


def _to_the_winner(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
    half = where(equal(a, b), 0.5, 1.0).astype(dy.dtype)
    return lambda: where(equal(a, y), dy * half, 0.0), lambda: where(equal(b, y), dy * half, 0.0)


# -- functions of one variable --------------------------------------------------------------------------


class Exp(FloatingOp):
    """Exponential ``y = exp(x)``."""

    rule = "dx = dy y"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.exp(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (dy * y,)


class Log(FloatingOp):
    """Natural logarithm ``y = log(x)``."""

    rule = "dx = dy / x"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.log(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (dy / x,)


class Sqrt(FloatingOp):
    """Square root ``y = sqrt(x)``."""

    rule = "dx = dy / (2 y), 0 where y = 0"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.sqrt(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (divide_or_zero(dy, 2.0 * y),)


class Abs(ElementwiseOp):
    """Absolute value ``y = |x|``."""

    rule = "dx = dy sign(x), 0 where x = 0"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.abs(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (dy * sign(x),)


class Sign(ElementwiseOp):
    """Sign ``y = -1, 0 or 1``."""

    rule = "dx = 0"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.sign(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (None,)


class Square(ElementwiseOp):
    """Square ``y = x**2``."""

    rule = "dx = 2 dy x"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.square(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (2.0 * (dy * x),)


class Erf(FloatingOp):
    """Error function ``y = 2 / sqrt(pi) * integral of exp(-t**2) from 0 to x`` (the one (65.192) means)."""

    rule = "dx = dy 2 / sqrt(pi) exp(-x**2)"

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.erf(x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (dy * (2.0 / math.sqrt(math.pi)) * exp(-square(x)),)


@dataclass(frozen=True)
class Clip(ElementwiseOp):
    """Entries limited to an interval."""

    rule = "dx = dy inside the interval and at its ends, 0 outside"

    low: float | None = None
    high: float | None = None

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return xp.clip(x, self.low, self.high, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (where(equal(x, y), dy, 0.0),)


class Where(ElementwiseOp):
    """A choice entry by entry: ``y = a`` where the condition holds, ``b`` elsewhere."""

    rule = "da = dy where the condition holds, db = dy elsewhere, 0 otherwise"

    def forward(self, xp: Any, condition: Array, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.where(condition, a, b)

    def backward(self, dy: Tensor, y: Tensor, condition: Tensor, a: Tensor, b: Tensor) -> tuple[Gradient, ...]:
        return None, lambda: where(condition, dy, 0.0), lambda: where(condition, 0.0, dy)


class Gate(ElementwiseOp):
    """What of `x` passes a gate: ``y = x`` where ``z > 0``, 0 elsewhere (where ``z = 0``, too)."""

    rule = "dx = dy where z > 0, 0 elsewhere; dz = 0"

    def forward(self, xp: Any, x: Array, z: Array, out: Array | None = None) -> Array:
        return xp.multiply(x, z > 0, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, z: Tensor) -> tuple[Gradient, ...]:
        return lambda: gate(dy, z), None


@dataclass(frozen=True)
class Cast(Op):
    """Entries converted to another dtype."""

    rule = "dx = dy, converted back"
    dtype: str

    def forward(self, xp: Any, x: Array, out: Array | None = None) -> Array:
        return x.astype(self.dtype)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> tuple[Gradient, ...]:
        return (dy.astype(x.dtype),)


# -- comparisons ----------------------------------------------------------------------------------------


class Comparison(ElementwiseOp):
    """A truth value for each pair of entries; it carries no gradient."""

    rule = "no gradient"
    differentiable = False


class Less(Comparison):
    """Whether ``a < b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.less(a, b, out=out)


class LessEqual(Comparison):
    """Whether ``a <= b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.less_equal(a, b, out=out)


class Greater(Comparison):
    """Whether ``a > b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.greater(a, b, out=out)


class GreaterEqual(Comparison):
    """Whether ``a >= b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.greater_equal(a, b, out=out)


class Equal(Comparison):
    """Whether ``a = b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.equal(a, b, out=out)


class NotEqual(Comparison):
    """Whether ``a`` differs from ``b``."""

    def forward(self, xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
        return xp.not_equal(a, b, out=out)


# -- the public functions -------------------------------------------------------------------------------

_add, _subtract, _multiply, _divide, _negative = Add(), Subtract(), Multiply(), Divide(), Negative()
_divide_or_zero, _power, _maximum, _minimum = DivideOrZero(), Power(), Maximum(), Minimum()
_exp, _log, _sqrt, _abs, _sign, _square, _erf = Exp(), Log(), Sqrt(), Abs(), Sign(), Square(), Erf()
_where, _gate = Where(), Gate()
_less, _less_equal, _greater, _greater_equal = Less(), LessEqual(), Greater(), GreaterEqual()
_equal, _not_equal = Equal(), NotEqual()


@documents(Add)
def add(a: Operand, b: Operand) -> Tensor:
    """Return ``a + b``, entry by entry; shapes broadcast, dtypes must agree."""
    return _add(a, b)


@documents(Subtract)
def subtract(a: Operand, b: Operand) -> Tensor:
    """Return ``a - b``, entry by entry; shapes broadcast, dtypes must agree."""
    return _subtract(a, b)


@documents(Multiply)
def multiply(a: Operand, b: Operand) -> Tensor:
    """Return ``a * b``, entry by entry; shapes broadcast, dtypes must agree."""
    return _multiply(a, b)


@documents(Divide)
def divide(a: Operand, b: Operand) -> Tensor:
    """Return ``a / b``, entry by entry; infinite or NaN where ``b = 0``, as NumPy's."""
    return _divide(a, b)


@documents(DivideOrZero)
def divide_or_zero(a: Operand, b: Operand) -> Tensor:
    """Return ``a / b``, and 0 where ``b = 0``."""
    return _divide_or_zero(a, b)


@documents(Negative)
def negative(x: Operand) -> Tensor:
    """Return ``-x``."""
    return _negative(x)


@documents(Power)
def power(a: Operand, b: Operand) -> Tensor:
    """Return ``a ** b``, entry by entry; the derivatives are 0 where ``b = 0`` or ``a = 0`` leaves them open."""
    if isinstance(b, int | float) and b == 2:
        return _square(a)
    return _power(a, b)


@documents(Maximum)
def maximum(a: Operand, b: Operand) -> Tensor:
    """Return the larger of `a` and `b`, entry by entry."""
    return _maximum(a, b)


@documents(Minimum)
def minimum(a: Operand, b: Operand) -> Tensor:
    """Return the smaller of `a` and `b`, entry by entry."""
    return _minimum(a, b)


@documents(Exp)
def exp(x: Operand) -> Tensor:
    """Return the exponential of every entry."""
    return _exp(x)


@documents(Log)
def log(x: Operand) -> Tensor:
    """Return the natural logarithm of every entry; ``-inf`` at 0."""
    return _log(x)


@documents(Sqrt)
def sqrt(x: Operand) -> Tensor:
    """Return the square root of every entry; its derivative at 0 is 0 by convention."""
    return _sqrt(x)


@documents(Abs)
def abs(x: Operand) -> Tensor:
    """Return the absolute value of every entry; its derivative at 0 is 0."""
    return _abs(x)


@documents(Sign)
def sign(x: Operand) -> Tensor:
    """Return -1, 0 or 1 for every entry."""
    return _sign(x)


@documents(Square)
def square(x: Operand) -> Tensor:
    """Return the square of every entry."""
    return _square(x)


@documents(Erf)
def erf(x: Operand) -> Tensor:
    """Return the error function of every entry (what (65.192) means, normalised so that erf(inf) = 1)."""
    return _erf(x)


@documents(Clip)
def clip(x: Operand, low: float | None = None, high: float | None = None) -> Tensor:
    """Return the entries limited to the interval from `low` to `high` (None: no limit on that side)."""
    if low is None and high is None:
        raise ArgumentError("clip: give low, high or both")
    return Clip(low, high)(x)


@documents(Where)
def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """Return `a` where `condition` holds and `b` elsewhere, entry by entry.

    Parameters
    ----------
    condition : tensor or array of truth values
    a, b : tensors, arrays or numbers
        All three broadcast; a number takes the other's dtype.
    """
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    if like is None and isinstance(condition, Tensor):
        like = as_tensor(np.float32(0)) if isinstance(a, float) or isinstance(b, float) else None
    return _where(as_tensor(condition, like), as_tensor(a, like), as_tensor(b, like))


def gate(x: Operand, z: Operand) -> Tensor:
    """Return `x` where ``z > 0`` and 0 elsewhere: the slope of a rectifier applied to `x`."""
    return _gate(x, z)


@documents(Cast)
def astype(x: Operand, dtype: Any) -> Tensor:
    """Return `x` converted to `dtype`; a gradient is converted back."""
    x = as_tensor(x)
    target = np.dtype(dtype)
    return x if x.dtype == target else Cast(target.name)(x)


@documents(Less)
def less(a: Operand, b: Operand) -> Tensor:
    """Return whether ``a < b``, entry by entry (bool)."""
    return _less(a, b)


@documents(LessEqual)
def less_equal(a: Operand, b: Operand) -> Tensor:
    """Return whether ``a <= b``, entry by entry (bool)."""
    return _less_equal(a, b)


@documents(Greater)
def greater(a: Operand, b: Operand) -> Tensor:
    """Return whether ``a > b``, entry by entry (bool)."""
    return _greater(a, b)


@documents(GreaterEqual)
def greater_equal(a: Operand, b: Operand) -> Tensor:
    """Return whether ``a >= b``, entry by entry (bool)."""
    return _greater_equal(a, b)


@documents(Equal)
def equal(a: Operand, b: Operand) -> Tensor:
    """Return whether ``a = b``, entry by entry (bool)."""
    return _equal(a, b)


@documents(NotEqual)
def not_equal(a: Operand, b: Operand) -> Tensor:
    """Return whether `a` differs from `b`, entry by entry (bool)."""
    return _not_equal(a, b)


functions.add, functions.subtract, functions.multiply, functions.divide = add, subtract, multiply, divide
functions.power, functions.negative, functions.abs, functions.astype = power, negative, abs, astype
functions.less, functions.less_equal, functions.equal = less, less_equal, equal
functions.greater, functions.greater_equal, functions.not_equal = greater, greater_equal, not_equal
