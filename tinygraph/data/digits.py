"""The data set that comes with tinygraph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .arrays import read_npz
from .checks import check_labels, one_hot
from .dataset import Center, Dataset, Facts, Part

FACTS = Facts(
    name="digits",
    class_names=tuple("0123456789"),
    source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, DOI 10.24432/C50P49",
    licence="CC BY 4.0",
    sizes=(1442, 355),
    largest=16,
)
REMEDY = "; reinstall tinygraph to get it back"


def load_digits(path: Path | None = None, center: Center = False) -> Dataset:
    """Return the 1,797 digits of 8 x 8 pixels that come with tinygraph (see DIGITS.md for their source).

    Every fifth image of each digit is for testing: 1,442 for training, 355 for testing.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    path = Path(__file__).with_name("digits.npz") if path is None else path
    with read_npz(path, REMEDY) as arrays:
        images, labels = arrays["images"], check_labels(arrays["labels"], 10, f"{path}: labels")
    if images.shape != (1797, 8, 8) or labels.shape != (1797,):
        raise DataError(f"{path}: damaged: images {images.shape}, labels {labels.shape}{REMEDY}")
    occurrence = np.cumsum(one_hot(labels, 10), axis=0)[np.arange(len(labels)), labels]
    test = occurrence % 5 == 0  # the first 7 has occurrence 1, the second 7 has 2, ...
    train, held_out = (Part(images[rows], labels[rows], path, path) for rows in (~test, test))
    return FACTS.dataset(train, held_out, center)
