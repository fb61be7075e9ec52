"""A run of ``tinygraph train`` that has ended, as an object: the network with all that belongs to it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import ArgumentError, DataError
from tinygraph.files import PathLike
from tinygraph.tools.experiments import Experiment, Settings, experiment_of, prepare
from tinygraph.tools.experiments.own_data import OwnDataExperiment, Preprocessing

__all__ = ["Run", "load_run"]

FORMAT = 1  # of run.json
PREPROCESSING = "preprocessing.safetensors"


@dataclass(frozen=True, repr=False)
class Run:
    """A run that has ended.

    Attributes
    ----------
    folder : Path
    settings : Settings
        What ``tinygraph train`` was told, and its defaults.
    net : Module
        The trained network, in evaluation mode. It takes inputs that are prepared: see `predict`.
    history : History
        The losses and errors of every epoch.
    results : dict
        What the network achieved, by name, such as "test_error".
    preprocessing : Preprocessing or None
        For data of one's own: its `encoder`, a `data.TableEncoder`, and the scaling of `inputs` and `targets`.
    """

    folder: Path
    settings: Settings
    net: nn.Module
    history: tg.History
    results: dict[str, Any]
    preprocessing: Preprocessing | None
    _experiment: Experiment

    def predict(self, source: PathLike | BinaryIO) -> dict[str, np.ndarray]:
        """Return what the network says of the rows of a file, as columns by name, in the words and units of the data.

        Parameters
        ----------
        source : path, or binary stream of CSV or TSV
            As `data.read_table` takes it. With data of one's own the columns of the training file, raw; the target may
            be missing. Otherwise rows as the data set has them, or an image file.

        Returns
        -------
        dict of str to array of shape (n,)
            For classes the target and "probability"; for numbers the target; others as ``tinygraph predict`` prints.

        Raises
        ------
        DataError
            If the file cannot be read or does not fit, or an output is not finite.
        """
        experiment = self._experiment
        where: Any = Path(source) if isinstance(source, str) else source
        with tg.using(self.settings.backend):
            return experiment.answers(experiment.rows(where))

    def __repr__(self) -> str:
        s = self.settings
        return f"Run({str(self.folder)!r}: {s.model} on {s.data}, {len(self.history)} epochs)"


def load_run(folder: PathLike, data_dir: PathLike | None = None) -> Run:
    """Return the run that ``tinygraph train`` wrote to `folder`, its network ready to predict.

    A network of one's own (``module:Name``) is made anew, so its module is imported.

    Parameters
    ----------
    folder : path
    data_dir : path, optional
        Where the files of a named data set are, by which the network is built. Data of one's own is not needed.

    Raises
    ------
    DataError
        If the folder holds no run, one that has not ended, one of a newer version, or a damaged file.
    """
    folder = Path(folder)
    path = folder / "run.json"
    facts = read_json(path)
    if facts.get("format", 1) != FORMAT:
        raise DataError(
            f"{path}: written by a newer version of tinygraph, {_writer(facts)}, in a format that {tg.__version__} "
            "does not read; install that version"
        )
    settings = settings_from(facts.get("settings"), path, _writer(facts))
    try:
        is_own = experiment_of(settings.model, settings.data) is OwnDataExperiment
        kept = Preprocessing.load(folder / PREPROCESSING) if is_own or (folder / PREPROCESSING).exists() else None
        experiment = prepare(settings, None if data_dir is None else Path(data_dir), kept)
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None
    tg.load(folder / "weights.safetensors", experiment.net)
    results = facts["results"] if isinstance(facts.get("results"), dict) else {}
    history = _history(folder / "history.csv", results)
    return Run(folder, settings, experiment.net.eval(), history, results, kept, experiment)


def read_json(path: Path) -> dict[str, Any]:
    """Return the facts in a file of a run, or raise a `DataError` that says what is wrong with it."""
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


def settings_from(found: Any, path: Path, writer: str = "") -> Settings:
    """Return the settings in a file.

    Raises
    ------
    DataError
        If they are none, or a newer version's.
    """
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{path}: damaged or of another version (no settings)")
    if unknown := [name for name in found if name not in {f.name for f in fields(Settings)}]:
        by = f"version {writer}" if writer else "another version"
        raise DataError(
            f"{path}: {by} of tinygraph wrote it, with a setting that {tg.__version__} does not know: "
            f"{unknown[0]!r:.60}"
        )
    try:
        return Settings(**found)
    except TypeError:
        raise DataError(f"{path}: damaged or of another version (no model or no data)") from None
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None


def _writer(facts: Mapping[str, Any]) -> str:
    """Return the version of tinygraph that wrote a run."""
    found = facts.get("versions")
    return str(found.get("tinygraph", "")) if isinstance(found, dict) else ""


def _history(path: Path, results: Mapping[str, Any]) -> tg.History:
    """Return the history in a CSV file that `History.save_csv` wrote."""
    try:
        with path.open(newline="") as file:
            rows = [
                {k: None if v == "" else int(v) if k == "epoch" else float(v) for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
    facts = {name: results[name] for name in ("stop_reason", "iterations", "best_epoch") if name in results}
    return tg.History(rows, **facts)
