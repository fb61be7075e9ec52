"""Derivatives beyond the gradient: Jacobians, products with Jacobians and Hessians, the Hessian's diagonal.

All are built on `grad`, whose results can be differentiated again, so all of them are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autodiff import ancestors, grad
from .errors import ArgumentError, DTypeError, GraphError, ShapeError
from .ops.reduce import sum as total
from .ops.shape import reshape, stack
from .tensor import Tensor, as_tensor, no_grad

MANY_ENTRIES = 10_000  # above this many, `hessian_diagonal` warns that it takes a pass for each


def jacobian(y: Tensor, x: Tensor, mode: str = "reverse") -> Tensor:
    """Return the derivative of every entry of `y` with respect to every entry of `x`.

    Parameters
    ----------
    y : tensor
        Computed from `x`.
    x : tensor
    mode : {"reverse", "forward"}
        "reverse" takes a backward pass for each entry of `y`, "forward" one for each entry of `x`; the result
        is the same, and can be differentiated again.

    Returns
    -------
    tensor of shape ``y.shape + x.shape``

    Raises
    ------
    GraphError
        If `y` does not depend on `x`.
    """
    shape = y.shape + x.shape
    if mode == "reverse":
        rows = [grad(y, [x], basis)[0] for basis in _basis(y)]
        return reshape(stack(rows), shape) if rows else Tensor(y.backend.xp.zeros(shape, y.dtype), y.backend)
    if mode != "forward":
        raise ArgumentError(f'jacobian: mode must be "reverse" or "forward", got {mode!r}')
    columns = [_push_forward(y, [x], [basis]) for basis in _basis(x)]
    if not columns:
        return Tensor(y.backend.xp.zeros(shape, y.dtype), y.backend)
    return reshape(stack(columns, axis=-1), shape)


def jvp(fn: Callable[..., Tensor], x: Any, v: Any) -> tuple[Tensor, Tensor]:
    """Return ``fn(x)`` and the product of its Jacobian at `x` with `v`.

    Parameters
    ----------
    fn : callable
        A function of tensors with one tensor as its result.
    x, v : tensor or array, or tuples of them
        Where, and in which direction; of one shape and dtype.

    Returns
    -------
    y : tensor
    Jv : tensor of the shape of `y`

    Raises
    ------
    ShapeError
        If `v` has not the shape of `x`.
    """
    points = [as_tensor(t) for t in (x if isinstance(x, tuple) else (x,))]
    directions = [as_tensor(t) for t in (v if isinstance(v, tuple) else (v,))]
    if [t.shape for t in points] != [t.shape for t in directions]:
        said = f"{[t.shape for t in points]} and {[t.shape for t in directions]}"
        raise ShapeError(f"jvp: x and v must have the same shapes, got {said}")
    y = fn(*points)
    return y, _push_forward(y, points, directions)


def _push_forward(y: Tensor, points: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    """Return the Jacobian of `y` times the directions.

    The backward pass is linear in the gradient u it starts from, ``g(u) = J' u``; so ``<g(u), v>`` has the
    gradient ``J v`` with respect to u, whatever u is.
    """
    u = Tensor(y.backend.xp.zeros_like(y.data), y.backend)
    reached = set(ancestors([y]))
    used = [(x, v) for x, v in zip(points, directions, strict=True) if x in reached]
    if not used:
        raise GraphError("jvp: the result does not depend on x")
    pulled = grad(y, [x for x, _ in used], u)
    products = [total(g * v) for g, (_, v) in zip(pulled, used, strict=True)]
    inner = sum(products[1:], products[0])
    if u not in set(ancestors([inner])):  # no rule passes anything on: the derivative is zero
        return u
    return grad(inner, [u])[0]


def hvp(loss: Tensor, x: Tensor | Sequence[Tensor], v: Any) -> Any:
    """Return the Hessian of `loss` with respect to `x` times `v`, without building the Hessian.

    Parameters
    ----------
    loss : tensor with one entry
    x : tensor, or list of tensors
        What `loss` was computed from.
    v : tensor or array of the shape of `x`, or a list of them

    Returns
    -------
    tensor of the shape of `x`, or a list of them

    Raises
    ------
    GraphError
        If `loss` does not depend on `x`.
    ShapeError
        If `v` has not the shape of `x`.
    """
    single = isinstance(x, Tensor)
    points: list[Tensor] = [x] if isinstance(x, Tensor) else list(x)
    directions = [as_tensor(t, p) for t, p in zip([v] if single else v, points, strict=True)]
    for p, d in zip(points, directions, strict=True):
        if p.shape != d.shape:
            raise ShapeError(f"hvp: x has shape {p.shape}, v has {d.shape}")
    products = [total(g * d) for g, d in zip(grad(loss, points), directions, strict=True)]
    inner = sum(products[1:], products[0])
    reached = set(ancestors([inner]))
    found = [p for p in points if p in reached]
    second = dict(zip(found, grad(inner, found), strict=True)) if found else {}
    results = [second.get(p, _zeros(p)) for p in points]
    return results[0] if single else results


def hessian_diagonal(loss: Tensor, x: Tensor) -> Tensor:
    """Return the second derivative of `loss` with respect to each entry of `x`, exact (Problems 65.12-65.14).

    Each entry takes a product with the Hessian; above 10,000 entries a warning says how many.

    Parameters
    ----------
    loss : tensor with one entry
    x : tensor

    Returns
    -------
    tensor of the shape of `x`
        Values only, without a graph.
    """
    if x.size > MANY_ENTRIES:
        warnings.warn(f"hessian_diagonal: {x.size} entries take as many products with the Hessian", stacklevel=2)
    (first,) = grad(loss, [x])
    values = np.zeros(x.size, x.dtype)
    if x in set(ancestors([first])):
        with no_grad():
            for i, basis in enumerate(_basis(x)):
                values[i] = grad(first, [x], basis)[0].numpy().ravel()[i]
    return Tensor(x.backend.asarray(values.reshape(x.shape)), x.backend)


def _basis(t: Tensor) -> list[Tensor]:
    """Return the tensors of the shape of `t` with a single 1."""
    if t.dtype.kind != "f":
        raise DTypeError(f"only floating tensors have derivatives, got {t.dtype}")
    found = []
    for i in range(t.size):
        host = np.zeros(t.size, t.dtype)
        host[i] = 1
        found.append(Tensor(t.backend.asarray(host.reshape(t.shape)), t.backend))
    return found


def _zeros(t: Tensor) -> Tensor:
    return Tensor(t.backend.xp.zeros_like(t.data), t.backend)
