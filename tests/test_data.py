"""Data sets, batches, checks, tables."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tinygraph import data
from tinygraph.data.datasets import load_digits
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host


def test_the_digits_and_their_split():
    digits = data.load("digits")
    (X, Y), (X_test, Y_test) = digits.train, digits.test
    assert X.shape == (1442, 64)
    assert X_test.shape == (355, 64)
    assert Y.shape == (1442, 10)
    assert X.dtype == Y.dtype == np.float32
    assert (X.min(), X.max()) == (0, 1)
    assert (digits.n_features, digits.n_classes, digits.image_shape) == (64, 10, (8, 8))
    np.testing.assert_array_equal(Y.sum(1), 1)
    assert set(Y_test.sum(0)) <= {34, 35, 36}  # a fifth of each digit
    np.testing.assert_array_equal(Y[:4].argmax(1), [0, 1, 2, 3])  # the source begins 0 1 2 3 4 5 ...
    total = Y.sum(0) + Y_test.sum(0)
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as its source counts them


def test_unknown_and_damaged_data_sets(tmp_path):
    with pytest.raises(ArgumentError, match="data set 'digist' is not known; known: digits; did you mean 'digits'"):
        data.load("digist")
    broken = tmp_path / "digits.npz"
    with pytest.raises(DataError, match=r"digits\.npz: there is no such file"):
        load_digits(broken)
    broken.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"digits\.npz: damaged"):
        load_digits(broken)


@given(rows=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_row_comes_once_a_pass(rows, batch_size, seed):
    X = np.arange(rows)[:, None].astype(float)
    batches = data.batches(X, X[:, 0], batch_size, seed=seed)
    for _ in range(2):
        parts = list(batches)
        assert len(parts) == len(batches) == -(-rows // batch_size)
        assert sorted(np.concatenate([x[:, 0] for x, _ in parts])) == list(range(rows))
        for x, y in parts:
            np.testing.assert_array_equal(x[:, 0], y)


def test_the_order_depends_on_seed_and_pass_alone():
    X = np.arange(100.0)[:, None]
    a, b, other = (data.batches(X, X, 10, seed=s) for s in (1, 1, 2))
    first, second = [np.concatenate([x for x, _ in a]) for _ in range(2)]
    assert not np.array_equal(first, second)
    b.set_epoch(1)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in b]), second)
    assert not np.array_equal(np.concatenate([x for x, _ in other]), first)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in data.batches(X, X, 7, shuffle=False)]), X)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((np.zeros((0, 2)), np.zeros(0), 1), DataError, r"the data set is empty: X has shape \(0, 2\)"),
        ((np.zeros((3, 2)), np.zeros(2), 1), DataError, r"one row a sample, got shapes \(3, 2\) and \(2,\)"),
        ((np.array([[1.0, np.nan]]), np.zeros(1), 1), DataError, r"X: nan at \[0, 1\], 1 of 2 entries are not finite"),
        ((np.zeros((1, 2)), np.array([np.inf]), 1), DataError, r"Y: inf at \[0\]"),
        ((np.zeros((1, 2)), np.zeros(1), 0), ArgumentError, "batch_size must be a whole number of at least 1, got 0"),
        ((np.array([["a"]]), np.zeros(1), 1), DataError, "X: expected numbers, got dtype"),
    ],
)
def test_batches_check_the_data_once(arguments, error, text):
    with pytest.raises(error, match=text):
        data.batches(*arguments)


def test_labels():
    np.testing.assert_array_equal(data.one_hot([2, 0], 3), [[0, 0, 1], [1, 0, 0]])
    assert data.one_hot([1, 3]).shape == (2, 4)
    with pytest.raises(DataError, match="labels: 3 in row 1 is outside 0 to 2"):
        data.one_hot([0, 3], 3)
    with pytest.raises(DataError, match="labels: expected whole numbers"):
        data.one_hot([0.5], 3)


def test_tables(tmp_path):
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.save(tmp_path / "a.npy", numbers)
    np.savez(tmp_path / "a.npz", X=numbers, other=np.zeros(1))
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    (tmp_path / "named.csv").write_text("u,v\n1,2\n3,4\n")
    for name in ("a.npy", "a.npz", "a.csv", "named.csv"):
        np.testing.assert_array_equal(data.read_table(tmp_path / name), numbers)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("absent.csv", None, "there is no such file"),
        ("words.csv", b"1,2\nfoo,bar\n", "cannot be read as numbers"),
        ("empty.csv", b"", "holds no rows"),
        ("nan.csv", b"1,nan\n", r"nan at \[0, 1\]"),
        ("cut.npy", b"\x93NUMPY\x01\x00", "cannot be read as numbers"),
        ("cut.npz", b"PK\x03\x04", "cannot be read as numbers"),
        ("table.txt", b"1 2", r"ending in \.csv, \.npy or \.npz"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content, text):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text):
        data.read_table(tmp_path / name)


def test_a_pickle_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as numbers"):
        data.read_table(tmp_path / "a.npy")
