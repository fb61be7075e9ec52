"""A network that answers five questions about a digit at once, some of its training labels missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, metrics
from tinygraph.backend import generator
from tinygraph.models import multitask
from tinygraph.models.multitask_networks import Multitask
from tinygraph.tools.experiments.experiment import Experiment, Settings, finite_rows

ATTRIBUTES = {  # which digits have it
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "above_4": (5, 6, 7, 8, 9),
    "loop": (0, 6, 8, 9),  # as printed: the loop of a 4 or a 2 is a matter of the hand
    "curved": (0, 2, 3, 5, 6, 8, 9),  # not drawn by straight strokes alone
}
MISSING = 0.3


class MultitaskExperiment(Experiment):
    """Five questions about a digit (65.154), with 30 % of the training labels missing (65.163).

    Compared with the same network and all labels, and with five networks of one task each and the labels left.
    """

    defaults = Settings("multitask", "digits", hidden="64,32", optimizer="adam", lr=3e-3, l2=1e-3)
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {
        "mnist": {"hidden": "128", "lr": 1e-3, "l2": 0.0, "epochs": 5}
    }
    data_sets = ("digits", "mnist")

    net: Multitask

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        digits = data.load(settings.data, data_dir)
        self.n_features, self.image_shape = digits.n_features, digits.image_shape
        self.net = self._network(len(ATTRIBUTES))
        self.loss = losses.multitask_cross_entropy
        self.complete = attributes(digits.labels_train)
        missing = generator(settings.seed, "missing labels").random(self.complete.shape) < MISSING
        self.train_set = digits.train[0], np.where(missing, np.float32(np.nan), self.complete)
        self.validation = digits.test[0], attributes(digits.labels_test)

    def _network(self, tasks: int) -> Multitask:
        s = self.settings
        return multitask(s.hidden_sizes, tasks, self.n_features, activation=s.activation, init=s.init, seed=s.seed)

    def _errors(self, net: Multitask, tasks: list[int]) -> np.ndarray:
        """Return the test error of a network of these tasks, for each of them."""
        assert self.validation is not None
        X, Y = self.validation
        with tg.no_grad():
            return metrics.task_errors(net.decide(X), Y[:, tasks])

    def results(self) -> dict[str, Any]:
        """Return test errors by task and over all tasks, and those of the networks to compare with."""
        tasks = list(range(len(ATTRIBUTES)))
        X, Y = self.train_set
        complete = self._network(len(tasks))
        self.compare(complete, (X, self.complete))
        single = []
        for t in tasks:
            alone = self._network(1)
            self.compare(alone, (X, Y[:, [t]]))
            single.append(float(self._errors(alone, [t])[0]))
        errors = self._errors(self.net, tasks)
        return {
            "test_error": float(errors.mean()),
            "task_errors": dict(zip(ATTRIBUTES, errors.tolist(), strict=True)),
            "missing_labels": float(np.isnan(Y).mean()),
            "complete_test_error": float(self._errors(complete, tasks).mean()),
            "single_test_error": float(np.mean(single)),
            "single_task_errors": dict(zip(ATTRIBUTES, single, strict=True)),
        }

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the errors in words."""
        tasks = ", ".join(f"{name} {100 * error:.1f} %" for name, error in results["task_errors"].items())
        return [
            f"{100 * results['missing_labels']:.1f} % of the training labels missing; test error by task: {tasks}",
            f"over all tasks: {100 * results['complete_test_error']:.1f} % with no label missing, "
            f"{100 * results['single_test_error']:.1f} % by a network for each task",
            f"test error {100 * results['test_error']:.1f} %",
        ]

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row how likely it has every attribute, the first of each pair (65.155)."""
        with tg.no_grad():
            present = finite_rows(self.net.predict(rows))[:, :, 0]
        return dict(zip(ATTRIBUTES, present.T, strict=True))


def attributes(labels: np.ndarray) -> np.ndarray:
    """Return 1 where a digit has an attribute and 0 where not, float32 (n, 5), for digits of shape (n,)."""
    table = [[digit in those for those in ATTRIBUTES.values()] for digit in range(10)]
    tasks_labels: np.ndarray = np.array(table, np.float32)[labels]
    return tasks_labels
