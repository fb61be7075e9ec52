"""What ``tinygraph train``, ``predict`` and ``render`` do."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shlex
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

import tinygraph as tg
from tinygraph.arguments import choose, whole_number
from tinygraph.drawing import Options
from tinygraph.errors import ArgumentError, DataError, RenderError
from tinygraph.files import write_file
from tinygraph.parallel import first_process
from tinygraph.plots import learning_curves, save
from tinygraph.tools.config import as_toml, read_config
from tinygraph.tools.experiments import Experiment, Settings, prepare, settings_of
from tinygraph.tools.experiments.experiment import LARGEST, is_own_network
from tinygraph.tools.experiments.networks import own_network, told
from tinygraph.tools.experiments.own_data import OwnDataExperiment
from tinygraph.tools.info import versions
from tinygraph.tools.runs import FORMAT, PREPROCESSING, load_run, read_json, settings_from
from tinygraph.tools.signals import Stopped, stopped_after_update
from tinygraph.tools.training_plots import TrainingPlots
from tinygraph.train.checkpoints import interval

SETTINGS = ("settings.json", "settings.toml")  # what --resume continues with, and the same as --config reads it
CHANGEABLE = {"lr": "optimizer.lr", "momentum": "optimizer.momentum", "batch_size": "batch_size", "l2": "l2"}


def asked_settings(
    model: str | None, options: Mapping[str, Any], config: Path | None = None, resumed: Path | None = None
) -> Settings:
    """Return the settings that a command asks for.

    Parameters
    ----------
    model : str, optional
    options : mapping
        The options of the command line by the names of settings; None where one was not given.
    config : path, optional
        A TOML file with further ones.
    resumed : path, optional
        The folder of the run that goes on, with the settings it has but for those that are given.
    """
    given = {} if config is None else read_config(config)
    given |= {name: value for name, value in {"model": model, **options}.items() if value is not None}
    if resumed is not None:
        path = resumed / SETTINGS[0]
        settings = settings_from(read_json(path), path)
        return replace(settings, **given)
    return settings_of(given.pop("model", "fully_connected"), **given)


def run(
    settings: Settings,
    out: Path | None,
    *,
    resume: bool,
    data_dir: Path | None = None,
    allow_changes: Collection[str] = (),
    plots: Collection[str] = (),
    checkpoint_every: str = "epoch",
    keep: int = 1,
) -> Iterator[str]:
    """Train as `settings` say, write the results to `out`, and yield lines for the terminal."""
    interval(checkpoint_every, "--checkpoint-every")  # before anything is written
    saving = {"checkpoint_every": checkpoint_every, "checkpoint_keep": whole_number("--keep", keep, 1)}
    changes = {choose("--allow-change: setting", name, CHANGEABLE) for name in allow_changes}
    if changes and not resume:
        raise ArgumentError("--allow-change is for a run that --resume continues")
    experiment = prepare(settings, data_dir)
    net = experiment.net
    experiment.optimizer()  # its arguments are checked before anything is written
    pictures = TrainingPlots(plots, experiment)
    if not first_process():  # it trains with the others, and process 0 writes
        with tempfile.TemporaryDirectory() as nowhere, stopped_after_update() as stop:
            path = Path(nowhere) / "checkpoint.safetensors"
            experiment.train(path, changes, [stop, *pictures.callbacks], **saving)
        return
    with _run_folder(settings, out, resume, allow_changes) as folder:
        yield (
            f"training {settings.model} {experiment.title}, "
            f"{sum(p.size for p in net.parameters())} parameters, backend {settings.backend}, in {folder}"
        )
        with stopped_after_update() as stop:
            callbacks = [stop, *pictures.callbacks]
            history = experiment.train(folder / "checkpoint.safetensors", changes, callbacks, **saving)
    tg.save(folder / "weights.safetensors", net)  # first what took long
    history.save_csv(folder / "history.csv")
    if isinstance(experiment, OwnDataExperiment):
        experiment.preprocessing.save(folder / PREPROCESSING)
    results = experiment.results()
    results |= {"seconds": history.times[-1], "stop_reason": history.stop_reason}
    results |= {"iterations": history.iterations, "best_epoch": history.best_epoch}
    facts = {"format": FORMAT, "settings": asdict(settings), "results": results, "versions": versions()}
    write_file(folder / "run.json", (json.dumps(facts, indent=2) + "\n").encode())
    save(learning_curves(history, experiment.held_out), folder / "curves.svg")
    drawing, remark = _draw_or_write_dot(experiment, folder / "graph.svg")
    yield f"{len(history)} epochs in {history.times[-1]:.1f} s"
    drawn = "".join(f", {name}" for name in pictures.save(folder))
    yield f"wrote {folder}: history.csv, curves.svg, weights.safetensors, {drawing.name}, run.json{drawn}"
    if remark:
        yield remark
    yield from experiment.summary(results)


@contextmanager
def _run_folder(
    settings: Settings, out: Path | None, resume: bool, allow_changes: Collection[str] = ()
) -> Iterator[Path]:
    """Make the folder of a run, and say how to go on if the program is stopped; nothing stays of a failed start.

    A run belongs to who creates its settings.json, so two that start at once get two folders, or one is refused.
    """
    if resume:
        if out is None:
            raise ArgumentError("--resume: say with --out which folder holds the run to continue")
        _check_resumable(settings, out, allow_changes)
        folder, is_new = out, False
    else:
        folder, is_new = _claimed_folder(settings, out)
    checkpoint = folder / "checkpoint.safetensors"
    try:
        as_json = json.dumps(asdict(settings), indent=2) + "\n"
        for name, text in zip(SETTINGS, (as_json, as_toml(settings)), strict=True):
            write_file(folder / name, text.encode())
        yield folder
    except BaseException as error:
        if not resume and not checkpoint.exists():  # the name is free again
            with suppress(OSError):
                for name in SETTINGS:
                    (folder / name).unlink(missing_ok=True)
                if is_new:
                    folder.rmdir()
        if isinstance(error, Stopped):
            error.remark = _how_to_go_on(folder, checkpoint)
        raise


def _claimed_folder(settings: Settings, out: Path | None) -> tuple[Path, bool]:
    """Return a folder that no other run has, and whether it was made here; its settings.json is there, empty."""
    name = f"{settings.model.rpartition(':')[2]}-{Path(settings.data).stem}"
    names = (name if k == 1 else f"{name}-{k}" for k in itertools.count(1))
    for folder in (Path("runs") / n for n in names) if out is None else (out,):
        try:
            exists = folder.exists()
            if exists and out is None:
                continue
            folder.mkdir(parents=True, exist_ok=out is not None)
            if (folder / "run.json").exists():
                raise FileExistsError
            if (folder / SETTINGS[1]).exists() and not (folder / SETTINGS[0]).exists():
                raise ArgumentError(
                    f"{folder} has a {SETTINGS[1]} of its own, which a run would write; choose another --out"
                )
            (folder / "settings.json").touch(exist_ok=False)
        except FileExistsError:
            if out is None:
                continue
            if not folder.is_dir():
                raise DataError(
                    f"cannot make the folder {folder}: a file has its name; choose another with --out"
                ) from None
            raise ArgumentError(
                f"{folder} already holds a run; --resume continues it, another --out keeps both"
            ) from None
        except OSError as error:
            raise DataError(
                f"cannot make the folder {folder!s:.100}: {error.strerror}; choose another with --out"
            ) from None
        return folder, not exists
    raise AssertionError("there is always a next number")


def _how_to_go_on(folder: Path, checkpoint: Path) -> str:
    """Return what to say of a run that was stopped."""
    if not checkpoint.exists():
        return " before the first epoch ended; nothing is kept"
    return f"; go on with: tinygraph train --resume --out {shlex.quote(str(folder))}"


def _check_resumable(settings: Settings, folder: Path, allow_changes: Collection[str]) -> None:
    """Raise an error unless `folder` holds a run of these settings, apart from those that may change."""
    path = folder / SETTINGS[0]
    saved, asked = asdict(settings_from(read_json(path), path)), asdict(settings)
    changed = [k for k in asked if k not in ("epochs", "backend", *allow_changes) and saved.get(k) != asked[k]]
    if changed:
        told = ", ".join(f"{k} is {saved.get(k)!r} there and {asked[k]!r} here" for k in changed)
        hint = "; --allow-change takes it as it is here" if set(changed) <= set(CHANGEABLE) else ""
        raise ArgumentError(f"--resume: {folder} holds another run: {told}{hint}")


def _draw_or_write_dot(experiment: Experiment, path: Path) -> tuple[Path, str]:
    """Draw the network; without a renderer write its DOT source, and return a line that says so."""
    graph = experiment.graph()
    try:
        graph.render(path)
    except RenderError as error:
        dot = path.with_suffix(".dot")
        write_file(dot, graph.to_dot().encode())
        return dot, f"no {path.name}: {error}"
    return path, ""


def draw(
    settings: Settings, path: Path, backward: bool, data_dir: Path | None = None, **options: Unpack[Options]
) -> str:
    """Draw the network that `settings` describe, with options of `tinygraph.graph`; return a line that says where.

    A name that ends in .html is that of a page which steps through its loss and gradients.
    """
    page = path.suffix.lower() == ".html"
    graph = prepare(settings, data_dir).graph(backward or page, **options)
    if page:
        graph.explore(path, title=settings.model)
        return f"wrote {path}: {len(graph)} nodes"
    return _drawn(graph, path)


def draw_own(
    model: str, inputs: Sequence[str], others: Mapping[str, Any], path: Path, **options: Unpack[Options]
) -> str:
    """Draw a network of one's own for inputs of the shapes in texts such as ``None,64``; return a line as `draw`.

    `others` are options of the command that it has no use for: one that is given is an error.
    """
    if not is_own_network(model):
        raise ArgumentError(f"--input is for a network of one's own, module:Name; {model} is built for its data")
    if given := [name.replace("_", "-") for name, value in others.items() if value is not None]:
        raise ArgumentError(f"--{given[0]} and --input exclude each other: data tells the input's shape, and the loss")
    if path.suffix.lower() == ".html":
        raise ArgumentError("--input: a page steps through numbers and a loss; give --data in its place")
    shapes = tuple(_shape(text) for text in inputs)
    net = own_network(model, None)
    with told(model, f"drawing it for --input {' --input '.join(inputs)}"):
        graph = tg.graph(net, input_shape=shapes if len(shapes) > 1 else shapes[0], **options)
    return _drawn(graph, path)


def _shape(text: str) -> tuple[int | None, ...]:
    """Return the shape in a text such as ``None,64``."""
    sizes = [size.strip() for size in text.strip(" ()").rstrip(",").split(",")]
    if not all(size == "None" or (size.isdecimal() and 0 < int(size[:12]) <= LARGEST) for size in sizes):
        raise ArgumentError(f"--input: expected sizes separated by commas, such as None,64, got {text!r:.60}")
    return tuple(None if size == "None" else int(size) for size in sizes)


def _drawn(graph: tg.Graph, path: Path) -> str:
    if path.suffix == ".dot":
        write_file(path, graph.to_dot().encode())
    else:
        graph.render(path)
    return f"wrote {path}: {len(graph)} nodes"


def predictions(folder: Path, file: Path, data_dir: Path | None = None) -> Iterator[str]:
    """Yield CSV lines with what the network in `folder` says of each row of `file`; of ``-`` that of standard input."""
    run = load_run(folder, data_dir)
    columns = run.predict(sys.stdin.buffer if str(file) == "-" else file)
    yield _csv_line(["row number" if "row" in columns else "row", *columns])
    for i, values in enumerate(zip(*columns.values(), strict=True)):
        yield _csv_line([f"{i}", *(f"{v:.6g}" if isinstance(v, float | np.floating) else f"{v}" for v in values)])


def _csv_line(fields: Sequence[str]) -> str:
    """Return fields as a line of CSV, quoted where they hold commas, quotes or breaks."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()
