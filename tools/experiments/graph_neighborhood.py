"""Networks over neighbourhoods: images seen patch by patch, and the papers of Cora fed by those they cite."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.leaves import as_tensor
from tinygraph.models import fully_connected, graph_neighborhood
from tinygraph.ops import reshape, take
from tinygraph.tensors import Tensor
from tinygraph.tools.experiments.experiment import Experiment, Settings, class_answers


class GraphNeighborhoodExperiment(Experiment):
    """Classes of images; a hidden node sees 3 x 3 nodes of the layer before (65.110)-(65.119).

    Compared with a dense network of the same sizes, trained in the same way.
    """

    defaults = Settings("graph_neighborhood", "digits", optimizer="adam", lr=3e-3)
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {"hidden": "784", "lr": 1e-3, "epochs": 5},
        "fashion-mnist": {"hidden": "784", "lr": 1e-3, "epochs": 5},
        "cora": {"hidden": "", "batch_size": 140, "epochs": 100},
    }
    data_sets = ("digits", "mnist", "fashion-mnist", "cora")

    @classmethod
    def for_data(cls, data_set: str) -> type[Experiment]:
        """Return the experiment with images, or that with the nodes of a graph if it is the data set."""
        return NodesExperiment if data_set == "cora" else cls

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        self._prepare()

    def _prepare(self) -> None:
        """Load the data and build the network."""
        s = self.settings
        images = data.load(s.data, self.data_dir)
        rows, columns = images.image_shape
        hidden = s.hidden_sizes
        self.sizes = [images.n_features, *hidden, images.n_classes]
        patches = [tg.Neighborhoods.grid((rows, columns))] * len(hidden)
        self.net = graph_neighborhood([*patches, None], self.sizes, s.activation, init=s.init, seed=s.seed)
        self.loss = losses.cross_entropy
        self.train_set, self.validation = images.train, images.test
        self.n_features, self.image_shape = images.n_features, images.image_shape

    @property
    def title(self) -> str:
        """Sizes and data in words."""
        return f"{self.sizes} with patches of 3 x 3 on {self.settings.data}: {len(self.train_set[0])} samples"

    def results(self) -> dict[str, Any]:
        """Return loss and error on the test set, and parameters, error and seconds of a dense network."""
        assert self.validation is not None
        s = self.settings
        dense = fully_connected(self.sizes, s.activation, init=s.init, seed=s.seed)
        seconds = self.compare(dense, self.train_set)
        loss, error = tg.evaluate(self.net, self.loss, self.validation)
        return {
            "test_loss": loss,
            "test_error": error,
            "parameters": _size(self.net),
            "dense_test_error": tg.evaluate(dense, self.loss, self.validation)[1],
            "dense_parameters": _size(dense),
            "dense_seconds": seconds,
        }

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the results of both networks in words."""
        return [
            f"a dense network of these sizes: {results['dense_parameters']} parameters, "
            f"{results['dense_seconds']:.1f} s, test error {100 * results['dense_test_error']:.1f} %",
            f"test error {100 * results['test_error']:.1f} %",
        ]

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row the class decided on and the probability given to it."""
        with tg.no_grad():
            return class_answers(self.net.predict(rows))


class NodesExperiment(GraphNeighborhoodExperiment):
    """Classes of the nodes of a graph, the papers of Cora; a row of input is the number of a node.

    Every training node is in every step; the validation nodes decide when to stop. Compared with a dense layer
    alone, which sees a node's own features and no edge.
    """

    options = ("hidden", "init")  # a single layer has no activation but that of the output
    patience = 30
    held_out = "validation"

    def _prepare(self) -> None:
        """Load the data and build the network."""
        if self.settings.hidden_sizes:
            raise ArgumentError(f"hidden: the network on cora has no hidden layer, got {self.settings.hidden!r}")
        self.papers = papers = data.load("cora", self.data_dir)
        loops = np.repeat(np.arange(papers.n_nodes)[:, None], 2, axis=1)
        edges = np.concatenate([papers.edges, papers.edges[:, ::-1], loops])
        neighborhoods = tg.Neighborhoods.from_edges(edges, papers.n_nodes, papers.n_nodes)
        s, classes = self.settings, papers.Y.shape[1]
        self.net = NodeClassifier(papers.features, neighborhoods, classes, init=s.init, seed=s.seed)
        self.loss = losses.cross_entropy
        self.train_set = self._rows(papers.train_index)
        self.validation = self._rows(papers.validation_index)
        self.n_features = 1

    def _rows(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes (B,) as inputs (B, 1) and targets (B, classes)."""
        return nodes[:, None], self.papers.Y[nodes]

    @property
    def title(self) -> str:
        """Nodes and edges in words."""
        p = self.papers
        return f"on {p.name}: {p.n_nodes} nodes, {len(p.edges)} edges, {len(p.train_index)} labelled nodes"

    def results(self) -> dict[str, Any]:
        """Return loss and error on the test nodes, and parameters, error and seconds of a dense layer alone."""
        loss, error = tg.evaluate(self.net, self.loss, self._rows(self.papers.test_index))
        return {
            "test_loss": loss,
            "test_error": error,
            "validation_error": tg.evaluate(self.net, self.loss, self._rows(self.papers.validation_index))[1],
            "parameters": _size(self.net),
            **self._dense_alone(),
        }

    def _dense_alone(self) -> dict[str, Any]:
        """Return the results of a dense layer on the nodes' own features, with settings that suit it.

        Each node's features are divided by their number; Adam with a learning rate of 0.05 and 0.001 of the
        squared weights did best on the validation nodes.
        """
        p = self.papers
        X = p.features / p.features.sum(axis=1, keepdims=True)
        train, held_out, test = ((X[i], p.Y[i]) for i in (p.train_index, p.validation_index, p.test_index))
        dense = fully_connected([X.shape[1], p.Y.shape[1]], seed=self.settings.seed)
        optimizer = optim.Adam(dense.parameters(), 0.05)
        options: dict[str, Any] = {"l2": 1e-3, "validation": held_out, "early_stopping": self.patience}
        history = tg.fit(dense, self.loss, train, optimizer, 100, len(p.train_index), **options)
        return {
            "dense_test_error": tg.evaluate(dense, self.loss, test)[1],
            "dense_parameters": _size(dense),
            "dense_seconds": history.times[-1],
        }

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the results with and without edges in words."""
        return [
            f"a dense layer alone: {results['dense_parameters']} parameters, {results['dense_seconds']:.1f} s, "
            f"test error {100 * results['dense_test_error']:.1f} %",
            f"validation error {100 * results['validation_error']:.1f} %",
            f"test error {100 * results['test_error']:.1f} %",
        ]

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row, the number of a node, the class decided on and the probability given to it.

        Raises
        ------
        DataError
            If a row is not the number of a node.
        """
        n = self.papers.n_nodes
        wrong = np.flatnonzero((rows[:, 0] < 0) | (rows[:, 0] >= n) | (rows[:, 0] % 1 != 0))
        if len(wrong):
            raise DataError(f"row {wrong[0]}: expected the number of a node, 0 to {n - 1}, got {rows[wrong[0], 0]:g}")
        with tg.no_grad():
            return class_answers(self.net.predict(rows.astype(np.int64)))


class NodeClassifier(nn.Module):
    """Classes of the nodes of one graph: signals go along its edges twice, then through a dense layer.

    A feature of all nodes is a sample of `tinygraph.neighborhood_matmul` (65.112), so the features are the batch
    there. Every edge has a weight of its own in each of the two layers, which starts at 1 / (neighbours of the
    node it leads to): a node begins with the mean of its neighbours. In training half of the nodes sleep.

    Parameters
    ----------
    features : array of shape (n, d)
        Kept on the host as float32, and not a parameter; neither learned nor saved.
    neighborhoods : Neighborhoods
        From n nodes to n nodes; with self-loops, so that a node hears itself.
    n_classes : int
    init, seed
        As for `tinygraph.nn.Dense`.
    """

    output = "softmax"

    def __init__(
        self,
        features: np.ndarray,
        neighborhoods: tg.Neighborhoods,
        n_classes: int,
        *,
        init: str = "normal",
        seed: int | None = None,
    ) -> None:
        self.features = np.ascontiguousarray(features.T, np.float32)
        self.dropout = nn.Dropout(0.5)
        mean = 1 / np.diff(neighborhoods.starts)[neighborhoods.targets]
        self.along1, self.along2 = (nn.NeighborhoodDense(neighborhoods, bias=False) for _ in range(2))
        for layer in (self.along1, self.along2):
            layer.w.assign_(mean.astype(np.float32))
        self.dense = nn.Dense(features.shape[1], n_classes, init=init, seed=seed)

    def forward(self, nodes: Tensor) -> Tensor:
        """Return z_L of shape (B, n_classes) for the numbers of nodes, shape (B, 1)."""
        y = as_tensor(self.features, self.dense.W)
        y.name = "features"
        y = self.along2(self.along1(self.dropout(y)))
        z: Tensor = self.dense(take(y.T, reshape(nodes, (-1,)).astype("int64")))
        return z


def _size(net: nn.Module) -> int:
    return sum(p.size for p in net.parameters())
