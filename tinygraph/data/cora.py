"""Cora: papers on machine learning as the nodes of one graph, joined where one cites the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import read_npz
from .checks import check_labels, one_hot
from .dataset import Center
from .downloads import Download
from .files import locate, present

FILE = Download("cora_planetoid.npz")
NODES, WORDS, EDGES = 2708, 1433, 5278
SPLIT = {"train_index": 140, "val_index": 500, "test_index": 1000}
CLASSES = (
    "theory",
    "reinforcement learning",
    "genetic algorithms",
    "neural networks",
    "probabilistic methods",
    "case based",
    "rule learning",
)


@dataclass(frozen=True, eq=False, repr=False)
class NodeDataset:
    """One graph whose nodes are the samples; some of them are labelled for training.

    Attributes
    ----------
    name : str
    features : float32 array of shape (n, n_features)
        One node a row.
    Y : float32 array of shape (n, n_classes)
        Basis vectors, of all nodes; train with those of `train_index` only.
    edges : int64 array of shape (n_edges, 2)
        Pairs of nodes, each pair once, none of a node with itself.
    train_index, validation_index, test_index : int64 arrays
        The nodes of the split; no node is in two of them.
    class_names : tuple of str
        What the columns of `Y` stand for.
    source, licence : str
        Where the data come from and on what terms.
    """

    name: str
    features: np.ndarray
    Y: np.ndarray
    edges: np.ndarray
    train_index: np.ndarray
    validation_index: np.ndarray
    test_index: np.ndarray
    class_names: tuple[str, ...]
    source: str
    licence: str

    @property
    def n_nodes(self) -> int:
        """The number of nodes."""
        return len(self.features)

    @property
    def labels(self) -> np.ndarray:
        """The classes of the nodes, int64, shape (n,)."""
        labels: np.ndarray = self.Y.argmax(axis=1)
        return labels

    def __repr__(self) -> str:
        split = " + ".join(str(len(i)) for i in (self.train_index, self.validation_index, self.test_index))
        return (
            f"NodeDataset({self.name!r}: {self.n_nodes} nodes, {len(self.edges)} edges, {self.features.shape[1]} "
            f"features, {self.Y.shape[1]} classes, split {split})"
        )


def load_cora(data_dir: str | Path | None = None, center: Center = False) -> NodeDataset:
    """Return Cora: 2,708 papers of seven classes, the 1,433 words they use, and 5,278 citations.

    The split is Planetoid's: 140 labelled papers to train with, 500 for validation, 1,000 for testing. The file
    read is ``cora_planetoid.npz``, with the arrays `feature_rows` and `feature_cols` (the places of the ones),
    `labels`, `edges`, `train_index`, `val_index` and `test_index`; there is no address to download it from.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    ArgumentError
        If centring is asked for: the features are zeros and ones.
    """
    if center:
        raise ArgumentError("center: the features of cora are zeros and ones and stay so")
    path = locate("cora", _find, ("cora",), (FILE,), data_dir)
    names = ("feature_rows", "feature_cols", "labels", "edges", *SPLIT)
    with read_npz(path) as arrays:
        rows, columns, labels, edges, *split = (arrays[name] for name in names)
    labels = check_labels(labels, len(CLASSES), f"{path}: labels")
    _check(path, "labels", labels, (NODES,), NODES)
    _check(path, "feature_rows", rows, (columns.size,), NODES)
    _check(path, "feature_cols", columns, (rows.size,), WORDS)
    _check(path, "edges", edges, (EDGES, 2), NODES)
    for (name, size), nodes in zip(SPLIT.items(), split, strict=True):
        _check(path, name, nodes, (size,), NODES)
    if len(np.unique(np.concatenate(split))) != sum(SPLIT.values()):
        raise DataError(f"{path}: damaged: a node is in the split twice")
    if (edges[:, 0] == edges[:, 1]).any() or len(np.unique(np.sort(edges, axis=1), axis=0)) != EDGES:
        raise DataError(f"{path}: damaged: an edge occurs twice, or leads from a node to itself")
    features = np.zeros((NODES, WORDS), np.float32)
    features[rows, columns] = 1
    train, validation, test = (nodes.astype(np.int64) for nodes in split)
    return NodeDataset(
        "cora",
        features,
        one_hot(labels, len(CLASSES)),
        edges.astype(np.int64),
        train,
        validation,
        test,
        CLASSES,
        "Sen et al., Collective Classification in Network Data, 2008; split of Yang et al., Revisiting "
        "Semi-Supervised Learning with Graph Embeddings, 2016",
        "none stated by its authors; the split MIT",
    )


def _find(folder: Path) -> Path | None:
    path = folder / FILE.file
    return path if present(path) else None


def _check(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...], below: int) -> None:
    """Raise an error unless `array` holds whole numbers from 0 to ``below - 1`` and has this shape."""
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise DataError(f"{path}: damaged: {name} is {array.dtype} {array.shape}, expected whole numbers {shape}")
    if array.size and not 0 <= array.min() <= array.max() < below:
        raise DataError(f"{path}: damaged: {name} has values outside 0 to {below - 1}")
