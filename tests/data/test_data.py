"""Data sets, batches, checks, tables."""

import gzip
import hashlib
import io
import struct
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from data_files import SHARED
from hypothesis import example, given

from tinygraph import data
from tinygraph.data import cifar as cifar_module
from tinygraph.data import digits as digits_module
from tinygraph.data import files as files_module
from tinygraph.data.datasets import LOADERS
from tinygraph.data.digits import load_digits
from tinygraph.data.idx import read_idx
from tinygraph.data.mnist import FILES, SETS
from tinygraph.errors import ArgumentError, DataError, DTypeError

pytestmark = pytest.mark.host

needs_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs the MNIST files")
needs_cifar = pytest.mark.skipif(not (SHARED / "cifar10-subset").is_dir(), reason="needs the CIFAR files")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Let every download fail, and nothing be found in the environment or the cache."""
    monkeypatch.delenv("TINYGRAPH_DATA_DIR", raising=False)
    return downloads_that(monkeypatch, tmp_path, OSError("no network"))


def downloads_that(monkeypatch, tmp_path, outcome):
    """Let downloads raise `outcome` or call it; return the list of their calls."""
    calls = []

    def fetch(url, path, wanted):
        calls.append((url, path, wanted.md5))
        if isinstance(outcome, Exception):
            raise outcome
        outcome(url, path)

    monkeypatch.setattr(files_module, "fetch", fetch)
    monkeypatch.setattr(files_module, "cache", lambda: tmp_path / "cache" / "tinygraph")
    return calls


def idx_bytes(array):
    """Return uint8 numbers in the IDX format, written out from its description."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype("u1").tobytes()


def made_mnist(folder, train=7, test=3, compress=gzip.compress, suffix=".gz"):
    """Write the four files with made contents to `folder`; return them as arrays."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [(train, 28, 28), (train,), (test, 28, 28), (test,)]
    arrays = [rng.integers(0, 10 if len(s) == 1 else 256, s, np.uint8) for s in shapes]
    for file, array in zip(FILES, arrays, strict=True):
        (folder / (file + suffix)).write_bytes(compress(idx_bytes(array)))
    return arrays


def made_cifar_records(n, seed=0):
    """Return the bytes of `n` records, their labels and their images."""
    rng = np.random.default_rng(seed)
    labels, images = rng.integers(0, 10, n, np.uint8), rng.integers(0, 256, (n, 3, 32, 32), np.uint8)
    return b"".join(bytes([y]) + x.tobytes() for y, x in zip(labels, images, strict=True)), labels, images


def made_cifar_archive(folder, leave_out=()):
    """Write an archive of six files, two records each, laid out as the published one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        # The order within the archive is not the order of the batches.
        for i, name in enumerate(["test_batch", *(f"data_batch_{k}" for k in (5, 4, 3, 2, 1))]):
            if name not in leave_out:
                raw = made_cifar_records(2, seed=i)[0]
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))


def is_one_line(error):
    return "\n" not in str(error.value)


def attempt(function, path):
    """Return what `function` returns, or None, and the text of its DataError, or ""."""
    try:
        return function(path), ""
    except DataError as error:
        return None, str(error)


# the digits --------------------------------------------------------------------------------------


def test_the_digits_and_their_split():
    digits = data.load("digits")
    (X, Y), (X_test, Y_test) = digits.train, digits.test
    assert X.shape == (1442, 64)
    assert X_test.shape == (355, 64)
    assert Y.shape == (1442, 10)
    assert X.dtype == Y.dtype == X_test.dtype == Y_test.dtype == np.float32
    assert (X.min(), X.max()) == (0, 1)
    assert (digits.n_features, digits.n_classes, digits.image_shape) == (64, 10, (8, 8))
    np.testing.assert_array_equal(Y.sum(1), 1)
    assert set(Y_test.sum(0)) <= {34, 35, 36}  # a fifth of each digit
    np.testing.assert_array_equal(Y[:4].argmax(1), [0, 1, 2, 3])  # the source begins 0 1 2 3 4 5 ...
    total = Y.sum(0) + Y_test.sum(0)
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as its source counts them


def test_every_fifth_of_each_digit_is_for_testing():
    with np.load(Path(digits_module.__file__).with_name("digits.npz")) as file:
        images, labels = file["images"], file["labels"]
    seen, test, train = [0] * 10, [], []
    for image, label in zip(images, labels, strict=True):
        seen[label] += 1
        (train if seen[label] % 5 else test).append(image.ravel() / 16)
    digits = data.load("digits")
    np.testing.assert_array_equal(digits.train[0], train)
    np.testing.assert_array_equal(digits.test[0], test)


def test_labels_are_the_classes_of_the_basis_vectors():
    digits = data.load("digits")
    np.testing.assert_array_equal(data.one_hot(digits.labels_train, 10), digits.train[1])
    np.testing.assert_array_equal(data.one_hot(digits.labels_test, 10), digits.test[1])


def test_the_digits_state_source_and_licence():
    digits = data.load("digits")
    assert "10.24432/C50P49" in digits.source
    assert digits.licence == "CC BY 4.0"
    assert digits.note == ""
    text = Path(digits_module.__file__).with_name("DIGITS.md").read_text()
    assert all(word in text for word in ("10.24432/C50P49", "CC BY 4.0", "Alpaydin", "Changed"))


def test_the_digits_file_is_small():
    assert Path(digits_module.__file__).with_name("digits.npz").stat().st_size < 200_000


def test_a_data_set_prints_in_one_line():
    assert repr(data.load("digits")) == (
        "Dataset('digits': 1442 training and 355 test samples, 64 features, 10 classes)"
    )


def test_centring_subtracts_the_training_mean_from_both_parts():
    plain, centred = data.load("digits"), data.load("digits", center=True)
    np.testing.assert_allclose(centred.train[0].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(centred.mean, plain.train[0].mean(0, dtype=float), rtol=1e-6)
    np.testing.assert_array_equal(centred.test[0], plain.test[0] - centred.mean)
    np.testing.assert_array_equal(centred.test_mean, centred.mean)
    assert centred.train[0].dtype == centred.mean.dtype == np.float32
    assert plain.mean is plain.test_mean is None
    np.testing.assert_array_equal(data.load("digits", center="train").test[0], centred.test[0])


def test_each_part_can_be_centred_by_its_own_mean():
    plain, centred = data.load("digits"), data.load("digits", center="each")
    for before, after, mean in (
        (plain.train[0], centred.train[0], centred.mean),
        (plain.test[0], centred.test[0], centred.test_mean),
    ):
        np.testing.assert_allclose(after.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(mean, before.mean(0, dtype=float), rtol=1e-6)
        np.testing.assert_array_equal(after, before - mean)
    with pytest.raises(ArgumentError, match="center must be True, False, 'train' or 'each', got 'own'"):
        data.load("digits", center="own")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digist", "; did you mean 'digits'?"),
        ("MNIST", "; did you mean 'mnist'?"),
        ("cifar-10", "; did you mean 'cifar10'?"),
        ("zzz", ""),
        (3, ""),
    ],
)
def test_an_unknown_name_is_told_with_the_choices(name, hint):
    with pytest.raises(ArgumentError) as error:
        data.load(name)
    assert str(error.value) == f"data set {name!r} is not known; known: {', '.join(LOADERS)}{hint}"


def test_missing_digits_are_told(tmp_path):
    with pytest.raises(DataError, match=r"digits\.npz: there is no such file; reinstall tinygraph"):
        load_digits(tmp_path / "digits.npz")


@given(at=st.integers(0, 45_000), bit=st.integers(0, 7), cut=st.booleans())
@example(at=0, bit=0, cut=True)
@example(at=8, bit=3, cut=False)
def test_damaged_digits_are_told_or_harmless(tmp_path_factory, at, bit, cut):
    raw = bytearray(Path(digits_module.__file__).with_name("digits.npz").read_bytes())
    path = tmp_path_factory.mktemp("damaged") / "digits.npz"
    if cut:
        raw = raw[:at]
    else:
        raw[at] ^= 1 << bit
    path.write_bytes(raw)
    loaded, error = attempt(load_digits, path)
    if error:
        assert error.startswith(f"{path}: ")
        assert error.endswith("reinstall tinygraph to get it back")
        assert "\n" not in error
    else:  # a bit nobody reads: a date, say
        np.testing.assert_array_equal(loaded.train[0], data.load("digits").train[0])


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (np.zeros((5, 8, 8), np.uint8), np.zeros(5, np.uint8), r"damaged: images \(5, 8, 8\)"),
        (
            np.zeros((1797, 8, 8), np.uint8),
            np.full(1797, 10, np.uint8),
            "labels: 10 in row 0 is outside 0 to 9",
        ),
        (np.full((1797, 8, 8), 17, np.uint8), np.arange(1797) % 10, "expected pixels of 0 to 16, got 17"),
        (np.zeros((1797, 8, 8)), np.arange(1797) % 10, "expected uint8"),
    ],
)
def test_digits_with_other_contents_are_told(tmp_path, images, labels, text):
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    with pytest.raises(DataError, match=text):
        load_digits(tmp_path / "digits.npz")


# MNIST and Fashion-MNIST -------------------------------------------------------------------------


@needs_mnist
def test_mnist_has_its_published_numbers():
    mnist = data.load("mnist", SHARED)
    (X, Y), (X_test, Y_test) = mnist.train, mnist.test
    assert (X.shape, Y.shape, X_test.shape, Y_test.shape) == (
        (60000, 784),
        (60000, 10),
        (10000, 784),
        (10000, 10),
    )
    assert X.dtype == Y.dtype == np.float32
    assert mnist.image_shape == (28, 28)
    assert mnist.note == ""
    assert X.mean(dtype=float) == pytest.approx(0.1307, abs=5e-5)  # the constants known from everywhere
    assert X.std(dtype=float) == pytest.approx(0.3081, abs=5e-5)
    assert mnist.labels_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.labels_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@needs_mnist
def test_mnist_is_not_taken_for_fashion_mnist():
    with pytest.raises(DataError, match="data_dir: no fashion-mnist in"):
        data.load("fashion-mnist", SHARED / "mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("inside", [True, False])
def test_data_dir_is_the_folder_or_the_one_above(tmp_path, name, inside):
    images, labels, test_images, test_labels = made_mnist(tmp_path / name)
    loaded = data.load(name, tmp_path / name if inside else str(tmp_path))
    np.testing.assert_array_equal(loaded.train[0], images.reshape(7, 784).astype(np.float32) / 255)
    np.testing.assert_array_equal(loaded.test[0], test_images.reshape(3, 784).astype(np.float32) / 255)
    np.testing.assert_array_equal(loaded.labels_train, labels)
    np.testing.assert_array_equal(loaded.labels_test, test_labels)
    assert loaded.name == name
    assert len(loaded.class_names) == loaded.n_classes == 10


def test_uncompressed_files_do_as_well(tmp_path):
    _, labels, *_ = made_mnist(tmp_path, compress=bytes, suffix="")
    np.testing.assert_array_equal(data.load("mnist", tmp_path).labels_train, labels)


def test_a_part_of_mnist_is_called_a_subset(tmp_path):
    made_mnist(tmp_path)
    note = data.load("mnist", tmp_path).note
    assert note == "a subset: 7 of 60,000 training and 3 of 10,000 test images"


def test_the_environment_names_the_data_dir(tmp_path, monkeypatch, no_network):
    made_mnist(tmp_path / "here" / "mnist")
    monkeypatch.setenv("TINYGRAPH_DATA_DIR", str(tmp_path / "here"))
    assert len(data.load("mnist").train[0]) == 7
    assert no_network == []


def test_the_argument_comes_before_the_environment(tmp_path, monkeypatch):
    made_mnist(tmp_path / "a", train=4)
    made_mnist(tmp_path / "b", train=5)
    monkeypatch.setenv("TINYGRAPH_DATA_DIR", str(tmp_path / "b"))
    assert len(data.load("mnist", tmp_path / "a").train[0]) == 4


def test_a_data_dir_without_the_files_is_told(tmp_path, no_network):
    with pytest.raises(DataError, match=r"data_dir: no mnist in .*: expected train-images-idx3-ubyte") as e:
        data.load("mnist", tmp_path)
    assert is_one_line(e)
    assert no_network == []  # whoever names a folder wants no download


def test_a_data_dir_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(DataError, match=r"data_dir: there is no folder .*absent"):
        data.load("mnist", tmp_path / "absent")


def test_missing_files_are_downloaded_with_their_published_sums(tmp_path, monkeypatch):
    calls = downloads_that(monkeypatch, tmp_path, lambda url, path: made_mnist(path.parent))
    assert len(data.load("mnist").train[0]) == 7
    assert [call[1] for call in calls] == [tmp_path / "cache" / "tinygraph" / "mnist" / f"{file}.gz" for file in FILES]
    assert calls[0][0] == "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz"
    assert calls[0][2] == "f68b3c2dcbeaaa9fbdd348bbdeb94873"


def test_the_next_mirror_is_tried(tmp_path, monkeypatch):
    def refuse_first(url, path):
        if "tf-keras" in url:
            raise OSError("refused")
        made_mnist(path.parent)

    calls = downloads_that(monkeypatch, tmp_path, refuse_first)
    assert data.load("fashion-mnist").name == "fashion-mnist"
    assert len(calls) == 2 * len(FILES)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_a_failing_download_is_told(name):
    with pytest.raises(DataError, match=r"could not be downloaded \(no network\); put .*_DATA_DIR") as e:
        data.load(name)
    assert is_one_line(e)


@needs_mnist
def test_published_sums_are_those_of_the_files():
    for download in SETS["mnist"][1]:
        raw = (SHARED / "mnist" / download.file).read_bytes()
        assert (hashlib.md5(raw).hexdigest(), len(raw)) == (download.md5, download.size)
        assert hashlib.md5(gzip.decompress(raw)).hexdigest() == download.unpacked


def test_images_and_labels_of_other_lengths_are_told(tmp_path):
    made_mnist(tmp_path)
    (tmp_path / f"{FILES[1]}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(6))))
    with pytest.raises(DataError, match="mnist: training set: 7 images but 6 labels"):
        data.load("mnist", tmp_path)


def test_a_label_out_of_range_is_told_with_its_row(tmp_path):
    made_mnist(tmp_path)
    (tmp_path / f"{FILES[3]}.gz").write_bytes(gzip.compress(idx_bytes(np.array([1, 12, 3]))))
    with pytest.raises(DataError, match="mnist: test labels: 12 in row 1 is outside 0 to 9"):
        data.load("mnist", tmp_path)


# the IDX format ----------------------------------------------------------------------------------


@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=4), compress=st.booleans())
def test_idx_files_are_read_back(tmp_path_factory, shape, compress):
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "made"
    path.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("code", "format", "values"),
    [
        (0x09, "b", [-1, 2]),
        (0x0B, "h", [-300, 2]),
        (0x0C, "i", [-70000, 2]),
        (0x0D, "f", [0.5, -2]),
        (0x0E, "d", [0.1, -2]),
    ],
)
def test_idx_files_hold_other_numbers_too(tmp_path, code, format, values):
    path = tmp_path / "made"
    path.write_bytes(struct.pack(f">BBBBI2{format}", 0, 0, code, 1, 2, *values))
    read = read_idx(path)
    assert read.dtype == np.dtype(format)
    assert read.tolist() == values


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "there is no such file"),
        (b"", "not an IDX file: it starts with nothing"),
        (b"PK\x03\x04 and so on", "not an IDX file: it starts with 50 4b 03 04"),
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "damaged: it ends within its header of 16 bytes"),
        (idx_bytes(np.zeros((2, 3)))[:-1], r"damaged: shape \(2, 3\) takes 18 bytes, the file holds 17"),
        (idx_bytes(np.zeros((2, 3))) + b"x", r"damaged: shape \(2, 3\) takes 18 bytes, the file holds 19"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "damaged: shape"),
        (gzip.compress(idx_bytes(np.arange(200)))[:-30], "damaged"),
        (gzip.compress(idx_bytes(np.arange(200)))[:-8] + b"\0" * 8, "damaged"),
        (b"\x1f\x8b but no more", "damaged"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, text):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte\.gz: {text}") as error:
        read_idx(path)
    assert is_one_line(error)


# CIFAR-10 ----------------------------------------------------------------------------------------


@needs_cifar
@pytest.mark.parametrize("folder", [SHARED, SHARED / "cifar10-subset"])
def test_the_cifar_subset_is_read_and_labelled(folder):
    cifar = data.load("cifar10", folder)
    assert (cifar.train[0].shape, cifar.test[0].shape) == ((4000, 3072), (1000, 3072))
    assert cifar.image_shape == (3, 32, 32)
    assert cifar.note == "a subset: 4,000 of 50,000 training and 1,000 of 10,000 test images"
    # The first images: a frog, two trucks, a deer, two cars; a cat, two ships, an aeroplane, two frogs.
    assert cifar.labels_train[:6].tolist() == [6, 9, 9, 4, 1, 1]
    assert cifar.labels_test[:6].tolist() == [3, 8, 8, 0, 6, 6]


def test_the_cifar_archive_is_read_in_the_order_of_its_batches(tmp_path):
    made_cifar_archive(tmp_path / "cifar10")
    cifar = data.load("cifar10", tmp_path)
    made = [made_cifar_records(2, seed) for seed in (5, 4, 3, 2, 1)]
    np.testing.assert_array_equal(cifar.labels_train, np.concatenate([labels for _, labels, _ in made]))
    images = np.concatenate([images for *_, images in made]).reshape(10, 3072)
    np.testing.assert_array_equal(cifar.train[0], images.astype(np.float32) / 255)
    np.testing.assert_array_equal(cifar.labels_test, made_cifar_records(2, 0)[1])


def test_the_unpacked_cifar_archive_is_read(tmp_path):
    made_cifar_archive(tmp_path)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz") as archive:
        for member in archive.getmembers():
            target = tmp_path / "unpacked" / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.extractfile(member).read())
    expected = data.load("cifar10", tmp_path)
    read = data.load("cifar10", tmp_path / "unpacked")
    np.testing.assert_array_equal(read.train[0], expected.train[0])
    np.testing.assert_array_equal(read.test[1], expected.test[1])


@pytest.fixture
def whole_cifar(tmp_path, monkeypatch):
    """An unpacked CIFAR-10 of 5 times 10 and 10 images, one of each class in each file."""
    monkeypatch.setattr(cifar_module, "FACTS", replace(cifar_module.FACTS, sizes=(50, 10)))
    for k, name in enumerate((*cifar_module.TRAIN, *cifar_module.TEST)):
        pixels = made_cifar_records(10, seed=k)[2]
        order = np.random.default_rng(k).permutation(10)
        (tmp_path / name).write_bytes(b"".join(bytes([y]) + x.tobytes() for y, x in zip(order, pixels, strict=True)))
    return tmp_path


def test_a_whole_unpacked_cifar_is_read(whole_cifar):
    read = data.load("cifar10", whole_cifar)
    assert (read.note, len(read.train[0])) == ("", 50)


@pytest.mark.parametrize("name", [*cifar_module.TRAIN, *cifar_module.TEST])
def test_a_damaged_label_of_an_unpacked_cifar_is_told(whole_cifar, name):
    raw = bytearray((whole_cifar / name).read_bytes())
    raw[3 * cifar_module.RECORD] ^= 1  # to a class next to it
    (whole_cifar / name).write_bytes(raw)
    split, published = ("test", 1) if name in cifar_module.TEST else ("training", 5)
    text = rf"not the published files: \d+ {split} images of class \d, \w+, published are {published}; get cifar-10-bin"
    with pytest.raises(DataError, match=text) as error:
        data.load("cifar10", whole_cifar)
    assert str(error.value).startswith(str(whole_cifar))
    assert is_one_line(error)


def test_records_that_stand_twice_are_told(whole_cifar):
    path = whole_cifar / cifar_module.TRAIN[2]
    raw = path.read_bytes()
    path.write_bytes(raw[: 5 * cifar_module.RECORD] * 2)  # a half is missing, the other stands in its place
    with pytest.raises(DataError, match=r"\d training images of class \d"):
        data.load("cifar10", whole_cifar)
    path.write_bytes(raw[: 5 * cifar_module.RECORD])  # what does not hold all is a part, and says so
    assert data.load("cifar10", whole_cifar).note.startswith("a subset: 45 of 50")


def test_a_cifar_archive_without_a_batch_is_told(tmp_path):
    made_cifar_archive(tmp_path, leave_out=["data_batch_3"])
    with pytest.raises(DataError, match=r"tar\.gz: damaged: it does not hold data_batch_3\.bin"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 2000, -20])
def test_a_truncated_cifar_archive_is_told(tmp_path, keep):
    made_cifar_archive(tmp_path)
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: damaged") as error:
        data.load("cifar10", tmp_path)
    assert is_one_line(error)


@pytest.mark.parametrize("raw", [b"", made_cifar_records(2)[0][:-1]])
def test_cifar_records_that_are_cut_are_told(tmp_path, raw):
    (tmp_path / "some_train.bin.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "some_test.bin.gz").write_bytes(gzip.compress(made_cifar_records(2)[0]))
    text = rf"some_train\.bin\.gz: damaged: {len(raw)} bytes are not records of 3073"
    with pytest.raises(DataError, match=text):
        data.load("cifar10", tmp_path)


def test_what_few_use_is_not_imported_with_the_rest():
    program = "import sys, tinygraph.data; print({'tarfile', 'requests', 'platformdirs'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


# batches -----------------------------------------------------------------------------------------


@given(rows=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.integers(0, 2**64 - 1))
def test_every_row_comes_once_a_pass(rows, batch_size, seed):
    X = np.arange(rows)[:, None].astype(float)
    batches = data.batches(X, X[:, 0], batch_size, seed=seed)
    for _ in range(2):
        parts = list(batches)
        assert len(parts) == len(batches) == -(-rows // batch_size)
        assert sorted(np.concatenate([x[:, 0] for x, _ in parts])) == list(range(rows))
        assert {len(x) for x, _ in parts[:-1]} <= {batch_size}
        for x, y in parts:
            np.testing.assert_array_equal(x[:, 0], y)


@given(rows=st.integers(1, 50), size=st.integers(1, 50), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_the_same_seed_and_pass_give_the_same_order(rows, size, seed, epoch):
    X = np.arange(rows)
    one, other = data.batches(X, None, 1, seed=seed), data.batches(X, None, size, seed=seed)
    one.set_epoch(epoch)
    other.epoch = epoch
    np.testing.assert_array_equal(np.concatenate([x for (x,) in one]), np.concatenate([x for (x,) in other]))


@given(seed=st.integers(0, 2**64 - 2), epoch=st.integers(0, 99), later=st.integers(1, 99))
def test_other_epochs_and_other_seeds_give_other_orders(seed, epoch, later):
    orders = []
    for s, k in ((seed, epoch), (seed, epoch + later), (seed + 1, epoch)):
        batches = data.batches(np.arange(100), seed=s)
        batches.set_epoch(k)
        orders.append(tuple(np.concatenate([x for (x,) in batches])))
    assert len(set(orders)) == 3


def test_a_pass_is_counted_and_can_be_repeated():
    batches = data.batches(np.arange(20), None, 6)
    epochs = [np.concatenate([x for (x,) in batches]) for _ in range(3)]
    assert batches.epoch == 3
    batches.set_epoch(1)
    np.testing.assert_array_equal(np.concatenate([x for (x,) in batches]), epochs[1])
    np.testing.assert_array_equal(np.concatenate([x for (x,) in batches]), epochs[2])


def test_a_pass_that_was_broken_off_counts():
    batches = data.batches(np.arange(20), None, 6)
    next(iter(batches))
    assert batches.epoch == 1


def test_rows_drawn_with_replacement_are_as_likely_each_time():
    batches = data.batches(np.arange(10), batch_size=7, replacement=True, seed=1)
    epochs = [[x for (x,) in batches] for _ in range(500)]
    assert {tuple(len(x) for x in one) for one in epochs} == {(7, 3)}
    counts = np.bincount(np.concatenate([x for one in epochs for x in one]), minlength=10)
    assert abs(counts - 500).max() < 4.5 * 450**0.5
    twice = np.mean([one[0][0] == one[0][1] for one in epochs])  # within a batch as well
    assert abs(twice - 0.1) < 4 * (0.09 / 500) ** 0.5
    batches.set_epoch(3)
    np.testing.assert_array_equal(next(iter(batches))[0], epochs[3][0])
    with pytest.raises(ArgumentError, match="replacement draws rows at random, shuffle=False keeps their order"):
        data.batches(np.arange(10), shuffle=False, replacement=True)


def test_the_same_samples_in_order():
    batches = data.batches(np.arange(10), 2 * np.arange(10), 3, replacement=True, drop_last=True)
    x, y = (np.concatenate(parts) for parts in zip(*batches.in_order(4), strict=True))
    assert x.tolist() == list(range(10))
    assert y.tolist() == list(range(0, 20, 2))
    assert len(batches) == 3


@pytest.mark.parametrize(
    ("part", "error", "text"),
    [
        (0, ArgumentError, "n_validation must be a whole number of at least 1, got 0"),
        (1.0, ArgumentError, "as a fraction, n_validation must be between 0 and 1, got 1.0"),
        (10, ArgumentError, "both sets need a sample, n_validation 10 would hold out 10 of 10 samples"),
        (0.01, ArgumentError, "n_validation 0.01 would hold out 0 of 10 samples"),
        ("half", ArgumentError, "n_validation must be a whole number of at least 1, got 'half'"),
    ],
)
def test_a_split_that_leaves_a_set_empty_is_told(part, error, text):
    with pytest.raises(error, match=text):
        data.split(np.arange(10), np.arange(10), part)
    with pytest.raises(DataError, match=r"split: X and Y must have one row a sample, got shapes \(10,\) and \(3,\)"):
        data.split(np.arange(10), np.arange(3), 2)
    with pytest.raises(DataError, match="split: X: expected one array, got a list of unequal parts; give them one"):
        data.split([[1], [1, 2]], [1, 2], 1)


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    list(data.batches(np.arange(20)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_without_shuffling_rows_keep_their_order():
    X = np.arange(10.0)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([x for x, _ in data.batches(X, X, 3, shuffle=False)]), X)


@given(rows=st.integers(1, 50), batch_size=st.integers(1, 50))
def test_drop_last_leaves_full_batches_alone(rows, batch_size):
    if batch_size > rows:
        with pytest.raises(ArgumentError, match=f"{batch_size} is more than the {rows} rows, so drop_last"):
            data.batches(np.arange(rows), None, batch_size, drop_last=True)
        return
    batches = data.batches(np.arange(rows), None, batch_size, drop_last=True)
    assert [len(x) for (x,) in batches] == [batch_size] * (rows // batch_size)
    assert len(batches) == rows // batch_size


def test_without_targets_a_batch_is_a_tuple_of_one():
    assert [len(batch) for batch in data.batches(np.zeros((3, 2)), batch_size=2)] == [1, 1]


def test_batches_keep_shape_and_dtype():
    X, Y = np.zeros((5, 3, 2), np.float16), np.arange(5, dtype=np.int8)
    x, y = next(iter(data.batches(X, Y, 4)))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((4, 3, 2), np.float16, (4,), np.int8)


def test_missing_targets_are_allowed_if_asked_for():
    Y = np.array([[np.nan, 1.0]])
    with pytest.raises(DataError, match=r"Y: nan at \[0, 0\] \(row 0, column 0\)"):
        data.batches(np.zeros((1, 2)), Y, 1)
    ((_, y),) = data.batches(np.zeros((1, 2)), Y, 1, allow_missing=True)
    np.testing.assert_array_equal(y, Y)
    with pytest.raises(DataError, match=r"Y: inf at \[0, 1\] \(row 0, column 1\)"):
        data.batches(np.zeros((1, 2)), np.array([[np.nan, np.inf]]), 1, allow_missing=True)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.zeros((0, 2)), np.zeros(0), 1), DataError, r"the data set is empty: X has shape \(0, 2\)"),
        ((np.zeros((3, 2)), np.zeros(2), 1), DataError, r"one row a sample, got shapes \(3, 2\) and \(2,\)"),
        ((np.float64(3), None, 1), DataError, r"one row a sample, got shapes \(\)"),
        (
            (np.array([[1, 2], [3, np.nan]]), None, 1),
            DataError,
            r"X: nan at \[1, 1\] \(row 1, column 1\), 1 of 4",
        ),
        ((np.zeros((1, 2)), np.array([np.inf]), 1), DataError, r"Y: inf at \[0\] \(row 0\), 1 of 1"),
        (
            (np.zeros((1, 2)), np.zeros(1), 0),
            ArgumentError,
            "batch_size must be a whole number of at least 1, got 0",
        ),
        ((np.zeros((1, 2)), np.zeros(1), 2.0), ArgumentError, r"batch_size must be .* got 2\.0"),
        ((np.zeros((1, 2)), np.zeros(1), True), ArgumentError, "batch_size must be .* got True"),
        (
            (np.zeros((1, 2)), None, 1, True, -1),
            ArgumentError,
            "seed: expected a whole number from 0 to .* got -1",
        ),
        ((np.array([["a"]]), np.zeros(1), 1), DataError, "X: expected numbers, got dtype"),
    ],
)
def test_batches_check_the_data_once(arguments, error, text):
    with pytest.raises(error, match=text):
        data.batches(*arguments)


@pytest.mark.parametrize("epoch", [-1, 1.0, None])
def test_the_number_of_a_pass_is_checked(epoch):
    with pytest.raises(ArgumentError, match="epoch must be a whole number"):
        data.batches(np.zeros(3)).set_epoch(epoch)


# checks ------------------------------------------------------------------------------------------


@given(labels=st.lists(st.integers(0, 6), max_size=20), extra=st.integers(0, 3))
def test_one_hot_rows_are_basis_vectors(labels, extra):
    rows = data.one_hot(np.array(labels, np.uint8), 7 + extra)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[float(j == label) for j in range(7 + extra)] for label in labels]


def test_one_hot_counts_the_classes_if_not_told():
    assert data.one_hot([1, 3]).shape == (2, 4)


def test_one_hot_takes_a_dtype():
    assert data.one_hot([1], 2, np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("labels", "n_classes", "error", "text"),
    [
        ([0, 3, 7], 3, DataError, "labels: 3 in row 1 is outside 0 to 2$"),
        ([0, -1], 3, DataError, "labels: -1 in row 1 is outside 0 to 2$"),
        ([0, -1], None, DataError, "labels: -1 in row 1 is below 0$"),
        (
            [0.5],
            3,
            DataError,
            r"labels: expected whole numbers, got dtype float64; convert with \.astype\(int\)",
        ),
        ([True], 2, DataError, "labels: expected whole numbers, got dtype bool"),
        ([[1]], 3, DataError, r"labels: expected one whole number a row, shape \(n,\), got shape \(1, 1\)"),
        ([], None, DataError, "labels: empty, so"),
        ([[0], [0, 1]], 2, DataError, "labels: expected one array, got a list of unequal parts"),
        ([0], 0, ArgumentError, "n_classes must be a whole number of at least 1, got 0"),
        ([0], 2.0, ArgumentError, r"n_classes must be a whole number of at least 1, got 2\.0"),
    ],
)
def test_wrong_labels_are_told(labels, n_classes, error, text):
    with pytest.raises(error, match=text):
        data.one_hot(labels, n_classes)


@pytest.mark.parametrize(
    ("low", "dtype", "error", "text"),
    [
        ("a", np.float32, ArgumentError, "one_hot: low must be a number below 1 that float32 holds, got 'a'"),
        (None, np.float32, ArgumentError, "got None"),
        (1, np.float32, ArgumentError, "got 1"),
        (np.nan, np.float32, ArgumentError, "got nan"),
        (-np.inf, np.float32, ArgumentError, "got -inf"),
        (-1e300, np.float32, ArgumentError, "that float32 holds, got -1e"),
        (-1, np.uint8, ArgumentError, "low must be a number below 1 that uint8 holds, got -1"),
        (-1, bool, ArgumentError, "that bool holds, got -1"),
        (-200, np.int8, ArgumentError, "that int8 holds, got -200"),
        (0.5, int, ArgumentError, "that int64 holds, got 0.5"),
        (0, "foo", DTypeError, "dtype 'foo' is not known; name one such as 'float32'"),
        (0, "U3", DTypeError, "one_hot: expected a dtype of real numbers, got <U3"),
    ],
)
def test_entries_of_label_vectors_that_a_dtype_does_not_hold_are_told(low, dtype, error, text):
    with pytest.raises(error, match=text):
        data.one_hot([0], 2, dtype, low=low)
    with pytest.raises(error, match=text.replace("one_hot", "multi_hot")):
        data.multi_hot([[0]], 2, dtype, low=low)


@pytest.mark.parametrize(("low", "dtype"), [(-1, np.int8), (0, bool), (0.1, np.float16), (np.float32(-1), "float64")])
def test_label_vectors_take_every_dtype_that_holds_their_entries(low, dtype):
    rows = data.one_hot([0], 2, dtype, low=low)
    assert rows.dtype == np.dtype(dtype)
    assert rows.tolist() == [[1, np.array(low, dtype).item()]]


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (5, "labels: expected a list of labels for each sample, got 5"),
        ([0, 1], r"labels of row 0: expected one whole number a row, shape \(n,\), got shape \(\)"),
        ([[0], [[0], [0, 1]]], "labels of row 1: expected one array, got a list of unequal parts"),
    ],
)
def test_what_is_no_list_of_labels_is_told(labels, text):
    with pytest.raises(DataError, match=text):
        data.multi_hot(labels, 3)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200, 1e306])
def test_standardising_numbers_of_any_size(size):
    H = size * np.array([[1.0, 5.0, -1.0], [3.0, 5.0, 0.0], [5.0, 5.0, 1.0]])
    scaling = data.standardize(H)
    np.testing.assert_allclose(scaling.mean, size * np.array([3.0, 5.0, 0.0]), rtol=1e-15)
    np.testing.assert_allclose(scaling.deviation, size * np.array([2.0, 0.0, 1.0]), rtol=1e-15)
    np.testing.assert_allclose(scaling(H), [[-1, 0, -1], [0, 0, 0], [1, 0, 1]], atol=1e-15)


def test_numbers_too_large_to_standardise_are_told():
    with pytest.raises(DataError, match="standardize: the numbers are too large"):
        data.standardize([[1e308], [-1e308]])


def test_checked_labels_are_int64():
    checked = data.check_labels(np.array([1, 2], np.uint8), 3)
    assert (checked.dtype, checked.tolist()) == (np.int64, [1, 2])


@pytest.mark.parametrize(
    ("array", "place"),
    [
        (np.nan, "x: nan, 1 of 1"),
        ([0, np.nan, np.inf], r"x: nan at \[1\] \(row 1\), 2 of 3"),
        ([[0, 0], [-np.inf, 0]], r"x: -inf at \[1, 0\] \(row 1, column 0\), 1 of 4"),
        (np.full((1, 2, 2), [[0, 0], [0, np.nan]]), r"x: nan at \[0, 1, 1\] \(row 0\), 1 of 4"),
    ],
)
def test_the_first_entry_that_is_not_finite_is_named(array, place):
    with pytest.raises(DataError, match=f"^{place} elements are not finite; fill or drop them first$"):
        data.check_finite(array, "x")


@pytest.mark.parametrize("array", [[], [1, 2], [True], [1.5], np.float32(2)])
def test_finite_numbers_pass(array):
    data.check_finite(array)


@pytest.mark.parametrize("array", [["a"], [1j], np.array([{}], object)])
def test_what_is_not_a_real_number_is_told(array):
    with pytest.raises(DataError, match="data: expected numbers, got dtype"):
        data.check_finite(array)
