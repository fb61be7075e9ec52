"""The classes of Cora's papers from their words and citations, beside their words alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tinygraph.arguments import whole_number
from tinygraph.tools.experiments import prepare, settings_of
from tinygraph.tools.reproduce.seeds import percent


def run(*, seeds: int = 5, passes: int = 100, data_dir: Path | None = None) -> Iterator[str]:
    """Train both for several seeds, as ``tinygraph train graph_neighborhood`` does; yield their test errors.

    Parameters
    ----------
    seeds, passes : int
        How many seeds, from 0 on; how many passes over the labelled papers at most.
    data_dir : path, optional
        The folder with the file of the data set.
    """
    whole_number("seeds", seeds, 1)
    results = []
    for seed in range(seeds):
        settings = settings_of("graph_neighborhood", data="cora", seed=seed, epochs=passes)
        experiment = prepare(settings, data_dir)
        if not seed:
            yield f"{experiment.title}, seeds 0 to {seeds - 1}"
        experiment.train()
        results.append(experiment.results())
    for key, words in (("", "words and citations"), ("dense_", "words alone, a dense layer")):
        errors = [r[f"{key}test_error"] for r in results]
        yield f"test error {percent(errors)}, {results[0][f'{key}parameters']} parameters: {words}"
