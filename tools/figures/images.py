"""Figures 65.12 and 65.13: images drawn at random from MNIST and from CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.arguments import whole_number
from tinygraph.backend import generator
from tinygraph.data import Dataset, load
from tinygraph.data.files import ENVIRONMENT, cache
from tinygraph.errors import ArgumentError, DataError
from tinygraph.plots.canvas import figure, mosaic


def draw(
    data: str, data_dir: Path | None = None, rows: int = 5, columns: int = 10, seed: int = 0
) -> tuple[Any, list[str]]:
    """Draw images of a training set, all different, each with its class below it.

    Parameters
    ----------
    data : str
        A data set of images, as `tinygraph.data.load` names it.
    data_dir : path, optional
        The folder with its files; by default the one that TINYGRAPH_DATA_DIR names, or else the one of downloads.
        Nothing is downloaded for a picture.
    rows, columns : int
    seed : int
        Decides which images.
    """
    rows, columns = whole_number("rows", rows, 1), whole_number("columns", columns, 1)
    source = _load(data, data_dir)
    images, names = choose(source, rows * columns, seed)
    *_, height, width = source.image_shape
    below, right = height // 3, width // 6  # the name of its class is below an image
    tall, wide = height + below, width + right
    joined = mosaic(images.reshape(-1, *source.image_shape), columns, below=below, right=right)
    picture, axes = figure()
    picture.set_size_inches(0.9 * columns, 1.03 * rows + 0.4)
    axes.imshow(joined, cmap="gray", vmin=0.0, vmax=1.0, interpolation="none")
    axes.set_axis_off()
    for i, name in enumerate(names):
        row, column = divmod(i, columns)
        axes.text(column * wide + width / 2, row * tall + 1.05 * height, name, ha="center", va="top", fontsize=7)
    channels = f"{source.image_shape[0]} channels of " if len(source.image_shape) == 3 else ""
    axes.set_title(f"{source.name}: {channels}{height} x {width} pixels", loc="left", fontsize=9)
    return picture, [f"{len(names)} of {len(source.train[0]):,} training images of {source.name}"]


def choose(dataset: Dataset, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return training images of `dataset`, (count, n_features), and the names of their classes; none comes twice."""
    X, labels = dataset.train[0], dataset.labels_train
    if count > len(X):
        raise ArgumentError(f"rows and columns: {dataset.name} has {len(X)} training images, {count} are asked for")
    chosen = generator(seed, "images").choice(len(X), count, replace=False)
    return X[chosen], [dataset.class_names[label] for label in labels[chosen]]


def _load(name: str, data_dir: Path | None) -> Dataset:
    """Return a data set of images, from the files at hand."""
    try:
        source = load(name, data_dir or os.environ.get(ENVIRONMENT) or cache())
    except DataError as error:
        raise DataError(
            f"{name} cannot be drawn: {error}; name the folder with its files by --data-dir or {ENVIRONMENT}, or draw "
            "the digits that come with tinygraph by --data digits"
        ) from None
    if not isinstance(source, Dataset):
        raise ArgumentError(f"data set {name!r} holds no images")
    return source
