"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, overload

from ..arguments import choose
from ..errors import ArgumentError
from .cifar import load_cifar10
from .cora import NodeDataset, load_cora
from .dataset import Center, Dataset
from .digits import load_digits
from .mnist import load_mnist
from .omniglot import load_omniglot

Loader = Callable[[str | Path | None, Center], Dataset | NodeDataset]

LOADERS: dict[str, Loader] = {
    "digits": lambda data_dir, center: load_digits(center=center),
    "mnist": lambda data_dir, center: load_mnist("mnist", data_dir, center),
    "fashion-mnist": lambda data_dir, center: load_mnist("fashion-mnist", data_dir, center),
    "cifar10": load_cifar10,
    "cora": load_cora,
    "omniglot": load_omniglot,
}


@overload
def load(  # type: ignore[overload-overlap]
    name: Literal["cora"], data_dir: str | Path | None = None, *, center: Center = False
) -> NodeDataset: ...


@overload
def load(name: str, data_dir: str | Path | None = None, *, center: Center = False) -> Dataset: ...


def load(name: str, data_dir: str | Path | None = None, *, center: Center = False) -> Dataset | NodeDataset:
    """Return the data set called `name`.

    Parameters
    ----------
    name : str
        - "digits": 1,797 digits of 8 x 8 pixels, which come with tinygraph. Every fifth image
          of each digit is for testing: 1,442 for training, 355 for testing.
        - "mnist", "fashion-mnist": 60,000 + 10,000 images of 28 x 28 pixels, split as published.
        - "cifar10": 50,000 + 10,000 images of 3 x 32 x 32, split as published.
        - "cora": one graph of 2,708 papers and 5,278 citations, split as by Planetoid.
        - "omniglot": 964 characters of 30 alphabets, 20 images of 21 x 21 pixels each; the 233 characters of
          every fifth alphabet are for testing, so no class is in both parts.
    data_dir : path, optional
        The folder with the files of the data set, or the folder above. If it is not given, they are looked
        for where TINYGRAPH_DATA_DIR points to, then in the user's cache, then downloaded to it. Files as large as the
        published ones are compared with the published sums, where there are any.
    center : bool or {"train", "each"}
        True or "train": subtract the mean of the training samples from both sets, as is custom. "each": from each set
        its own mean, as Examples 65.9 and 65.10 centre both sets around theirs. The means are `mean` and `test_mean`
        of the result.

    Returns
    -------
    Dataset
        `train` and `test` are pairs ``(X, Y)`` of float32 arrays: pixels in [0, 1], one image a row, and
        basis vectors. A graph comes as a `NodeDataset`.

    Raises
    ------
    ArgumentError
        If no data set has this name, or `center` is something else.
    DataError
        If a file is missing and cannot be downloaded, is damaged, or is not the published one; if a folder that is
        named does not exist.
    """
    loader = choose("data set", name, LOADERS)
    if center not in (False, True, "train", "each"):
        raise ArgumentError(f"center must be True, False, 'train' or 'each', got {center!r}")
    return loader(data_dir, center)
