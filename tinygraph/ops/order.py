"""Orders: elements sorted along an axis, the indices that sort them, and the largest of them.

Equal elements keep their order. NaN counts as larger than every number, as in NumPy's sort: it stands last, and first
where the largest stand first. An index has no gradient; that of an element goes to where it was taken from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arguments import truth_value, whole_number
from ..backend import Array
from ..leaves import as_tensor
from ..op import Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Namespace
from .axes import normalize_axis
from .declare import applies, instance
from .indexing import Index, TakeAlongAxis
from .shape import reshape

__all__ = ["argsort", "sort", "topk"]


@dataclass(frozen=True)
class ArgSort(Op):
    """The indices of the elements along an axis, that of the smallest first, or of the largest."""

    name = "argsort"
    rule = "no gradient"
    differentiable = False
    axis: int = -1
    descending: bool = False

    def check(self, *inputs: Tensor) -> None:
        normalize_axis(self.name, self.axis, inputs[0].shape)

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        if not self.descending:
            return xp.argsort(x, axis=self.axis, kind="stable")
        axis = self.axis % x.ndim
        backwards: tuple[Any, ...] = (*(slice(None),) * axis, slice(None, None, -1), ...)
        return x.shape[axis] - 1 - xp.argsort(x[backwards], axis=axis, kind="stable")[backwards]


def _in_a_row(caller: str, x: Operand, axis: int | None) -> tuple[Tensor, int]:
    """Return a tensor and an axis of it counted from the front; None: all its elements in a row, and the only axis."""
    t = as_tensor(x)
    return (reshape(t, -1), 0) if axis is None else (t, normalize_axis(caller, axis, t.shape))


@applies(ArgSort)
def argsort(x: Operand, axis: int | None = -1, descending: bool = False) -> Tensor:
    """Return the indices that sort the elements along `axis` (int64, no gradient); see `sort`.

    Parameters
    ----------
    x : tensor of any shape and dtype
    axis : int, optional
        None: indices among all elements in a row.
    descending : bool
        Whether the largest comes first.
    """
    t, axis = _in_a_row("argsort", x, axis)
    return instance(ArgSort, axis, truth_value("sort: descending", descending))(t)


@applies(TakeAlongAxis)
def sort(x: Operand, axis: int | None = -1, descending: bool = False) -> Tensor:
    """Return the elements along `axis` in rising order; equal ones keep theirs, NaN counts as the largest.

    Parameters
    ----------
    x : tensor of any shape and dtype
    axis : int, optional
        None: all elements in a row.
    descending : bool
        Whether the largest comes first.
    """
    t, axis = _in_a_row("sort", x, axis)
    return instance(TakeAlongAxis, axis)(t, argsort(t, axis, descending))


@applies(TakeAlongAxis)
def topk(x: Operand, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Return the `k` largest elements along `axis`, the largest first, and their indices.

    Parameters
    ----------
    x : tensor of shape (..., n, ...)
    k : int
        From 0 to n.
    axis : int
    largest : bool
        Else the smallest, the smallest first. NaN counts as larger than every number.

    Returns
    -------
    values, indices : tensors of shape (..., k, ...)
        Of the dtype of `x`, and int64. Of equal elements those in front are taken; indices have no gradient.
    """
    t = as_tensor(x)
    axis = normalize_axis("topk", axis, t.shape)
    k = whole_number(f"topk: k along axis {axis} of shape {t.shape}", k, 0, t.shape[axis] + 1)
    indices = Index((*(slice(None),) * axis, slice(k)))(argsort(t, axis, truth_value("topk: largest", largest)))
    return instance(TakeAlongAxis, axis)(t, indices), indices
