"""How alike two vectors are, whatever their lengths: the cosine of the angle between them (Problem 65.22)."""

from __future__ import annotations

from ..errors import ShapeError
from ..leaves import as_tensors
from ..op import Gradients
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace
from .axes import normalize_axis
from .declare import FloatingOp, operation
from .elementwise import divide_or_zero, multiply
from .reduce import norm
from .reduce import sum as total

__all__ = ["cosine_similarity"]


def _limited(xp: Namespace, c: Array, out: Array | None = None) -> Array:
    return xp.clip(c, -1, 1, out=out)


@operation("dc = dy", FloatingOp, forward=_limited)
def _at_most_one(dy: Tensor, y: Tensor, c: Operand) -> Gradients:
    """Return a cosine without what rounding put beyond -1 and 1, which changes no derivative."""
    return (dy,)


def cosine_similarity(u: Operand, v: Operand, axis: int = -1) -> Tensor:
    """Return ``u'v / (|u| |v|)`` along `axis` (Problem 65.22).

    Parameters
    ----------
    u, v : floating tensors of one dtype
        Of one shape, or of shapes that broadcast with the same length along `axis`.
    axis : int
        Along which the elements of a vector lie.

    Returns
    -------
    tensor without `axis`
        From -1 to 1; 0, with derivative 0, where one of the vectors is 0.

    Raises
    ------
    ShapeError
        If the vectors differ in length.

    Examples
    --------
    >>> tg.cosine_similarity([[3.0, 4.0], [1.0, 1.0]], [[6.0, 8.0], [0.0, 0.0]]).numpy().round(6).tolist()
    [1.0, 0.0]
    """
    u, v = as_tensors(multiply.op, (u, v))
    if (
        not u.ndim
        or not v.ndim
        or len({t.shape[normalize_axis("cosine_similarity", axis, t.shape)] for t in (u, v)}) > 1
    ):
        raise ShapeError(
            f"cosine_similarity: expected vectors of one length along axis {axis}, got shapes {u.shape} and {v.shape}"
        )
    return _at_most_one(total(_unit(u, axis) * _unit(v, axis), axis))


def _unit(u: Tensor, axis: int) -> Tensor:
    """Return the vectors at length 1, and 0 for 0: lengths are divided out first, so no product overflows."""
    return divide_or_zero(u, norm(u, axis, keepdims=True))
