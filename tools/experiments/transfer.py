"""A network that learns some digits from many images, and then others from ten images each."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, nn
from tinygraph.backend import generator
from tinygraph.data import one_hot
from tinygraph.data.dataset import Pair
from tinygraph.models import FullyConnected, Transfer, fully_connected, transfer
from tinygraph.tools.experiments.experiment import NETWORK, Experiment, Settings, class_answers

FIRST_NEW, SAMPLES, SUBSETS = 5, 10, 10
EPOCHS, BATCH = 80, 10
WAYS = {
    "scratch": "a network that starts anew",
    "frozen": "a new last layer on the frozen trunk",
    "tuned": "all layers tuned after it",
}


class TransferExperiment(Experiment):
    """From the digits 0 to 4 to 5 to 9 with ten images of each (Example 65.11), for ten choices of these images.

    A new last layer is trained on the trunk's output, computed once, for 80 epochs; or for 40, then all layers for
    40 more at a smaller rate. Beside them a network of the same sizes that starts anew, for 80 epochs. `epochs` are
    those on the digits 0 to 4, and `noise` is the fraction of pixels asleep in them; the network that starts anew
    has none, which suits it at least as well.
    """

    defaults = Settings("transfer", "digits", hidden="256", optimizer="adam", epochs=5, lr=1e-3)
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {"mnist": {"hidden": "512", "noise": 0.3}}
    data_sets = ("digits", "mnist")
    options = (*NETWORK, "noise")
    samples = SAMPLES
    held_out = "test, 0 to 4"

    net: Transfer
    validation: Pair

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        digits = data.load(settings.data, data_dir)
        self.n_features, self.image_shape = digits.n_features, digits.image_shape
        (X, _), (T, _) = digits.train, digits.test
        old, old_test = digits.labels_train < FIRST_NEW, digits.labels_test < FIRST_NEW
        self.old = X[old], one_hot(digits.labels_train[old], FIRST_NEW)
        self.validation = T[old_test], one_hot(digits.labels_test[old_test], FIRST_NEW)
        self.new = X[~old], one_hot(digits.labels_train[~old] - FIRST_NEW)
        self.new_test = T[~old_test], one_hot(digits.labels_test[~old_test] - FIRST_NEW)
        self.loss = losses.cross_entropy
        self.train_set = self._few(0)
        self.source = self._network(settings.seed, settings.noise)
        self.net = self._transferred(0)

    def _network(self, seed: int, noise: float = 0.0) -> FullyConnected:
        """Return a network that is not trained; the old and the new digits are as many."""
        s = self.settings
        sizes = [self.n_features, *s.hidden_sizes, FIRST_NEW]
        sleep = [noise, *[0.0] * len(s.hidden_sizes)]
        return fully_connected(sizes, s.activation, dropout=sleep, init=s.init, seed=seed)

    def _few(self, subset: int) -> Pair:
        """Return the new digits' training samples of choice number `subset`: `samples` of each."""
        X, Y = self.new
        rng = generator(self.settings.seed, "few", subset)
        rows = np.concatenate([rng.choice(np.flatnonzero(y), self.samples, replace=False) for y in Y.T])
        return X[rows], Y[rows]

    def _transferred(self, subset: int) -> Transfer:
        s = self.settings
        return transfer(self.source, [FIRST_NEW], init=s.init, seed=s.seed + subset)

    @property
    def title(self) -> str:
        """Sizes and data in words."""
        sizes = [self.n_features, *self.settings.hidden_sizes, FIRST_NEW]
        return (
            f"{sizes} on {self.settings.data}: {len(self.old[0])} samples of 0 to 4, then {len(self.train_set[0])} "
            "of 5 to 9"
        )

    def train(
        self,
        checkpoint: Path | None = None,
        allow_changes: Collection[str] = (),
        callbacks: Iterable[tg.Callback] = (),
        **saving: Any,
    ) -> tg.History:
        """Train the source, going on from `checkpoint` if it exists, and tune the network on the first choice."""
        history = self.train_source(checkpoint, allow_changes, callbacks, **saving)
        tuned = self._transferred(0)
        self._train_head(tuned, self.train_set, EPOCHS // 2)
        self._train_few(tuned.unfreeze(), self.train_set, EPOCHS // 2, 1 / 3)
        self.net.load_state_dict(tuned.state_dict())
        return history

    def train_source(
        self,
        checkpoint: Path | None = None,
        allow_changes: Collection[str] = (),
        callbacks: Iterable[tg.Callback] = (),
        **saving: Any,
    ) -> tg.History:
        """Train the source, going on from `checkpoint` if it exists."""
        s = self.settings
        return tg.fit(
            self.source,
            self.loss,
            self.old,
            self.optimizer(self.source),
            s.epochs,
            s.batch_size,
            l2=s.l2,
            validation=self.validation,
            checkpoint=checkpoint,
            allow_changes=allow_changes,
            callbacks=callbacks,
            **saving,
            seed=s.seed,
        )

    def _train_few(self, net: nn.Module, samples: Pair, epochs: int, factor: float = 1.0) -> None:
        """Train on a few samples, at `factor` times the learning rate of the settings."""
        optimizer = self.optimizer(net)
        optimizer.lr = factor * self.settings.lr
        tg.fit(net, self.loss, samples, optimizer, epochs, BATCH, progress=False, seed=self.settings.seed)

    def _train_head(self, net: Transfer, samples: Pair, epochs: int) -> None:
        """Train the new layer on what the trunk makes of the samples, computed once."""
        self._train_few(net.head, (net.features(samples[0]), samples[1]), epochs, 3.0)

    def results(self) -> dict[str, Any]:
        """Return test errors on the new digits, mean and deviation over the choices, and seconds a choice."""
        errors: dict[str, list[float]] = {way: [] for way in WAYS}
        seconds = dict.fromkeys(WAYS, 0.0)
        for subset in range(SUBSETS):
            for way in WAYS:
                started = time.perf_counter()
                net = self._learned(way, subset)
                seconds[way] += time.perf_counter() - started
                error = tg.evaluate(net, self.loss, self.new_test)[1]
                assert error is not None
                errors[way].append(error)
        measured: dict[str, Any] = {"source_test_error": tg.evaluate(self.source, self.loss, self.validation)[1]}
        for way in WAYS:
            measured[f"{way}_test_error"] = float(np.mean(errors[way]))
            measured[f"{way}_deviation"] = float(np.std(errors[way], ddof=1))
            measured[f"{way}_seconds"] = seconds[way] / SUBSETS
        return measured

    def _learned(self, way: str, subset: int) -> nn.Module:
        """Return a network that has learned the new digits from choice number `subset` in one of the `WAYS`."""
        samples = self._few(subset)
        if way == "scratch":
            net = self._network(self.settings.seed + 1 + subset)
            self._train_few(net, samples, EPOCHS)
            return net
        transferred = self._transferred(subset)
        self._train_head(transferred, samples, EPOCHS if way == "frozen" else EPOCHS // 2)
        if way == "tuned":
            self._train_few(transferred.unfreeze(), samples, EPOCHS // 2, 1 / 3)
        return transferred

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the errors in words."""
        lines = [f"test error on the digits 0 to 4: {100 * results['source_test_error']:.1f} %"]
        for way, words in WAYS.items():
            error, deviation = (100 * results[f"{way}_{statistic}"] for statistic in ("test_error", "deviation"))
            lines.append(
                f"test error on 5 to 9, {words}: {error:.1f} % (standard deviation {deviation:.1f}), "
                f"{results[f'{way}_seconds']:.2f} s"
            )
        return lines

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row the new digit decided on and the probability given to it."""
        with tg.no_grad():
            return class_answers(self.net.predict(rows), FIRST_NEW)
