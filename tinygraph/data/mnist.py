"""MNIST and Fashion-MNIST: the same four files with other contents."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .dataset import Center, Dataset, Facts, Pair
from .files import Download, locate, reading
from .idx import read_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _downloads(sums: tuple[str, ...], *mirrors: str) -> tuple[Download, ...]:
    return tuple(Download(f"{file}.gz", md5, mirrors) for file, md5 in zip(FILES, sums, strict=True))


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
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
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
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
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
    found = locate(name, lambda folder: _find(name, folder), (name,), downloads, data_dir)
    return facts.dataset(_pair(found[:2]), _pair(found[2:]), center)


def _pair(paths: list[Path]) -> Pair:
    images, labels = (read_idx(path) for path in paths)
    return images, labels


def _find(name: str, folder: Path) -> list[Path] | None:
    """Return the four files, compressed or not, unless they are the other set's."""
    paths = []
    for file in FILES:
        path = next((p for p in (folder / f"{file}.gz", folder / file) if p.is_file()), None)
        if path is None:
            return None
        paths.append(path)
    return None if _belongs_to_another(name, paths[-1]) else paths


def _belongs_to_another(name: str, test_labels: Path) -> bool:
    with reading(test_labels):
        md5 = hashlib.md5(test_labels.read_bytes(), usedforsecurity=False).hexdigest()
    return any(md5 == downloads[-1].md5 for other, (_, downloads) in SETS.items() if other != name)
