"""Which positions of a sequence may be attended to."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ShapeError
from ..op import Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace
from .declare import applies

__all__ = ["causal_mask"]


@dataclass(frozen=True)
class CausalMask(Op):
    """Whether a column of a matrix, or of each of a stack, is not behind its row."""

    rule = "no gradient"
    differentiable = False

    def check(self, *inputs: Tensor) -> None:
        if inputs[0].ndim < 2:
            raise ShapeError(f"causal_mask: expected a matrix or a stack of them, got shape {inputs[0].shape}")

    def forward(self, xp: Namespace, scores: Array, out: Array | None = None) -> Array:
        rows, columns = scores.shape[-2:]
        return xp.less_equal(xp.arange(columns), xp.reshape(xp.arange(rows), (rows, 1)))


@applies(CausalMask)
def causal_mask(scores: Operand) -> Tensor:
    """Return which positions a position may attend to so that it sees none that come later: itself and those before.

    Parameters
    ----------
    scores : tensor of shape (..., T, S)
        Only its shape matters; it may follow the batch, in compiled functions too.

    Returns
    -------
    tensor of shape (T, S), truth values
        True at [i, j] where j <= i.

    Raises
    ------
    ShapeError
        If it has fewer than two axes.
    """
    return CausalMask()(scores)
