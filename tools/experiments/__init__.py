"""The experiments that ``tinygraph train`` runs: one for each builder, by the builder's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tinygraph as tg
from tinygraph.arguments import choose
from tinygraph.errors import ArgumentError
from tinygraph.tools.experiments.autoencoder import AutoencoderExperiment
from tinygraph.tools.experiments.experiment import NETWORK, OWN_DATA, Experiment, Settings, is_own_network
from tinygraph.tools.experiments.fully_connected import FullyConnectedExperiment
from tinygraph.tools.experiments.graph_neighborhood import GraphNeighborhoodExperiment
from tinygraph.tools.experiments.multitask import MultitaskExperiment
from tinygraph.tools.experiments.own_data import OwnDataExperiment, Preprocessing
from tinygraph.tools.experiments.siamese import SiameseExperiment
from tinygraph.tools.experiments.transfer import TransferExperiment

__all__ = ["EXPERIMENTS", "Experiment", "Settings", "prepare", "settings_of", "unused_settings"]

EXPERIMENTS: dict[str, type[Experiment]] = {
    "fully_connected": FullyConnectedExperiment,
    "autoencoder": AutoencoderExperiment,
    "graph_neighborhood": GraphNeighborhoodExperiment,
    "multitask": MultitaskExperiment,
    "siamese": SiameseExperiment,
    "transfer": TransferExperiment,
}
OPTIONAL = (*NETWORK, "head", "tied", "noise", *OWN_DATA)  # settings that not all have


def experiment_of(model: str, data_set: str | None) -> type[Experiment]:
    """Return the kind of experiment for a model and a data set, by default the model's own."""
    kind: type[Experiment] = choose("model", "fully_connected" if is_own_network(model) else model, EXPERIMENTS)
    return kind.for_data(kind.defaults.data if data_set is None else data_set)


def settings_of(model: str, **options: Any) -> Settings:
    """Return the settings of the experiment called `model`: its defaults, and what is given and not None."""
    chosen = {k: v for k, v in options.items() if v is not None}
    experiment = experiment_of(model, chosen.get("data"))
    _check_options(model, chosen)
    chosen.setdefault("backend", tg.backend.current().name)
    defaults = replace(experiment.defaults, **experiment.defaults_by_data.get(chosen.get("data", ""), {}))
    settings = replace(defaults, **({"model": model} | chosen))
    if "momentum" in chosen and settings.optimizer != "sgd":
        raise ArgumentError(f"{settings.optimizer} has no --momentum; it is for sgd")
    return settings


def unused_settings(model: str, data_set: str | None) -> list[str]:
    """Return the names of the settings that a model on a data set does not have."""
    options = set(experiment_of(model, data_set).options) - set(NETWORK if is_own_network(model) else ())
    return [name for name in OPTIONAL if name not in options]


def _check_options(model: str, chosen: Mapping[str, Any]) -> None:
    """Raise an error for an option that the experiment does not have."""
    for name in unused_settings(model, chosen.get("data")):
        if name not in chosen:
            continue
        option = name.replace("_", "-")
        if is_own_network(model) and name in NETWORK:
            raise ArgumentError(f"{model} has no --{option}: it is a network of one's own")
        if name in OWN_DATA:
            raise ArgumentError(f"--{option} is for data of one's own: --data and a file or a folder of images")
        having = [m for m, e in EXPERIMENTS.items() if name in e.options]
        on = f" on {chosen['data']}" if model in having else ""
        raise ArgumentError(f"{model}{on} has no --{option}; these have: {', '.join(having)}")


def prepare(settings: Settings, data_dir: Path | None = None, kept: Preprocessing | None = None) -> Experiment:
    """Return the experiment that `settings` define, its data loaded and its network built, not yet trained.

    With the preprocessing that a run with data of one's own has `kept`, its data is not loaded.
    """
    tg.manual_seed(settings.seed)
    with tg.using(settings.backend):
        experiment = experiment_of(settings.model, settings.data)
        if kept is not None:
            return OwnDataExperiment(settings, data_dir, kept)
        return experiment(settings, data_dir)
