"""The experiments that ``tinygraph train`` runs: one for each builder, by the builder's name."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tinygraph as tg
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


def settings_of(model: str, **given: Any) -> Settings:
    """Return the settings of the experiment called `model`: its defaults, and what is given and not None."""
    if model not in EXPERIMENTS:
        near = get_close_matches(model, list(EXPERIMENTS), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"model {model!r} is not known; known: {', '.join(EXPERIMENTS)}{hint}")
    experiment, said = EXPERIMENTS[model], {k: v for k, v in given.items() if v is not None}
    said.setdefault("backend", tg.backend.current().name)
    return replace(experiment.defaults, **(experiment.defaults_by_data.get(said.get("data", ""), {}) | said))


def prepare(settings: Settings, data_dir: Path | None = None) -> Experiment:
    """Return the experiment that `settings` define, its data loaded and its network built, not yet trained."""
    tg.manual_seed(settings.seed)
    with tg.using(settings.backend):
        return EXPERIMENTS[settings.model](settings, data_dir)
