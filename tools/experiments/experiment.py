"""What an experiment is: a builder's network on a task with real data, and what to report about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np

import tinygraph as tg
from tinygraph import data, nn, optim
from tinygraph.arguments import check_name, fraction, positive, whole_number
from tinygraph.data.images import is_image
from tinygraph.drawing import Options, View
from tinygraph.errors import ArgumentError, DataError

OPTIMIZERS = ("sgd", "adam")
LARGEST = 2**31 - 1  # number of nodes
MEASURED_SAMPLES = 100  # for what drawings show
KINDS: dict[str, tuple[Any, str]] = {  # of settings: Python's type, and its words
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
    "tuple[str, ...]": (tuple, "a list of texts"),
}
NETWORK = ("hidden", "activation", "init")  # settings of the networks that builders make
OWN_DATA = ("target", "task", "held_out", "words", "ignore")  # of data from a file or folder of one's own


def is_own_network(model: str) -> bool:
    """Return whether the name of a model is that of a network of one's own, ``module:Name``."""
    return ":" in model


def finite_rows(outputs: tg.Tensor) -> np.ndarray:
    """Return what a network computed for rows of input, shape (n, ...), as a NumPy array.

    Raises
    ------
    DataError
        If a value is NaN or infinite, so that it decides nothing.
    """
    host = outputs.numpy()
    wrong = np.flatnonzero(~np.isfinite(host).reshape(len(host), -1).all(axis=1))
    if wrong.size:
        raise DataError(
            f"row {wrong[0]}: the network's output is not finite, so nothing is decided: are the input's values in the "
            "range of the training set's?"
        )
    return host


def class_answers(probabilities: tg.Tensor, first: int = 0) -> dict[str, np.ndarray]:
    """Return the class, numbered from `first`, that each row of probabilities decides on, and its probability."""
    rows = finite_rows(probabilities)
    return {"class": first + rows.argmax(axis=1), "probability": rows.max(axis=1)}


@dataclass(frozen=True)
class Settings:
    """What defines a run; written to settings.json and run.json."""

    model: str
    data: str
    hidden: str = "64"
    activation: str = "relu"
    init: str = "normal"
    head: str = ""
    optimizer: str = "sgd"
    epochs: int = 40
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    l2: float = 0.0
    tied: bool = False
    noise: float = 0.0
    seed: int = 0
    backend: str = "numpy"
    target: str = ""
    task: str = ""
    held_out: float = 0.2
    words: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, checked_setting(f.name, getattr(self, f.name)))
        whole_number("epochs", self.epochs, 1)
        whole_number("batch-size", self.batch_size, 1)
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        positive("l2", self.l2, zero=True)
        positive("held-out", fraction("held-out", self.held_out))

    @property
    def own_network(self) -> bool:
        """Whether the model is a network of one's own, named ``module:Name``."""
        return is_own_network(self.model)

    @property
    def hidden_sizes(self) -> list[int]:
        """The numbers of hidden nodes, from text such as ``64,32``."""
        sizes = [n.strip() for n in self.hidden.split(",") if n.strip()]
        if not all(n.isdecimal() and len(n) < 12 and 0 < int(n) <= LARGEST for n in sizes):
            raise ArgumentError(
                f"hidden: expected whole numbers from 1 to {LARGEST} separated by commas, such as 64,32, got "
                f"{self.hidden!r:.60}"
            )
        return [int(n) for n in sizes]


def checked_setting(name: str, value: Any) -> Any:
    """Return the value of a setting, a list as a tuple, or raise an error if it is of another type."""
    kind, words = KINDS[{f.name: str(f.type) for f in fields(Settings)}[name]]
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    if kind is tuple or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ArgumentError(f"{name.replace('_', '-')}: expected {words}, got {value!r:.60}")
    return value


class Experiment(ABC):
    """A builder's network on a task; a subclass loads the data and builds the network when it is made.

    Attributes
    ----------
    defaults : Settings
        What is used where the command line says nothing; `model` and `data` are in it.
    defaults_by_data : dict of str to dict
        Which of them are different for a data set.
    data_sets : tuple of str
        The data sets it can run on.
    net : Module
    loss : callable
        As `tinygraph.fit` takes it.
    train_set, validation : pairs of arrays
        As `tinygraph.fit` takes them; `validation` may be None.
    patience : int or None
        After how many epochs without a better validation error to stop, as `tinygraph.fit` takes it.
    options : tuple of str
        Which it has of the settings that not all have.
    held_out : str
        What `validation` is called in the curves.
    n_features : int
        How many numbers a row of the input has.
    image_shape : tuple of int, or None
        The shape of a row of the input as an image, whose pixels are from 0 to 1; None if it is none.
    class_names : sequence of str, or None
        What the classes are called; None for numbers.
    """

    defaults: ClassVar[Settings]
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {}
    data_sets: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]] = NETWORK

    net: nn.Module
    loss: Callable[..., tg.Tensor]
    train_set: tuple[Any, Any]
    validation: tuple[Any, Any] | None = None
    patience: int | None = None
    held_out: str = "test"
    n_features: int
    image_shape: tuple[int, ...] | None = None
    class_names: Sequence[str] | None = None

    @classmethod
    def for_data(cls, data_set: str) -> type[Experiment]:
        """Return the kind of experiment that suits a data set, or a file of one's own."""
        return cls

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        self.settings = settings
        self.data_dir = data_dir
        self._check_data_set()

    def _check_data_set(self) -> None:
        check_name(f"{self.settings.model}: data set", self.settings.data, self.data_sets)

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return what the trained network achieved, by name; numbers, written to run.json."""

    @abstractmethod
    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the results as lines for the terminal, the most important one last."""

    @abstractmethod
    def answers(self, rows: Any) -> dict[str, np.ndarray]:
        """Return what the network says of each row that `rows` has read, as columns by name."""

    def rows(self, source: Any) -> Any:
        """Return the rows of a file, or of a stream of text, as `answers` takes them.

        Raises
        ------
        DataError
            If they have another number of elements than the network's input.
        """
        rows = data.read_table(source)
        if self.image_shape is not None and isinstance(source, Path) and is_image(source):
            if len(self.image_shape) == 3:  # colours come first there, and last in a file
                rows = rows.transpose(0, 3, 1, 2) if rows.ndim == 4 else np.repeat(rows[:, None], 3, axis=1)
            if rows.shape[1:] != self.image_shape:
                raise DataError(f"{source}: expected an image of shape {self.image_shape}, got {rows.shape[1:]}")
            rows = rows / np.float32(255)
        rows = rows.reshape(len(rows), -1)
        if rows.shape[1] != self.n_features:
            raise DataError(f"{source}: expected {self.n_features} numbers a row, got {rows.shape[1]}")
        return rows

    def embedded(self) -> tuple[Callable[[Any], tg.Tensor], np.ndarray, np.ndarray]:
        """Return what embeds samples, samples (n, ...) and their classes (n,).

        Raises
        ------
        ArgumentError
            If nothing does.
        """
        raise ArgumentError("the network has no embedding")

    @property
    def title(self) -> str:
        """Sizes and data in words: ``[64, 32, 10] on digits: 1442 samples``."""
        on = f"on {self.settings.data}: {len(self.train_set[0])} samples"
        if self.settings.own_network:
            return on
        weights = [t for t in self.net.parameters() if t.role == "weight"]
        sizes = [weights[0].shape[0], *(W.shape[-1] for W in weights)]
        return f"{sizes} {on}"

    def optimizer(self, net: nn.Module | None = None) -> optim.Optimizer:
        """Return the optimiser that the settings name, for the parameters that learn; those of `net` if given."""
        learning = [p for p in (net or self.net).parameters() if p.requires_grad]
        if self.settings.optimizer == "adam":
            return optim.Adam(learning, self.settings.lr)
        return optim.SGD(learning, self.settings.lr, self.settings.momentum)

    def train(
        self,
        checkpoint: Path | None = None,
        allow_changes: Collection[str] = (),
        callbacks: Iterable[tg.Callback] = (),
        **saving: Any,
    ) -> tg.History:
        """Train the network; with a `checkpoint` that exists, go on from it; `saving` as `tinygraph.fit` takes it."""
        s = self.settings
        return tg.fit(
            self.net,
            self.loss,
            self.train_set,
            self.optimizer(),
            s.epochs,
            s.batch_size,
            l2=s.l2,
            validation=self.validation,
            early_stopping=self.patience,
            checkpoint=checkpoint,
            allow_changes=allow_changes,
            callbacks=callbacks,
            **saving,
            seed=s.seed,
        )

    def compare(self, net: nn.Module, train_set: tuple[Any, Any]) -> float:
        """Train another network, to compare with, as this one is trained; return the seconds it took."""
        s = self.settings
        history = tg.fit(net, self.loss, train_set, self.optimizer(net), s.epochs, s.batch_size, l2=s.l2, seed=s.seed)
        return history.times[-1]

    def inputs(self, n: int) -> list[np.ndarray]:
        """Return the first `n` samples, one array for each input of the network."""
        return [np.asarray(self.train_set[0][:n])]

    def labels(self, n: int) -> list[np.ndarray]:
        """Return the labels of the first `n` samples, as `risk` takes them."""
        return [np.asarray(self.train_set[1][:n])]

    def risk(self, x: tg.Tensor, target: tg.Tensor) -> tg.Tensor:
        """Return the loss of a batch; in drawings inputs have the names here."""
        Q: tg.Tensor = self.loss(self.net(x), target)
        return Q

    def graph(self, backward: bool = False, **options: Unpack[Options]) -> tg.Graph:
        """Return the network's graph, or with `backward` that of its loss and gradients.

        Options are those of `tinygraph.graph`; what these measure is measured on the first `MEASURED_SAMPLES`.
        """
        n = MEASURED_SAMPLES if View().changed(options).is_measured else 3
        if backward:
            return tg.graph(self.risk, inputs=[*self.inputs(n), *self.labels(n)], backward=True, **options)
        return tg.graph(self.net, inputs=self.inputs(n), **options)
