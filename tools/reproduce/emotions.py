"""Six emotions that a piece of music may raise, any number of them at once: one network, six, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.arguments import whole_number
from tinygraph.data.downloads import Download
from tinygraph.data.files import locate, present
from tinygraph.data.opening import opened, reading
from tinygraph.errors import DataError
from tinygraph.models import multitask
from tinygraph.tools.reproduce.seeds import percent

FILES = (Download("emotions-train.arff"), Download("emotions-test.arff"))
EMOTIONS = ("amazed", "happy", "relaxing", "quiet", "sad", "angry")
FEATURES = 72
HIDDEN, EPOCHS, RHO = 64, 40, 0.03  # the best of those tried on fifths of the training set

Samples = tuple[np.ndarray, np.ndarray]


def run(*, seeds: int = 10, data_dir: Path | None = None) -> Iterator[str]:
    """Train networks on the emotions (Trohidis et al. 2008), for several seeds; yield their errors on the test set.

    The error is the share of the labels that are decided wrongly. Features are standardised by the training set.

    Parameters
    ----------
    seeds : int
        How many, from 0 on.
    data_dir : path, optional
        The folder with ``emotions-train.arff`` and ``emotions-test.arff``, or the folder above.
    """
    whole_number("seeds", seeds, 1)
    paths = locate("emotions", _find, ("multilabel",), FILES, data_dir)
    (X, Y), (T, V) = train, test = [_read(path) for path in paths]
    scaling = data.standardize(X)
    train, test = (scaling(X), Y), (scaling(T), V)
    sizes = f"{len(X)} training and {len(T)} test samples, {FEATURES} features, {len(EMOTIONS)} labels"
    yield f"emotions: {sizes}, seeds 0 to {seeds - 1}"
    more_frequent = Y.mean(axis=0) > 0.5
    together, alone, linear, whole = [], [], [], []
    for seed in range(seeds):
        decisions = _decided([HIDDEN], train, test, seed)
        together.append(float((decisions != V).mean()))
        whole.append(float((decisions != V).any(axis=1).mean()))
        single = [_decided([HIDDEN], (train[0], Y[:, [t]]), (test[0], V[:, [t]]), seed) for t in range(len(EMOTIONS))]
        alone.append(float((np.concatenate(single, axis=1) != V).mean()))
        linear.append(float((_decided([], train, test, seed) != V).mean()))
    yield f"wrong labels, one network for all six: {percent(together)}; samples with a wrong label: {percent(whole)}"
    yield f"wrong labels, a network for each: {percent(alone)}"
    yield f"wrong labels, no hidden layer: {percent(linear)}"
    yield f"wrong labels, the more frequent answer always: {100 * (more_frequent != V).mean():.1f} %"


def _decided(hidden: list[int], train: Samples, test: Samples, seed: int) -> np.ndarray:
    """Return the decisions (n, T) on the test set, 1 or 0, of a network trained on T labels."""
    net = multitask(hidden, train[1].shape[1], FEATURES, seed=seed)
    adam = optim.Adam(net.parameters(), 1e-3 if hidden else 1e-2)
    loss = losses.multitask_cross_entropy
    tg.fit(net, loss, train, adam, EPOCHS, l2=RHO, progress=False, seed=seed)
    with tg.no_grad():
        return net.decide(test[0]).numpy()[:, :, 0]  # of each pair, whether the label is present


def _find(folder: Path) -> list[Path] | None:
    paths = [folder / download.file for download in FILES]
    return paths if all(map(present, paths)) else None


def _read(path: Path) -> Samples:
    """Return features and labels of an ARFF file whose columns are those of this data set: numbers after ``@data``."""
    with reading(path), opened(path) as file:
        _, _, rows = file.read().decode().partition("@data")
        numbers = np.loadtxt(rows.split(), np.float32, delimiter=",", ndmin=2)
    labels = numbers[:, FEATURES:]
    if labels.shape[1] != len(EMOTIONS) or not np.isin(labels, (0, 1)).all() or not np.isfinite(numbers).all():
        raise DataError(f"{path}: damaged: expected {FEATURES} numbers and {len(EMOTIONS)} labels, 0 or 1, a row")
    return numbers[:, :FEATURES], labels
