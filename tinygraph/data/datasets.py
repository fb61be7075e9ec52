"""Data sets by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, DataError
from .checks import one_hot

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """A labelled data set, split for training and testing.

    Attributes
    ----------
    name : str
    train, test : pair of arrays
        ``(X, Y)``: `X` of shape (n, features), float32 in [0, 1]; `Y` of shape (n, classes), basis vectors.
    image_shape : tuple of int
        The shape of a row of `X` as an image.
    source, licence : str
        Where the data come from and on what terms.
    """

    name: str
    train: Pair
    test: Pair
    image_shape: tuple[int, ...]
    source: str
    licence: str

    @property
    def n_features(self) -> int:
        """The number of columns of `X`."""
        return int(self.train[0].shape[1])

    @property
    def n_classes(self) -> int:
        """The number of columns of `Y`."""
        return int(self.train[1].shape[1])


def load_digits(path: Path | None = None) -> Dataset:
    """Return the 1,797 digits of 8 x 8 pixels that come with tinygraph (see DIGITS.md for their source).

    Every fifth image of each digit is for testing: 1,442 for training, 355 for testing.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    path = Path(__file__).with_name("digits.npz") if path is None else path
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        raise DataError(f"{path}: {reason}; reinstall tinygraph to get it back") from None
    X = images.reshape(len(images), -1).astype(np.float32) / 16
    Y = one_hot(labels, 10)
    occurrence = (np.cumsum(Y, axis=0) * Y).sum(axis=1)  # the first 7 has 1, the second 7 has 2, ...
    test = occurrence % 5 == 0
    return Dataset(
        "digits",
        (X[~test], Y[~test]),
        (X[test], Y[test]),
        (8, 8),
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, DOI 10.24432/C50P49",
        "CC BY 4.0",
    )


LOADERS: dict[str, Callable[[], Dataset]] = {"digits": load_digits}


def load(name: str) -> Dataset:
    """Return the data set called `name`; "digits" comes with tinygraph.

    Raises
    ------
    ArgumentError
        If no data set has this name.
    DataError
        If its file is missing or damaged.
    """
    if name not in LOADERS:
        near = get_close_matches(str(name), list(LOADERS), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"data set {name!r} is not known; known: {', '.join(LOADERS)}{hint}")
    return LOADERS[name]()
