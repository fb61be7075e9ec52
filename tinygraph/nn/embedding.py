"""Embedding: a vector for each of a number of words."""

from __future__ import annotations

import numpy as np

from ..arguments import whole_number
from ..backend import generator
from ..errors import DTypeError
from ..leaves import as_tensor, parameter
from ..operators import Operand
from ..ops.indexing import take
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer, initial
from .module import Module


class Embedding(Module):
    """A learned vector for each of `count` words, or whatever else is numbered from 0: the rows of a matrix.

    It gives what the product of basis vectors with `W` would. A row that several indices name gets the sum of their
    gradients, one that none names gets 0. Such a network is drawn by
    ``tg.graph(net, input_shape=(None, 6), dtype="int64")``.

    Parameters
    ----------
    count : int
        How many words.
    n : int
        The length of the vectors.
    init : str or callable
        How `W` is drawn, as for `Dense`; N(0, 1) by default.
    seed, dtype
        As for `Dense`.

    Attributes
    ----------
    W : Tensor of shape (count, n)
    """

    W: Tensor

    def __init__(
        self,
        count: int,
        n: int,
        init: Initializer = "standard_normal",
        *,
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        count, n = whole_number("Embedding: count", count, 1), whole_number("Embedding: n", n, 1)
        weights = initial("init", init, generator(seed, "W"), (count, n), count, n, dtype)
        self.W = parameter(weights, name="W", dtype=dtype)

    def forward(self, indices: Operand) -> Tensor:
        """Return the vectors of `indices`, whole numbers of any shape (...), negative ones from the end: (..., n).

        Raises
        ------
        DTypeError
            If they are not whole numbers.
        IndexRangeError
            If one is not below `count`. Of indices on a device nobody sees the content; they count modulo `count`.
        """
        indices = as_tensor(indices)
        if indices.dtype.kind not in "iu":
            raise DTypeError(
                f"Embedding: expected whole numbers below {self.W.shape[0]}, got {indices.dtype}; a graph from a shape "
                'takes dtype="int64"'
            )
        return take(self.W, indices)

    def describe(self) -> str:
        """Return how many vectors, and their length."""
        return "{}, {}".format(*self.W.shape)
