"""Lowering: composite operations become their parts, which passes can share and replays need no own memory for.

Each entry of `PARTS` writes an operation as simpler ones, which give the same numbers up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

from ...op import Op
from ...ops.activation import Elu, LeakyRelu, Relu, ScaledTanh, Sigmoid, Softplus, TwoSidedRelu
from ...ops.elementwise import (
    Abs,
    Add,
    Divide,
    DivideOrZero,
    Equal,
    Exp,
    Gate,
    Greater,
    Log,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    Power,
    Sqrt,
    Square,
    Subtract,
    Where,
)
from ...ops.loss import SigmoidCrossEntropy, SoftmaxCrossEntropy, SoftmaxCrossEntropySlope, SquaredError
from ...ops.mask import Mask
from ...ops.matmul import Bias
from ...ops.normalize import BatchNorm
from ...ops.reduce import Max, Mean, Min, Norm, Reduction, Sum
from ...ops.shape import Reshape
from ...ops.softmax import LogSoftmax, Softmax
from ...ops.update import Descend
from ..operations import Function
from ..program import Builder, Instruction, Program, Value, number_of

ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATIVE = Add(), Subtract(), Multiply(), Divide(), Negative()
EXP, LOG, SQRT, SQUARE, ABS, WHERE = Exp(), Log(), Sqrt(), Square(), Abs(), Where()
MAXIMUM, MINIMUM, EQUAL, GREATER = Maximum(), Minimum(), Equal(), Greater()
EXPM1, LOG1P = Function("expm1"), Function("log1p")

Part = Callable[..., Value | None]
PARTS: dict[type[Op], Part] = {}


def _is(*kinds: type[Op]) -> Callable[[Part], Part]:
    def register(part: Part) -> Part:
        PARTS.update(dict.fromkeys(kinds, part))
        return part

    return register


def lower(program: Program) -> Program:
    """Replace every composite operation by its parts, and these by theirs."""
    done: list[Instruction] = []
    left = list(reversed(program.instructions))
    while left:
        i = left.pop()
        part = PARTS.get(type(i.op))
        build = Builder(program.backend, i.output.scope)
        made = part(build, i.op, *i.inputs) if part is not None else None
        if made is None:
            done.append(i)
            continue
        # The last part takes over the output's place, so that nothing that reads it need change.
        last = build.instructions.pop()
        left.append(Instruction(last.op, last.inputs, i.output))
        left.extend(reversed(build.instructions))
    return program.rewritten(done)


# -- arithmetic and reductions --------------------------------------------------------------------------


@_is(Descend)
def _descend(build: Builder, op: Op, p: Value, mu: Value, d: Value) -> Value:
    return build(SUBTRACT, p, build(MULTIPLY, mu, d))


@_is(Bias)
def _bias(build: Builder, op: Op, z: Value, theta: Value) -> Value:
    return build(SUBTRACT, z, theta)


@_is(Mask)
def _mask(build: Builder, op: Op, y: Value, a: Value) -> Value:
    return build(MULTIPLY, y, a)


@_is(Sum, Max, Min)
def _reduction(build: Builder, op: Reduction, x: Value) -> Value | None:
    """Let a reduction drop its axes, so that it is shared with one that does anyway."""
    axes = set(range(len(x.shape))) if op.axis is None else {a % len(x.shape) for a in _tuple(op.axis)}
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if op.keepdims or a not in axes)
    flat = tuple(sorted(axes)) if len(axes) < len(x.shape) else None
    plain = type(op)(flat[0] if flat is not None and len(flat) == 1 else flat, False)
    if plain == op:
        return None
    y = build(plain, x)
    return build(Reshape(shape), y) if op.keepdims else y


def _tuple(axis: int | tuple[int, ...]) -> tuple[int, ...]:
    return axis if isinstance(axis, tuple) else (axis,)


@_is(Gate)
def _gate(build: Builder, op: Op, x: Value, z: Value) -> Value:
    return build(MULTIPLY, x, build(GREATER, z, 0.0))


@_is(Mean)
def _mean(build: Builder, op: Mean, x: Value) -> Value:
    total = build(Sum(op.axis, op.keepdims), x)
    return build(MULTIPLY, total, total.size / x.size)


@_is(Power)
def _power(build: Builder, op: Op, a: Value, b: Value) -> Value | None:
    exponent = number_of(b, build.backend)
    if exponent == 0.5:
        return build(SQRT, a)
    if exponent == -0.5:
        return build(DIVIDE, build.number(1.0, a.dtype), build(SQRT, a))
    return None


@_is(DivideOrZero)
def _divide_or_zero(build: Builder, op: Op, a: Value, b: Value) -> Value:
    zero = build(EQUAL, b, 0.0)
    quotient = build(DIVIDE, build.number(1.0, b.dtype), build(WHERE, zero, build.number(1.0, b.dtype), b))
    return build(MULTIPLY, a, build(WHERE, zero, build.number(0.0, b.dtype), quotient))


@_is(Norm)
def _norm(build: Builder, op: Norm, x: Value) -> Value | None:
    if not x.size:
        return None
    largest = build(Max(op.axis, True), build(ABS, x))
    scale = build(WHERE, build(GREATER, largest, 0.0), largest, build.number(1.0, x.dtype))
    total = build(Sum(op.axis, True), build(SQUARE, build(DIVIDE, x, scale)))
    root = build(MULTIPLY, build(SQRT, total), scale)
    if op.keepdims:
        return root
    axes = set(range(len(x.shape))) if op.axis is None else {a % len(x.shape) for a in _tuple(op.axis)}
    return build(Reshape(tuple(n for a, n in enumerate(x.shape) if a not in axes)), root)


# -- activations ----------------------------------------------------------------------------------------


@_is(Relu)
def _relu(build: Builder, op: Op, z: Value) -> Value:
    return build(MAXIMUM, z, 0.0)


@_is(Sigmoid)
def _sigmoid(build: Builder, op: Op, z: Value) -> Value:
    small = build(EXP, build(NEGATIVE, build(ABS, z)))
    return build(DIVIDE, build(EXP, build(MINIMUM, z, 0.0)), build(ADD, small, 1.0))


@_is(Softplus)
def _softplus(build: Builder, op: Op, z: Value) -> Value:
    small = build(LOG1P, build(EXP, build(NEGATIVE, build(ABS, z))))
    return build(ADD, build(MAXIMUM, z, 0.0), small)


@_is(ScaledTanh)
def _scaled_tanh(build: Builder, op: ScaledTanh, z: Value) -> Value:
    return build(MULTIPLY, build(Function("tanh"), build(MULTIPLY, z, op.b)), op.a)


@_is(TwoSidedRelu, LeakyRelu)
def _two_sided_relu(build: Builder, op: TwoSidedRelu, z: Value) -> Value:
    return build(ADD, build(MAXIMUM, z, 0.0), build(MULTIPLY, build(MINIMUM, z, 0.0), op.alpha))


@_is(Elu)
def _elu(build: Builder, op: Elu, z: Value) -> Value:
    below = build(MULTIPLY, build(EXPM1, build(MINIMUM, z, 0.0)), op.alpha)
    return build(ADD, build(MAXIMUM, z, 0.0), below)


# -- softmax, losses, normalisation ---------------------------------------------------------------------


def _exponentials(build: Builder, z: Value, axis: int) -> tuple[Value, Value, Value]:
    """Return the centred signals, their exponentials and the sums of those."""
    centred = build(SUBTRACT, z, build(Max(axis, True), z))
    e = build(EXP, centred)
    return centred, e, build(Sum(axis, True), e)


@_is(Softmax)
def _softmax(build: Builder, op: Softmax, z: Value) -> Value:
    _, e, total = _exponentials(build, z, op.axis)
    return build(DIVIDE, e, total)


@_is(LogSoftmax)
def _log_softmax(build: Builder, op: LogSoftmax, z: Value) -> Value:
    centred, _, total = _exponentials(build, z, op.axis)
    return build(SUBTRACT, centred, build(LOG, total))


@_is(SoftmaxCrossEntropy)
def _softmax_cross_entropy(build: Builder, op: Op, z: Value, target: Value) -> Value:
    centred, _, total = _exponentials(build, z, -1)
    log_y = build(SUBTRACT, centred, build(LOG, total))
    known = build(WHERE, build(EQUAL, target, 0.0), build.number(0.0, z.dtype), log_y)
    return build(MULTIPLY, build(Sum(), build(MULTIPLY, known, target)), -1.0 / z.shape[0])


@_is(SoftmaxCrossEntropySlope)
def _softmax_cross_entropy_slope(build: Builder, op: Op, dy: Value, z: Value, target: Value) -> Value:
    _, e, total = _exponentials(build, z, -1)
    share = build(DIVIDE, build(Sum(-1, True), target), total)
    slope = build(SUBTRACT, build(MULTIPLY, e, share), target)
    return build(MULTIPLY, slope, build(MULTIPLY, dy, 1.0 / z.shape[0]))


@_is(SigmoidCrossEntropy)
def _sigmoid_cross_entropy(build: Builder, op: Op, z: Value, t: Value) -> Value:
    small = build(LOG1P, build(EXP, build(NEGATIVE, build(ABS, z))))
    return build(ADD, build(SUBTRACT, build(MAXIMUM, z, 0.0), build(MULTIPLY, z, t)), small)


@_is(SquaredError)
def _squared_error(build: Builder, op: Op, output: Value, target: Value) -> Value:
    total = build(Sum(), build(SQUARE, build(SUBTRACT, output, target)))
    return build(MULTIPLY, total, 1.0 / output.shape[0])


@_is(BatchNorm)
def _batch_norm(build: Builder, op: BatchNorm, z: Value, a: Value, theta: Value) -> Value:
    count = z.shape[0]
    centred = build(SUBTRACT, z, build(MULTIPLY, build(Sum(0), z), 1.0 / count))
    variance = build(MULTIPLY, build(Sum(0), build(SQUARE, centred)), 1.0 / (count - op.ddof))
    s = build(DIVIDE, build.number(1.0, z.dtype), build(SQRT, build(ADD, variance, op.eps)))
    return build(SUBTRACT, build(MULTIPLY, build(MULTIPLY, centred, s), a), theta)
