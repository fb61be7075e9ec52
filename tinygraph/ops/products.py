"""Products of matrices, and the chapter's bias."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportFunctionMemberAccess=false
# `x.__class__ is` tells types apart where every call counts; Pyright does not follow it

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ShapeError
from ..leaves import as_tensors, in_common_dtype
from ..op import Gradients, Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace, Shape
from .declare import ElementwiseOp, applies, operation
from .elementwise import negative
from .reduce import sum_to
from .shape import reshape

__all__ = ["bias", "matmul"]


@dataclass(frozen=True)
class MatMul(Op):
    """Product ``y = a b`` of matrices or stacks of matrices, either one transposed on request.

    The rules of the four cases are products of the same four kinds, so no transpose is ever materialised. A stack on
    the left of one matrix is the matrix of all its rows; so is it for the gradient of the one.
    """

    name = "matmul"
    rule = "da = dy b', db = a' dy"
    equation = "(65.61), (65.74)"  # sensitivities from layer to layer, the gradient with respect to the weights
    promotes_from = 0

    transpose_a: bool = False
    transpose_b: bool = False

    def check(self, *inputs: Tensor) -> None:
        a, b = inputs[0].data.shape, inputs[1].data.shape
        rows, columns = a[-2 if self.transpose_a else -1], b[-1 if self.transpose_b else -2]
        if rows != columns:
            marks = ["'" if t else "" for t in (self.transpose_a, self.transpose_b)]
            raise ShapeError(f"matmul: inner sizes differ: {a}{marks[0]} @ {b}{marks[1]}; {rows} != {columns}")
        if len(a) > 2 or len(b) > 2:
            for i, j in zip(reversed(a[:-2]), reversed(b[:-2]), strict=False):
                if i != j and 1 not in (i, j):
                    raise ShapeError(f"matmul: stacks do not broadcast: {a} @ {b}; {i} != {j}")

    def joins_rows(self, a: Shape, b: Shape) -> bool:
        """Whether `a` is the shape of a stack, and `b` that of one matrix, which all its rows meet."""
        return len(a) > 2 == len(b) and not self.transpose_a

    def forward(self, xp: Namespace, a: Array, b: Array, out: Array | None = None) -> Array:
        if a.ndim > 2 and self.joins_rows(a.shape, b.shape):
            rows = xp.matmul(xp.reshape(a, _rows(a.shape)), b.T if self.transpose_b else b)
            return xp.reshape(rows, (*a.shape[:-1], rows.shape[-1]))
        if self.transpose_a:
            a = a.T if a.ndim == 2 else xp.swapaxes(a, -1, -2)
        if self.transpose_b:
            b = b.T if b.ndim == 2 else xp.swapaxes(b, -1, -2)
        return xp.matmul(a, b, out=out)

    def backward(self, dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
        ta, tb = self.transpose_a, self.transpose_b
        if a.data.ndim > 2 and self.joins_rows(a.shape, b.shape):

            def db() -> Tensor:
                rows, of_rows = reshape(a, _rows(a.shape)), reshape(dy, _rows(dy.shape))
                return _products[True, False](of_rows, rows) if tb else _products[True, False](rows, of_rows)

            return lambda: _products[False, not tb](dy, b), db
        return (
            lambda: _products[tb, True](b, dy) if ta else _products[False, not tb](dy, b),
            lambda: _products[True, ta](dy, a) if tb else _products[not ta, False](a, dy),
        )


def _rows(shape: Shape) -> Shape:
    """Return the shape of the matrix of all rows of a stack."""
    return math.prod(shape[:-1]), shape[-1]


_products = {(ta, tb): MatMul(ta, tb) for ta in (False, True) for tb in (False, True)}
_product = _products[False, False]


@applies(MatMul)
def matmul(a: Operand, b: Operand) -> Tensor:
    """Return the matrix product ``a @ b``.

    Parameters
    ----------
    a : tensor of shape (..., m, k) or (k,)
    b : tensor of shape (..., k, n) or (k,)
        A vector counts as one row on the left and as one column on the right, and that axis is dropped
        from the result. Leading axes broadcast.

    Raises
    ------
    ShapeError
        If the inner sizes differ or an operand has no axis.
    DTypeError
        If the floating dtypes differ.
    """
    if a.__class__ is not Tensor or b.__class__ is not Tensor:
        a, b = as_tensors(_product, (a, b))
    if len(a.data.shape) > 1 and len(b.data.shape) > 1:
        return _product(a, b)
    a, b = in_common_dtype(_product, (a, b))
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul: a number has no inner size: {a.shape} @ {b.shape}; use * to scale")
    y = _product(reshape(a, (1, -1)) if a.ndim == 1 else a, reshape(b, (-1, 1)) if b.ndim == 1 else b)
    return reshape(y, y.shape[:-2] + y.shape[-2:-1] * (a.ndim > 1) + y.shape[-1:] * (b.ndim > 1))


def _one_per_column(op: Op, *inputs: Tensor) -> None:
    z, theta = inputs[0].data.shape, inputs[1].data.shape
    if not z or theta != z[-1:]:
        fits = f"theta of shape ({z[-1]},)" if z else "z with at least one axis"
        raise ShapeError(f"bias: z has shape {z} and theta {theta}; expected {fits}")


@operation(
    "dy = dz, dtheta = -dz, summed over the batch",
    ElementwiseOp,
    forward="subtract",
    check=_one_per_column,
    equation="(65.80)",
)
def bias(dz: Tensor, y: Tensor, z: Operand, theta: Operand) -> Gradients:
    """Return ``z - theta``: the bias is subtracted, as in (65.4) and (65.31).

    Parameters
    ----------
    z : tensor of shape (..., n)
    theta : tensor of shape (n,)

    Raises
    ------
    ShapeError
        If `theta` does not have one element per column of `z`.
    """
    return dz, lambda: negative(sum_to(dz, theta.shape))  # type: ignore[union-attr]  # summed first: the smaller one is negated
