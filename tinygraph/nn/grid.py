"""Layers on a grid, such as an image: convolution, pooling, and the way from a grid to nodes in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..arguments import whole_number
from ..backend import generator
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor, parameter
from ..operators import Operand
from ..ops.axes import plain_lengths
from ..ops.grid import Pair, grid_neighborhoods, pair
from ..ops.products import matmul
from ..ops.reduce import max, mean
from ..ops.shape import reshape
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer, initial
from .layers import Activation, Layer
from .module import Module


class Convolution(Layer):
    """A layer of nodes on a grid, each fed by a square of the grid before, all with the same weights.

    It is `NeighborhoodDense` for such neighbourhoods, with weights that are shared, and computed as a product: of the
    squares, each in a row, with `W` (LeCun et al. 1998). As in all layers the bias is subtracted. Images have their
    channels last; ``tg.transpose(y, (0, 2, 3, 1))`` brings those of others there, such as CIFAR-10's (B, 3, 32, 32).

    Parameters
    ----------
    n_in, n_out : int
        How many channels a place has before, and how many nodes it has here.
    size : int, or (rows, columns)
        Of the squares.
    stride, padding : int, or (rows, columns)
        How far squares are apart; how many rows and columns of zeros are put around the grid. Half of an odd size,
        rounded down, with stride 1 keeps the size of the grid.
    activation, bias, init_bias, seed, dtype
        As for `Dense`; nodes of a channel share their bias.
    init : str or callable
        As for `Dense`; a node is fed by all nodes of its square.

    Attributes
    ----------
    W : Tensor of shape (rows * columns * n_in, n_out)
        By the square's rows, then columns, then channels.
    theta : Tensor of shape (n_out,), or None
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: int | Pair = 3,
        activation: str | Activation | Sequence[str | Activation] | None = None,
        *,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        init: Initializer = "normal",
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n_in, n_out = whole_number("Convolution: n_in", n_in, 1), whole_number("Convolution: n_out", n_out, 1)
        self.size = pair("Convolution", "size", size, 1)
        self.stride, self.padding = pair("Convolution", "stride", stride, 1), pair("Convolution", "padding", padding, 0)
        places = self.size[0] * self.size[1]
        weights = initial(
            "init", init, generator(seed, "W"), (places * n_in, n_out), places * n_in, places * n_out, dtype
        )
        self.W = parameter(weights, name="W", dtype=dtype)
        super().__init__(places * n_in, n_out, activation, bias, init_bias=init_bias, seed=seed, dtype=dtype)

    def forward(self, y: Operand) -> Tensor:
        """Return ``f(z - theta)`` for `y` of shape (B, rows, columns, n_in): (B, rows', columns', n_out).

        Raises
        ------
        ShapeError
            If `y` has another number of axes or channels, or a square does not fit.
        """
        y, n_in = as_tensor(y, self.W), self.W.shape[0] // (self.size[0] * self.size[1])
        if y.ndim != 4 or y.shape[3] != n_in:
            raise ShapeError(f"Convolution: expected y (B, rows, columns, {n_in}), channels last, got shape {y.shape}")
        return self.activate(matmul(grid_neighborhoods(y, self.size, self.stride, self.padding), self.W))

    def describe(self) -> str:
        """Return channels, sizes and activation."""
        fed, n_out = self.W.shape
        words = _on_grid(self.size, self.stride, self.padding)
        return f"{fed // (self.size[0] * self.size[1])}, {n_out}, {words}{self._options()}"


class _Pool(Module):
    """Each channel of a square joined into one number."""

    border = 0.0

    def __init__(self, size: int | Pair = 2, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        name = type(self).__name__
        self.size = pair(name, "size", size, 1)
        self.stride = self.size if stride is None else pair(name, "stride", stride, 1)
        self.padding = pair(name, "padding", padding, 0)

    def squares(self, y: Operand) -> Tensor:
        """Return the squares of `y`, of shape (B, rows', columns', nodes of a square, channels)."""
        y = as_tensor(y)
        x = grid_neighborhoods(y, self.size, self.stride, self.padding, self.border)
        return reshape(x, (*x.shape[:3], self.size[0] * self.size[1], y.shape[3]))

    def describe(self) -> str:
        """Return the sizes."""
        return _on_grid(self.size, self.stride, self.padding, self.size)


class MaxPool(_Pool):
    """The largest signal of each channel in a square; equals share its gradient.

    Parameters
    ----------
    size : int, or (rows, columns)
        Of the squares.
    stride : int, or (rows, columns), optional
        How far squares are apart; by default they stand beside each other.
    padding : int, or (rows, columns)
        How many rows and columns are put around the grid; what stands there is never the largest.
    """

    border = -np.inf

    def __init__(self, size: int | Pair = 2, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__(size, stride, padding)
        if any(p >= n for p, n in zip(self.padding, self.size, strict=True)):
            raise ArgumentError(
                f"MaxPool: padding must be smaller than the squares, got {self.padding} around squares of {self.size}"
            )

    def forward(self, y: Operand) -> Tensor:
        """Return the largest signals for `y` of shape (B, rows, columns, channels): (B, rows', columns', channels)."""
        return max(self.squares(y), axis=3)


class MeanPool(_Pool):
    """The mean signal of each channel in a square.

    Parameters
    ----------
    size, stride
        As for `MaxPool`.
    padding : int, or (rows, columns)
        How many rows and columns are put around the grid; what stands there counts as 0.
    """

    def forward(self, y: Operand) -> Tensor:
        """Return the means for `y` of shape (B, rows, columns, channels): (B, rows', columns', channels)."""
        return mean(self.squares(y), axis=3)


class Reshape(Module):
    """The signals of each sample in another shape: ``Reshape(-1)`` in a row, ``Reshape(8, 8, 1)`` on a grid.

    Parameters
    ----------
    *shape : int
        The lengths of all axes but the batch; one may be -1, it is then inferred.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = plain_lengths("Reshape", shape, inferred=True)

    def forward(self, y: Operand) -> Tensor:
        """Return `y` of shape (B, ...) as (B, *shape)."""
        y = as_tensor(y)
        if -1 in self.shape and not len(y):  # of no elements nothing tells the length that is inferred
            known, sample = -math.prod(self.shape), math.prod(y.shape[1:])
            return reshape(y, (0, *[sample // known if n == -1 and known else n for n in self.shape]))
        return reshape(y, (*y.shape[:1], *self.shape))

    def describe(self) -> str:
        """Return the shape."""
        return ", ".join(map(str, self.shape))


def _on_grid(size: Pair, stride: Pair, padding: Pair, usual: Pair = (1, 1)) -> str:
    """Return sizes in words; what is as usual is left out."""
    words = ["{} x {}".format(*size)]
    words += [f"stride={stride}"] * (stride != usual) + [f"padding={padding}"] * (padding != (0, 0))
    return ", ".join(words)
