"""What the operations are in ONNX: for each of them, the nodes that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from .errors import GraphError
from .op import Op
from .ops import activation, elementwise, products, random, similarity
from .ops.attention import CausalMask
from .ops.axes import normalize_axes
from .ops.grid import GridNeighborhoods
from .ops.indexing import ARRAY_KEY, Index, OneHot, TakeAlongAxis
from .ops.neighborhood import EdgeProduct, NeighborhoodMatMul
from .ops.normalize import BatchNorm, LayerNorm
from .ops.order import ArgSort
from .ops.reduce import ArgMax, ArgMin, BroadcastTo, CumSum, LogSumExp, Max, Mean, Min, Norm, Prod, Reduction, Sum
from .ops.shape import Concatenate, Pad, Reshape, Transpose, Tril, Triu
from .tensors import Tensor
from .typing import DTypeLike

FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # beyond either end of every axis
Length = tuple[int, ...]  # of an axis, or an end of a part of it, in each trial


class Writer(Protocol):
    """Writes the nodes of a model; values are known by their names."""

    def node(self, kind: str, *inputs: str, result: int = 0, **attributes: object) -> str:
        """Add a node; return the name of its result, the first or another by its number."""
        ...

    def constant(self, value: object, dtype: DTypeLike = np.int64) -> str:
        """Return the name of a constant."""
        ...

    def lengths(self, shape: Sequence[Length]) -> str:
        """Return the name of a vector of lengths, computed from the batch where they follow it."""
        ...


@dataclass(frozen=True)
class Step:
    """An operation as it was applied in each trial.

    Attributes
    ----------
    ops : tuple of Op
    inputs : tuple of tuple of Tensor
        For each input its tensors in the trials.
    result : tuple of Tensor
    """

    ops: tuple[Any, ...]
    inputs: tuple[tuple[Tensor, ...], ...]
    result: tuple[Tensor, ...]

    @property
    def op(self) -> Any:
        """The operation, where it is the same in all trials."""
        if any(op != self.ops[0] for op in self.ops):
            raise self.unknown("its settings change with the batch: " + ", ".join(op.label for op in self.ops))
        return self.ops[0]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the result."""
        return self.result[0].dtype

    def shape(self, i: int | None = None) -> list[Length]:
        """Return the lengths of the axes of an input, or of the result."""
        return list(zip(*(t.shape for t in (self.result if i is None else self.inputs[i])), strict=True))

    def unknown(self, why: str) -> GraphError:
        """Return the error that this cannot be exported."""
        scope = self.result[0].scope
        where = f" in {scope.path}" if scope is not None and scope.path else ""
        return GraphError(f"export_onnx: {self.ops[0].label}{where}: {why}")


def _plain(kind: str, w: Writer, step: Step, *inputs: str) -> str:
    return w.node(kind, *inputs)


LOGICAL = {
    "Add": "Or",
    "Mul": "And",
    "Max": "Or",
    "Min": "And",
    "Abs": "Identity",
}  # of truth values


def _arithmetic(kind: str, w: Writer, step: Step, *inputs: str) -> str:
    return w.node(LOGICAL[kind] if step.dtype.kind == "b" else kind, *inputs)


def _square(w: Writer, step: Step, x: str) -> str:
    return _arithmetic("Mul", w, step, x, x)


def _subtract_scaled(w: Writer, step: Step, p: str, mu: str, d: str) -> str:
    return w.node("Sub", p, w.node("Mul", mu, d))


def _divide_or_zero(w: Writer, step: Step, a: str, b: str) -> str:
    zero = w.constant(0, step.dtype)
    none = w.node("Equal", b, zero)
    return w.node("Where", none, zero, w.node("Div", a, w.node("Where", none, w.constant(1, step.dtype), b)))


def _expm1(w: Writer, step: Step, x: str) -> str:
    """Write it as ``tanh(x / 2) (exp(x) + 1)``, which is exact where `x` is close to 0."""
    half = w.node("Tanh", w.node("Mul", x, w.constant(0.5, step.dtype)))
    return w.node("Mul", half, w.node("Add", w.node("Exp", x), w.constant(1, step.dtype)))


def _log1p(w: Writer, step: Step, x: str) -> str:
    """Write it as ``2 artanh(x / (x + 2))`` where `x` is close to 0, where that is exact."""
    one, two, limit = (w.constant(n, step.dtype) for n in (1, 2, 0.5))
    exact = w.node("Mul", w.node("Atanh", w.node("Div", x, w.node("Add", x, two))), two)
    close = w.node("Less", w.node("Abs", x), limit)
    return w.node("Where", close, exact, w.node("Log", w.node("Add", x, one)))


def _not_equal(w: Writer, step: Step, a: str, b: str) -> str:
    return w.node("Not", w.node("Equal", a, b))


def _gate(w: Writer, step: Step, x: str, z: str) -> str:
    positive = w.node("Greater", z, w.constant(0, step.inputs[1][0].dtype))
    return w.node("Mul", x, _cast(w, positive, step.dtype))


def _cast(w: Writer, x: str, dtype: np.dtype) -> str:
    return w.node("Cast", x, to=dtype)


def _to_dtype(w: Writer, step: Step, x: str) -> str:
    return _cast(w, x, step.dtype)


def _clip(w: Writer, step: Step, x: str) -> str:
    return w.node("Clip", x, *("" if n is None else w.constant(n, step.dtype) for n in (step.op.low, step.op.high)))


def _at_most_one(w: Writer, step: Step, c: str) -> str:
    return w.node("Clip", c, w.constant(-1, step.dtype), w.constant(1, step.dtype))


def _scaled_tanh(w: Writer, step: Step, z: str) -> str:
    a, b = (w.constant(n, step.dtype) for n in (step.op.a, step.op.b))
    return w.node("Mul", w.node("Tanh", w.node("Mul", z, b)), a)


def _two_slopes(w: Writer, step: Step, z: str) -> str:
    return w.node("LeakyRelu", z, alpha=float(step.op.alpha))


def _elu(w: Writer, step: Step, z: str) -> str:
    return w.node("Elu", z, alpha=float(step.op.alpha))


def _selu(w: Writer, step: Step, z: str) -> str:
    return w.node("Selu", z, alpha=activation.SELU_ALPHA, gamma=activation.SELU_SCALE)


def _gelu(w: Writer, step: Step, z: str) -> str:
    half, one, root = (w.constant(n, step.dtype) for n in (0.5, 1, 0.5**0.5))
    return w.node("Mul", z, w.node("Mul", half, w.node("Add", one, w.node("Erf", w.node("Mul", z, root)))))


def _silu(w: Writer, step: Step, z: str) -> str:
    return w.node("Mul", z, w.node("Sigmoid", z))


def _along_axis(kind: str, w: Writer, step: Step, z: str) -> str:
    return w.node(kind, z, axis=step.op.axis)


def _reduction(kind: str, w: Writer, step: Step, x: str) -> str:
    op: Reduction = step.op
    if step.inputs[0][0].dtype != step.dtype:  # NumPy adds up small whole numbers in larger ones
        x = _cast(w, x, step.dtype)
    axes = w.constant(list(normalize_axes(op.name, op.axis, step.inputs[0][0].shape)))
    return w.node(kind, x, axes, keepdims=int(op.keepdims), noop_with_empty_axes=1)


def _place_of_extreme(kind: str, w: Writer, step: Step, x: str) -> str:
    return w.node(kind, x, axis=step.op.axis, keepdims=0)


def _argsort(w: Writer, step: Step, x: str) -> str:
    """Write it as the choice of all elements, of which equal ones keep their order."""
    axis, dtype = step.op.axis % len(step.shape(0)), step.inputs[0][0].dtype
    if dtype.kind != "f" and dtype != np.int64:
        x = _cast(w, x, np.dtype(np.int64))
    length = w.lengths(step.shape(0)[axis : axis + 1])
    return w.node("TopK", x, length, result=1, axis=axis, largest=int(step.op.descending), sorted=1)


def _take_along_axis(w: Writer, step: Step, x: str, indices: str) -> str:
    return w.node("GatherElements", x, _cast(w, indices, np.dtype(np.int64)), axis=step.op.axis)


def _cumsum(w: Writer, step: Step, x: str) -> str:
    x = x if step.inputs[0][0].dtype == step.dtype else _cast(w, x, step.dtype)
    return w.node("CumSum", x, w.constant(step.op.axis))


def _broadcast_to(w: Writer, step: Step, x: str) -> str:
    return w.node("Expand", x, w.lengths(step.shape()))


def _reshape(w: Writer, step: Step, x: str) -> str:
    shape = step.shape()
    changing = [axis for axis, n in enumerate(shape) if len(set(n)) > 1]
    if len(changing) == 1 and all(0 not in n for n in shape):
        return w.node("Reshape", x, w.constant([-1 if axis in changing else n[0] for axis, n in enumerate(shape)]))
    return w.node("Reshape", x, w.lengths(shape))


def _transpose(w: Writer, step: Step, x: str) -> str:
    n = step.inputs[0][0].ndim
    axes = range(n)[::-1] if step.op.axes is None else [a % n for a in step.op.axes]
    return w.node("Transpose", x, perm=list(axes))


def _triangle(upper: int, w: Writer, step: Step, x: str) -> str:
    return w.node("Trilu", x, w.constant(step.op.k), upper=upper)


def _concatenate(w: Writer, step: Step, *inputs: str) -> str:
    return w.node("Concat", *inputs, axis=step.op.axis)


def _pad(w: Writer, step: Step, x: str) -> str:
    widths = [n for end in zip(*step.op.widths, strict=True) for n in end]
    return w.node("Pad", x, w.constant(widths), w.constant(step.op.value, step.dtype)) if widths else x


def _matmul(w: Writer, step: Step, a: str, b: str) -> str:
    op = step.op
    sides = [(a, op.transpose_a, step.inputs[0][0].ndim), (b, op.transpose_b, step.inputs[1][0].ndim)]
    factors = [
        w.node("Transpose", x, perm=[*range(n - 2), n - 1, n - 2]) if transposed else x for x, transposed, n in sides
    ]
    return w.node("MatMul", *factors)


def _batch_norm(w: Writer, step: Step, z: str, a: str, theta: str) -> str:
    """Write it with the statistics of the batch; in evaluation mode a module computes with its averages."""
    rows, op = w.constant([0]), step.op
    centred = w.node("Sub", z, w.node("ReduceMean", z, rows, keepdims=1))
    squares = w.node("ReduceSum", w.node("Mul", centred, centred), rows, keepdims=1)
    freedom = w.node("Sub", w.lengths(step.shape(0)[:1]), w.constant([op.ddof]))
    variance = w.node("Div", squares, _cast(w, freedom, step.dtype))
    deviation = w.node("Sqrt", w.node("Add", variance, w.constant(op.eps, step.dtype)))
    return w.node("Sub", w.node("Mul", w.node("Div", centred, deviation), a), theta)


def _grid_neighborhoods(w: Writer, step: Step, y: str) -> str:
    grid = step.shape(0)[1:3]
    if any(len(set(lengths)) > 1 for lengths in grid):
        raise step.unknown("the lengths of the grid follow the batch; give all lengths in input_shape")
    parts = []
    for _, *slices in step.op.keys([lengths[0] for lengths in grid]):
        ends = [[getattr(part, end) for part in slices] for end in ("start", "stop", "step")]
        parts.append(w.node("Slice", y, *map(w.constant, (*ends[:2], [1, 2], ends[2]))))
    return w.node("Concat", *parts, axis=-1)


def _layer_norm(w: Writer, step: Step, z: str, a: str, theta: str) -> str:
    return w.node("Sub", w.node("LayerNormalization", z, a, axis=-1, epsilon=step.op.eps), theta)


def _causal_mask(w: Writer, step: Step, scores: str) -> str:
    rows, columns = step.shape()
    if len({*rows}) > 1 or len({*columns}) > 1:
        raise step.unknown("the lengths of sequences follow the batch; give all lengths in input_shape")
    return w.constant(np.tril(np.ones((rows[0], columns[0]), bool)), bool)


def _one_hot(w: Writer, step: Step, indices: str) -> str:
    places = w.node("Unsqueeze", _cast(w, indices, np.dtype(np.int64)), w.constant([-1]))
    classes = step.op.classes
    vectors = _cast(w, w.node("Equal", places, w.constant(np.arange(classes))), step.dtype)
    at_least_zero = w.node("GreaterOrEqual", places, w.constant(0))
    known = w.node("And", at_least_zero, w.node("Less", places, w.constant(classes)))
    return w.node("Where", known, vectors, w.constant(np.nan, step.dtype))


def _neighborhood_matmul(w: Writer, step: Step, y: str, weights: str) -> str:
    """Write the sparse matrix as a dense one: ONNX has no product with a sparse one."""
    graph = step.op.neighborhoods
    zeros = w.node("ConstantOfShape", w.constant([graph.n_in, graph.n_out]), value=np.zeros(1, step.dtype))
    edges = w.constant(np.stack([graph.sources, graph.targets], axis=1))
    dense = w.node("ScatterND", zeros, edges, weights)
    return w.node("MatMul", y, w.node("Transpose", dense, perm=[1, 0]) if step.op.transposed else dense)


def _edge_product(w: Writer, step: Step, y: str, z: str) -> str:
    graph = step.op.neighborhoods
    sides = [w.node("Gather", x, w.constant(nodes), axis=1) for x, nodes in ((y, graph.sources), (z, graph.targets))]
    return w.node("ReduceSum", w.node("Mul", *sides), w.constant([0]), keepdims=0)


# -- indexing -------------------------------------------------------------------------------------------


def _index(w: Writer, step: Step, x: str, *arrays: str) -> str:
    """Write slices as one node, then the array of indices, and drop and insert axes at the end."""
    keys = [_with_all_axes(op.key, t.ndim) for op, t in zip(step.ops, step.inputs[0], strict=True)]
    if len({len(key) for key in keys}) > 1:
        raise step.unknown("its settings change with the batch: " + ", ".join(op.label for op in step.ops))
    sizes, slices = step.shape(0), []
    dropped: list[int] = []
    inserted: list[int] = []
    gathered = axis = 0
    at: int | None = None
    for parts in zip(*keys, strict=True):
        part = parts[0]
        if part is None:
            inserted.append(axis - len(dropped) + len(inserted))
            continue
        if part is ARRAY_KEY:
            gathered, at = gathered + 1, axis
        elif isinstance(part, slice):
            ends = _ends(step, parts, sizes[axis])
            slices += [(axis, *ends)] * (ends != (0, LAST, 1))
        else:
            start = _end(step, parts, sizes[axis])
            slices.append((axis, start, LAST if start == -1 else start + 1, 1))
            dropped.append(axis)
        axis += 1
    if gathered and (gathered > 1 or dropped or step.inputs[1][0].dtype.kind == "b"):
        raise step.unknown("of arrays of indices only one of whole numbers, with no single index beside it, is known")
    if slices:
        axes, starts, stops, steps = map(list, zip(*slices, strict=True))
        x = w.node("Slice", x, *map(w.constant, (starts, stops, axes, steps)))
    if at is not None:
        x = w.node("Gather", x, _cast(w, arrays[0], np.dtype(np.int64)), axis=at)
        inserted = [place + (step.inputs[1][0].ndim - 1) * (place > at) for place in inserted]
    if dropped:
        x = w.node("Squeeze", x, w.constant(dropped))
    return w.node("Unsqueeze", x, w.constant(inserted)) if inserted else x


def _with_all_axes(key: Any, ndim: int) -> list[object]:
    """Return an index with a part for each axis."""
    key = list(key if ... in key else (*key, ...))
    at = key.index(...)
    missing = ndim - sum(part is not None for part in key) + 1
    return [*key[:at], *[slice(None)] * missing, *key[at + 1 :]]


def _ends(step: Step, parts: Sequence[slice], length: Length) -> tuple[int, int, int]:
    """Return start, end and step of a slice, as they hold for every batch."""
    stride = _end(step, [1 if part.step is None else part.step for part in parts], length)
    starts, stops = [part.start for part in parts], [part.stop for part in parts]
    first = 0 if stride > 0 else LAST
    last = LAST if stride > 0 else FIRST
    start = first if None in starts else _end(step, starts, length)
    stop = last if None in stops else _end(step, stops, length, last)
    return start, stop, stride


def _end(step: Step, places: Sequence[int], length: Length, last: int = LAST) -> int:
    """Return a place in an axis: a number, or one counted from its end where it follows its length."""
    if len(set(places)) == 1:
        return places[0]
    from_end = {place - n for place, n in zip(places, length, strict=True)}
    if len(from_end) > 1:
        raise step.unknown("its settings change with the batch: " + ", ".join(op.label for op in step.ops))
    return from_end.pop() or last


# -- the table ------------------------------------------------------------------------------------------

Write = Callable[..., str]  # called with a writer, a step and the names of the inputs

_FUNCTIONS: dict[Any, Write] = {
    elementwise.subtract_scaled: _subtract_scaled,
    elementwise.divide_or_zero: _divide_or_zero,
    elementwise.square: _square,
    elementwise.expm1: _expm1,
    elementwise.log1p: _log1p,
    elementwise.not_equal: _not_equal,
    elementwise.gate: _gate,
    activation.selu: _selu,
    activation.gelu: _gelu,
    activation.silu: _silu,
    similarity._at_most_one: _at_most_one,
    random.mask: partial(_plain, "Mul"),
    products.bias: partial(_plain, "Sub"),
}
for _kind, _function in {
    "Sub": elementwise.subtract,
    "Div": elementwise.divide,
    "Pow": elementwise._power,
    "Neg": elementwise.negative,
    "Sin": elementwise.sin,
    "Cos": elementwise.cos,
    "Exp": elementwise.exp,
    "Log": elementwise.log,
    "Sqrt": elementwise.sqrt,
    "Sign": elementwise.sign,
    "Erf": elementwise.erf,
    "Less": elementwise.less,
    "LessOrEqual": elementwise.less_equal,
    "Greater": elementwise.greater,
    "GreaterOrEqual": elementwise.greater_equal,
    "Equal": elementwise.equal,
    "And": elementwise.logical_and,
    "Or": elementwise.logical_or,
    "Xor": elementwise.logical_xor,
    "Not": elementwise.logical_not,
    "Where": elementwise._where,
    "Sigmoid": activation.sigmoid,
    "Softplus": activation.softplus,
    "Tanh": activation.tanh,
    "Relu": activation.relu,
    "Softsign": activation.softsign,
}.items():
    _FUNCTIONS[_function] = partial(_plain, _kind)
for _function in (elementwise.copied, activation.identity):
    _FUNCTIONS[_function] = partial(_plain, "Identity")
for _kind, _function in {
    "Add": elementwise.add,
    "Mul": elementwise.multiply,
    "Max": elementwise.maximum,
    "Min": elementwise.minimum,
    "Abs": elementwise.abs,
}.items():
    _FUNCTIONS[_function] = partial(_arithmetic, _kind)

RANDOM = random.Bernoulli, random.Uniform, random.Normal

OPERATIONS: dict[type[Op], Write] = {
    **{type(function.op): write for function, write in _FUNCTIONS.items()},
    elementwise.Clip: _clip,
    elementwise.Cast: _to_dtype,
    activation.ScaledTanh: _scaled_tanh,
    activation.TwoSidedRelu: _two_slopes,
    activation.LeakyRelu: _two_slopes,
    activation.Elu: _elu,
    activation.Softmax: partial(_along_axis, "Softmax"),
    activation.LogSoftmax: partial(_along_axis, "LogSoftmax"),
    Sum: partial(_reduction, "ReduceSum"),
    Prod: partial(_reduction, "ReduceProd"),
    Mean: partial(_reduction, "ReduceMean"),
    Max: partial(_reduction, "ReduceMax"),
    Min: partial(_reduction, "ReduceMin"),
    Norm: partial(_reduction, "ReduceL2"),
    LogSumExp: partial(_reduction, "ReduceLogSumExp"),
    ArgMax: partial(_place_of_extreme, "ArgMax"),
    ArgMin: partial(_place_of_extreme, "ArgMin"),
    CumSum: _cumsum,
    BroadcastTo: _broadcast_to,
    Reshape: _reshape,
    Transpose: _transpose,
    Tril: partial(_triangle, 0),
    Triu: partial(_triangle, 1),
    Concatenate: _concatenate,
    Pad: _pad,
    products.MatMul: _matmul,
    CausalMask: _causal_mask,
    BatchNorm: _batch_norm,
    GridNeighborhoods: _grid_neighborhoods,
    LayerNorm: _layer_norm,
    Index: _index,
    TakeAlongAxis: _take_along_axis,
    ArgSort: _argsort,
    OneHot: _one_hot,
    NeighborhoodMatMul: _neighborhood_matmul,
    EdgeProduct: _edge_product,
}


def write_step(w: Writer, step: Step, *inputs: str) -> str:
    """Write an operation; return the name of its result.

    Raises
    ------
    GraphError
        If ONNX does not know it.
    """
    write = OPERATIONS.get(type(step.ops[0]))
    if isinstance(step.ops[0], RANDOM):
        raise step.unknown("a model gives the same for the same; draw in training only, where self.training holds")
    if write is None:
        raise step.unknown("ONNX has no such operation; compute it from others of tinygraph, or leave it out")
    return write(w, step, *inputs)
