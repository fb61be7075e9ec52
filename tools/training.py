"""What ``tinygraph train``, ``predict`` and ``render`` do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tinygraph as tg
from tinygraph import data
from tinygraph.errors import ArgumentError, DataError, RenderError
from tinygraph.files import write_file
from tinygraph.tools.experiments import Experiment, Settings, prepare
from tinygraph.tools.info import versions
from tinygraph.tools.plot import learning_curves


def run(settings: Settings, out: Path | None, *, resume: bool, data_dir: Path | None = None) -> Iterator[str]:
    """Train as `settings` say, write the results to `out`, and yield lines for the terminal."""
    experiment = prepare(settings, data_dir)
    net = experiment.net
    experiment.optimizer()  # its arguments are checked before anything is written
    folder = _run_folder(settings, out, resume)
    yield (
        f"training {settings.model} {experiment.title}, "
        f"{sum(p.size for p in net.parameters())} parameters, backend {settings.backend}"
    )
    history = experiment.train(folder / "checkpoint.safetensors")
    results = experiment.results()
    history.save_csv(folder / "history.csv")
    write_file(folder / "curves.svg", learning_curves(history, experiment.held_out))
    tg.save(folder / "weights.safetensors", net)
    drawing, remark = _draw_or_write_dot(experiment, folder / "graph.svg")
    results |= {"seconds": history.times[-1], "stop_reason": history.stop_reason}
    facts = {"settings": asdict(settings), "results": results, "versions": versions()}
    write_file(folder / "run.json", (json.dumps(facts, indent=2) + "\n").encode())
    yield f"{len(history)} epochs in {history.times[-1]:.1f} s"
    yield f"wrote {folder}: history.csv, curves.svg, weights.safetensors, {drawing.name}, run.json"
    if remark:
        yield remark
    yield from experiment.summary(results)


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
    """Raise an error unless `folder` holds a run of these settings, the number of epochs apart."""
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


def draw(settings: Settings, path: Path, backward: bool, data_dir: Path | None = None) -> str:
    """Draw the network that `settings` describe; return a line that says where."""
    graph = prepare(settings, data_dir).graph(backward)
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
    except (KeyError, TypeError):
        raise DataError(f"{folder / 'run.json'}: damaged or of another version (no settings)") from None
    experiment = prepare(settings, data_dir)
    tg.load(folder / "weights.safetensors", experiment.net)
    rows = data.read_table(file)
    rows = rows.reshape(len(rows), -1)
    if rows.shape[1] != experiment.n_features:
        raise DataError(f"{file}: expected {experiment.n_features} numbers a row, got {rows.shape[1]}")
    yield from experiment.decisions(rows)
