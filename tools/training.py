"""What ``tinygraph train``, ``predict`` and ``render`` do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.checkpoint import write_file
from tinygraph.errors import ArgumentError, DataError, RenderError
from tinygraph.models import FullyConnected, fully_connected
from tinygraph.optim import positive
from tinygraph.tools.info import versions
from tinygraph.tools.plot import learning_curves

MODELS = {"fully_connected": fully_connected}


@dataclass(frozen=True)
class Settings:
    """What defines a run; written to run.json."""

    model: str = "fully_connected"
    data: str = "digits"
    hidden: str = "64"
    activation: str = "relu"
    init: str = "normal"
    epochs: int = 40
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    l2: float = 1e-3
    seed: int = 0
    backend: str = "numpy"

    def build(self, n_in: int, n_out: int) -> FullyConnected:
        """Return the network these settings describe."""
        if self.model not in MODELS:
            raise ArgumentError(f"model {self.model!r} is not known; known: {', '.join(MODELS)}")
        try:
            hidden = [int(n) for n in self.hidden.split(",") if n.strip()]
        except ValueError:
            raise ArgumentError(
                f"hidden: expected whole numbers separated by commas, such as 64,32, got {self.hidden!r}"
            ) from None
        with tg.using(self.backend):
            return MODELS[self.model]([n_in, *hidden, n_out], self.activation, init=self.init, seed=self.seed)


def run(settings: Settings, out: Path | None, *, resume: bool) -> Iterator[str]:
    """Train as `settings` say, write the results to `out`, and yield lines for the terminal."""
    tg.manual_seed(settings.seed)
    data_set = data.load(settings.data)
    net = settings.build(data_set.n_features, data_set.n_classes)
    optimizer = optim.SGD(net.parameters(), settings.lr, settings.momentum)
    if settings.epochs < 1:
        raise ArgumentError(f"epochs: expected a whole number of at least 1, got {settings.epochs}")
    if settings.batch_size < 1:
        raise ArgumentError(f"batch-size: expected a whole number of at least 1, got {settings.batch_size}")
    positive("l2", settings.l2, zero=True)
    folder = _run_folder(settings, out, resume)
    yield (
        f"training {settings.model} {_sizes(net)} on {settings.data}: {len(data_set.train[0])} samples, "
        f"{sum(p.size for p in net.parameters())} parameters, backend {settings.backend}"
    )
    history = tg.fit(
        net,
        losses.cross_entropy,
        data_set.train,
        optimizer,
        settings.epochs,
        settings.batch_size,
        l2=settings.l2,
        validation=data_set.test,
        checkpoint=folder / "checkpoint.safetensors",
        seed=settings.seed,
    )
    loss, error = tg.evaluate(net, losses.cross_entropy, data_set.test)
    history.save_csv(folder / "history.csv")
    write_file(folder / "curves.svg", learning_curves(history, "test"))
    tg.save(folder / "weights.safetensors", net)
    drawing, remark = _draw_or_write_dot(net, data_set.n_features, folder / "graph.svg")
    results = {"test_error": error, "test_loss": loss, "seconds": history.times[-1], "stopped": history.stopped}
    facts = {"settings": asdict(settings), "results": results, "versions": versions()}
    write_file(folder / "run.json", (json.dumps(facts, indent=2) + "\n").encode())
    yield f"{len(history)} passes in {history.times[-1]:.1f} s"
    yield f"wrote {folder}: history.csv, curves.svg, weights.safetensors, {drawing.name}, run.json"
    if remark:
        yield remark
    yield f"test error {100 * (error or 0.0):.1f} %"


def _sizes(net: FullyConnected) -> list[int]:
    weights = [t for t in net.parameters() if t.role == "weight"]
    return [weights[0].shape[0], *(W.shape[1] for W in weights)]


def _run_folder(settings: Settings, out: Path | None, resume: bool) -> Path:
    """Return the folder for the results, made and known to be writable."""
    if out is None:
        if resume:
            raise ArgumentError("--resume: say with --out which folder holds the run to continue")
        name = f"{settings.model}-{settings.data}"
        names = (name if k == 1 else f"{name}-{k}" for k in itertools.count(1))
        out = next(path for path in (Path("runs") / n for n in names) if not path.exists())
    elif resume:
        _check_resumable(settings, out)
    elif (out / "settings.json").exists() or (out / "run.json").exists():
        raise ArgumentError(f"{out} already holds a run; --resume continues it, another --out keeps both")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {out}: {error.strerror}; choose another with --out") from None
    write_file(out / "settings.json", (json.dumps(asdict(settings), indent=2) + "\n").encode())
    return out


def _check_resumable(settings: Settings, folder: Path) -> None:
    """Raise an error unless `folder` holds a run of these settings, the number of passes apart."""
    theirs = _read_json(folder / "settings.json")
    ours = asdict(settings)
    differ = [k for k in ours if k not in ("epochs", "backend") and theirs.get(k) != ours[k]]
    if differ:
        said = ", ".join(f"{k} is {theirs.get(k)!r} there and {ours[k]!r} here" for k in differ)
        raise ArgumentError(f"--resume: {folder} holds another run: {said}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{path.parent} holds no run: there is no {path.name}") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error})") from None
    return facts


def _draw_or_write_dot(net: FullyConnected, n_features: int, path: Path) -> tuple[Path, str]:
    """Draw the network; without a renderer write its DOT source, and return a line that says so."""
    graph = tg.graph(net, input_shape=(None, n_features))
    try:
        graph.render(path)
    except RenderError as error:
        dot = path.with_suffix(".dot")
        write_file(dot, graph.to_dot().encode())
        return dot, f"no {path.name}: {error}"
    return path, ""


def draw(settings: Settings, path: Path, backward: bool) -> str:
    """Draw the network that `settings` describe; return a line that says where."""
    data_set = data.load(settings.data)
    net = settings.build(data_set.n_features, data_set.n_classes)
    shape = (None, data_set.n_features)
    if backward:
        classes = data_set.n_classes

        def loss(x: tg.Tensor) -> tg.Tensor:
            return losses.cross_entropy(net(x), np.full((len(x), classes), 1 / classes, np.float32))

        graph = tg.graph(loss, input_shape=shape, backward=True)
    else:
        graph = tg.graph(net, input_shape=shape)
    if path.suffix == ".dot":
        write_file(path, graph.to_dot().encode())
    else:
        graph.render(path)
    return f"wrote {path}: {len(graph)} nodes"


def predictions(folder: Path, file: Path) -> Iterator[str]:
    """Yield CSV lines with the decision on each row of `file` by the network in `folder`."""
    facts = _read_json(folder / "run.json")
    try:
        settings = Settings(**facts["settings"])
    except (KeyError, TypeError):
        raise DataError(f"{folder / 'run.json'}: damaged or of another version (no settings)") from None
    data_set = data.load(settings.data)
    net = settings.build(data_set.n_features, data_set.n_classes)
    tg.load(folder / "weights.safetensors", net)
    rows = data.read_table(file)
    rows = rows.reshape(len(rows), -1)
    if rows.shape[1] != data_set.n_features:
        raise DataError(f"{file}: expected {data_set.n_features} numbers a row, got {rows.shape[1]}")
    with tg.no_grad():
        probabilities = net.predict(rows).numpy()
    yield "row,class,probability"
    for i, p in enumerate(probabilities):
        yield f"{i},{int(np.argmax(p))},{p.max():.4f}"
