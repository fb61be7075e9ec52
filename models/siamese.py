"""Siamese networks (Problems 65.22-65.24): one branch, called twice, and a head that compares the two answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.nn import Dense, Module, Sequential
from tinygraph.nn.layers import Activation
from tinygraph.nn.module import choose
from tinygraph.ops import abs as absolute
from tinygraph.ops import concatenate, cosine_similarity
from tinygraph.tensor import Tensor

from .seeds import layer_seed


class Cosine(Module):
    """The cosine of the angle between two embeddings (Problem 65.22)."""

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return cosines, (B,)."""
        return cosine_similarity(u, v)


class AbsoluteDifference(Module):
    """One node fed by ``|u - v|``, entry by entry; its sigmoid is the probability of "same" (Problem 65.23)."""

    def __init__(self, n: int, **options: Any) -> None:
        self.node = Dense(n, 1, **options)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores before the sigmoid, (B,)."""
        score: Tensor = self.node(absolute(u - v))
        return score[:, 0]


class Relation(Module):
    """A network fed by the 2 Q entries of both embeddings; its sigmoid is the probability of "same" (Problem 65.24)."""

    def __init__(self, n: int, activation: str | Activation, seed: int | None = None, **options: Any) -> None:
        self.layers = [
            Dense(2 * n, n, activation, seed=layer_seed(seed, 1), **options),
            Dense(n, 1, seed=layer_seed(seed, 2), **options),
        ]

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores before the sigmoid, (B,)."""
        y = concatenate([u, v], axis=1)
        for layer in self.layers:
            y = layer(y)
        return y[:, 0]


class Siamese(Module):
    """Two inputs, embedded by the same branch, and a head that compares the embeddings (Problems 65.22-65.24).

    Attributes
    ----------
    branch : Module
        Called once on each input, so its gradient adds up both.
    head : Module
        Returns a number for each pair of embeddings.
    output : str
        "linear" for the cosine, from -1 to 1; "sigmoid" for a score, whose `decide` is 1 for "same".
    """

    def __init__(self, branch: Module, head: Module, output: str) -> None:
        self.branch, self.head, self.output = branch, head, output

    def forward(self, h1: Tensor, h2: Tensor | None = None) -> Tensor:
        """Return the cosines, or the scores before the sigmoid, of shape (B,).

        Parameters
        ----------
        h1, h2 : tensors of shape (B, n)
            What to compare; or one tensor of pairs (B, 2, n), as `tinygraph.data.balanced_pairs` gives them.
        """
        if h2 is None:
            if h1.ndim != 3 or h1.shape[1] != 2:
                raise ShapeError(f"Siamese: expected two batches (B, n), or pairs (B, 2, n), got shape {h1.shape}")
            h1, h2 = h1[:, 0], h1[:, 1]
        answer: Tensor = self.head(self.branch(h1), self.branch(h2))
        return answer


def siamese(
    sizes: Sequence[int],
    head: str = "cosine",
    *,
    activation: str | Activation = "relu",
    embedding: str | Activation | None = "tanh",
    init: str = "normal",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Siamese:
    """Build a Siamese network (Problems 65.22-65.24).

    Parameters
    ----------
    sizes : sequence of int
        The branch's layers, input first; the last is the size Q of the embedding: ``[784, 128, 64]``.
    head : {"cosine", "absolute_difference", "relation"}
        How embeddings are compared. Learn the cosine by `losses.squared_error` to labels 1 and -1; the others
        by `losses.binary_cross_entropy` to labels 1 and 0. Many classes cannot all be opposite to each other, so
        the cosine's threshold lies above 0; the median over balanced training pairs is one.
    activation : str or callable
        Of hidden layers.
    embedding : str or callable, optional
        The activation of the branch's last layer. Outputs of one sign, a sigmoid's, keep the cosine in
        [0, 1], so that the label -1 is never reached.
    init, seed, dtype
        As for `fully_connected`.

    Raises
    ------
    ArgumentError
        For an unknown head, or sizes that are not whole positive numbers.

    Examples
    --------
    >>> net = siamese([64, 32, 16], head="cosine", seed=0)
    >>> x = np.ones((5, 64), np.float32)
    >>> net(x, x).numpy().round(5).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if isinstance(sizes, int) or len(sizes) < 2:
        raise ArgumentError(f"siamese: sizes must list at least input and embedding, got {sizes!r}")
    options: dict[str, Any] = {"init": init, "dtype": dtype}
    last, q = len(sizes) - 1, sizes[-1]
    branch = [
        Dense(a, b, activation if l < last else embedding, seed=layer_seed(seed, l), **options)
        for l, (a, b) in enumerate(pairwise(sizes), 1)
    ]
    heads = {
        "cosine": (Cosine, {}, "linear"),
        "absolute_difference": (AbsoluteDifference, {"n": q, **options}, "sigmoid"),
        "relation": (Relation, {"n": q, "activation": activation, **options}, "sigmoid"),
    }
    kind, arguments, output = choose("siamese: head", head, heads)
    if arguments:
        arguments["seed"] = layer_seed(seed, "head")
    return Siamese(Sequential(*branch), kind(**arguments), output)
