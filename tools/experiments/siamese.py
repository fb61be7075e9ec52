"""A network that says whether two images show the same, tested on classes that it has never seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, metrics
from tinygraph.data.dataset import Dataset, Pair
from tinygraph.models import Siamese, siamese
from tinygraph.models.siamese_networks import one_shot_accuracy, pixel_similarity
from tinygraph.tools.experiments.experiment import NETWORK, Experiment, Settings, finite_rows

NEW = (7, 8, 9)  # digits that are not learned
TEST_PAIRS, EPISODES = 4000, 2000


@dataclass(frozen=True)
class Task:
    """How many pairs an epoch has, how far images are moved in it, and among how many classes one shot is tested."""

    pairs: int
    shift: int
    ways: tuple[int, ...]


# What the problems have each head learn: the loss, and the label of a pair of different classes.
LEARNING: dict[str, tuple[Callable[..., tg.Tensor], float]] = {
    "cosine": (losses.squared_error, -1.0),  # Problem 65.22
    "absolute_difference": (losses.binary_cross_entropy, 0.0),  # Problem 65.23
    "relation": (losses.squared_error, 0.0),  # Problem 65.24
}

TASKS = {"digits": Task(4000, 1, (3,)), "omniglot": Task(20_000, 1, (5, 20))}


class SiameseExperiment(Experiment):
    """Are two images of one class (Problems 65.22-65.24)? Pairs are drawn anew in each epoch, their images moved.

    Tested on classes that were not learned: the digits 7 to 9, or whole alphabets. Digits are tested on new images
    of learned classes as well. Beside it the same by pixels alone. `noise` is the fraction of pixels asleep in
    training; the last of the hidden sizes is the embedding's.
    """

    defaults = Settings(
        "siamese", "digits", hidden="512", head="cosine", optimizer="adam", epochs=10, lr=3e-4, noise=0.5
    )
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {
        "omniglot": {"hidden": "512,128", "epochs": 40, "batch_size": 64, "lr": 1e-3, "noise": 0.0}
    }
    data_sets = tuple(TASKS)
    options = (*NETWORK, "head", "noise")
    held_out = "classes not learned"

    net: Siamese
    train_set: data.PairBatches  # type: ignore[assignment]  # fit takes any batches
    validation: tuple[np.ndarray, np.ndarray]

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        s, task = settings, TASKS[settings.data]
        images = data.load(s.data, data_dir)
        learned, self.new, self.seen = _split(images)
        sizes = [images.n_features, *s.hidden_sizes]
        sleep = [s.noise, *[0.0] * (len(sizes) - 2)]
        self.net = siamese(sizes, s.head, activation=s.activation, dropout=sleep, init=s.init, seed=s.seed)
        self.loss, self.negative_label = LEARNING[s.head]
        rows, columns = images.image_shape
        self.train_set = data.PairBatches(
            *learned,
            task.pairs,
            s.batch_size,
            s.seed,
            negative_label=self.negative_label,
            augment=partial(data.shifted, shape=(rows, columns), by=task.shift),
        )
        self.learned, self.task = learned, task
        self.validation = self._pairs(self.new)
        self.n_features = 2 * images.n_features

    def _pairs(self, samples: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs to test on, the same each time."""
        return data.balanced_pairs(*samples, TEST_PAIRS, seed=self.settings.seed, negative_label=self.negative_label)

    @property
    def title(self) -> str:
        """Sizes, head and data in words."""
        sizes = [self.n_features // 2, *self.settings.hidden_sizes]
        return f"{sizes}, {self.settings.head}, on {self.settings.data}: {self.task.pairs} pairs an epoch"

    def threshold(self) -> float:
        """Return the score from which on a pair is "same": 1/2 for a probability; for a cosine a learned one.

        Half of the pairs to learn from are of one class, so the cosine's is the median over them.
        """
        if self.settings.head != "cosine":
            return 0.5
        with tg.no_grad():
            return float(np.median(self.net.predict(self._pairs(self.learned)[0]).numpy()))

    def embedded(self) -> tuple[Callable[..., tg.Tensor], np.ndarray, np.ndarray]:
        """Return the branch, and samples of classes that were not learned."""
        return self.net.branch, *self.new

    def results(self) -> dict[str, Any]:
        """Return verification by the network and by pixels, and one-shot accuracies by both."""
        threshold = self.threshold()
        measured: dict[str, Any] = {"threshold": threshold}
        for name, samples in {"new": self.new, "seen": self.seen}.items():
            if samples is None:
                continue
            pairs, same = self._pairs(samples)
            with tg.no_grad():
                scores = self.net.predict(pairs)
            measured[f"{name}_accuracy"] = metrics.verification_accuracy(scores, same, threshold)
            for prefix, s in {"": scores.numpy(), "pixels_": pixel_cosine(pairs[:, 0], pairs[:, 1])}.items():
                measured[f"{name}_{prefix}area"] = metrics.area_under_curve(s, same)
                measured[f"{name}_{prefix}equal_error"] = metrics.equal_error_rate(s, same)
        one_shot: dict[str, Callable[..., Any]] = {
            "one_shot": self.net.predict,
            "one_shot_pixels": pixel_similarity,
            "one_shot_pixels_cosine": pixel_cosine,
        }
        for n in self.task.ways:
            for name, similarity in one_shot.items():
                measured[f"{name}_{n}"] = one_shot_accuracy(similarity, *self.new, n, EPISODES, self.settings.seed)
        return measured

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the results in words."""
        lines = []
        for name, words in {"seen": "new images of learned classes", "new": self.held_out}.items():
            if f"{name}_accuracy" in results:
                lines.append(
                    f"{words}: {100 * results[f'{name}_accuracy']:.1f} % of the pairs right, "
                    f"{_verification(results, name)}; cosine of pixels: {_verification(results, f'{name}_pixels')}"
                )
        for n in self.task.ways:
            by_network, by_pixels, by_cosine = (
                f"{100 * results[f'{name}_{n}']:.1f} %"
                for name in ("one_shot", "one_shot_pixels", "one_shot_pixels_cosine")
            )
            lines.append(
                f"one-shot accuracy among {n} {self.held_out}: {by_network}; nearest neighbour on pixels "
                f"{by_pixels}, by their cosine {by_cosine}"
            )
        return lines

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row, two images side by side, their score and 1 if they are taken for the same, else 0."""
        with tg.no_grad():
            scores = finite_rows(self.net.predict(rows.reshape(len(rows), 2, -1)))
        return {"score": scores, "same": (scores >= self.threshold()).astype(int)}

    def inputs(self, n: int) -> list[np.ndarray]:
        """Return the images of the first `n` pairs to test on."""
        pairs = self.validation[0][:n]
        return [pairs[:, 0], pairs[:, 1]]

    def labels(self, n: int) -> list[np.ndarray]:
        """Return which of them are of one class."""
        return [self.validation[1][:n]]

    def risk(self, h1: tg.Tensor, h2: tg.Tensor, same: tg.Tensor) -> tg.Tensor:  # type: ignore[override]
        """Return the loss of a batch of pairs."""
        Q: tg.Tensor = self.loss(self.net(h1, h2), same)
        return Q


def _split(images: Dataset) -> tuple[Pair, Pair, Pair | None]:
    """Return samples to learn from, of classes that are not learned, and new ones of learned classes, if there are."""
    if images.name == "omniglot":
        return images.train, images.test, None
    (X, _), (T, _) = images.train, images.test
    learn, new = np.isin(images.labels_train, NEW, invert=True), np.isin(images.labels_test, NEW)
    labels = images.labels_test
    return (X[learn], images.labels_train[learn]), (T[new], labels[new]), (T[~new], labels[~new])


def pixel_cosine(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between samples, (B,): what a branch that changes nothing gives."""
    cosine: np.ndarray = tg.cosine_similarity(h1, h2).numpy()
    return cosine


def _verification(results: dict[str, Any], name: str) -> str:
    return f"area {results[f'{name}_area']:.3f}, equal error rate {100 * results[f'{name}_equal_error']:.1f} %"
