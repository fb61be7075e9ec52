"""Characters of new alphabets told by one image each: a Siamese network, beside the nearest neighbour on pixels."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg
from tinygraph.arguments import whole_number
from tinygraph.data.downloads import Download
from tinygraph.data.files import locate, present
from tinygraph.data.omniglot import BLOCK, SIZE
from tinygraph.data.opening import opened, reading
from tinygraph.errors import DataError
from tinygraph.leaves import as_tensor
from tinygraph.models.siamese_networks import pixel_similarity
from tinygraph.tools.experiments import prepare, settings_of
from tinygraph.tools.experiments.siamese import pixel_cosine
from tinygraph.tools.reproduce.seeds import percent

FILE = Download("all_runs.zip")
RUNS, WAYS = 20, 20


class Run(NamedTuple):
    """One test: images (20, 441) of as many characters, as many to classify, and the rows of the right ones."""

    support: np.ndarray
    query: np.ndarray
    answer: np.ndarray


def run(*, seeds: int = 3, passes: int = 40, data_dir: Path | None = None) -> Iterator[str]:
    """Train on 24 alphabets of Omniglot, and yield the errors in the twenty tests of Lake et al. (2015).

    In each test twenty images by one person are to be told by one image, by another person, of each of twenty
    characters of one alphabet; none of these alphabets is trained with.

    Parameters
    ----------
    seeds, passes : int
        How many networks, by their seeds from 0 on; how many epochs of 20,000 pairs each is trained for.
    data_dir : path, optional
        The folder with ``omniglot_background.npz`` and ``all_runs.zip``, or the folder above.
    """
    whole_number("seeds", seeds, 1)
    tests = _read(locate("omniglot", _find, ("omniglot",), (FILE,), data_dir))
    yield f"{len(tests)} tests, {WAYS} characters each, seeds 0 to {seeds - 1}"
    errors = []
    for seed in range(seeds):
        experiment = prepare(settings_of("siamese", data="omniglot", seed=seed, epochs=passes), data_dir)
        experiment.train()
        errors.append(_error(experiment.net.predict, tests))
    yield f"test error {percent(errors)}: Siamese network, cosine of embeddings"
    yield f"test error {percent([_error(pixel_similarity, tests)])}: nearest neighbour on pixels"
    yield f"test error {percent([_error(pixel_cosine, tests)])}: largest cosine of pixels"


def _error(similarity: Callable[..., Any], tests: list[Run]) -> float:
    """Return the share of images that are most similar to another character than their own."""
    wrong = []
    for support, query, answer in tests:
        with tg.no_grad():
            scores = similarity(np.repeat(query, WAYS, axis=0), np.tile(support, (len(query), 1)))
        nearest = as_tensor(scores).numpy().reshape(len(query), WAYS).argmax(axis=1)
        wrong.append(nearest != answer)
    return float(np.concatenate(wrong).mean())


def _find(folder: Path) -> Path | None:
    path = folder / FILE.file
    return path if present(path) else None


def _read(path: Path) -> list[Run]:
    """Return the tests in the archive."""
    with reading(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        return [_test(archive, f"run{k:02}") for k in range(1, RUNS + 1)]


def _test(archive: zipfile.ZipFile, folder: str) -> Run:
    """Return the test in a folder of the archive, whose list has pairs of an image and the right one."""
    lines = archive.read(f"{folder}/class_labels.txt").decode().splitlines()
    pairs = [re.findall(r"(?:item|class)(\d\d)\.png", line) for line in lines]
    answer = np.zeros(WAYS, np.int64)
    for item, character in pairs:
        answer[int(item) - 1] = int(character) - 1
    support, query = (
        np.stack([_image(archive.read(f"{folder}/{kind}{k:02}.png")) for k in range(1, WAYS + 1)])
        for kind in ("training/class", "test/item")
    )
    return Run(support, query, answer)


def _image(content: bytes) -> np.ndarray:
    """Return the ink of a drawing as `tinygraph.data.load` gives Omniglot's: its part of each block, (441,)."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        if image.size != (SIZE, SIZE):
            raise DataError(f"an image of {image.size}, expected {SIZE} x {SIZE} pixels")
        ink = ~np.asarray(image.convert("1"))
    k = SIZE // BLOCK
    blocks: np.ndarray = ink.reshape(k, BLOCK, k, BLOCK).mean(axis=(1, 3), dtype=np.float32)
    return blocks.ravel()
