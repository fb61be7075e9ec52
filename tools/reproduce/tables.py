"""Tables 65.3 and 65.4: single-sample training of fully-connected networks on images, row by row."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.arguments import check_name, choose, whole_number
from tinygraph.backend.random import check_seed
from tinygraph.data import Dataset
from tinygraph.errors import ArgumentError, DataError
from tinygraph.files import write_file
from tinygraph.models import FullyConnected, fully_connected
from tinygraph.nn import INITIALIZERS, Module
from tinygraph.plots.canvas import COLOURS, figure, image

MU, RHO = 0.001, 0.0001  # step-size and regularisation, of handwritten digits (65.151) and colour images (65.152)
SLEEP = (0.1, 0.5, 0.5)
VARIANTS = {  # of testing the same network
    "training_mean": "test set around the training mean",
    "scaled_biases": "biases scaled for testing too (65.124)",
}
EVERY = 5  # passes from one look at the training error to the next


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    activation : str
        Of the hidden layers.
    dropout : tuple of float, optional
        The probabilities with which nodes of each layer but the last sleep.
    passes : int
        Over the training set.
    printed : pair of float, optional
        The percentages of the table: test error, training error. None in a row that the table does not have.
    """

    activation: str
    dropout: tuple[float, ...] | None = None
    passes: int = 200
    printed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """A table of the chapter: its name and what it shows, the data set, the nodes of each layer, the rows by name."""

    name: str
    shows: str
    data: str
    sizes: tuple[int, ...]
    rows: dict[str, Row]

    @property
    def printed_rows(self) -> list[str]:
        """The names of the rows that the chapter has."""
        return [name for name, row in self.rows.items() if row.printed]


MNIST = Table(
    "table-65.3",
    "errors on MNIST (Ex. 65.9)",
    "mnist",
    (784, 512, 512, 10),
    {
        "sigmoid": Row("sigmoid", printed=(2.18, 1.02)),
        "tanh": Row("tanh", printed=(1.84, 0.00167)),
        "rectifier": Row("relu", printed=(1.82, 0.00167)),
        "dropout": Row("sigmoid", SLEEP, printed=(6.22, 6.25)),
        "rectifier-dropout": Row("relu", SLEEP),
    },
)
CIFAR = Table(
    "table-65.4",
    "errors on CIFAR-10 (Ex. 65.10)",
    "cifar10",
    (3072, 2048, 2048, 10),
    {
        "rectifier": Row("relu", printed=(42.28, 0.02)),
        "dropout": Row("relu", SLEEP, 300, printed=(42.92, 5.62)),
    },
)


def run(
    table: Table,
    *,
    passes: int | None = None,
    rows: str = "",
    seed: int = 0,
    biases: str = "standard_normal",
    out: Path | None = None,
    data_dir: Path | None = None,
) -> Iterator[str]:
    """Train the rows of a table, and yield the errors beside the printed ones.

    What is in `out` is gone on from: after each pass everything is written there, so a run that was killed ends with
    the same bits as one that was not, and more passes can be added.

    Parameters
    ----------
    table : Table
    passes : int, optional
        How many at most [default: as many as the chapter's].
    rows : str
        Their names, separated by commas [default: those that the chapter has].
    seed : int
        Decides the initial parameters, the order of the samples in each pass, and who sleeps.
    biases : str
        How the initial ones are drawn, a name of `tinygraph.nn.INITIALIZERS`; by default N(0, 1) (65.88).
    out : path, optional
        Folder for the results [default: ``runs/`` and the table's name].
    data_dir : path, optional
        The folder with the files of data sets.
    """
    names = [name.strip() for name in rows.split(",")] if rows else table.printed_rows
    chosen = {name: choose(f"{table.name}: row", name, table.rows) for name in names}
    if passes is not None:
        whole_number("passes", passes, 1)
    check_name("biases", biases, INITIALIZERS)
    check_seed(seed)
    folder = out or Path("runs") / table.name
    images = data.load(table.data, data_dir, center="each")
    _claim(folder, {"table": table.name, "seed": seed, "biases": biases, "data": repr(images)})
    yield f"{table.name}: {images!r}, {'-'.join(map(str, table.sizes))}, in {folder}"
    done = {}
    for name, row in chosen.items():
        done[name] = _train(table, row, images, passes or row.passes, seed, biases, folder / name)
        yield _line(name, row, done[name], images)
    write_file(folder / "curves.svg", _curves(done))
    yield f"wrote {folder}: curves.svg, and of each row a .json and its checkpoint"


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings to the folder of a run, or raise an error if it holds a run of others."""
    path = folder / "settings.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}; choose another with --out") from None
    saved = _read(path, settings)
    if saved != settings:
        differ = [key for key, value in settings.items() if saved.get(key) != value]
        told = [f"{key} {saved.get(key)!r} there and {settings[key]!r} here" for key in differ]
        raise ArgumentError(f"{folder} holds another run: {', '.join(told)}; choose another folder with --out")
    write_file(path, (json.dumps(settings, indent=2) + "\n").encode())


def _read(path: Path, absent: Any) -> Any:
    """Return what is in a JSON file, which is of the same type as `absent`, or that where there is no file."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return absent
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); choose another folder with --out") from None
    if type(content) is not type(absent):
        raise DataError(f"{path}: damaged: expected a {type(absent).__name__}; choose another folder with --out")
    return content


class _Errors(tg.Callback):
    """Writes the errors after each pass to a file: on the test set, and on the training set after every fifth.

    Parameters
    ----------
    path : path
        Of the file; what is in it is kept.
    images : Dataset
    """

    def __init__(self, path: Path, images: Dataset) -> None:
        self.path, self.images = path, images
        self.passes: list[dict[str, Any]] = _read(path, [])
        self._started = time.thread_time()

    def start(self, training: tg.Training) -> None:
        """Add the last pass, if the run was killed when its checkpoint was written and this file was not."""
        del self.passes[len(training.history) :]
        if len(self.passes) < len(training.history):
            self.passes.append({})
            self._note(training)
        self._started = time.thread_time()

    def epoch(self, training: tg.Training) -> None:
        """Add a pass, and the seconds of the processor that it took."""
        self.passes.append({"seconds": time.thread_time() - self._started})
        self._note(training)
        self._started = time.thread_time()

    def _note(self, training: tg.Training) -> None:
        row = training.history.rows[-1]
        self.passes[-1] |= {"pass": row["epoch"], "test_error": row["validation_error"]}
        if row["epoch"] % EVERY == 0 or row["epoch"] == 1:
            self.look(training.net)
        self.write()

    def look(self, net: Module) -> None:
        """Compute the error on the training set after the last pass, unless that was done."""
        if "training_error" not in self.passes[-1]:
            self.passes[-1]["training_error"] = tg.evaluate(net, losses.cross_entropy, self.images.train)[1]

    def write(self) -> None:
        """Write the file."""
        write_file(self.path, (json.dumps(self.passes) + "\n").encode())


def _train(
    table: Table, row: Row, images: Dataset, passes: int, seed: int, biases: str, path: Path
) -> list[dict[str, Any]]:
    """Train a row, going on from what is there; return what is known of each pass."""
    tg.manual_seed(seed)
    options: dict[str, Any] = {"dropout": row.dropout, "init_bias": biases, "seed": seed}
    net = fully_connected(table.sizes, row.activation, **options)
    errors = _Errors(path.with_suffix(".json"), images)
    tg.fit(
        net,
        losses.cross_entropy,
        images.train,
        optim.SGD(net.parameters(), MU),
        passes,
        batch_size=1,
        l2=RHO,
        validation=images.test,
        callbacks=[errors],
        checkpoint=path.with_suffix(".safetensors"),
        seed=seed,
    )
    errors.look(net)
    X, Y = images.test
    variants = {"training_mean": (net, X + images.test_mean - images.mean)}
    if row.dropout:
        variants["scaled_biases"] = _with_scaled_biases(net, row.dropout), X
    for variant, (tested, H) in variants.items():
        errors.passes[-1][f"test_error_{variant}"] = tg.evaluate(tested, losses.cross_entropy, (H, Y))[1]
    errors.write()
    return errors.passes


def _with_scaled_biases(net: FullyConnected, dropout: tuple[float, ...]) -> FullyConnected:
    """Return the network for testing as the last line of (65.124) is printed, which scales the biases as well."""
    scaled = copy.deepcopy(net)
    for l, p in enumerate(dropout, 1):
        theta = getattr(scaled, f"layer{l}").theta
        theta.assign_((1 - p) * theta.numpy())
    return scaled


def _line(name: str, row: Row, passes: list[dict[str, Any]], images: Dataset) -> str:
    """Return the errors of a row in words, beside the printed ones."""
    last = passes[-1]
    texts = []
    for kind, (X, _), printed in zip(
        ("test", "training"), (images.test, images.train), row.printed or (None, None), strict=True
    ):
        error = last[f"{kind}_error"]
        beside = "" if printed is None else f", printed {printed:#.3g} %"
        texts.append(f"{kind} error {100 * error:#.3g} % ({round(error * len(X))} of {len(X)}{beside})")
    for variant, words in VARIANTS.items():
        if (error := last.get(f"test_error_{variant}")) is not None:
            texts.append(f"{words} {100 * error:#.3g} %")
    seconds = [p["seconds"] for p in passes if "seconds" in p]
    return f"{name}, {len(passes)} passes of {row.passes}: {'; '.join(texts)}; {np.median(seconds):.1f} s a pass"


def _curves(done: dict[str, list[dict[str, Any]]]) -> bytes:
    """Return the errors of each row by pass as an SVG picture, those on the training set and on the test set."""
    from matplotlib.ticker import LogLocator, NullFormatter

    picture, panels = figure(2)
    for axes, kind in zip(panels, ("training", "test"), strict=True):
        for (name, passes), colour in zip(done.items(), COLOURS, strict=False):
            seen = [(p["pass"], 100 * p[f"{kind}_error"]) for p in passes if f"{kind}_error" in p]
            axes.plot(*zip(*seen, strict=True), color=colour, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("pass")
        axes.set_title(f"{kind} error, %", loc="left")
    panels[-1].legend(frameon=False)
    return image(picture)
