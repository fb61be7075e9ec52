"""An autoencoder that gives back images, beside principal components of as many numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.backend import generator
from tinygraph.models import autoencoder
from tinygraph.models.autoencoders import Autoencoder
from tinygraph.tools.experiments.experiment import NETWORK, Experiment, Settings, finite_rows


class AutoencoderExperiment(Experiment):
    """Images given back by encoding and decoding (65.99)-(65.102), beside principal components (65.103)-(65.109).

    The hidden sizes are those from the input to the code; the decoder mirrors them.
    """

    defaults = Settings(
        "autoencoder", "digits", hidden="128,16", activation="elu", optimizer="adam", epochs=60, lr=2e-3
    )
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"hidden": "256,32", "lr": 1e-3, "epochs": 5} for name in ("mnist", "fashion-mnist")
    }
    data_sets = ("digits", "mnist", "fashion-mnist")
    options = (*NETWORK, "tied", "noise")

    net: Autoencoder

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        super().__init__(settings, data_dir)
        images = data.load(settings.data, data_dir)
        hidden = settings.hidden_sizes
        self.sizes = [images.n_features, *hidden, *hidden[-2::-1], images.n_features]
        self.net = autoencoder(
            self.sizes,
            settings.tied,
            denoise=settings.noise,
            activation=settings.activation,
            init=settings.init,
            seed=settings.seed,
        )
        self.loss = reconstruction_error
        self.train_set, self.validation = (images.train[0],) * 2, (images.test[0],) * 2
        self.test = images.test
        self.n_features, self.image_shape = images.n_features, images.image_shape

    @property
    def title(self) -> str:
        """Sizes and data in words, and what is special."""
        special = ", tied weights" * self.settings.tied
        special += f", {self.settings.noise:g} of the inputs zeroed" if self.settings.noise else ""
        return f"{self.sizes}{special} on {self.settings.data}: {len(self.train_set[0])} samples"

    def embedded(self) -> tuple[Callable[..., tg.Tensor], np.ndarray, np.ndarray]:
        """Return the encoder and the test images."""
        return self.net.encode, *self.test

    def results(self) -> dict[str, Any]:
        """Return the squared error an image of the network and of principal components, on the test set.

        With noise also those of images given back from damaged ones.
        """
        assert self.validation is not None
        X, test = self.train_set[0], self.validation[0]
        inputs = {"": test}
        if self.settings.noise:
            awake = generator(self.settings.seed, "noise").random(test.shape) >= self.settings.noise
            inputs["restored_"] = test * awake
        measured: dict[str, Any] = {"code": self.settings.hidden_sizes[-1]}
        components = data.pca(X, min(measured["code"], self.n_features), center=True)
        for name, images in inputs.items():
            with tg.no_grad():
                measured[f"{name}test_loss"] = float(losses.squared_error(self.net.predict(images), test))
            back = components.decode(components.encode(images))
            measured[f"{name}components_loss"] = float(np.square(back - test).sum(axis=1).mean())
        return measured

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the errors of the network and of principal components in words."""
        k = results["code"]
        lines = [f"squared error a test image: {results['components_loss']:.3f} by {k} principal components"]
        if "restored_test_loss" in results:
            lines.append(
                f"of damaged images: {results['restored_test_loss']:.3f} by the network, "
                f"{results['restored_components_loss']:.3f} by the components"
            )
        return [*lines, f"squared error a test image: {results['test_loss']:.3f} by a code of {k} numbers"]

    def answers(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return for each row its squared error and its code."""
        with tg.no_grad():
            codes = self.net.encode(rows)
            back = finite_rows(self.net.decode(codes))
        columns = {f"code{j}": code for j, code in enumerate(codes.numpy().T, 1)}
        return {"error": np.square(back - rows).sum(axis=1), **columns}

    def labels(self, n: int) -> list[np.ndarray]:
        """Return none: an image is its own."""
        return []

    def risk(self, x: tg.Tensor) -> tg.Tensor:  # type: ignore[override]
        """Return the reconstruction error of a batch."""
        Q: tg.Tensor = self.loss(self.net, x, x)
        return Q


def reconstruction_error(net: Autoencoder, x: Any, y: Any) -> tg.Tensor:
    """Return the batch mean of the loss ``|y - gamma-hat|**2`` (65.48), of shades of grey: nothing is decided."""
    return losses.squared_error(net.predict(x, train=net.training), y)
