"""Damaged files for every reader: ``python fuzz.py READER COUNT SEED`` reads COUNT of them and prints what came.

A file is damaged as a whole, or inside what is packed, with sums and lengths made right again. The memory that may be
added is limited by the system. The line printed is JSON: counts of "same" (the contents of the whole file), "other",
"told" (a DataError of one line that names a file) and "lost" (a table of fewer rows than lines), what else was raised,
and by how many bytes the memory grew.
"""

import gzip
import io
import json
import random
import re
import resource
import struct
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tinygraph import data
from tinygraph.data import cifar, cora, digits, idx, omniglot
from tinygraph.data.mnist import FILES
from tinygraph.errors import DataError

TAR = (*cifar.TRAIN, *cifar.TEST)
MEMORY = 512 << 20
HUGE = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
PIECES = [b"#", b"# ", b"NA", b",", b";", b"\n", b"\r", b'"', b"\f", b"\0", b"1e999", b"nan", b"\xe2\x80\xa8"]
PIECES += [b"\xef\xbb\xbf", b"\xff\xfe", b"0,5", b"-", b"_", b" ", b"\t", b"x", b"9" * 400, b"(" * 300]


def damaged(raw, rng):
    """Return `raw` with one to three faults."""
    raw = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        # Headers are short, and more happens there: half of the faults fall into the first 200 bytes.
        end = min(len(raw), 200) if rng.random() < 0.5 else len(raw)
        at = rng.randrange(end) if end else 0
        length = rng.choice([1, 2, 8, 64, 1000])
        fault = rng.randrange(7)
        if fault == 0 and raw:
            raw[at] ^= 1 << rng.randrange(8)
        elif fault == 1:
            del raw[at:]
        elif fault == 2:
            raw[at:at] = rng.randbytes(length)
        elif fault == 3:
            raw[at:at] = raw[at : at + length]
        elif fault == 4:
            raw[at : at + length] = bytes(len(raw[at : at + length]))
        elif fault == 5:
            form = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
            number = rng.choice(HUGE) & ((1 << 8 * struct.calcsize(form)) - 1)
            raw[at : at + struct.calcsize(form)] = struct.pack(form, number)
        else:
            raw[at:at] = rng.choice(PIECES)
    return bytes(raw)


def damaged_gzip(raw, rng):
    return damaged(raw, rng) if rng.random() < 0.3 else gzip.compress(damaged(gzip.decompress(raw), rng), 1)


def damaged_zip(raw, rng):
    if rng.random() < 0.3:
        return damaged(raw, rng)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(list(members))
    fault = rng.random()
    if fault < 0.1:
        members[rng.choice(["X.txt", "../X.npy", chosen + "x"])] = members.pop(chosen)
    elif fault < 0.2:
        members[chosen] = rng.choice(list(members.values()))
    else:
        members[chosen] = damaged(members[chosen], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def array_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive_bytes(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype("u1").tobytes()


def mnist(rng, pack):
    shapes = zip(FILES, [(5, 28, 28), (5,), (2, 28, 28), (2,)], strict=True)
    return {
        file + (".gz" if pack is gzip.compress else ""): pack(idx_bytes(rng.integers(0, 10, shape)))
        for file, shape in shapes
    }


def records(rng, n=2):
    return b"".join(bytes([rng.integers(10)]) + rng.bytes(cifar.RECORD - 1) for _ in range(n))


def cifar_archive(rng):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in (*cifar.TRAIN, *cifar.TEST):
            member, raw = tarfile.TarInfo(f"{cifar.FOLDER}/{name}"), records(rng, 1)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return {cifar.ARCHIVE: file.getvalue()}


def cora_file(rng):
    places = rng.choice(cora.NODES * cora.WORDS, 40_000, replace=False)
    first, second = np.triu_indices(150, 1)
    split = np.split(rng.permutation(1640), np.cumsum(list(cora.SPLIT.values()))[:-1])
    arrays = dict(zip(cora.SPLIT, split, strict=True))
    return {
        cora.FILE.file: archive_bytes(
            feature_rows=places // cora.WORDS,
            feature_cols=places % cora.WORDS,
            labels=rng.integers(0, 7, cora.NODES),
            edges=np.stack([first, second], axis=1)[: cora.EDGES],
            **arrays,
        )
    }


def omniglot_file(rng):
    omniglot.ALPHABETS, omniglot.CHARACTERS, omniglot.DRAWERS = 5, 10, 2  # as many as keep the file small
    character = np.repeat(np.arange(10), 2)
    return {
        omniglot.FILE.file: archive_bytes(
            images=rng.integers(0, 256, (20, 105, 14), np.uint8),
            alphabet=(character // 2).astype(np.uint8),
            character=character.astype(np.uint16),
            character_names=np.array([f"character {i}" for i in range(10)]),
        )
    }


def arrays_of(found):
    """Return what was read, as arrays."""
    if isinstance(found, np.ndarray):
        return [found]
    if isinstance(found, data.NodeDataset):
        return [found.features, found.Y, found.edges, found.train_index, found.validation_index, found.test_index]
    if isinstance(found, data.Table):
        return [np.array(found.names), *(found[name] for name in found.names)]
    return [*found.train, *found.test, np.array(found.class_names)]


def loader(name):
    return lambda folder, file: data.load(name, folder)


def columns_of(folder, file):
    return data.read_table(file, columns="all")


def images_of(folder, file):
    return data.read_table(folder, columns="all")


def image_bytes(rng):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).save(file, "png")
    return file.getvalue()


TSV = b"u\tv\tw\n" + b"".join(b"%d\tword %d\t-1e%d\n" % (i, i % 3, i) for i in range(20))
CSV = b"u,v,w\n" + b"".join(b"%d,-%d.5,1e%d\n" % (i, i, i) for i in range(20))
# The files of each reader, how one of them is damaged, and how they are read.
READERS = {
    "csv": (lambda rng: {"a.csv": CSV}, damaged, lambda folder, file: data.read_table(file)),
    "npy": (
        lambda rng: {"a.npy": array_bytes(rng.normal(size=(6, 4)))},
        damaged,
        lambda f, file: data.read_table(file),
    ),
    "npz": (
        lambda rng: {"a.npz": archive_bytes(X=rng.normal(size=(6, 4)), Y=np.arange(5))},
        damaged_zip,
        lambda folder, file: data.read_table(file),
    ),
    "columns.tsv": (lambda rng: {"a.tsv": TSV}, damaged, columns_of),
    "columns.npz": (
        lambda rng: {"a.npz": archive_bytes(X=rng.normal(size=(6, 4)), Y=np.array(list("ababca")))},
        damaged_zip,
        columns_of,
    ),
    "images": (lambda rng: {f"c{k % 2}/{k}.png": image_bytes(rng) for k in range(4)}, damaged, images_of),
    "idx": (lambda rng: {"a": idx_bytes(rng.integers(0, 9, (5, 6, 7)))}, damaged, lambda f, file: idx.read_idx(file)),
    "idx.gz": (
        lambda rng: {"a.gz": gzip.compress(idx_bytes(rng.integers(0, 9, (5, 6, 7))))},
        damaged_gzip,
        lambda folder, file: idx.read_idx(file),
    ),
    "mnist": (lambda rng: mnist(rng, bytes), damaged, loader("mnist")),
    "mnist.gz": (lambda rng: mnist(rng, gzip.compress), damaged_gzip, loader("fashion-mnist")),
    "cifar": (lambda rng: {name: records(rng) for name in (*cifar.TRAIN, *cifar.TEST)}, damaged, loader("cifar10")),
    "cifar.bin.gz": (
        lambda rng: {name: gzip.compress(records(rng)) for name in ("a_train.bin.gz", "a_test.bin.gz")},
        damaged_gzip,
        loader("cifar10"),
    ),
    "cifar.tar.gz": (cifar_archive, damaged_gzip, loader("cifar10")),
    "cora": (cora_file, damaged_zip, loader("cora")),
    "digits": (
        lambda rng: {"digits.npz": Path(digits.__file__).with_name("digits.npz").read_bytes()},
        damaged_zip,
        lambda folder, file: digits.load_digits(file),
    ),
    "omniglot": (omniglot_file, damaged_zip, loader("omniglot")),
}


def rows_lost(raw, table):
    """Return whether a CSV file has more lines with something on them than rows and names; quotes aside."""
    lines = [line for line in re.split(rb"\r\n|\r|\n", raw) if line.strip()]
    return b'"' not in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")) and len(table) < len(lines) - 1


def memory():
    """Return the most bytes of memory that this process has had."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


def fuzz(reader, count, seed):
    """Read `count` damaged files; return what came."""
    make, damage, read = READERS[reader]
    files, rng = make(np.random.default_rng(seed)), random.Random(seed)
    outcomes, others = Counter(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, raw in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(raw)
        known_files = [folder / file for file in files] + [folder / cifar.ARCHIVE / cifar.FOLDER / f for f in TAR]
        whole = arrays_of(read(folder, folder / next(iter(files))))
        Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted anew
        before = memory()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        for _ in range(count):
            file = rng.choice(list(files))
            raw = damage(files[file], rng)
            (folder / file).write_bytes(raw)
            try:
                found = arrays_of(read(folder, folder / file))
                same = len(found) == len(whole) and all(map(np.array_equal, found, whole))
                outcomes["same" if same else "other"] += 1
                if reader == "csv" and rows_lost(raw, found[0]):
                    outcomes["lost"] += 1
            except DataError as error:
                if "\n" in str(error) or not any(f"{known}: " in str(error) for known in known_files):
                    others.append(f"no file or no line: {error}"[:200])
                outcomes["told"] += 1
            except BaseException as error:
                others.append(f"{type(error).__name__}: {error}"[:200])
            (folder / file).write_bytes(files[file])
    return {**outcomes, "others": others, "grown": memory() - before}


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
