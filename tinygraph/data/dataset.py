"""What a labelled data set is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..errors import DataError
from .checks import check_labels, one_hot

Pair = tuple[np.ndarray, np.ndarray]


class Part(NamedTuple):
    """Images (n, ...) uint8 and labels (n,) for training or testing, and the files they come from."""

    images: np.ndarray
    labels: np.ndarray
    images_from: Path
    labels_from: Path


Center = bool | Literal["train", "each"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A labelled data set of images, split for training and testing.

    Attributes
    ----------
    name : str
    train, test : pair of float32 arrays
        ``(X, Y)``: `X` of shape (n, n_features), in [0, 1] unless centred; `Y` of shape (n, n_classes), basis
        vectors.
    image_shape : tuple of int
        The shape of a row of `X` as an image: (height, width), or (colours, height, width).
    class_names : tuple of str
        What the columns of `Y` stand for.
    source, licence : str
        Where the data come from and on what terms.
    note : str
        What to say along with results: that this is a subset, say.
    mean : float32 array of shape (n_features,), or None
        What was subtracted from the training samples, their mean, if centring was asked for. Subtract it from other
        inputs too.
    test_mean : float32 array of shape (n_features,), or None
        What was subtracted from the test samples: `mean`, or their own mean if each set was to be centred by its own.
    """

    name: str
    train: Pair
    test: Pair
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    source: str
    licence: str
    note: str = ""
    mean: np.ndarray | None = None
    test_mean: np.ndarray | None = None

    @property
    def n_features(self) -> int:
        """The number of columns of `X`."""
        return int(self.train[0].shape[1])

    @property
    def n_classes(self) -> int:
        """The number of columns of `Y`."""
        return int(self.train[1].shape[1])

    @property
    def labels_train(self) -> np.ndarray:
        """The classes of the training samples, int64, shape (n,)."""
        labels: np.ndarray = self.train[1].argmax(axis=1)
        return labels

    @property
    def labels_test(self) -> np.ndarray:
        """The classes of the test samples, int64, shape (n,)."""
        labels: np.ndarray = self.test[1].argmax(axis=1)
        return labels

    def __repr__(self) -> str:
        note = f", {self.note}" if self.note else ""
        return (
            f"Dataset({self.name!r}: {len(self.train[0])} training and {len(self.test[0])} test samples, "
            f"{self.n_features} features, {self.n_classes} classes{note})"
        )


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before its files are read."""

    name: str
    class_names: tuple[str, ...]
    source: str
    licence: str
    sizes: tuple[int, int]
    largest: int

    def dataset(self, train: Part, test: Part, center: Center) -> Dataset:
        """Return the data set of two parts, checked and centred.

        Raises
        ------
        DataError
            If images and labels do not fit together; the text names the file.
        """
        first, second = self._rows(train, "training"), self._rows(test, "test")
        shape, other = train.images.shape[1:], test.images.shape[1:]
        if shape != other:
            raise DataError(
                f"{test.images_from}: {self.name}: training images of shape {shape}, but test images of {other}"
            )
        means: list[np.ndarray | None] = [None, None]
        if center:
            centred_by = (first, second if center == "each" else first)
            means = [X.mean(axis=0, dtype=np.float64).astype(np.float32) for X, _ in centred_by]
            for (X, _), mean in zip((first, second), means, strict=True):
                X -= mean
        counts = len(train.images), len(test.images)
        note = "" if counts == self.sizes else self._subset(counts)
        about = (self.class_names, self.source, self.licence, note)
        return Dataset(self.name, first, second, shape, *about, *means)

    def _rows(self, part: Part, split: str) -> Pair:
        images, called = part.images, f"{part.images_from}: {self.name}: {split}"
        if images.dtype != np.uint8 or images.ndim < 2 or not images.size:
            got = f"{images.dtype} of shape {images.shape}"
            raise DataError(f"{called} images: expected uint8 of shape (n, ...), got {got}")
        if images.max() > self.largest:
            raise DataError(f"{called} images: expected pixels of 0 to {self.largest}, got {images.max()}")
        labels_called = f"{part.labels_from}: {self.name}: {split} labels"
        Y = one_hot(check_labels(part.labels, len(self.class_names), labels_called), len(self.class_names))
        if len(Y) != len(images):
            raise DataError(f"{called} set: {len(images)} images but {len(Y)} labels")
        X = images.reshape(len(images), -1).astype(np.float32)
        X /= self.largest
        return X, Y

    def _subset(self, counts: tuple[int, int]) -> str:
        train, test = (f"{n:,} of {full:,}" for n, full in zip(counts, self.sizes, strict=True))
        return f"a subset: {train} training and {test} test images"
