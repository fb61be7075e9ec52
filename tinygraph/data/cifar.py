"""CIFAR-10, from its binary records: a byte for the class, then 1,024 bytes each of red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from .dataset import Center, Dataset, Facts, Pair
from .files import Download, locate, read_bytes, reading

ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
IMAGE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


class Parts(NamedTuple):
    """The files that hold the records: an archive, or files for training and for testing."""

    train: Sequence[Path] = ()
    test: Sequence[Path] = ()
    archive: Path | None = None


FACTS = Facts(
    name="cifar10",
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    licence="none stated by its authors",
    sizes=(50_000, 10_000),
    largest=255,
)
DOWNLOADS = (Download(ARCHIVE, "c32a1d4ab5d03f1284b67883e8d87530", ("https://www.cs.toronto.edu/~kriz/",)),)


def load_cifar10(data_dir: str | Path | None = None, center: Center = False) -> Dataset:
    """Return CIFAR-10: 50,000 + 10,000 colour images of 32 x 32, of ten classes.

    A row of `X` holds the red, then the green, then the blue values. Files read: the archive as published,
    the folder it unpacks to, or a part of it as ``*train*.bin.gz`` and ``*test*.bin.gz`` (`note` says so).

    Raises
    ------
    DataError
        If the files are missing and cannot be downloaded, or are damaged.
    """
    found = locate("cifar10", _find, ("cifar10", "cifar10-subset"), DOWNLOADS, data_dir)
    if found.archive is not None:
        train, test = _read_archive(found.archive)
    else:
        train, test = ([(path, read_bytes(path)) for path in paths] for paths in (found.train, found.test))
    return FACTS.dataset(_parse(train), _parse(test), center)


def _find(folder: Path) -> Parts | None:
    """Return the archive, or the files for training and for testing: complete ones before a subset."""
    if (folder / ARCHIVE).is_file():
        return Parts(archive=folder / ARCHIVE)
    for unpacked in (folder / FOLDER, folder):
        train, test = [unpacked / name for name in TRAIN], [unpacked / name for name in TEST]
        if all(path.is_file() for path in (*train, *test)):
            return Parts(train, test)
    train, test = sorted(folder.glob("*train*.bin.gz")), sorted(folder.glob("*test*.bin.gz"))
    return Parts(train, test) if train and test else None


def _read_archive(path: Path) -> tuple[list[tuple[Path, bytes]], list[tuple[Path, bytes]]]:
    """Return the archive's files for training and for testing; nothing is unpacked to disk."""
    import gzip  # for few: kept out of `import tinygraph`
    import tarfile

    contents: dict[str, bytes] = {}
    with reading(path), gzip.open(path) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            name = Path(member.name).name
            if stream is not None and name in (*TRAIN, *TEST):
                contents[name] = stream.read()
        while unzipped.read(1 << 20):
            pass  # to the end, where gzip compares its sum
    missing = [name for name in (*TRAIN, *TEST) if name not in contents]
    if missing:
        raise DataError(f"{path}: damaged: it does not hold {', '.join(missing)}")
    train, test = ([(path / name, contents[name]) for name in names] for names in (TRAIN, TEST))
    return train, test


def _parse(files: list[tuple[Path, bytes]]) -> Pair:
    """Return images (n, 3, 32, 32) and labels (n,) of the records in `files`."""
    for path, raw in files:
        if not raw or len(raw) % RECORD:
            raise DataError(f"{path}: damaged: {len(raw)} bytes are not records of {RECORD} bytes each")
    records = np.frombuffer(b"".join(raw for _, raw in files), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, *IMAGE), records[:, 0]
