"""A fully-connected network, or one of one's own, that tells the classes of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.tools.experiments.experiment import Experiment, Settings, class_answers
from tinygraph.tools.experiments.networks import network
from tinygraph.tools.experiments.own_data import OwnDataExperiment, is_own_data


class FullyConnectedExperiment(Experiment):
    """Classes of images by a fully-connected network with a softmax output, or by a network of one's own."""

    defaults = Settings("fully_connected", "digits", l2=1e-3)
    data_sets = ("digits", "mnist", "fashion-mnist", "cifar10")

    @classmethod
    def for_data(cls, data_set: str) -> type[Experiment]:
        """Return the experiment with images by name, or that with data of one's own."""
        return OwnDataExperiment if data_set not in cls.data_sets and is_own_data(data_set) else cls

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        data_set = data.load(settings.data, data_dir)
        self.net = network(settings, data_set.n_features, data_set.n_classes, "softmax")
        self.loss = losses.cross_entropy
        self.train_set, self.validation = data_set.train, data_set.test
        self.n_features, self.image_shape = data_set.n_features, data_set.image_shape

    def results(self) -> dict[str, Any]:
        """Return loss and error on the test set."""
        assert self.validation is not None
        loss, error = tg.evaluate(self.net, self.loss, self.validation)
        return {"test_loss": loss, "test_error": error}

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the test error in words."""
        return [f"test error {100 * results['test_error']:.1f} %"]

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row the class decided on and the probability given to it."""
        with tg.no_grad():
            return class_answers(self.net.predict(rows))
