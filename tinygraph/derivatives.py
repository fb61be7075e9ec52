"""Derivatives beyond the gradient: Jacobians, products with Jacobians and Hessians, the Hessian's diagonal.

All are built on `grad`, whose results can be differentiated again, so all of them are exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from .arguments import check_name
from .autodiff import depending_on, grad
from .errors import ArgumentError, DTypeError
from .leaves import as_tensor, filled_like, matching
from .mapping import vmap
from .mode import enable_grad
from .mode import mode as state
from .operators import Operand
from .ops.activation import identity
from .ops.elementwise import add
from .ops.reduce import sum as total
from .ops.shape import concatenate, reshape, transpose
from .tensors import Tensor, describe
from .typing import ArrayLike

__all__ = ["hessian_diagonal", "hvp", "jacobian", "jvp", "vjp"]

AT_ONCE = 64  # passes made together: enough to take little time each, and few enough to bound their memory
MANY_ELEMENTS = 10_000  # above this many, `hessian_diagonal` warns that it takes a pass for each


def jacobian(y: Tensor, x: Tensor, mode: str = "reverse") -> Tensor:
    """Return the derivative of every element of `y` with respect to every element of `x` (Problem 65.10).

    Parameters
    ----------
    y : floating tensor
        Computed from `x`.
    x : floating tensor
        A leaf or an inner tensor of the graph of `y`.
    mode : {"reverse", "forward"}
        "reverse" takes a backward pass for each element of `y`, "forward" a forward pass for each element of `x`; 64
        of them are made at once. The result is the same and can be differentiated again, unless this runs in `no_grad`.

    Returns
    -------
    tensor of shape ``y.shape + x.shape`` and the dtype of `x` (of `y` in forward mode)

    Raises
    ------
    GraphError
        If `y` does not depend on `x`.
    ArgumentError
        For another mode.
    DTypeError
        If `x` or `y` is not floating.

    Examples
    --------
    >>> x = tg.tensor([1.0, 2.0])
    >>> tg.jacobian(x * x, x).numpy().tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    check_name("jacobian: mode", mode, ("reverse", "forward"))
    shape = y.shape + x.shape
    if mode == "reverse":
        if not y.size:
            return Tensor(y.backend.xp.zeros(shape, x.dtype), y.backend)
        return reshape(_along_each(y, lambda dy: grad(y, [x], dy)[0]), shape)
    if not x.size:
        return Tensor(y.backend.xp.zeros(shape, y.dtype), y.backend)
    u = filled_like(y, 0)  # its value does not matter
    with enable_grad():
        (pulled,) = grad(y, [x], u)
    columns = _along_each(x, lambda dx: grad_or_zero(pulled, [u], dx)[0])
    return reshape(transpose(reshape(columns, (x.size, y.size))), shape)


def jvp(fn: Callable[..., Tensor], x: ArrayLike, v: ArrayLike) -> tuple[Tensor, Tensor]:
    """Return ``fn(x)`` and the Jacobian of `fn` at `x` times `v`, without building the Jacobian.

    Exact. A backward pass is linear in the gradient u it starts from, ``g(u) = J' u``, so the gradient of
    ``<g(u), v>`` with respect to u is ``J v``, whatever u is.

    Parameters
    ----------
    fn : callable
        A function of as many tensors as `x` has; returns one tensor.
    x, v : floating tensor or array, or tuples of them
        Where, and in which direction; shapes and dtypes match.

    Returns
    -------
    y : tensor
    Jv : tensor of the shape and dtype of `y`

    Raises
    ------
    ShapeError, DTypeError, BackendError
        If `v` does not fit `x`.
    GraphError
        If ``fn(x)`` depends on none of its inputs.
    ArgumentError
        If `fn` returns anything but a tensor, or as many directions as inputs are not given.
    """
    xs = [as_tensor(t) for t in (x if isinstance(x, tuple) else (x,))]
    directions = _directions("jvp", xs, v if isinstance(v, tuple) else (v,))
    with enable_grad():
        points, y = _at_points(fn, xs)
        if not isinstance(y, Tensor):
            raise ArgumentError(f"jvp: fn must return one tensor, got {type(y).__name__}")
        u = filled_like(y, 0)  # its value does not matter
        reached = depending_on(points, y)
        used = [i for i, t in enumerate(points) if t in reached] or [0]  # with none of them, grad says so
        inner = _inner(grad(y, [points[i] for i in used], u), [directions[i] for i in used])
    Jv = grad_or_zero(inner, [u])[0]
    return (y, Jv) if state.recording else (y.detach(), Jv)


def vjp(fn: Callable[..., object], *x: Operand) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """Return ``fn(*x)`` and a function from the gradient of the result to those of `x`: a vector-Jacobian product.

    The forward pass is made once, a backward pass at each call of that function::

        y, pull_back = tg.vjp(fn, a, b)
        da, db = pull_back(dy)

    Parameters
    ----------
    fn : callable
        A function of as many tensors as `x` are given; returns a tensor, or a tuple or list of tensors.
    *x : floating tensors or arrays

    Returns
    -------
    y : tensor, tuple or list
        What `fn` returns.
    pull_back : callable
        ``pull_back(dy)`` returns a tuple, the gradient with respect to each of `x`, of its shape and dtype, 0 where the
        result does not depend on it. `dy` is of the shape and dtype of `y`; where `fn` returns several tensors, a tuple
        or list of as many. The gradients can be differentiated again, with respect to `x` and to `dy`, unless in
        `no_grad`.

    Raises
    ------
    DTypeError
        If one of `x`, or of what `fn` returns, is not floating, or `dy` has another dtype.
    ShapeError
        If `dy` has another shape.
    ArgumentError
        If `fn` returns anything else, or there are not as many in `dy`.

    Examples
    --------
    >>> y, pull_back = tg.vjp(tg.square, tg.tensor([1.0, 2.0]))
    >>> pull_back([1.0, 10.0])[0].numpy().tolist()
    [2.0, 40.0]
    """
    with enable_grad():
        points, result = _at_points(fn, [as_tensor(t) for t in x])
    several = isinstance(result, tuple | list)
    outputs = list(result) if several else [result]
    if not outputs or not all(isinstance(y, Tensor) for y in outputs):
        kinds = ", ".join(type(y).__name__ for y in outputs)
        raise ArgumentError(f"vjp: fn must return tensors, one or a tuple of them, got {kinds or 'an empty tuple'}")
    for what, t in (*(("an input", t) for t in points), *(("a result", y) for y in outputs)):
        if t.dtype.kind != "f":
            raise DTypeError(f"vjp: only floating tensors have gradients, {what} is {t.dtype}")

    def pull_back(dy: Any) -> tuple[Tensor, ...]:
        if several and not (isinstance(dy, tuple | list) and len(dy) == len(outputs)):
            raise ArgumentError(f"vjp: expected a tuple of {len(outputs)} gradients, one a result, got {dy!r:.60}")
        given = [matching("vjp", "dy", v, y) for v, y in zip(dy if several else (dy,), outputs, strict=True)]
        if len(given) == 1:
            return tuple(grad_or_zero(outputs[0], points, given[0]))
        with enable_grad():
            inner = _inner(outputs, given)
        return tuple(grad_or_zero(inner, points))

    if state.recording:
        return result, pull_back
    plain = [y.detach() for y in outputs]
    return (plain if isinstance(result, list) else tuple(plain) if several else plain[0]), pull_back


def hvp(loss: Tensor, x: Tensor | Sequence[Tensor], v: Any) -> object:
    """Return the Hessian of `loss` with respect to `x` times `v`, without building the Hessian.

    Parameters
    ----------
    loss : tensor with one element
    x : tensor, or list or tuple of tensors
        What `loss` was computed from; several are taken together as one long vector.
    v : tensor or array of the shape and dtype of `x`, or as many of them

    Returns
    -------
    tensor of the shape of `x`, or a list of them
        Zero where the gradient does not depend on `x`. It can be differentiated again, unless in `no_grad`.

    Raises
    ------
    GraphError
        If `loss` does not depend on `x`.
    ShapeError, DTypeError, BackendError
        If `v` does not fit `x`, or `loss` has several elements.
    """
    single = isinstance(x, Tensor)
    points: list[Tensor] = [x] if isinstance(x, Tensor) else list(x)
    directions = _directions("hvp", points, [v] if single else v)
    with enable_grad():
        inner = _inner(grad(loss, points), directions)
    results = grad_or_zero(inner, points)
    return results[0] if single else results


def hessian_diagonal(loss: Tensor, x: Tensor) -> Tensor:
    """Return the second derivative of `loss` with respect to each element of `x`, exact (Probs. 65.12-65.14).

    Each element takes a product with the Hessian; above 10,000 elements a warning says how many. (The formulas of
    Probs. 65.12-65.14 for the second derivatives take one pass backward, but leave out the term ``f'(z)**2 w' H w``
    that carries the Hessian H of the next layer's signals, and so are not exact even with one node a layer.)

    Parameters
    ----------
    loss : tensor with one element
    x : floating tensor

    Returns
    -------
    tensor of the shape and dtype of `x`
        It can be differentiated again, unless in `no_grad`, which takes much less memory.

    Raises
    ------
    GraphError
        If `loss` does not depend on `x`.
    """
    if x.size > MANY_ELEMENTS:
        warnings.warn(f"hessian_diagonal: {x.size} elements take as many products with the Hessian", stacklevel=2)
    with enable_grad():
        (gradient,) = grad(loss, [x])
    if not x.size or x not in depending_on([x], gradient):
        return filled_like(x, 0)
    return reshape(_along_each(x, lambda dx: total(grad(gradient, [x], dx)[0] * dx)), x.shape)


def grad_or_zero(y: Tensor, inputs: Sequence[Tensor], dy: Tensor | None = None) -> list[Tensor]:
    """Return the gradients of `y` as `grad` does; zero with respect to what it does not depend on."""
    depending = depending_on(inputs, y)
    reached = [x for x in inputs if x in depending] if y in depending else []
    gradients = dict(zip(reached, grad(y, reached, dy), strict=True)) if reached else {}
    return [gradients[x] if x in gradients else filled_like(x, 0) for x in inputs]


def _at_points(fn: Callable[..., object], xs: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
    """Return nodes with the values of `xs`, each of its own so that a tensor may be given twice, and `fn` of them."""
    points = [identity(t) for t in xs]
    return points, fn(*points)


def _along_each(t: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what a function gives for each tensor like `t` that holds a single 1, along a new first axis."""
    if t.dtype.kind != "f":
        raise DTypeError(f"jacobian: only floating tensors have derivatives, {describe(t)} is {t.dtype}")
    places = t.backend.xp.arange(t.size)
    parts = []
    for start in range(0, t.size, AT_ONCE):
        ones = places == places[start : start + AT_ONCE].reshape((-1, 1))
        parts.append(vmap(function)(Tensor(ones.astype(t.dtype).reshape((-1, *t.shape)), t.backend)))
    return concatenate(parts) if len(parts) > 1 else parts[0]


def _inner(gradients: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    """Return the inner product of gradients and directions, a tensor with one element."""
    return reduce(add, [total(g * v) for g, v in zip(gradients, directions, strict=True)])


def _directions(caller: str, points: Sequence[Tensor], directions: Sequence[Any]) -> list[Tensor]:
    """Return directions as tensors, checked against the points they belong to."""
    if len(points) != len(directions):
        raise ArgumentError(
            f"{caller}: expected a direction for each of the {len(points)} inputs, got {len(directions)}"
        )
    return [matching(caller, "v", v, x) for x, v in zip(points, directions, strict=True)]
