"""The experiments that ``tinygraph train`` runs: one for each builder, by the builder's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tinygraph as tg
from tinygraph.arguments import choose
from tinygraph.errors import ArgumentError
from tinygraph.tools.experiments.autoencoder import AutoencoderExperiment
from tinygraph.tools.experiments.experiment import Experiment, Settings
from tinygraph.tools.experiments.fully_connected import FullyConnectedExperiment
from tinygraph.tools.experiments.graph_neighborhood import GraphNeighborhoodExperiment
from tinygraph.tools.experiments.multitask import MultitaskExperiment
from tinygraph.tools.experiments.siamese import SiameseExperiment
from tinygraph.tools.experiments.transfer import TransferExperiment

__all__ = ["EXPERIMENTS", "Experiment", "Settings", "prepare", "settings_of"]

EXPERIMENTS: dict[str, type[Experiment]] = {
    "fully_connected": FullyConnectedExperiment,
    "autoencoder": AutoencoderExperiment,
    "graph_neighborhood": GraphNeighborhoodExperiment,
    "multitask": MultitaskExperiment,
    "siamese": SiameseExperiment,
    "transfer": TransferExperiment,
}


def settings_of(model: str, **options: Any) -> Settings:
    """Return the settings of the experiment called `model`: its defaults, and what is given and not None."""
    experiment: type[Experiment] = choose("model", model, EXPERIMENTS)
    chosen = {k: v for k, v in options.items() if v is not None}
    for name in ("head", "tied", "noise"):
        if name in chosen and name not in experiment.options:
            having = ", ".join(m for m, e in EXPERIMENTS.items() if name in e.options)
            raise ArgumentError(f"{model} has no --{name}; these have: {having}")
    chosen.setdefault("backend", tg.backend.current().name)
    settings = replace(experiment.defaults, **(experiment.defaults_by_data.get(chosen.get("data", ""), {}) | chosen))
    if "momentum" in chosen and settings.optimizer != "sgd":
        raise ArgumentError(f"{settings.optimizer} has no --momentum; it is for sgd")
    return settings


def prepare(settings: Settings, data_dir: Path | None = None) -> Experiment:
    """Return the experiment that `settings` define, its data loaded and its network built, not yet trained."""
    tg.manual_seed(settings.seed)
    with tg.using(settings.backend):
        experiment: type[Experiment] = choose("model", settings.model, EXPERIMENTS)
        return experiment(settings, data_dir)
