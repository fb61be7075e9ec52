"""Shards in a folder: the mini-batches of arrays, read row by row."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.data import Batches, ShardBatches, write_shards
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host


def arrays(n=50):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3, 2)), rng.integers(0, 4, n)


def parts(X, Y, lengths):
    ends = np.cumsum(lengths)
    return [(X[e - n : e], Y[e - n : e]) for n, e in zip(lengths, ends, strict=True)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("lengths", [(50,), (1, 20, 0, 29)])
def test_batches_are_those_of_arrays(tmp_path, shuffle, lengths):
    X, Y = arrays()
    assert write_shards(tmp_path / "new", parts(X, Y, lengths)) == len(lengths)
    shards, whole = ShardBatches(tmp_path / "new", 7, shuffle, seed=3), Batches(X, Y, 7, shuffle, seed=3)
    assert len(shards) == len(whole)
    for epoch in (0, 0, 4):
        shards.set_epoch(epoch)
        whole.set_epoch(epoch)
        for got, expected in zip(shards, whole, strict=True):
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
    some = [slice(1, 3)] * len(shards)
    shards.set_epoch(2)
    whole.set_epoch(2)
    for got, expected in zip(shards.picked(some), whole.picked(some), strict=True):
        np.testing.assert_array_equal(got[0], expected[0])


def trained(data, *epochs, **options):
    net = tg.models.fully_connected([6, 5, 4], seed=0, dtype=np.float64)
    for n in epochs:
        sgd = tg.optim.SGD(net.parameters(), 0.1)
        tg.fit(net, tg.losses.cross_entropy, data, sgd, n, 8, progress=False, **options)
    return [p.numpy().tolist() for p in net.parameters()]


def test_training_is_that_on_arrays_and_goes_on_from_a_checkpoint(tmp_path):
    X, Y = arrays()
    X = X.reshape(50, 6)
    write_shards(tmp_path, parts(X, Y, (20, 30)))
    whole = trained((X, Y), 3)
    assert trained(ShardBatches(tmp_path, 8), 3) == whole
    assert trained(ShardBatches(tmp_path, 8), 1, 3, checkpoint=tmp_path / "c") == whole
    with pytest.raises(DataError, match="train_set.batch_size was 8 and is 9"):
        trained(ShardBatches(tmp_path, 9), 3, checkpoint=tmp_path / "c")


def test_what_is_wrong_is_told(tmp_path):
    X, Y = arrays()
    with pytest.raises(DataError, match=r"expected files X\*.npy and Y\*.npy, as many, .*, got X \[\] and Y \[\]"):
        ShardBatches(tmp_path)
    with pytest.raises(DataError, match="shard 2: X has 50 rows, Y has 49"):
        write_shards(tmp_path / "a", [(X, Y), (X, Y[1:])])
    write_shards(tmp_path / "b", [(X, Y)])
    with pytest.raises(DataError, match="holds shards already"):
        write_shards(tmp_path / "b", [(X, Y)])
    np.save(tmp_path / "b" / "X-000002.npy", X.astype(np.float32))
    with pytest.raises(DataError, match=r"dtype float32, where the first X has \(3, 2\) and float64"):
        ShardBatches(tmp_path / "b")
    np.save(tmp_path / "b" / "X-000002.npy", X)
    with pytest.raises(DataError, match=r"got X \[50, 50\] and Y \[50\]"):
        ShardBatches(tmp_path / "b")
    (tmp_path / "b" / "X-000002.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"X-000002.npy: cannot be read as an array"):
        ShardBatches(tmp_path / "b")
    with pytest.raises(ArgumentError, match="batch_size"):
        ShardBatches(tmp_path / "a", 0)
