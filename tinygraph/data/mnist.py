"""MNIST and Fashion-MNIST: the same four files with other contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .dataset import Center, Dataset, Facts, Part
from .downloads import Download
from .files import locate, present
from .idx import read_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _downloads(
    sums: tuple[str, ...], sizes: tuple[int, ...], unpacked: tuple[str, ...], *mirrors: str
) -> tuple[Download, ...]:
    return tuple(
        Download(f"{file}.gz", md5, mirrors, size, inside)
        for file, md5, size, inside in zip(FILES, sums, sizes, unpacked, strict=True)
    )


SETS = {
    facts.name: (facts, downloads)
    for facts, downloads in (
        (
            Facts(
                name="mnist",
                class_names=tuple("0123456789"),
                source="LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998",
                licence="CC BY-SA 3.0",
                sizes=(60_000, 10_000),
                largest=255,
            ),
            _downloads(
                (
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "9fb629c4189551a2d022fa330f9573f3",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
                (9_912_422, 28_881, 1_648_877, 4_542),
                (
                    "6bbc9ace898e44ae57da46a324031adb",
                    "a25bea736e30d166cdddb491f175f624",
                    "2646ac647ad5339dbf082846283269ea",
                    "27ae3e4e09519cfbb04c329615203637",
                ),
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        (
            Facts(
                name="fashion-mnist",
                class_names=(
                    "T-shirt/top",
                    "trouser",
                    "pullover",
                    "dress",
                    "coat",
                    "sandal",
                    "shirt",
                    "sneaker",
                    "bag",
                    "ankle boot",
                ),
                source="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
                licence="MIT",
                sizes=(60_000, 10_000),
                largest=255,
            ),
            _downloads(
                (
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
                (26_421_880, 29_515, 4_422_102, 5_148),
                ("", "", "", ""),
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
        ),
    )
}


def load_mnist(name: str, data_dir: str | Path | None = None, center: Center = False) -> Dataset:
    """Return MNIST or Fashion-MNIST: 60,000 + 10,000 images of 28 x 28, of ten classes.

    Raises
    ------
    DataError
        If a file is missing and cannot be downloaded, or is damaged.
    """
    facts, downloads = SETS[name]
    files = locate(name, lambda folder: _find(name, folder), (name,), downloads, data_dir)
    train, test = _read(files[:2]), _read(files[2:])
    lengths = (len(train.images), len(train.labels), len(test.images), len(test.labels))
    for path, length, published, size in zip(files, lengths, downloads, np.repeat(facts.sizes, 2), strict=True):
        if length == size:
            published.require(path)
    return facts.dataset(train, test, center)


def _read(paths: list[Path]) -> Part:
    images, labels = paths
    return Part(_rows(images), _rows(labels), images, labels)


def _rows(path: Path) -> np.ndarray:
    array = read_idx(path)
    if not array.ndim:
        raise DataError(f"{path}: expected one element a sample, got one number")
    return array


def _find(name: str, folder: Path) -> list[Path] | None:
    """Return the four files, compressed or not, unless they are the other set's."""
    paths = []
    for file in FILES:
        path = next((p for p in (folder / f"{file}.gz", folder / file) if present(p)), None)
        if path is None:
            return None
        paths.append(path)
    return None if _belongs_to_another(name, paths[-1]) else paths


def _belongs_to_another(name: str, test_labels: Path) -> bool:
    sums = [downloads[-1].sums(test_labels) for other, (_, downloads) in SETS.items() if other != name]
    return any(pair is not None and pair[0] == pair[1] for pair in sums)
