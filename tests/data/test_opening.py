"""What is no file, what unpacks to more than it may, and where the files of a data set are looked for."""

import gzip
import hashlib
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tinygraph import data
from tinygraph.data import cifar, files, mnist
from tinygraph.data.digits import load_digits
from tinygraph.data.idx import read_idx
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host

PRIVILEGED = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.delenv("TINYGRAPH_DATA_DIR", raising=False)

    def fetch(url, path, wanted):
        raise OSError("no network")

    monkeypatch.setattr(files, "fetch", fetch)
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")


def load(name):
    return lambda path: data.load(name, path.parent)


READERS = {
    "a.csv": data.read_table,
    "a.npy": data.read_table,
    "a.npz": data.read_table,
    "a.idx": read_idx,
    "a.gz": read_idx,
    "digits.npz": load_digits,
    "cora_planetoid.npz": load("cora"),
    "omniglot_background.npz": load("omniglot"),
    cifar.ARCHIVE: load("cifar10"),
}


# what is no file -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_told_and_nothing_waits(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(DataError, match=rf"{name}: cannot be read \(a pipe, not a file\)"):
        READERS[name](path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=rf"{name}: cannot be read \(Is a directory\)"):
        READERS[name](path)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=rf"{name}: cannot be read \(a device, not a file\)"):
        READERS[name](path)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets with names")
def test_a_socket_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("a.csv")
        with pytest.raises(DataError, match=r"a\.csv: cannot be read \(a socket, not a file\)"):
            data.read_table("a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.npy", "a.npz"])
def test_a_link_to_a_file_is_a_file(tmp_path, name):
    np.save(tmp_path / "b.npy", np.ones((2, 2)))
    np.savez(tmp_path / "b.npz", np.ones((2, 2)))
    (tmp_path / "b.csv").write_text("1,1\n1,1\n")
    (tmp_path / name).symlink_to(tmp_path / name.replace("a", "b"))
    assert data.read_table(tmp_path / name).tolist() == [[1, 1], [1, 1]]


def without_rights(program, *arguments):
    """Run a Python program that may read only what the rights of files let it read; return what it prints."""
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if PRIVILEGED else []
    prefix += ["--inh-caps", "-dac_override,-dac_read_search"] if PRIVILEGED else []
    command = [*prefix, sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True).stdout


TRY = """
import json, sys
from tinygraph import data
from tinygraph.data.idx import read_idx
from tinygraph.errors import ArgumentError, DataError
readers = {"table": data.read_table, "idx": read_idx}
for reader, path in json.loads(sys.argv[1]):
    try:
        readers[reader](path) if reader in readers else data.load(reader, path)
    except DataError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="takes rights away as Linux does")
def test_what_may_not_be_read_is_not_said_to_be_missing(tmp_path):
    reads, said = [], []
    for reader, name in (("table", "a.csv"), ("table", "a.npy"), ("table", "a.npz"), ("idx", "a.idx")):
        path = tmp_path / name
        path.write_bytes(b"1,2\n")
        path.chmod(0)
        reads.append((reader, path))
        said.append(f"{path}: cannot be read (Permission denied)")
    for name, others in (("mnist", mnist.FILES), ("cora", ["cora_planetoid.npz"])):
        folder = tmp_path / name
        folder.mkdir()
        for other in others:
            (folder / other).write_bytes(b"x")
        (folder / others[-1]).chmod(0)
        reads.append((name, tmp_path))
        said.append(f"{folder / others[-1]}: cannot be read (Permission denied)")
    closed = tmp_path / "closed"
    (closed / "omniglot").mkdir(parents=True)
    (closed / "omniglot_background.npz").write_bytes(b"x")
    closed.chmod(0)
    reads += [("omniglot", closed), ("cifar10", closed), ("omniglot", closed / "inner")]
    said += [f"{closed / 'omniglot' / 'omniglot_background.npz'}: cannot be read (Permission denied)"]
    said += [f"{closed / 'cifar10' / cifar.ARCHIVE}: cannot be read (Permission denied)"]
    said += [f"data_dir: {closed / 'inner'} cannot be read (Permission denied)"]
    assert without_rights(TRY, json.dumps([(reader, str(path)) for reader, path in reads])).splitlines() == said
    closed.chmod(0o700)


# what unpacks to more than it may --------------------------------------------------------------

MEMORY = """
import json, resource, runpy, sys
from pathlib import Path
readers = runpy.run_path(sys.argv[1])["READERS"]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20),) * 2)

def memory():
    return int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) << 10

for path in map(Path, sys.argv[2:]):
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted anew
    before = memory()
    try:
        readers[path.name](path)
        said = "read"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([said, memory() - before]))
"""
LARGE = 3 << 26  # packed, less than a megabyte


def zeros(write, start=b"", size=LARGE):
    write(start)
    block = bytes(1 << 24)
    for _ in range(size >> 24):
        write(block)


def idx_bomb(path):
    """Ten images, says the header."""
    with gzip.open(path, "wb", 1) as file:
        zeros(file.write, struct.pack(">IIII", 0x803, 10, 28, 28))


def honest_idx_bomb(path):
    """As many as there are, says the header."""
    with gzip.open(path, "wb", 1) as file:
        zeros(file.write, struct.pack(">III", 0x802, LARGE >> 10, 1 << 10))


def npy_header(n):
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({n},), }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npz_bomb(names, large, header):
    def npz_bomb(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in names:
                if name != large:
                    archive.writestr(f"{name}.npy", npy_header(1) + bytes(8))
            with archive.open(f"{large}.npy", "w", force_zip64=True) as file:
                zeros(file.write, header)

    return npz_bomb


def many_arrays(path):
    """Arrays below the limit, each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("feature_rows", "feature_cols", "labels", "edges", "train_index", "val_index", "test_index"):
            with archive.open(f"{name}.npy", "w") as file:
                zeros(file.write, npy_header((32 << 20) >> 3), 32 << 20)


def tar_bomb(size):
    def tar_bomb(path):
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            member = tarfile.TarInfo(f"{cifar.FOLDER}/data_batch_1.bin")
            member.size = size
            archive.addfile(member, Zeros(size))

    return tar_bomb


class Zeros(io.RawIOBase):
    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        size = min(self.left, size)
        self.left -= size
        return bytes(size)


def other_members(path):
    """A member that is not asked for."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("readme")
        member.size = LARGE
        archive.addfile(member, Zeros(LARGE))


def sparse_tar(path):
    """A member of GNU's sparse kind: a terabyte of holes."""
    header = bytearray(tarfile.TarInfo(f"{cifar.FOLDER}/data_batch_1.bin").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:482] = bytes(96)
    header[483:495] = struct.pack(">QI", (0x80 << 56) | (1 << 8), 0)  # a size in base 256: 2**40
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(gzip.compress(bytes(header) + bytes(1024)))


def long_name(path):
    """A name of 256 MiB."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, LARGE
    with gzip.open(path, "wb", 1) as file:
        zeros(file.write, member.tobuf(tarfile.GNU_FORMAT))


def blank_lines(path):
    with open(path, "wb") as file:
        for _ in range(4):
            file.write(b"\n" * (1 << 20))


def one_long_line(path):
    with open(path, "wb") as file:
        file.truncate(LARGE)


CORA = ("feature_rows", "feature_cols", "labels", "edges", "train_index", "val_index", "test_index")
OMNIGLOT = ("images", "alphabet", "character", "character_names")
BOMBS = [
    ("a.gz", idx_bomb, r"damaged: shape \(10, 28, 28\) takes 7856 bytes, the file holds more"),
    ("a.gz", honest_idx_bomb, r"bytes unpack to 201,326,604, which is more than 100 times as many"),
    ("a.npz", npz_bomb(("X",), "X", npy_header(LARGE >> 3)), "bytes unpack to 201,326,720"),
    ("a.npz", npz_bomb(("X",), "X", npy_header(1)), "bytes unpack to 201,326,720"),
    ("digits.npz", npz_bomb(("images", "labels"), "images", npy_header(LARGE >> 3)), "bytes unpack to"),
    ("cora_planetoid.npz", npz_bomb(CORA, "labels", npy_header(LARGE >> 3)), "bytes unpack to"),
    ("cora_planetoid.npz", many_arrays, "bytes unpack to"),
    ("omniglot_background.npz", npz_bomb(OMNIGLOT, "images", npy_header(LARGE >> 3)), "bytes unpack to"),
    (cifar.ARCHIVE, tar_bomb(LARGE), "damaged: .*data_batch_1.bin is not a file of at most 30,730,000 bytes"),
    (cifar.ARCHIVE, sparse_tar, "damaged: .*data_batch_1.bin is not a file of at most 30,730,000 bytes"),
    (cifar.ARCHIVE, other_members, "damaged: it holds more, or larger, members than CIFAR-10"),
    (cifar.ARCHIVE, long_name, "damaged: it holds more, or larger, members than CIFAR-10"),
    ("a.csv", blank_lines, "holds no rows"),
    ("a.csv", one_long_line, "line 1: longer than 16,777,216 characters"),
]


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """What reading each file said, by how many bytes the memory grew, and the file."""
    paths = []
    for k, (name, make, _) in enumerate(BOMBS):
        paths.append(tmp_path_factory.mktemp(f"bomb{k}") / name)
        make(paths[-1])
    command = [sys.executable, "-c", MEMORY, __file__, *map(str, paths)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(*json.loads(line), path) for line, path in zip(run.stdout.splitlines(), paths, strict=True)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("k", range(len(BOMBS)), ids=[f"{name}-{make.__name__}" for name, make, _ in BOMBS])
def test_nothing_is_unpacked_beyond_its_header(bombs, k):
    said, grown, path = bombs[k]
    print(f"{path.name}: {path.stat().st_size:,} bytes, {grown:,} of memory: {said}")
    assert said.startswith(f"DataError: {path}: ")
    assert re.search(BOMBS[k][2], said)
    assert grown < 120 << 20


# where the files are looked for ----------------------------------------------------------------


@pytest.mark.parametrize("place", ["absent", "file", "file/inner", "~nobody_of_this_name/data"])
@pytest.mark.parametrize("by", ["data_dir", "TINYGRAPH_DATA_DIR"])
@pytest.mark.parametrize("name", ["mnist", "cifar10", "cora", "omniglot"])
def test_a_folder_that_is_none_is_told(tmp_path, monkeypatch, name, by, place):
    (tmp_path / "file").write_text("")
    folder = place if place[0] == "~" else str(tmp_path / place)
    monkeypatch.setenv("TINYGRAPH_DATA_DIR", folder)
    with pytest.raises(DataError, match=f"^{by}: there is no folder {re.escape(folder)}$"):
        data.load(name, folder if by == "data_dir" else None)


@pytest.mark.parametrize("folder", [5, b"here", "a\0b"])
def test_what_names_no_folder_is_told(folder):
    with pytest.raises(ArgumentError, match="data_dir: (expected a path|no path holds a zero byte), got"):
        data.load("mnist", folder)


def test_a_folder_without_the_data_set_is_followed_by_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAPH_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"mnist: .* could not be downloaded \(no network\)"):
        data.load("mnist")


# the published sums ----------------------------------------------------------------------------


def made_mnist(folder, monkeypatch, sums=True):
    """Write a small MNIST, let it be what is published, and return the bytes in its files."""
    rng = np.random.default_rng(0)
    facts, published = mnist.SETS["mnist"]
    raws, made = [], []
    for download, shape in zip(published, [(7, 28, 28), (7,), (3, 28, 28), (3,)], strict=True):
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        raws.append(header + rng.integers(0, 10, shape, np.uint8).tobytes())
        packed = gzip.compress(raws[-1], 9)
        (folder / download.file).write_bytes(packed)
        unpacked = hashlib.md5(raws[-1]).hexdigest() if sums else ""
        made.append(replace(download, md5=hashlib.md5(packed).hexdigest(), unpacked=unpacked))
    monkeypatch.setitem(mnist.SETS, "mnist", (replace(facts, sizes=(7, 3)), tuple(made)))
    return raws


def flipped(raw):
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("packed", [True, False])
def test_a_bit_that_differs_from_the_published_file_is_told(tmp_path, monkeypatch, which, packed):
    raw = made_mnist(tmp_path, monkeypatch)[which]
    assert data.load("mnist", tmp_path).note == ""
    path = tmp_path / f"{mnist.FILES[which]}.gz"
    path.unlink()
    path = path if packed else path.with_suffix("")
    path.write_bytes(gzip.compress(flipped(raw)) if packed else flipped(raw))
    with pytest.raises(DataError, match=rf"{path}: not the published file \(MD5 sum \w+, published is \w+\); get"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("pack", [lambda raw: gzip.compress(raw, 1), bytes])
def test_a_published_file_may_be_packed_anew(tmp_path, monkeypatch, pack):
    for file, raw in zip(mnist.FILES, made_mnist(tmp_path, monkeypatch), strict=True):
        (tmp_path / f"{file}.gz").write_bytes(pack(raw))
    assert len(data.load("mnist", tmp_path).train[0]) == 7


def test_where_only_the_packed_file_has_a_published_sum_that_counts(tmp_path, monkeypatch):
    raws = made_mnist(tmp_path, monkeypatch, sums=False)
    path = tmp_path / f"{mnist.FILES[0]}.gz"
    path.write_bytes(gzip.compress(flipped(raws[0])))
    with pytest.raises(DataError, match="not the published file"):
        data.load("mnist", tmp_path)
    path.unlink()
    path.with_suffix("").write_bytes(flipped(raws[0]))
    data.load("mnist", tmp_path)  # nothing is known of it


def test_the_archive_of_cifar_is_compared_with_its_published_sum(tmp_path, monkeypatch):
    path = tmp_path / cifar.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for name in (*cifar.TRAIN, *cifar.TEST):
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = cifar.RECORD
            archive.addfile(member, Zeros(cifar.RECORD))
    assert data.load("cifar10", tmp_path).note.startswith("a subset: 5 of 50,000")
    monkeypatch.setattr(cifar, "FACTS", replace(cifar.FACTS, sizes=(5, 1)))
    with pytest.raises(DataError, match=rf"{path}: not the published file \(MD5 sum \w+, published is c32a1d4ab5d0"):
        data.load("cifar10", tmp_path)


# archives laid out otherwise -------------------------------------------------------------------


def cifar_members(folder, *changes):
    """Write an archive of CIFAR's files, to which `changes` are made: functions of a list of members."""
    members = [(tarfile.TarInfo(f"{cifar.FOLDER}/{name}"), bytes(cifar.RECORD)) for name in (*cifar.TRAIN, *cifar.TEST)]
    for change in changes:
        change(members)
    with tarfile.open(folder / cifar.ARCHIVE, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def twice(members):
    members.append(members[0])


def link(members):
    members[0] = (tarfile.TarInfo(members[0][0].name), b"")
    members[0][0].type, members[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


def device(members):
    members[0] = (tarfile.TarInfo(members[0][0].name), b"")
    members[0][0].type = tarfile.CHRTYPE


def elsewhere(members):
    members[0][0].name = "../data_batch_1.bin"


def many(members):
    members[:0] = [(tarfile.TarInfo(f"{i}"), b"") for i in range(200)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (twice, "damaged: it holds cifar-10-batches-bin/data_batch_1.bin twice"),
        (link, "damaged: cifar-10-batches-bin/data_batch_1.bin is not a file of at most"),
        (device, "damaged: cifar-10-batches-bin/data_batch_1.bin is not a file of at most"),
        (elsewhere, "damaged: it does not hold data_batch_1.bin"),
        (many, "damaged: it holds more, or larger, members than CIFAR-10"),
    ],
)
def test_members_that_are_not_the_published_ones_are_told(tmp_path, change, text):
    cifar_members(tmp_path)
    assert len(data.load("cifar10", tmp_path).train[0]) == 5
    cifar_members(tmp_path, change)
    with pytest.raises(DataError, match=f"{cifar.ARCHIVE}: {text}"):
        data.load("cifar10", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [cifar.ARCHIVE]


def test_a_label_of_cifar_that_is_out_of_range_is_told_with_its_file(tmp_path):
    for name in (*cifar.TRAIN, *cifar.TEST):
        (tmp_path / name).write_bytes(bytes(cifar.RECORD) + b"\x0b" * (name == "data_batch_3.bin") * cifar.RECORD)
    with pytest.raises(DataError, match=r"data_batch_3\.bin: labels: 11 in row 1 is outside 0 to 9"):
        data.load("cifar10", tmp_path)


def test_too_many_records_are_told_before_all_are_read(tmp_path):
    for name in ("a_train.bin.gz", "a_test.bin.gz"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 40)  # a terabyte, on no disk
    with pytest.raises(
        DataError, match=r"a_train\.bin\.gz: damaged: it holds more than the 60,000 records of CIFAR-10"
    ):
        data.load("cifar10", tmp_path)
