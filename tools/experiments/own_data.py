"""Data of one's own, from a file or a folder of images: classes or numbers by the other columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

import tinygraph as tg
from tinygraph import data, losses
from tinygraph.checkpoint import read_arrays, write_arrays
from tinygraph.data.columns import check_column_names
from tinygraph.data.tables import SUFFIXES, TEXT
from tinygraph.errors import ArgumentError, DataError
from tinygraph.tools.experiments.experiment import NETWORK, OWN_DATA, Experiment, Settings, finite_rows
from tinygraph.tools.experiments.networks import network

FORMAT = 1
TARGETS = ("class", "Y", "y")  # what a target is called in folders of images, and usually in NPZ files


def is_own_data(name: str) -> bool:
    """Return whether the name of a data set is that of a file or a folder."""
    path = Path(name)
    return path.suffix.lower() in SUFFIXES or len(path.parts) > 1 or path.is_dir()


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of a table before the network, and of the network's output after it.

    Attributes
    ----------
    encoder : TableEncoder
    inputs : Standardizer
        Of the inputs but indicators, learned from the training set.
    targets : Standardizer or None
        Of a target of numbers.
    """

    encoder: data.TableEncoder
    inputs: data.Standardizer
    targets: data.Standardizer | None

    @classmethod
    def learned(cls, encoder: data.TableEncoder, X: np.ndarray, Y: np.ndarray) -> Self:
        """Return the preprocessing that a training set teaches; the pixels of images share one deviation."""
        images = any(len(feature.shape) > 1 for feature in encoder.features)
        inputs = data.Standardizer(leave=encoder.indicators, together=images).fit(X)
        return cls(encoder, inputs, data.Standardizer().fit(Y) if encoder.classes is None else None)

    def samples(self, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return arrays of the encoder as the network is trained with them."""
        return self.scaled(X), Y if self.targets is None else self.targets(Y).astype(np.float32)

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return inputs of the encoder as the network takes them, float32."""
        with np.errstate(over="ignore"):
            scaled = self.inputs(X).astype(np.float32)
        data.check_finite(scaled, "the inputs, scaled by the training set")
        return scaled

    def answers(self, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """Return what predictions (n, n_outputs) say in the table's own words and units."""
        target = self.encoder.target
        if self.targets is not None:
            return {target: self.targets.inverse(prediction.astype(np.float64))[:, 0]}
        assert self.encoder.classes is not None
        labels = np.array(self.encoder.classes)[prediction.argmax(axis=1)]
        certain = "probability of the class" if target == "probability" else "probability"
        return {target: labels, certain: prediction.max(axis=1)}

    def save(self, path: Path) -> None:
        """Write all of it to a safetensors file."""
        scales = {"inputs": self.inputs, "targets": self.targets}
        arrays = {f"{k}.{name}": a for k, s in scales.items() if s is not None for name, a in s.state_dict().items()}
        write_arrays(path, arrays, {"format": FORMAT, "encoder": self.encoder.state()})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what `save` wrote.

        Raises
        ------
        DataError
            If the file is missing, damaged, or of another version.
        """
        arrays, facts = read_arrays(path)
        if facts.get("format") != FORMAT:
            raise DataError(f"{path}: of another version of tinygraph, format {facts.get('format')}, expected {FORMAT}")
        try:
            encoder = data.TableEncoder.from_state(facts["encoder"])
            scales = []
            for k in ("inputs", "targets"):
                state = {n.removeprefix(f"{k}."): a for n, a in arrays.items() if n.startswith(f"{k}.")}
                scales.append(data.Standardizer().load_state_dict(state) if state else None)
        except (KeyError, DataError) as error:
            raise DataError(f"{path}: damaged: {error}") from None
        inputs, targets = scales
        sizes = None if inputs is None else len(inputs.scaling.mean)
        if inputs is None or sizes != encoder.n_inputs or (targets is None) != (encoder.classes is not None):
            raise DataError(f"{path}: damaged: scaling and columns do not fit together")
        return cls(encoder, inputs, targets)


class OwnDataExperiment(Experiment):
    """A column of a table, classes or numbers, by the other columns; or the classes of images in folders.

    Some of the samples, drawn at random, are held out to test on.

    Parameters
    ----------
    settings, data_dir
        As for others.
    kept : Preprocessing, optional
        Of a run that was trained; then no data is read.
    """

    defaults = Settings("fully_connected", "", optimizer="adam", lr=3e-3, l2=1e-4)
    options = (*NETWORK, *OWN_DATA)

    def __init__(self, settings: Settings, data_dir: Path | None = None, kept: Preprocessing | None = None) -> None:
        super().__init__(settings, data_dir)
        if kept is None:
            table = self._table()
            encoder = data.TableEncoder(table, _target(settings, table), task=settings.task or None)
            training, test = data.split(*encoder(table), settings.held_out, seed=settings.seed)
            kept = Preprocessing.learned(encoder, *training)
            self.train_set, self.validation = kept.samples(*training), kept.samples(*test)
        self.preprocessing, encoder = kept, kept.encoder
        self.class_names = None if encoder.classes is None else [str(name) for name in encoder.classes]
        self.n_features = encoder.n_inputs
        self.net = network(settings, encoder.n_inputs, encoder.n_outputs, "softmax" if encoder.classes else "linear")
        self.loss = losses.cross_entropy if encoder.classes else losses.squared_error

    def _check_data_set(self) -> None:
        """Take any file or folder."""

    def _table(self) -> data.Table:
        """Return the whole table."""
        s = self.settings
        table = data.read_table(Path(s.data), columns="all", words=s.words, ignore=s.ignore)
        check_column_names(table.source, (*table.names, *table.ignored), s.ignore)
        return table

    @property
    def title(self) -> str:
        """Columns, sizes and data in words."""
        encoder = self.preprocessing.encoder
        found = "numbers" if encoder.classes is None else f"{len(encoder.classes)} classes"
        return f"{super().title}, {encoder.target}: {found}, {encoder.n_inputs} inputs"

    def results(self) -> dict[str, Any]:
        """Return loss and error on the samples held out, beside the error of one answer to all."""
        assert self.validation is not None
        loss, error = tg.evaluate(self.net, self.loss, self.validation)
        Y, T = self.train_set[1], self.validation[1]
        targets = self.preprocessing.targets
        if targets is None:
            usual = np.bincount(Y).argmax()
            return {"test_loss": loss, "test_error": error, "baseline_error": float(np.mean(usual != T))}
        unit = targets.scaling.deviation[0]
        baseline = unit * np.sqrt(np.square(T - Y.mean()).mean())
        return {"test_loss": loss, "test_rmse": float(unit * np.sqrt(loss)), "baseline_rmse": float(baseline)}

    def summary(self, results: dict[str, Any]) -> list[str]:
        """Return the errors in words."""
        assert self.validation is not None
        n, target = len(self.validation[1]), self.preprocessing.encoder.target
        if "test_error" in results:
            return [
                f"{100 * results['baseline_error']:.1f} % of {n} samples held out are of another class than the most "
                "frequent",
                f"test error {100 * results['test_error']:.1f} %",
            ]
        return [
            f"root mean squared error of {target} on {n} samples held out: {results['baseline_rmse']:.6g} by the mean "
            "of the training set",
            f"test error {results['test_rmse']:.6g}",
        ]

    def rows(self, source: Any) -> data.Table:
        """Return the columns of a file; the target is not read where columns have names."""
        s, encoder = self.settings, self.preprocessing.encoder
        unread = (*s.ignore, encoder.target) if encoder.n_columns is None else ()
        words = [f.name for f in encoder.features if f.name in s.words]
        return data.read_table(source, columns="all", words=words, ignore=unread)

    def answers(self, rows: data.Table) -> dict[str, np.ndarray]:
        """Return for each row its class and the probability given to it, or its number, in the table's words."""
        X = self.preprocessing.scaled(self.preprocessing.encoder.inputs(rows))
        with tg.no_grad():
            return self.preprocessing.answers(finite_rows(self.net.predict(X)))


def _target(settings: Settings, table: data.Table) -> str:
    """Return the name of the target; by default what it is usually called in such a file."""
    usual = [] if Path(settings.data).suffix.lower() in TEXT else [n for n in TARGETS if n in table.names]
    if not settings.target and not usual:
        raise ArgumentError(
            f"--target: say which column of {settings.data} is to be predicted: {', '.join(table.names[:20])}"
        )
    return settings.target or usual[0]
