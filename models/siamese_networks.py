"""Siamese networks (Problems 65.22-65.24): one branch, called twice, and a head that compares the two answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinygraph.arguments import choose
from tinygraph.data import one_shot_episodes
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.leaves import as_tensor
from tinygraph.mode import no_grad
from tinygraph.nn import Dense, Dropout, Module, Sequential
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation
from tinygraph.ops import abs as absolute
from tinygraph.ops import concatenate, cosine_similarity
from tinygraph.tensors import Tensor

from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


class Cosine(Module):
    """The cosine of the angle between two embeddings, from -1 to 1 (Problem 65.22)."""

    output = "signed"

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return cosines, (B,)."""
        return cosine_similarity(u, v)


class AbsoluteDifference(Module):
    """One node fed by ``|u - v|``, element by element; its sigmoid is the probability of "same" (Problem 65.23).

    Parameters
    ----------
    n : int
        Q, the size of an embedding.
    **options
        `init`, `init_bias`, `seed`, `dtype`, as for `tinygraph.nn.Dense`.
    """

    output = "sigmoid"

    def __init__(self, n: int, **options: Any) -> None:
        self.node = Dense(n, 1, **options)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Return scores before the sigmoid, (B,)."""
        score: Tensor = self.node(absolute(u - v))
        return score[:, 0]


class Relation(Module):
    """A network fed by the 2 Q elements of both embeddings, one after the other (Problem 65.24).

    The sigmoid of its single output node is the relation score. (The problem calls the node a softmax, which for a
    single element would always be 1.)

    Parameters
    ----------
    n : int
        Q, the size of an embedding.
    sizes : sequence of int
        How many nodes each hidden layer has: L' - 2 numbers for the problem's L' layers, which count the inputs and
        the output node.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers.
    init, init_bias, seed, dtype
        As for `fully_connected`.
    """

    output = "sigmoid"

    def __init__(
        self,
        n: int,
        sizes: Sequence[int],
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        init: Initializer = "normal",
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        sizes, options = list_of_sizes("Relation: sizes", sizes), LayerOptions(init, init_bias, seed, dtype)
        functions = [*activation_per_layer("Relation", activation, len(sizes)), None]
        layers = zip(pairwise([2 * n, *sizes, 1]), functions, strict=True)
        self.layers = [Dense(a, b, function, **options.at(l)) for l, ((a, b), function) in enumerate(layers, 1)]

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
        Returns a number for each pair of embeddings: `Cosine`, `AbsoluteDifference`, `Relation`, or one of your own.
    output : str or None
        What the head says of its number: "signed" for the cosine, whose `decide` is 1 for "same" and -1 for
        "different"; "sigmoid" for a score, whose `decide` is 1 and 0.
    """

    def __init__(self, branch: Module, head: Module) -> None:
        self.branch, self.head, self.output = branch, head, head.output

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
        similarity: Tensor = self.head(self.branch(h1), self.branch(h2))
        return similarity


def siamese(
    sizes: Sequence[int],
    head: str = "cosine",
    *,
    relation_sizes: Sequence[int] | None = None,
    activation: str | Activation | Sequence[str | Activation] = "relu",
    embedding: str | Activation | None = None,
    dropout: Sequence[float] | None = None,
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Siamese:
    """Build a Siamese network (Problems 65.22-65.24).

    Parameters
    ----------
    sizes : sequence of int
        The branch's layers, input first; the last is the size Q of the embedding: ``[784, 128, 64]``.
    head : {"cosine", "absolute_difference", "relation"}
        How embeddings are compared. Learn the cosine by `losses.squared_error` to labels 1 and -1 (Problem 65.22),
        the absolute difference by `losses.binary_cross_entropy` (Problem 65.23) and the relation score by
        `losses.squared_error` (Problem 65.24), both to labels 1 and 0. Many classes cannot all be opposite to each
        other, so the cosine's best threshold lies above the 0 of `decide`; the median over balanced training pairs
        is one.
    relation_sizes : sequence of int, optional
        The hidden layers of the relation head: L' - 2 numbers for a third network of L' layers (Problem 65.24); by
        default one layer of Q nodes, L' = 3.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers: the branch's, then those of the relation head.
    embedding : str or callable, optional
        The activation of the branch's last layer, which Problems 65.22-65.24 have as a sigmoid: that is the default for
        the absolute difference. For the cosine it is "tanh", since the cosine of two sigmoid outputs, all positive,
        stays above 0 and never reaches the label -1; for the relation head too, which learns slowly from sigmoids.
        ``embedding="sigmoid"`` is the problems' for every head; "identity" leaves z as it is.
    dropout : sequence of float, optional
        One for each layer of the branch but the embedding, input first: the probabilities with which nodes sleep
        in training (65.120). The two calls of the branch have masks of their own.
    init, init_bias, seed, dtype
        As for `fully_connected`.

    Raises
    ------
    ArgumentError
        For an unknown head, sizes that are not whole positive numbers, a wrong number of activations or probabilities,
        or `relation_sizes` for another head.

    Examples
    --------
    >>> net = siamese([64, 32, 16], head="cosine", seed=0)
    >>> x = np.ones((5, 64), np.float32)
    >>> net(x, x).numpy().round(5).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    sizes = list_of_sizes("siamese: sizes", sizes)
    if len(sizes) < 2:
        raise ArgumentError(f"siamese: sizes must list at least input and embedding, got {sizes}")
    if relation_sizes is not None and head != "relation":
        raise ArgumentError(f"siamese: relation_sizes are for head='relation', got head={head!r}")
    last, q = len(sizes) - 1, sizes[-1]
    sleep = [0.0] * last if dropout is None else list(dropout)
    if len(sleep) != last:
        raise ArgumentError(
            f"siamese: dropout must have one probability for each of the {last} layers but the embedding, "
            f"got {len(sleep)}"
        )
    options = LayerOptions(init, init_bias, seed, dtype)
    relation = [q] if relation_sizes is None else list_of_sizes("siamese: relation_sizes", relation_sizes)
    hidden = last - 1 + (len(relation) if head == "relation" else 0)
    activations = activation_per_layer("siamese", activation, hidden)
    heads: dict[str, tuple[str, Callable[[], Module]]] = {
        "cosine": ("tanh", Cosine),
        "absolute_difference": ("sigmoid", lambda: AbsoluteDifference(q, **options.at("head"))),
        "relation": ("tanh", lambda: Relation(q, relation, activations[last - 1 :], **options.at("head"))),
    }
    its_embedding, make_head = choose("siamese: head", head, heads)
    functions = [*activations[: last - 1], its_embedding if embedding is None else embedding]
    branch: list[Module] = []
    for l, ((a, b), function) in enumerate(zip(pairwise(sizes), functions, strict=True), 1):
        if sleep[l - 1]:
            branch.append(Dropout(sleep[l - 1]))
        branch.append(Dense(a, b, function, **options.at(l)))
    return Siamese(Sequential(*branch), make_head())


def one_shot_accuracy(
    similarity: Callable[[Any, Any], Any],
    X: np.ndarray,
    labels: Any,
    n_way: int = 5,
    n_episodes: int = 1000,
    seed: int = 0,
) -> float:
    """Return how often, of one sample each of `n_way` classes, that of its own class is found most similar to a query.

    Parameters
    ----------
    similarity : callable
        Takes two batches (B, n) and returns a number for each pair, (B,), the larger the more alike: `predict` of a
        `Siamese` network, or `pixel_similarity`.
    X : array of shape (m, n)
        Samples, of classes that were not learned.
    labels, n_way, n_episodes, seed
        As for `tinygraph.data.one_shot_episodes`, whose errors these are.

    Returns
    -------
    float
        Guessing gives 1 / n_way.
    """
    query, support, answer = one_shot_episodes(labels, n_way, n_episodes, seed=seed)
    with no_grad():
        scores = as_tensor(similarity(X[np.repeat(query, n_way)], X[support.ravel()])).numpy()
    return float((scores.reshape(-1, n_way).argmax(axis=1) == answer).mean())


def pixel_similarity(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """Return minus the squared distance of samples, (B,): nothing is learned; the nearest neighbour on pixels."""
    similarity: np.ndarray = -np.square(h1 - h2).sum(axis=1)
    return similarity
