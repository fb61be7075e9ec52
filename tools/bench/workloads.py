"""What is measured: networks, batch sizes, optimisers, and the data they are trained on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

SEED = 65
BATCHES = 8  # that take turns, so that inputs change from step to step
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
SMOOTHING, NORM_EPS = 0.9, 1e-5  # of batch normalisation: the weight of the old averages, what variances are raised by


@dataclass(frozen=True)
class Workload:
    """A training step: softmax cross-entropy of a fully-connected network on a batch, in float32.

    Attributes
    ----------
    name, title : str
    sizes : tuple of int
        Nodes of the layers, input first.
    batch : int
    activation : {"relu", "tanh"}
        Of the hidden layers.
    optimizer : {"sgd", "adam"}
    lr : float
    rho : float
        The factor of the squared weights; a step adds the gradient ``2 rho W`` and leaves their value out of the loss.
    batch_norm : bool
        Whether the input and the hidden signals are normalised.
    dropout : tuple of float
        Probabilities of sleep for each layer but the last, each sample with its own mask; empty: none.
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

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer of weights."""
        return list(itertools.pairwise(self.sizes))


_MIDDLE, _LARGE, _DEEP = (784, 512, 512, 10), (3072, 2048, 2048, 10), (64,) * 51 + (10,)

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


def initial_weights(workload: Workload) -> list[np.ndarray]:
    """Return weights (n_in, n_out) of every layer, drawn from N(0, 1 / n_in)."""
    rng = np.random.default_rng(SEED + 1)
    return [rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[0])) for shape in workload.layers]


def basis_vectors(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return one row for each label, 1 at its class and 0 elsewhere, in float32."""
    return np.asarray(np.eye(classes, dtype=np.float32)[labels])
