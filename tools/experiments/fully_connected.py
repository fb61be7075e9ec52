"""A fully-connected network that tells the classes of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.models import FullyConnected, fully_connected
from tinygraph.tools.experiments.experiment import Experiment, Settings, class_lines


class FullyConnectedExperiment(Experiment):
    """Classes of images by a fully-connected network with a softmax output."""

    defaults = Settings("fully_connected", "digits", l2=1e-3)
    data_sets = ("digits", "mnist", "fashion-mnist", "cifar10")

    net: FullyConnected

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        data_set = data.load(settings.data, data_dir)
        sizes = [data_set.n_features, *settings.hidden_sizes, data_set.n_classes]
        self.net = fully_connected(sizes, settings.activation, init=settings.init, seed=settings.seed)
        self.loss = losses.cross_entropy
        self.train_set, self.validation = data_set.train, data_set.test
        self.n_features = data_set.n_features

    def results(self) -> dict[str, Any]:
        """Return loss and error on the test set."""
        assert self.validation is not None
        loss, error = tg.evaluate(self.net, self.loss, self.validation)
        return {"test_loss": loss, "test_error": error}

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the test error in words."""
        return [f"test error {100 * results['test_error']:.1f} %"]

    def decisions(self, rows: np.ndarray) -> Iterator[str]:
        """Yield for each row the class decided on and the probability given to it."""
        with tg.no_grad():
            yield from class_lines(self.net.predict(rows))
