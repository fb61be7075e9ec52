"""Reverse mode: gradients by walking the graph backwards, one local rule at a time.

Nothing here recurses: the order of evaluation is the order of creation, which every tensor carries.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportFunctionMemberAccess=false
# `x.__class__ is` tells types apart where every call counts; Pyright does not follow it

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter

from .errors import ArgumentError, DTypeError, GradientError, GraphError, ShapeError
from .leaves import filled_like, matching
from .mode import mode, no_grad
from .op import Op
from .operators import Operand, offers
from .ops.elementwise import add, copied
from .ops.reduce import sum_to
from .tensors import RESULT, Tensor, describe, read_grads, write_grads

__all__ = ["grad"]


def _pull_back(y: Tensor, dy: Tensor, wanted: set[Tensor] | None, keep: set[Tensor]) -> dict[Tensor, Tensor]:
    """Carry the gradient `dy` of `y` back through the graph; return the gradients of the leaves and of `keep`.

    Nodes are visited from the last created to the first: all that a node was used for was created after it,
    so its gradient is complete when its turn comes. It is dropped as soon as it has been passed on.
    """
    gradients = {y: dy}
    queue = [] if y.op is None else [(-y.index, y, y.op)]  # a heap: the last created comes first; no leaves
    scope = mode.scope
    try:
        while queue:
            _, y, op = heappop(queue)
            dy = gradients[y] if y in keep else gradients.pop(y)
            for x, dx in apply_rule(op, dy, y, wanted):
                if x in gradients:
                    gradients[x] = add(gradients[x], dx)
                else:
                    gradients[x] = dx
                    if x.op is not None:
                        heappush(queue, (-x.index, x, x.op))
    finally:
        mode.scope = scope
    return gradients


def apply_rule(op: Op, dy: Tensor, y: Tensor, wanted: set[Tensor] | None) -> list[tuple[Tensor, Tensor]]:
    """Return the inputs of `y` that are wanted, by default those that require a gradient, with their parts of it.

    Raises
    ------
    GraphError
        If an input was assigned since `y` was computed from it.
    GradientError
        If what the rule of `op` gives does not fit the inputs.
    """
    mode.scope = y.scope  # a gradient belongs to the same layer as what it is the gradient of
    for x in y.inputs:
        if x.modified > y.index:
            raise GraphError(
                f"{describe(x)} was assigned after {op.label} had used it; its gradient would be wrong: "
                "call backward before assign_, or compute the forward pass again"
            )
    rule = op.backward(dy, y, *y.inputs)
    if len(rule) != len(y.inputs):
        raise GradientError(
            f"{op.label}: backward must return {len(y.inputs)} gradients, one per input, got {len(rule)}"
        )
    parts = []
    for x, dx in zip(y.inputs, rule, strict=True):
        if dx is None or not (x.requires_grad if wanted is None else x in wanted):
            continue
        if dx.__class__ is not Tensor:
            dx = dx()  # type: ignore[operator]
        if dx.data.shape != x.data.shape:
            dx = _undo_broadcasting(op, dx, x)
        if dx.data.dtype is not x.data.dtype and dx.data.dtype != x.data.dtype:
            raise GradientError(f"{op.label}: backward gave {dx.dtype} for an input of {x.dtype}")
        parts.append((x, dx))
    return parts


def _undo_broadcasting(op: Op, dx: Tensor, x: Tensor) -> Tensor:
    try:
        return sum_to(dx, x.shape)
    except ShapeError:
        raise GradientError(
            f"{op.label}: backward gave a gradient of shape {dx.shape} for an input of shape {x.shape}"
        ) from None


def ancestors(outputs: Iterable[Tensor]) -> list[Tensor]:
    """Return `outputs` and all that they were computed from, inputs before what is made from them."""
    seen: set[Tensor] = set()
    stack = list(outputs)
    while stack:
        t = stack.pop()
        if t not in seen:
            seen.add(t)
            stack.extend(t.inputs)
    return sorted(seen, key=attrgetter("index"))


def depending_on(targets: Iterable[Tensor], y: Tensor) -> set[Tensor]:
    """Return those of the `ancestors` of `y` that are among `targets` or were computed from one of them."""
    targets = set(targets)
    reached: set[Tensor] = set()
    for t in ancestors([y]):
        if t in targets or (t.op is not None and t.op.differentiable and not reached.isdisjoint(t.inputs)):
            reached.add(t)
    return reached


def _seed(y: Tensor, dy: Operand | None, caller: str) -> Tensor:
    """Return the gradient that starts at `y`, checked: `dy`, or 1 for a tensor with one element."""
    if y.data.dtype.kind != "f":
        raise DTypeError(f"{caller}: only floating tensors have gradients, got {y.dtype}")
    if dy is None:
        if y.data.size != 1:
            raise ShapeError(f"{caller}: expected a tensor with one element, got shape {y.shape}; give dy of its shape")
        return filled_like(y, 1)
    return matching(caller, "dy", dy, y)


@offers
def backward(y: Tensor, dy: Operand | None = None) -> None:
    """Add the gradient of `y` to `grad` of every leaf that requires one; see `Tensor.backward`.

    Parameters
    ----------
    y : tensor
        What to differentiate; with one element, unless `dy` is given.
    dy : tensor or array of the shape of `y`, optional
        The gradient with respect to `y`; 1 by default.

    Raises
    ------
    GraphError
        If no leaf that requires a gradient leads to `y`, or one was assigned since it was used.
    ShapeError, DTypeError
        If `dy` does not fit.
    """
    seed = _seed(y, dy, "backward")
    if not y.requires_grad:
        raise GraphError(
            f"backward: {describe(y)} depends on no tensor that requires a gradient; make one with "
            "tg.parameter or requires_grad=True, and compute outside of no_grad"
        )
    with no_grad():
        gradients = _pull_back(y, seed, None, set())
        before, new = read_grads(gradients), _apart(gradients.values(), y, seed)
        sums = [now if old is None else add(old, now) for old, now in zip(before, new, strict=True)]
        write_grads(gradients, sums)


def grad(y: Tensor, inputs: Sequence[Tensor] | Tensor, dy: Operand | None = None) -> list[Tensor]:
    """Return the gradients of `y` with respect to `inputs`, as tensors that can be differentiated again.

    Parameters
    ----------
    y : tensor
        What to differentiate; with one element, unless `dy` is given.
    inputs : sequence of tensors
        Leaves or inner tensors of the graph of `y`; they need not have been asked to require a gradient.
    dy : tensor or array of the shape of `y`, optional
        The gradient with respect to `y`; 1 by default.

    Returns
    -------
    list of Tensor
        One for each of `inputs`, of its shape and dtype. `grad` attributes are left alone.

    Raises
    ------
    GraphError
        If `y` does not depend on one of `inputs`.
    """
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not targets:
        raise ArgumentError("grad: expected at least one tensor to differentiate with respect to, got none")
    seed = _seed(y, dy, "grad")
    reached = depending_on(targets, y)
    for position, x in enumerate(targets):
        if x.data.dtype.kind != "f":
            raise DTypeError(f"grad: only floating tensors have gradients, input {position} is {x.dtype}")
        if y not in reached or x not in reached:
            raise GraphError(
                f"grad: {describe(y)} does not depend on input {position}, {describe(x)} of shape {x.shape}"
            )
    gradients = _pull_back(y, seed, reached, set(targets))
    found = [gradients[x] if x in gradients else filled_like(x, 0) for x in targets]  # 0: no rule passes a gradient on
    return list(_apart(found, y, seed))


def _apart(gradients: Iterable[Tensor], y: Tensor, seed: Tensor) -> dict[Tensor, None]:
    """Return gradients of `y`, each in memory of its own: copies of views, of what is given twice or was there."""
    apart: dict[Tensor, None] = {seed: None}
    for g in gradients:
        apart[g if g.modified in (RESULT, 0) and g.index > y.index and g not in apart else copied(g)] = None
    del apart[seed]
    return apart
