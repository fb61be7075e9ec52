"""The plots that ``tinygraph train --plot`` draws: of the training, and of the trained network on data held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph import plots
from tinygraph.arguments import check_name
from tinygraph.errors import ArgumentError, TinygraphError
from tinygraph.tools.experiments import Experiment

SAMPLES = 200  # on which is measured what becomes of the layers
ALL = "all"

RECORDED: dict[str, Callable[[plots.Recorder], Any]] = {
    "gradients": plots.gradient_norms,
    "saturation": plots.saturation,
    "updates": plots.update_ratios,
    "activations": plots.activations,
}


def _held_out(experiment: Experiment) -> tuple[Any, Any]:
    if experiment.validation is None:
        raise ArgumentError("no samples are held out")
    return experiment.validation


def _confusion(experiment: Experiment) -> Any:
    X, Y = _held_out(experiment)
    if experiment.net.output != "softmax":
        raise ArgumentError("the network does not tell classes apart")
    return plots.confusion_matrix(experiment.net.decide(X), Y, experiment.class_names)


def _roc(experiment: Experiment) -> Any:
    X, Y = _held_out(experiment)
    scores = experiment.net.predict(X).numpy()
    one = scores[..., 0] if scores.ndim == 3 else scores  # of several tasks, the first of each pair
    return plots.roc(one, Y, experiment.class_names)


def _regions(experiment: Experiment) -> Any:
    X, Y = _held_out(experiment)
    names = experiment.class_names
    return plots.decision_regions(experiment.net, X, Y, None if names is None else [names[k] for k in np.unique(Y)])


def _weights(experiment: Experiment) -> Any:
    return plots.weights(experiment.net, experiment.image_shape)


def _reconstructions(experiment: Experiment) -> Any:
    return plots.reconstructions(experiment.net, _held_out(experiment)[0], experiment.image_shape)


def _embeddings(experiment: Experiment) -> Any:
    return plots.embeddings(*experiment.embedded())


RESULTS: dict[str, Callable[[Experiment], Any]] = {
    "confusion": _confusion,
    "roc": _roc,
    "regions": _regions,
    "weights": _weights,
    "reconstructions": _reconstructions,
    "embeddings": _embeddings,
}
NAMES = (*RECORDED, *RESULTS)


class TrainingPlots:
    """The plots asked for, each tried on the untrained network, so that what does not fit is told before training.

    Parameters
    ----------
    names : iterable of str
        Of `RECORDED` and `RESULTS`, or "all" for those that fit.
    experiment : Experiment

    Attributes
    ----------
    callbacks : list of Callback
        What `fit` is to call for them.

    Raises
    ------
    ArgumentError
        If a name is not known, or what it stands for does not fit the experiment.
    """

    def __init__(self, names: Iterable[str], experiment: Experiment) -> None:
        asked = dict.fromkeys(check_name("--plot:", name, (*NAMES, ALL)) for name in names)
        self.experiment = experiment
        drawn_anew = not isinstance(experiment.train_set, tuple)
        samples = _held_out(experiment) if drawn_anew else experiment.train_set
        self.recorder = plots.Recorder(experiment.loss, tuple(part[:SAMPLES] for part in samples))
        self.names = []
        for name in NAMES if ALL in asked else asked:
            try:
                self._try(name)
            except TinygraphError as error:
                if ALL not in asked:
                    model = experiment.settings.model
                    raise ArgumentError(f"--plot {name} does not fit {model}: {error}") from None
            else:
                self.names.append(name)
        self.callbacks = [self.recorder] if any(name in RECORDED for name in self.names) else []

    def _try(self, name: str) -> None:
        if name in RESULTS:
            RESULTS[name](self.experiment)
        elif type(self.experiment).train is not Experiment.train:
            raise ArgumentError("it is not trained in one run")
        else:
            self.recorder.moments = [self.recorder.measure(self.experiment.net)]
            if name != "updates":  # there are none yet
                RECORDED[name](self.recorder)

    def save(self, folder: Path) -> list[str]:
        """Draw them into a folder; return the files' names, and for one that cannot be drawn the reason."""
        told = []
        for name in self.names:
            try:
                picture = RESULTS[name](self.experiment) if name in RESULTS else RECORDED[name](self.recorder)
                plots.save(picture, folder / f"{name}.svg")
                told.append(f"{name}.svg")
            except ArgumentError as error:  # such as a run that had no updates left
                told.append(f"no {name}.svg ({error})")
        return told
