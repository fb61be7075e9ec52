"""What `fit` and `evaluate` are given: labels, data and optimisers of the wrong kind end in one line that helps."""

import numpy as np
import pytest
from scipy import sparse

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
CLASSES = np.arange(12) % 3


def train(train_set, loss=losses.cross_entropy, output="softmax", n_out=3, **options):
    net = fully_connected([4, n_out], output=output, seed=0)
    before = net.state_dict()
    try:
        return tg.fit(
            net, loss, train_set, optim.SGD(net.parameters(), lr=0.1), epochs=1, progress=False, **options
        ).losses
    except tg.TinygraphError:
        assert all(np.array_equal(before[name].numpy(), t.numpy()) for name, t in net.named_tensors())
        raise


WRONG_CLASSES = {
    "float": (CLASSES.astype(float), r"float64; convert with Y\.astype\(int\)"),
    "bool": (CLASSES > 0, r"bool; convert with Y\.astype\(int\)"),
    "strings": (np.array(["a", "b", "c"])[CLASSES], "expected numbers, got dtype <U1"),
    "None": ([None, *CLASSES[1:].tolist()], "expected numbers, got dtype object"),
    "too large": (CLASSES + 1, "3 in row 2 is outside 0 to 2"),
    "negative": (CLASSES - 1, "-1 in row 0 is outside 0 to 2"),
    "column": (CLASSES[:, None], r"class indices of shape \(12,\)"),
    "ragged": ([[1, 0, 0]] * 11 + [[1]], "unequal parts"),
    "sparse": (sparse.csr_matrix(np.eye(3)[CLASSES]), r"Y is a sparse csr_matrix.*toarray"),
}


@pytest.mark.parametrize("kind", WRONG_CLASSES)
def test_class_labels_are_refused_wherever_they_enter(kind):
    Y, words = WRONG_CLASSES[kind]
    good = (X, CLASSES)
    with pytest.raises(tg.DataError, match=words):
        train((X, Y))
    with pytest.raises(tg.DataError, match=words):
        train(good, validation=(X, Y))
    with pytest.raises(tg.DataError, match=words):
        tg.evaluate(fully_connected([4, 3], output="softmax", seed=0), losses.cross_entropy, (X, Y))


BAD_ROWS = {
    "sparse": sparse.csr_matrix(X),
    "sparse array": sparse.coo_array(X),
    "ragged": [[1.0, 2.0, 3.0, 4.0]] * 11 + [[1.0]],
    "strings": np.full((12, 4), "1.0"),
    "None": [[None] * 4] * 12,
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_samples_that_are_no_array_of_numbers_are_refused(kind):
    with pytest.raises(tg.DataError, match="train_set: X"):
        train((BAD_ROWS[kind], CLASSES))


@pytest.mark.parametrize(
    ("loss", "output", "Y"),
    [
        (losses.squared_error, "linear", X[:, 0]),
        (losses.huber, "linear", X[:, 0]),
        (losses.binary_cross_entropy, "sigmoid", (X[:, 0] > 0).astype(float)),
        (losses.binary_cross_entropy, "sigmoid", (X[:, 0] > 0).astype(int)),
        (losses.binary_cross_entropy, "sigmoid", X[:, 0] > 0),
    ],
)
def test_labels_without_their_column_are_told_how_to_get_it(loss, output, Y):
    with pytest.raises(tg.DataError, match=r"output has shape \(12, 1\), Y has \(12,\); pass Y\[:, None\]"):
        train((X, Y), loss, output, 1)
    assert np.isfinite(train((X, Y[:, None]), loss, output, 1)).all()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("wrong", [-1, 3, 7, 2**40])
@pytest.mark.parametrize("row", [0, 3])
def test_a_class_out_of_range_in_batches_of_ones_own(compiled, wrong, row):
    Y = CLASSES[:4].copy()
    Y[row] = wrong
    with pytest.raises(tg.DataError, match=f"class {wrong} in row {row} is outside 0 to 2"):
        train([(X[:4], Y)], compiled=compiled)
    with pytest.raises(tg.DataError, match=f"class {wrong} in row {row} is outside 0 to 2"):
        losses.cross_entropy(tg.tensor(X[:4, :3]), Y)


@pytest.mark.parametrize("wrong", [-1, 3, 7])
@pytest.mark.parametrize("kind", ["tensor", "compiled tensor", "compiled array"])
def test_a_class_out_of_range_that_is_not_read_is_never_a_loss_of_zero(wrong, kind):
    z, Y = tg.tensor(X[:4, :3]), np.array([0, 1, wrong, 2])
    loss = tg.compile(losses.cross_entropy) if "compiled" in kind else losses.cross_entropy
    right = loss(z, np.array([0, 1, 2, 2]) if "array" in kind else tg.tensor([0, 1, 2, 2]))
    assert np.isfinite(right.item())
    try:
        value = loss(z, Y if "array" in kind else tg.tensor(Y)).item()
    except tg.DataError:
        return
    assert np.isnan(value)


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, None, 0.1, "sgd"])
def test_what_is_no_optimizer_is_refused(optimizer):
    net = fully_connected([4, 3], output="softmax", seed=0)
    with pytest.raises(tg.ArgumentError, match=r"optimizer must be an optimiser such as optim\.SGD\(net\.parameters"):
        tg.fit(net, losses.cross_entropy, (X, CLASSES), optimizer, epochs=1, progress=False)


def test_an_optimizer_of_another_network_is_refused():
    net, other = (fully_connected([4, 3], output="softmax", seed=s) for s in (0, 1))
    with pytest.raises(tg.ArgumentError, match="none of the network's parameters"):
        tg.fit(net, losses.cross_entropy, (X, CLASSES), optim.SGD(other.parameters(), 0.1), 1, progress=False)
    part = optim.SGD([net.layer1.theta], 0.1)
    W = net.layer1.W.numpy()
    tg.fit(net, losses.cross_entropy, (X, CLASSES), part, 1, progress=False)
    np.testing.assert_array_equal(net.layer1.W.numpy(), W)
