"""What is measured: networks, batch sizes, optimisers, and the data they are trained on."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 65
BATCHES = 8  # that take turns, so that inputs change from step to step
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
SMOOTHING, NORM_EPS = 0.9, 1e-5  # of batch normalisation: the weight of the old averages, what variances are raised by


@dataclass(frozen=True)
class Workload:
    """A training step: softmax cross-entropy of a network on a batch, in float32.

    Attributes
    ----------
    name, title : str
    sizes : tuple of int
        Nodes of the layers, input first.
    batch : int
    activation : {"relu", "tanh", "squash"}
        Of the hidden layers; squash is ``z / sqrt(1 + z**2)``, which no library has.
    optimizer : {"sgd", "adam"}
    lr : float
    rho : float
        The factor of the squared weights; a step adds the gradient ``2 rho W`` and leaves their value out of the loss.
    batch_norm : bool
        Whether the input and the hidden signals are normalised.
    dropout : tuple of float
        Probabilities of sleep for each layer but the last, each sample with its own mask; empty: none.
    penalty : float
        The factor of the mean squared output signal, which the loss contains.
    radius : int, optional
        Hidden layers are grids of (r, r) nodes as the input is, and a node of theirs is fed by those nodes only that
        are at most so many rows and columns away. By default it is fed by all.
    two_branches : bool
        Whether the network is that of docs/custom-architecture.md: both hidden layers see the (r, r) input and its
        mirror image with the same weights, the second adds its input to its output, and the last layer takes the sum
        of both. It has neither batch normalisation nor dropout.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    batch: int
    activation: str = "relu"
    optimizer: str = "sgd"
    lr: float = 0.01
    rho: float = 1e-4
    batch_norm: bool = False
    dropout: tuple[float, ...] = ()
    penalty: float = 0.0
    radius: int | None = None
    two_branches: bool = False

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer of weights."""
        return list(itertools.pairwise(self.sizes))


_MIDDLE, _LARGE, _DEEP = (784, 512, 512, 10), (3072, 2048, 2048, 10), (64,) * 51 + (10,)
_GRIDS, _BRANCHES = (784, 784, 784, 10), (64, 32, 32, 10)

WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("mlp-1", "784-512-512-10, B = 1", _MIDDLE, 1, lr=1e-3),
        Workload("mlp-32", "784-512-512-10, B = 32", _MIDDLE, 32),
        Workload("mlp-128", "784-512-512-10, B = 128", _MIDDLE, 128),
        Workload("mlp-1024", "784-512-512-10, B = 1024", _MIDDLE, 1024),
        Workload("large-1", "3072-2048-2048-10, B = 1", _LARGE, 1, lr=1e-4),
        Workload("large-128", "3072-2048-2048-10, B = 128", _LARGE, 128),
        Workload("adam", "784-512-512-10, Adam, B = 128", _MIDDLE, 128, optimizer="adam", lr=1e-3),
        Workload("batch-norm", "784-512-512-10, batch norm, B = 128", _MIDDLE, 128, batch_norm=True),
        Workload("dropout", "784-512-512-10, dropout, B = 128", _MIDDLE, 128, lr=0.05, dropout=(0.2, 0.5, 0.5)),
        Workload("overhead", "4-8-8-2, B = 1", (4, 8, 8, 2), 1, rho=0.0),
        Workload("deep", "50 hidden layers of 64, tanh, B = 32", _DEEP, 32, activation="tanh", lr=1e-3),
        Workload("neighborhoods", "784-784-784-10, 3 x 3 neighbours, B = 32", _GRIDS, 32, radius=1),
        Workload(
            "two-branches",
            "64-32-32-10, two branches, Adam, B = 32",
            _BRANCHES,
            32,
            activation="squash",
            optimizer="adam",
            lr=3e-3,
            rho=0.0,
            penalty=0.01,
            two_branches=True,
        ),
    )
}


def batches(workload: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the batches: normal inputs (B, n) in float32 and random labels (B,), the same in every process."""
    rng = np.random.default_rng(SEED)
    n, classes = workload.sizes[0], workload.sizes[-1]
    return [
        (rng.standard_normal((workload.batch, n), np.float32), rng.integers(classes, size=workload.batch))
        for _ in range(BATCHES)
    ]


def side(workload: Workload) -> int:
    """Return how many rows and columns the input has as a grid."""
    return math.isqrt(workload.sizes[0])


def mirrored(workload: Workload, x: Any) -> Any:
    """Return inputs (B, n), NumPy's or JAX's, with the columns of their grids in reverse."""
    r = side(workload)
    return x.reshape(-1, r, r)[:, :, ::-1].reshape(-1, r * r)


def neighbors(workload: Workload) -> np.ndarray | None:
    """Return which nodes of a hidden layer are fed by which, (n, n) booleans, symmetric; None if all are by all."""
    if workload.radius is None:
        return None
    rows, columns = np.divmod(np.arange(workload.sizes[0]), side(workload))
    distances = [np.abs(places[:, None] - places) for places in (rows, columns)]
    return np.asarray(np.maximum(*distances) <= workload.radius)


def edges(near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes that the edges of `neighbors` lead from and to, in the order of the latter."""
    targets, sources = np.nonzero(near)
    return sources, targets


def initial_weights(workload: Workload) -> list[np.ndarray]:
    """Return weights (n_in, n_out) of every layer, drawn from N(0, 1 / nodes that feed a node), 0 where none does."""
    rng = np.random.default_rng(SEED + 1)
    weights = [rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[0])) for shape in workload.layers]
    near = neighbors(workload)
    if near is not None:
        share = np.sqrt(near.mean(axis=0, dtype=np.float32))
        weights[:-1] = [np.where(near, W / share, np.float32(0)) for W in weights[:-1]]
    return weights


def basis_vectors(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return one row for each label, 1 at its class and 0 elsewhere, in float32."""
    return np.asarray(np.eye(classes, dtype=np.float32)[labels])
