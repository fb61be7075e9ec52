"""Batching rules: how an operation on the tensors of one sample is applied to those of all samples at once.

A rule is given the operation, the result that it had for one sample, how many samples there are, and its operands. It
returns the results of all samples as one tensor, whose first axis is the samples'. An operation without a rule is
applied to one sample after the other, which is right for every one; so operations of one's own need none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .errors import ArgumentError, ShapeError
from .op import Op
from .ops.activation import LogSoftmax, Softmax, identity, log_softmax, softmax
from .ops.attention import CausalMask
from .ops.declare import ElementwiseOp
from .ops.elementwise import Cast, equal, square, subtract, where
from .ops.grid import GridNeighborhoods, GridSum
from .ops.indexing import ARRAY_KEY, AddAlongAxis, Index, IndexAdd, Key, OneHot, TakeAlongAxis, take
from .ops.loss import softmax_cross_entropy, softmax_cross_entropy_slope, squared_error
from .ops.neighborhood import EdgeProduct, NeighborhoodMatMul
from .ops.normalize import LayerNorm
from .ops.order import ArgSort
from .ops.products import MatMul, bias
from .ops.random import Bernoulli, Normal, Uniform
from .ops.reduce import ArgMax, BroadcastTo, CumSum, Reduction, broadcast_to, in_single
from .ops.reduce import sum as total
from .ops.shape import Concatenate, Pad, Reshape, Transpose, Tril, reshape, stack, transpose
from .tensors import Tensor
from .typing import Shape


@dataclass(frozen=True)
class Batched:
    """An operand of an operation.

    Attributes
    ----------
    value : tensor
        That of all samples, along its first axis; or one that they share.
    is_shared : bool
    """

    value: Tensor
    is_shared: bool

    @property
    def shape(self) -> Shape:
        """That of one sample."""
        return self.value.shape if self.is_shared else self.value.shape[1:]

    def with_axes(self, ndim: int) -> Tensor:
        """Return the value such that it meets others of `ndim` axes a sample by broadcasting."""
        missing = ndim - len(self.shape)
        if self.is_shared or not missing:
            return self.value
        return reshape(self.value, (self.value.shape[0], *[1] * missing, *self.shape))

    def for_each(self, size: int) -> Tensor:
        """Return the value of each sample, repeated where they share it."""
        return broadcast_to(self.value, (size, *self.shape)) if self.is_shared else self.value


Rule = Callable[..., Tensor | None]  # None: for what it is given there is no rule
RULES: dict[type[Op], Rule] = {}
DRAWS = (Bernoulli, Normal, Uniform)  # whose results differ from sample to sample though the key is shared


def batched(op: Op, y: Tensor, size: int, operands: list[Batched]) -> Tensor:
    """Return the results of an operation for all samples.

    Parameters
    ----------
    op : Op
    y : tensor
        Its result for one sample.
    size : int
        The number of samples.
    operands : list of Batched

    Returns
    -------
    tensor of shape ``(size, *y.shape)``

    Raises
    ------
    ArgumentError
        If results would differ in shape.
    """
    rule = next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)
    result = None if rule is None else rule(op, y, size, *operands)
    return _one_by_one(op, size, operands) if result is None else result


def _one_by_one(op: Op, size: int, operands: list[Batched]) -> Tensor:
    results = [op(*[x.value if x.is_shared else x.value[i] for x in operands]) for i in range(size)]
    try:
        return stack(results)
    except ShapeError:
        shapes = ", ".join(map(str, dict.fromkeys(t.shape for t in results)))
        raise ArgumentError(f"vmap: {op.label} gives results of different shapes: {shapes}") from None


def _rule(*kinds: type[Op] | Op) -> Callable[[Rule], Rule]:
    """Let a function be the batching rule of operations."""

    def publish(rule: Rule) -> Rule:
        RULES.update({kind if isinstance(kind, type) else type(kind): rule for kind in kinds})
        return rule

    return publish


def _with(op: Any, **fields: Any) -> Op:
    """Return an operation with other values of some fields."""
    changed: Op = replace(op, **fields)
    return changed


# -- elements ---------------------------------------------------------------------------------------------


@_rule(ElementwiseOp)
def _elementwise(op: Op, y: Tensor, size: int, *operands: Batched) -> Tensor:
    return op(*[x.with_axes(y.ndim) for x in operands])


@_rule(bias.op)
def _bias(op: Op, y: Tensor, size: int, z: Batched, theta: Batched) -> Tensor:
    return op(z.value, theta.value) if theta.is_shared else subtract(z.value, theta.with_axes(y.ndim))


@_rule(Cast, OneHot, identity.op, Tril)  # a triangle is one of the last two axes
def _unchanged(op: Op, y: Tensor, size: int, x: Batched) -> Tensor:
    return op(x.value)


@_rule(*DRAWS)
def _drawn(op: Any, y: Tensor, size: int, key: Batched) -> Tensor | None:
    return _with(op, shape=(size, *op.shape))(key.value) if key.is_shared else None


# -- along axes -------------------------------------------------------------------------------------------


@_rule(Reduction)
def _reduction(op: Any, y: Tensor, size: int, x: Batched) -> Tensor:
    axes = tuple(a + 1 for a in op.axes(x.shape))
    return _with(op, axis=axes[0] if len(axes) == 1 else axes)(x.value)


@_rule(Softmax, LogSoftmax, ArgMax, ArgSort, CumSum)
def _along_axis(op: Any, y: Tensor, size: int, x: Batched) -> Tensor:
    return _with(op, axis=op.axis if op.axis < 0 else op.axis + 1)(x.value)


@_rule(TakeAlongAxis, AddAlongAxis)
def _at_indices_along_axis(op: Any, y: Tensor, size: int, x: Batched, indices: Batched) -> Tensor:
    return _with(op, axis=op.axis + 1)(x.for_each(size), indices.for_each(size))


@_rule(CausalMask)
def _causal_mask(op: Op, y: Tensor, size: int, scores: Batched) -> Tensor:
    return broadcast_to(op(scores.value), (size, *y.shape))  # it is made of the shape only


@_rule(LayerNorm)
def _layer_norm(op: Op, y: Tensor, size: int, z: Batched, a: Batched, theta: Batched) -> Tensor | None:
    return op(z.value, a.value, theta.value) if a.is_shared and theta.is_shared else None


@_rule(MatMul)
def _matmul(op: Op, y: Tensor, size: int, a: Batched, b: Batched) -> Tensor:
    ndim = max(len(a.shape), len(b.shape))
    return op(a.with_axes(ndim), b.with_axes(ndim))


# -- shapes -----------------------------------------------------------------------------------------------


@_rule(Reshape)
def _reshape(op: Op, y: Tensor, size: int, x: Batched) -> Tensor:
    return reshape(x.value, (size, *y.shape))


@_rule(BroadcastTo)
def _broadcast_to(op: Op, y: Tensor, size: int, x: Batched) -> Tensor:
    return broadcast_to(x.with_axes(y.ndim), (size, *y.shape))


@_rule(Transpose)
def _transpose(op: Any, y: Tensor, size: int, x: Batched) -> Tensor:
    axes = range(y.ndim)[::-1] if op.axes is None else [a % y.ndim for a in op.axes]
    return transpose(x.value, (0, *[a + 1 for a in axes]))


@_rule(Concatenate)
def _concatenate(op: Any, y: Tensor, size: int, *parts: Batched) -> Tensor:
    return _with(op, axis=op.axis % y.ndim + 1)(*[x.for_each(size) for x in parts])


@_rule(Pad)
def _pad(op: Any, y: Tensor, size: int, x: Batched) -> Tensor:
    return _with(op, widths=((0, 0), *op.widths))(x.value)


@_rule(GridNeighborhoods, GridSum)
def _on_grid(op: Any, y: Tensor, size: int, x: Batched) -> Tensor:
    count, *rest = x.shape  # the samples of all samples are one batch
    if isinstance(op, GridSum):
        op = _with(op, shape=(size * count, *op.shape[1:]))
    return reshape(op(reshape(x.value, (size * count, *rest))), (size, *y.shape))


# -- indices ----------------------------------------------------------------------------------------------


@_rule(Index)
def _index(op: Any, y: Tensor, size: int, x: Batched, *arrays: Batched) -> Tensor | None:
    placed = _with_samples(op, len(x.shape), size, x.is_shared, arrays)
    if placed is None:
        return None
    key, indices, order = placed
    picked = Index(key)(x.value, *indices)
    return picked if order is None else transpose(picked, _completed(order, picked.ndim))


@_rule(IndexAdd)
def _index_add(op: Any, y: Tensor, size: int, x: Batched, *arrays: Batched) -> Tensor | None:
    placed = _with_samples(op, y.ndim, size, False, arrays)
    if placed is None:
        return None
    key, indices, order = placed
    values = x.for_each(size)
    if order is not None:
        axes = _completed(order, values.ndim)
        values = transpose(values, tuple(axes.index(a) for a in range(values.ndim)))
    return IndexAdd(key, (size, *op.shape))(values, *indices)


def _with_samples(
    op: Any, ndim: int, size: int, is_shared: bool, arrays: tuple[Batched, ...]
) -> tuple[Key, list[Tensor], list[int] | None] | None:
    """Return the index that picks from all samples, its arrays, and the order of axes that puts the result in place.

    NumPy puts the axes of arrays where the first of them stands, or in front of all others where something stands
    between them; so one for the samples goes along with them if any of the arrays differs from sample to sample.

    Parameters
    ----------
    op : Index or IndexAdd
    ndim : int
        The number of axes that a sample of what is picked from has.
    size : int
        The number of samples.
    is_shared : bool
        Whether all samples pick from the same tensor.
    arrays : tuple of Batched
        The arrays of the index.
    """
    masks = [x.value.dtype.kind == "b" for x in arrays]
    if any(mask and not x.is_shared for mask, x in zip(masks, arrays, strict=True)):
        raise ArgumentError(
            f"vmap: {op.label} picks as many elements as a mask has ones, another number for each sample; choose with "
            "tg.where instead"
        )
    every: Key = (slice(None), *op.key)
    if not arrays:
        return every, [], None
    places = [i for i, k in enumerate(op.key) if k is ARRAY_KEY or isinstance(k, int)]
    together = places[-1] - places[0] == len(places) - 1
    indexed = sum(len(x.shape) if mask else 1 for mask, x in zip(masks, arrays, strict=True))
    indexed += sum(isinstance(k, int | slice) for k in op.key)
    before = sum(ndim - indexed if k is ... else 1 for k in op.key[: places[0]]) if together else 0
    along = max(1 if mask else len(x.shape) for mask, x in zip(masks, arrays, strict=True))  # the axes of the arrays
    if all(x.is_shared for x in arrays):
        return every, [x.value for x in arrays], None if together else [along, *range(along)]
    if any(masks):
        return None
    indices = [x.with_axes(along) for x in arrays]
    if is_shared:
        return op.key, indices, [before, *range(before)] if before else None
    backend = arrays[0].value.backend
    samples = Tensor(backend.xp.arange(size).reshape((size, *[1] * along)), backend)
    order = [0, *range(along + 1, along + 1 + before), *range(1, along + 1)] if before else None
    return (ARRAY_KEY, *op.key), [samples, *indices], order


def _completed(order: list[int], ndim: int) -> tuple[int, ...]:
    """Return an order of the first axes as one of all `ndim`, the others as they are."""
    return (*order, *range(len(order), ndim))


# -- neighbourhoods ---------------------------------------------------------------------------------------


@_rule(NeighborhoodMatMul)
def _neighborhood_matmul(op: Op, y: Tensor, size: int, x: Batched, w: Batched) -> Tensor | None:
    if not w.is_shared:
        return None
    rows = op(reshape(x.value, (-1, x.shape[-1])), w.value)
    return reshape(rows, (size, *y.shape))


@_rule(EdgeProduct)
def _edge_product(op: Any, y: Tensor, size: int, a: Batched, b: Batched) -> Tensor:
    return total(take(a.value, op.neighborhoods.sources, -1) * take(b.value, op.neighborhoods.targets, -1), -2)


# -- losses -----------------------------------------------------------------------------------------------


def _batch_mean(cost: Tensor, rows: int, y: Tensor) -> Tensor:
    """Return the sum of each sample's `cost` over its number of rows, in the dtype of `y`."""
    return (total(in_single(cost), tuple(range(1, cost.ndim))) * (1.0 / rows)).astype(y.dtype)


@_rule(squared_error.op)
def _squared_error(op: Op, y: Tensor, size: int, output: Batched, target: Batched) -> Tensor:
    return _batch_mean(square(in_single(output.value - target.value)), output.shape[0], y)


@_rule(softmax_cross_entropy.op)
def _softmax_cross_entropy(op: Op, y: Tensor, size: int, z: Batched, target: Batched) -> Tensor:
    known = where(equal(target.value, 0), 0.0, log_softmax(z.value))
    return _batch_mean(-(known * target.value), z.shape[0], y)


@_rule(softmax_cross_entropy_slope.op)
def _softmax_cross_entropy_slope(op: Op, y: Tensor, size: int, dy: Batched, z: Batched, target: Batched) -> Tensor:
    slope = softmax(z.value) * total(target.value, -1, keepdims=True) - target.value
    return slope * (dy.with_axes(2) * (1.0 / z.shape[0]))
