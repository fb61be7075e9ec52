"""Products summed over axes that are named by letters: `einsum`, composed of products of matrices and sums."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensors
from ..op import Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Shape
from .elementwise import astype, multiply
from .products import MatMul
from .reduce import sum as total
from .shape import reshape, transpose

__all__ = ["einsum"]

Axes = tuple[str | int, ...]  # a name for each: its letter, or below 0 for one of an ellipsis, counted from the end


class _Einsum(Op):
    """Named where operands do not meet in a dtype; it is composed of others, and never applied itself."""

    name = "einsum"
    promotes_from = 0


def einsum(equation: str, *operands: Operand) -> Tensor:
    """Return products of elements, summed over the axes that the result does not name.

    ``einsum("bqd,bkd->bqk", queries, keys)`` are the products of all queries with all keys of a sample. It is composed
    of other operations, joined from the left to the right: `matmul` where an axis is summed over, else `multiply`, and
    `transpose`, `reshape` and `sum` where they are needed. So its gradient is a composition of the same kind.

    Parameters
    ----------
    equation : str
        A letter for each axis of each operand, with commas between operands, and after ``->`` the axes of the result;
        without ``->``, the letters that stand once, in alphabetical order. ``...`` stands for further axes, which
        broadcast. A letter that an operand names twice picks its diagonal.
    operands : tensors or arrays
        Axes of one letter have one length, or 1. Whole numbers and truth values count in 64 bits, as in `sum`.

    Raises
    ------
    ArgumentError
        If the equation cannot be read, or does not have a term for each operand.
    ShapeError
        If a term does not fit the shape of its operand, or lengths differ.
    """
    if not isinstance(equation, str):
        raise ArgumentError(f'einsum: the equation comes first, such as "ij,jk->ik"; got {type(equation).__name__}')
    if not operands:
        raise ArgumentError("einsum: expected at least one operand, got none")
    tensors = as_tensors(_Einsum(), operands)
    kind = tensors[0].dtype.kind
    if kind in "iub":
        tensors = tuple([astype(t, "uint64" if kind == "u" else "int64") for t in tensors])
    terms, result = _read(equation, tuple([t.shape for t in tensors]))
    lengths = _lengths(equation, terms, [t.shape for t in tensors])
    factors = [_prepared(t, axes, lengths) for t, axes in zip(tensors, terms, strict=True)]
    y, axes = factors[0]
    for n, (factor, others) in enumerate(factors[1:], 2):
        needed = {*result, *[axis for _, later in factors[n:] for axis in later]}
        y, axes = _product(y, axes, factor, others, needed)
    y, axes = _summed(y, axes, set(result))
    return _arranged(y, axes, result)


@lru_cache(maxsize=1024)
def _read(equation: str, shapes: tuple[Shape, ...]) -> tuple[tuple[Axes, ...], Axes]:
    """Return the names of the axes of each operand, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        letters = "".join(term.split("...", 1))
        if letters and not (letters.isascii() and letters.isalpha()):
            raise ArgumentError(
                f"einsum: {equation!r} cannot be read at {term!r}: expected letters, ... for further axes, and commas "
                'between operands, as in "bij,bjk->bik"'
            )
    if len(terms) != len(shapes):
        raise ArgumentError(f"einsum: {equation!r} has terms for {len(terms)} operands, got {len(shapes)}")
    names = tuple([_names(equation, term, shape) for term, shape in zip(terms, shapes, strict=True)])
    further = tuple(sorted({axis for axes in names for axis in axes if isinstance(axis, int)}))
    if not arrow:
        count = Counter(letter for term in terms for letter in term if letter != ".")
        return names, (*further, *sorted(letter for letter, n in count.items() if n == 1))
    head, dots, tail = right.partition("...")
    if further and not dots:
        raise ArgumentError(f"einsum: the result of {equation!r} lacks the ... of its operands")
    result = (*head, *further, *tail)
    known = {axis for axes in names for axis in axes}
    for axis in result:
        if axis not in known or result.count(axis) > 1:
            wrong = "is an axis of no operand" if axis not in known else "stands twice"
            raise ArgumentError(f"einsum: {axis!r} {wrong} in the result of {equation!r}")
    return names, result


def _names(equation: str, term: str, shape: Shape) -> Axes:
    """Return the names of the axes of an operand, given its part of the equation."""
    head, dots, tail = term.partition("...")
    further = len(shape) - len(head) - len(tail)
    if further < 0 or (further and not dots):
        raise ShapeError(
            f"einsum: {term!r} in {equation!r} names {len(head) + len(tail)} axes, its operand has shape {shape}"
        )
    return (*head, *range(-further, 0), *tail)


def _lengths(equation: str, terms: Sequence[Axes], shapes: Sequence[Shape]) -> dict[str | int, int]:
    """Return the length of every axis; of those named alike, lengths of 1 broadcast between operands."""
    lengths: dict[str | int, int] = {}
    for axes, shape in zip(terms, shapes, strict=True):
        own: dict[str | int, int] = {}
        for axis, n in zip(axes, shape, strict=True):
            known = lengths.get(axis, n)
            if own.setdefault(axis, n) != n or (1 not in (n, known) and n != known):
                name = f"axis {axis!r}" if isinstance(axis, str) else f"axis {axis} of ..."
                raise ShapeError(
                    f"einsum: {name} of {equation!r} has {own[axis] if own[axis] != n else known} elements and {n}; "
                    f"the shapes are {', '.join(map(str, shapes))}"
                )
            lengths[axis] = n if known == 1 else known
    return lengths


def _prepared(x: Tensor, axes: Axes, lengths: dict[str | int, int]) -> tuple[Tensor, Axes]:
    """Return an operand with each axis named once, and without those that broadcast, and the names left."""
    for axis in dict.fromkeys(axes):
        if axes.count(axis) > 1:
            x, axes = _diagonal(x, axes, axis)
    left = tuple([axis for axis, n in zip(axes, x.shape, strict=True) if n == lengths[axis]])
    return (x if left == axes else reshape(x, [lengths[axis] for axis in left])), left


def _diagonal(x: Tensor, axes: Axes, axis: str | int) -> tuple[Tensor, Axes]:
    """Return the elements at which the first two axes of a name have the same index; that axis comes last."""
    rest = list(axes)
    places = [rest.index(axis), rest.index(axis, rest.index(axis) + 1)]
    others = [a for a in range(x.ndim) if a not in places]
    n, shape = x.shape[places[0]], [x.shape[a] for a in others]
    rows = reshape(transpose(x, [*others, *places]), (*shape, n * n))
    picked = rows[..., :: n + 1]  # past a row and one element
    y, left = picked, (*[axes[a] for a in others], axis)
    return _diagonal(y, left, axis) if left.count(axis) > 1 else (y, left)


def _product(a: Tensor, of_a: Axes, b: Tensor, of_b: Axes, needed: set[str | int]) -> tuple[Tensor, Axes]:
    """Return the product of two operands, summed over the axes that nobody needs any more, and its axes."""
    a, of_a = _summed(a, of_a, needed | {*of_b})
    b, of_b = _summed(b, of_b, needed | {*of_a})
    both = [axis for axis in of_a if axis in of_b]
    rows = [axis for axis in of_a if axis not in both]
    columns = [axis for axis in of_b if axis not in both]
    stacked = [axis for axis in both if axis in needed]
    inner = [axis for axis in both if axis not in needed]
    lengths = dict(zip((*of_a, *of_b), (*a.shape, *b.shape), strict=True))
    if not inner or not (rows or columns):
        left = _arranged(b, of_b, [axis for axis in (*of_a, *columns) if axis in of_b])
        b = _reshaped(left, [lengths[axis] if axis in both else 1 for axis in of_a] + [lengths[c] for c in columns])
        y = multiply(_reshaped(a, [*a.shape, *[1] * len(columns)]), b)
        return _summed(y, (*of_a, *columns), needed)
    x, x_turned = _matrices(a, of_a, stacked, rows, inner)
    z, z_turned = _matrices(b, of_b, stacked, inner, columns)
    axes = (*stacked, *rows, *columns)
    return _reshaped(MatMul(x_turned, z_turned)(x, z), [lengths[axis] for axis in axes]), axes


def _matrices(
    x: Tensor, axes: Axes, stacked: Sequence[str | int], rows: Sequence[str | int], columns: Sequence[str | int]
) -> tuple[Tensor, bool]:
    """Return an operand as stacks of matrices, and whether they are transposed: then they lie in memory so."""
    turned = axes == (*stacked, *columns, *rows) and axes != (*stacked, *rows, *columns)
    if turned:
        rows, columns = columns, rows
    x = _arranged(x, axes, (*stacked, *rows, *columns))
    lead, n = x.shape[: len(stacked)], len(stacked) + len(rows)
    return _reshaped(x, [*lead, math.prod(x.shape[len(stacked) : n]), math.prod(x.shape[n:])]), turned


def _summed(x: Tensor, axes: Axes, needed: set[str | int]) -> tuple[Tensor, Axes]:
    """Return a tensor summed over the axes that are not needed, and those left."""
    gone = tuple([place for place, axis in enumerate(axes) if axis not in needed])
    return (total(x, gone), tuple([axis for axis in axes if axis in needed])) if gone else (x, axes)


def _arranged(x: Tensor, axes: Axes, order: Sequence[str | int]) -> Tensor:
    """Return a tensor with its axes in an order of their names."""
    places = [axes.index(axis) for axis in order]
    return x if places == list(range(x.ndim)) else transpose(x, places)


def _reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor in another shape; itself if that is its own."""
    return x if x.shape == tuple(shape) else reshape(x, shape)
