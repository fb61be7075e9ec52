"""Neighbourhoods on a grid: of each place the square around it, as one row of a matrix.

A layer that is fed by such squares, with the same weights everywhere, is a product of these rows with its weights. The
chapter has neighbourhoods in general, each edge with a weight of its own (`neighborhood`), and announces this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..arguments import whole_number
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor
from ..op import Gradients, Op
from ..operators import Operand
from ..tensors import Tensor
from ..typing import Array, Namespace, Shape
from .declare import applies, instance
from .reduce import in_single
from .shape import pad

__all__ = ["grid_neighborhoods"]

Pair = tuple[int, int]  # along rows and columns


@dataclass(frozen=True)
class _OnGrid(Op):
    """An operation on the squares of `size` that lie `stride` apart on a grid."""

    size: Pair
    stride: Pair = (1, 1)

    @property
    def label(self) -> str:
        """The name with the size: ``grid_neighborhoods(3 x 3, stride 2 x 2)``."""
        apart = "" if self.stride == (1, 1) else ", stride {} x {}".format(*self.stride)
        return "{}({} x {}{})".format(self.name, *self.size, apart)

    def places(self, grid: Shape) -> Shape:
        """Return how many squares there are along the axes of a grid."""
        rows, columns = ((n - k) // s + 1 for n, k, s in zip(grid, self.size, self.stride, strict=True))
        return rows, columns

    def keys(self, grid: Shape) -> Iterator[tuple[slice, ...]]:
        """Yield for each place in a square where the nodes in that place of all squares are."""
        rows, columns = self.places(grid)
        down, right = self.stride
        for r in range(self.size[0]):
            for c in range(self.size[1]):
                yield (
                    slice(None),
                    slice(r, r + down * (rows - 1) + 1, down),
                    slice(c, c + right * (columns - 1) + 1, right),
                )


@dataclass(frozen=True)
class GridNeighborhoods(_OnGrid):
    """The signals of each square's nodes in a row: by rows, then columns, then channels."""

    rule = "dy = dx at the nodes it comes from; what a node passes to several squares adds up"

    def check(self, *inputs: Tensor) -> None:
        shape = inputs[0].shape
        if len(shape) != 4:
            raise ShapeError(f"{self.name}: expected signals (B, rows, columns, channels), got shape {shape}")
        if any(n < k for n, k in zip(shape[1:], self.size, strict=False)):
            raise ShapeError(
                "{}: a square of {} x {} does not fit a grid of {} x {}".format(self.name, *self.size, *shape[1:3])
            )

    def forward(self, xp: Namespace, y: Array, out: Array | None = None) -> Array:
        return xp.concatenate([y[key] for key in self.keys(y.shape[1:3])], axis=-1, out=out)

    def backward(self, dx: Tensor, x: Tensor, y: Tensor) -> Gradients:
        return (GridSum(self.size, self.stride, y.shape)(dx),)


@dataclass(frozen=True)
class GridSum(_OnGrid):
    """Rows for squares, added up at the nodes of a grid; nodes in no square get 0."""

    rule = "dx = dy at the nodes of each square, in a row"
    shape: Shape = ()

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        rows, channels = in_single(x), self.shape[-1]
        y = xp.zeros(self.shape, rows.dtype)
        for place, key in enumerate(self.keys(self.shape[1:3])):
            part = y[key]
            xp.add(part, rows[..., place * channels : (place + 1) * channels], out=part)
        return y if y.dtype == x.dtype else y.astype(x.dtype)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
        return (GridNeighborhoods(self.size, self.stride)(dy),)


@applies(GridNeighborhoods)
def grid_neighborhoods(
    y: Operand, size: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0, border: float = 0.0
) -> Tensor:
    """Return the signals that feed each node of the next layer: those in a square of a grid, in a row.

    Others call this im2col, or unfolding.

    Parameters
    ----------
    y : tensor of shape (B, rows, columns, channels)
    size : int, or (rows, columns)
        Of the squares.
    stride : int, or (down, right)
        How far squares that stand beside each other are apart.
    padding : int, or (rows, columns)
        How many rows and columns are put around the grid, before and behind.
    border : float
        What stands there.

    Returns
    -------
    tensor of shape (B, rows', columns', size * size * channels)
        ``rows' = (rows + 2 padding - size) // stride + 1``, likewise for columns. A row has the square's nodes by rows,
        then columns, then channels; what remains at the end of the grid feeds nothing.

    Raises
    ------
    ArgumentError
        If a size or a stride is not a whole number of at least 1, or the padding one of at least 0.
    ShapeError
        If `y` does not have four axes, or a square does not fit.
    """
    sides, apart, around = (
        pair("grid_neighborhoods", *argument)
        for argument in (("size", size, 1), ("stride", stride, 1), ("padding", padding, 0))
    )
    y = as_tensor(y)
    if any(around) and y.ndim == 4:
        y = pad(y, (0, *around, 0), border)
    return instance(GridNeighborhoods, sides, apart)(y)


def pair(caller: str, name: str, value: object, low: int) -> Pair:
    """Return a length along rows and one along columns, given as one number or two, each at least `low`."""
    several = tuple(value) if isinstance(value, Iterable) else (value, value)
    if len(several) != 2:
        raise ArgumentError(f"{caller}: {name} must be one whole number or two, along rows and columns, got {value!r}")
    rows, columns = (whole_number(f"{caller}: {name}", n, low) for n in several)
    return rows, columns
