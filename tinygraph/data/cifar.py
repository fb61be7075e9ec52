"""CIFAR-10, from its binary records: a byte for the class, then 1,024 bytes each of red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

import numpy as np

from ..errors import DataError
from .checks import check_labels
from .dataset import Center, Dataset, Facts, Part
from .downloads import Download
from .files import files_like, locate, present
from .opening import CHUNK, Contents, contents, reading

ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
IMAGE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
BATCH = 10_000 * RECORD
SLACK = 1 << 20  # what tar and the authors add: headers, names, a page to read
ARCHIVE_BYTES, MEMBERS = 6 * BATCH + SLACK, 100


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
DOWNLOADS = (
    Download(ARCHIVE, "c32a1d4ab5d03f1284b67883e8d87530", ("https://www.cs.toronto.edu/~kriz/",), 170_052_171),
)


def load_cifar10(data_dir: str | Path | None = None, center: Center = False) -> Dataset:
    """Return CIFAR-10: 50,000 + 10,000 colour images of 32 x 32, of ten classes.

    A row of `X` holds the red, then the green, then the blue values. Files read: the archive as published,
    the folder it unpacks to, or a part of it as ``*train*.bin.gz`` and ``*test*.bin.gz`` (`note` says so).

    A sum is published of the archive only. Files that hold all images are compared with what else is published, that
    there are as many of every class; damaged pixels in them are not told.

    Raises
    ------
    DataError
        If the files are missing and cannot be downloaded, or are damaged.
    """
    files = locate("cifar10", _find, ("cifar10", "cifar10-subset"), DOWNLOADS, data_dir)
    if files.archive is not None:
        train, test = _read_archive(files.archive)
    else:
        train, test = (_parse([(path, _read(path)) for path in paths]) for paths in (files.train, files.test))
    if (len(train.images), len(test.images)) == FACTS.sizes:
        if files.archive is not None:
            DOWNLOADS[0].require(files.archive)
        else:
            _check_classes(train, "training")
            _check_classes(test, "test")
    return FACTS.dataset(train, test, center)


def _find(folder: Path) -> Parts | None:
    """Return the archive, or the files for training and for testing: complete ones before a subset."""
    if present(folder / ARCHIVE):
        return Parts(archive=folder / ARCHIVE)
    for unpacked in (folder / FOLDER, folder):
        train, test = [unpacked / name for name in TRAIN], [unpacked / name for name in TEST]
        if all(present(path) for path in (*train, *test)):
            return Parts(train, test)
    train, test = files_like(folder, "*train*.bin.gz"), files_like(folder, "*test*.bin.gz")
    return Parts(train, test) if train and test else None


def _read(path: Path) -> bytes:
    """Return the records in a file, compressed or not, of which there are no more than in all of CIFAR-10."""
    limit, raw = sum(FACTS.sizes) * RECORD, bytearray()
    with reading(path), contents(path) as content:
        for chunk in content.chunks():
            raw += chunk
            if len(raw) > limit:
                raise DataError(f"{path}: damaged: it holds more than the {sum(FACTS.sizes):,} records of CIFAR-10")
    return bytes(raw)


def _read_archive(path: Path) -> tuple[Part, Part]:
    """Return the archive's images for training and for testing; nothing is unpacked to disk."""
    import tarfile  # for few: kept out of `import tinygraph`

    files: dict[str, bytes] = {}
    with reading(path), contents(path) as content:
        stream = _Limited(content)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
            for member in archive:
                stream.next_member()
                name = PurePosixPath(member.name)
                if name.name not in (*TRAIN, *TEST) or str(name.parent) != FOLDER:
                    continue
                if name.name in files:
                    raise DataError(f"{path}: damaged: it holds {name} twice")
                if not member.isreg() or member.issparse() or member.size > BATCH:
                    raise DataError(f"{path}: damaged: {name} is not a file of at most {BATCH:,} bytes")
                files[name.name] = cast(IO[bytes], archive.extractfile(member)).read()
        while stream.read(CHUNK):
            pass  # to the end, where gzip compares its sum
    missing = [name for name in (*TRAIN, *TEST) if name not in files]
    if missing:
        raise DataError(f"{path}: damaged: it does not hold {', '.join(missing)}")
    train, test = (_parse([(path / FOLDER / name, files[name]) for name in names]) for names in (TRAIN, TEST))
    return train, test


class _Limited:
    """A stream that ends in an error if it holds more members or bytes than the published archive, or a larger member.

    Names of members count among their bytes: tarfile takes them into memory, and they may be as long as they say.
    """

    def __init__(self, content: Contents) -> None:
        self.content, self.remaining, self.member, self.members = content, ARCHIVE_BYTES, BATCH + SLACK, 0

    def read(self, size: int) -> bytes:
        got = self.content.stream.read(size)
        self.remaining -= len(got)
        self.member -= len(got)
        if self.remaining < 0 or self.member < 0 or self.members > MEMBERS:
            raise DataError(f"{self.content.path}: damaged: it holds more, or larger, members than CIFAR-10")
        return got

    def next_member(self) -> None:
        self.member = BATCH + SLACK
        self.members += 1


def _check_classes(part: Part, split: str) -> None:
    """Raise an error unless there are as many images of every class, as in the published files."""
    counts = np.bincount(part.labels, minlength=len(FACTS.class_names))
    published = len(part.labels) // len(FACTS.class_names)
    if wrong := np.flatnonzero(counts != published).tolist():
        raise DataError(
            f"{part.labels_from.parent}: not the published files: {counts[wrong[0]]:,} {split} images of class "
            f"{wrong[0]}, {FACTS.class_names[wrong[0]]}, published are {published:,}; get {ARCHIVE} again"
        )


def _parse(files: list[tuple[Path, bytes]]) -> Part:
    """Return images (n, 3, 32, 32) and labels (n,) of the records in `files`."""
    for path, raw in files:
        if not raw or len(raw) % RECORD:
            raise DataError(f"{path}: damaged: {len(raw)} bytes are not records of {RECORD} bytes each")
        check_labels(np.frombuffer(raw, np.uint8)[::RECORD], len(FACTS.class_names), f"{path}: labels")
    records = np.frombuffer(b"".join(raw for _, raw in files), np.uint8).reshape(-1, RECORD)
    path = files[0][0]
    return Part(records[:, 1:].reshape(-1, *IMAGE), records[:, 0], path, path)
