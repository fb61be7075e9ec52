"""Transfer learning from the digits 0 to 4 to 5 to 9, for fewer and for more samples of these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tinygraph.tools.experiments import prepare, settings_of
from tinygraph.tools.experiments.transfer import WAYS, TransferExperiment

SAMPLES = (1, 2, 5, 10, 20, 50)


def run(
    *, data_set: str = "mnist", hidden: str | None = None, seed: int = 0, data_dir: Path | None = None
) -> Iterator[str]:
    """Train the first network once, then the ways to learn the new digits (Example 65.11); yield their test errors.

    Parameters
    ----------
    data_set : {"mnist", "digits"}
    hidden : str, optional
        Nodes of the hidden layers, separated by commas [default: those of ``tinygraph train transfer``].
    seed : int
        Decides all that is drawn at random.
    data_dir : path, optional
        The folder with the files of data sets.
    """
    settings = settings_of("transfer", data=data_set, hidden=hidden, seed=seed)
    experiment = cast(TransferExperiment, prepare(settings, data_dir))
    experiment.train_source()
    yield f"{experiment.title}; beside it {WAYS['scratch']}"
    for samples in SAMPLES:
        experiment.samples = samples
        results = experiment.results()
        errors = ", ".join(
            f"{way} {100 * results[f'{way}_test_error']:.1f} % (standard deviation "
            f"{100 * results[f'{way}_deviation']:.1f})"
            for way in WAYS
        )
        yield f"{samples} of each new digit: test error {errors}"
