"""What ``tinygraph train``, ``predict`` and ``render`` do."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import tinygraph as tg
from tinygraph import data
from tinygraph.arguments import choose
from tinygraph.drawing import Options
from tinygraph.errors import ArgumentError, DataError, RenderError
from tinygraph.files import write_file
from tinygraph.plots import learning_curves, save
from tinygraph.tools.experiments import Experiment, Settings, prepare
from tinygraph.tools.info import versions
from tinygraph.tools.signals import Stopped

CHANGEABLE = {"lr": "optimizer.lr", "momentum": "optimizer.momentum", "batch_size": "batch_size", "l2": "l2"}


def run(
    settings: Settings,
    out: Path | None,
    *,
    resume: bool,
    data_dir: Path | None = None,
    allow_changes: Collection[str] = (),
) -> Iterator[str]:
    """Train as `settings` say, write the results to `out`, and yield lines for the terminal."""
    changes = {choose("--allow-change: setting", name, CHANGEABLE) for name in allow_changes}
    if changes and not resume:
        raise ArgumentError("--allow-change is for a run that --resume continues")
    experiment = prepare(settings, data_dir)
    net = experiment.net
    experiment.optimizer()  # its arguments are checked before anything is written
    with _run_folder(settings, out, resume, allow_changes) as folder:
        yield (
            f"training {settings.model} {experiment.title}, "
            f"{sum(p.size for p in net.parameters())} parameters, backend {settings.backend}, in {folder}"
        )
        history = experiment.train(folder / "checkpoint.safetensors", changes)
    tg.save(folder / "weights.safetensors", net)  # first what took long
    history.save_csv(folder / "history.csv")
    results = experiment.results()
    results |= {"seconds": history.times[-1], "stop_reason": history.stop_reason}
    facts = {"settings": asdict(settings), "results": results, "versions": versions()}
    write_file(folder / "run.json", (json.dumps(facts, indent=2) + "\n").encode())
    save(learning_curves(history, experiment.held_out), folder / "curves.svg")
    drawing, remark = _draw_or_write_dot(experiment, folder / "graph.svg")
    yield f"{len(history)} epochs in {history.times[-1]:.1f} s"
    yield f"wrote {folder}: history.csv, curves.svg, weights.safetensors, {drawing.name}, run.json"
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
        write_file(folder / "settings.json", (json.dumps(asdict(settings), indent=2) + "\n").encode())
        yield folder
    except BaseException as error:
        if not resume and not checkpoint.exists():  # the name is free again
            with suppress(OSError):
                (folder / "settings.json").unlink(missing_ok=True)
                if is_new:
                    folder.rmdir()
        if isinstance(error, Stopped):
            error.remark = _how_to_go_on(folder, checkpoint)
        raise


def _claimed_folder(settings: Settings, out: Path | None) -> tuple[Path, bool]:
    """Return a folder that no other run has, and whether it was made here; its settings.json is there, empty."""
    name = f"{settings.model}-{settings.data}"
    names = (name if k == 1 else f"{name}-{k}" for k in itertools.count(1))
    for folder in (Path("runs") / n for n in names) if out is None else (out,):
        try:
            exists = folder.exists()
            if exists and out is None:
                continue
            folder.mkdir(parents=True, exist_ok=out is not None)
            if (folder / "run.json").exists():
                raise FileExistsError
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
    return f"; go on with the same command and --resume --out {shlex.quote(str(folder))}"


def _check_resumable(settings: Settings, folder: Path, allow_changes: Collection[str]) -> None:
    """Raise an error unless `folder` holds a run of these settings, apart from those that may change."""
    saved = _read_json(folder / "settings.json")
    asked = asdict(settings)
    changed = [k for k in asked if k not in ("epochs", "backend", *allow_changes) and saved.get(k) != asked[k]]
    if changed:
        told = ", ".join(f"{k} is {saved.get(k)!r} there and {asked[k]!r} here" for k in changed)
        hint = "; --allow-change takes it as it is here" if set(changed) <= set(CHANGEABLE) else ""
        raise ArgumentError(f"--resume: {folder} holds another run: {told}{hint}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        if (path.parent / "checkpoint.safetensors").exists():
            raise DataError(
                f"{path.parent} holds a run that has not ended: there is no {path.name}; go on with --resume"
            ) from None
        raise DataError(f"{path.parent} holds no run: there is no {path.name}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error})") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path}: damaged: expected an object with settings, got a {type(facts).__name__}")
    return facts


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
    if path.suffix == ".dot":
        write_file(path, graph.to_dot().encode())
    else:
        graph.render(path)
    return f"wrote {path}: {len(graph)} nodes"


def predictions(folder: Path, file: Path, data_dir: Path | None = None) -> Iterator[str]:
    """Yield CSV lines with the decision on each row of `file` by the network in `folder`."""
    facts = _read_json(folder / "run.json")
    try:
        settings = Settings(**facts["settings"])
        experiment = prepare(settings, data_dir)
    except (KeyError, TypeError):
        raise DataError(f"{folder / 'run.json'}: damaged or of another version (no settings)") from None
    except ArgumentError as error:
        raise DataError(f"{folder / 'run.json'}: {error}") from None
    tg.load(folder / "weights.safetensors", experiment.net)
    rows = data.read_table(file)
    rows = rows.reshape(len(rows), -1)
    if rows.shape[1] != experiment.n_features:
        raise DataError(f"{file}: expected {experiment.n_features} numbers a row, got {rows.shape[1]}")
    yield from experiment.decisions(rows)
