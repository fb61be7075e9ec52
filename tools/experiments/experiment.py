"""What an experiment is: a builder's network on a task with real data, and what to report about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.arguments import check_name, positive, whole_number
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
}


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


def class_lines(probabilities: tg.Tensor, first: int = 0) -> Iterator[str]:
    """Yield lines of CSV with the class, numbered from `first`, that each row of probabilities decides on."""
    rows = finite_rows(probabilities)
    yield "row,class,probability"
    for i, p in enumerate(rows):
        yield f"{i},{first + int(np.argmax(p))},{p.max():.4f}"


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

    def __post_init__(self) -> None:
        for f in fields(self):
            kind = KINDS[str(f.type)]
            value = getattr(self, f.name)
            if not isinstance(value, kind[0]) or (isinstance(value, bool) and kind[0] is not bool):
                raise ArgumentError(f"{f.name.replace('_', '-')}: expected {kind[1]}, got {value!r:.60}")
        whole_number("epochs", self.epochs, 1)
        whole_number("batch-size", self.batch_size, 1)
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        positive("l2", self.l2, zero=True)

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
        Which of the settings `head`, `tied` and `noise` it has.
    held_out : str
        What `validation` is called in the curves.
    n_features : int
        How many numbers a row of the input has.
    """

    defaults: ClassVar[Settings]
    defaults_by_data: ClassVar[dict[str, dict[str, Any]]] = {}
    data_sets: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]] = ()

    net: nn.Module
    loss: Callable[..., tg.Tensor]
    train_set: tuple[Any, Any]
    validation: tuple[Any, Any] | None = None
    patience: int | None = None
    held_out: str = "test"
    n_features: int

    def __init__(self, settings: Settings, data_dir: Path | None = None) -> None:
        self.settings = settings
        self.data_dir = data_dir
        check_name(f"{settings.model}: data set", settings.data, self.data_sets)

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return what the trained network achieved, by name; numbers, written to run.json."""

    @abstractmethod
    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the results as lines for the terminal, the most important one last."""

    @abstractmethod
    def decisions(self, rows: np.ndarray) -> Iterator[str]:
        """Yield a line of CSV with the names of the columns, and one for each row of input."""

    @property
    def title(self) -> str:
        """Sizes and data in words: ``[64, 32, 10] on digits: 1442 samples``."""
        weights = [t for t in self.net.parameters() if t.role == "weight"]
        sizes = [weights[0].shape[0], *(W.shape[-1] for W in weights)]
        return f"{sizes} on {self.settings.data}: {len(self.train_set[0])} samples"

    def optimizer(self, net: nn.Module | None = None) -> optim.Optimizer:
        """Return the optimiser that the settings name, for the parameters that learn; those of `net` if given."""
        learning = [p for p in (net or self.net).parameters() if p.requires_grad]
        if self.settings.optimizer == "adam":
            return optim.Adam(learning, self.settings.lr)
        return optim.SGD(learning, self.settings.lr, self.settings.momentum)

    def train(self, checkpoint: Path | None = None, allow_changes: Collection[str] = ()) -> tg.History:
        """Train the network; with a `checkpoint` that exists, go on from it, see `tinygraph.fit`."""
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
