"""(65.2): label vectors of +1 and -1, for one class of several and for several properties at once."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import fully_connected


def test_the_printed_vectors():
    assert data.one_hot([3], 5, low=-1).tolist() == [[-1, -1, -1, 1, -1]]
    assert data.multi_hot([[0, 3, 4]], 5, low=-1).tolist() == [[1, -1, -1, 1, 1]]


def test_several_properties_each_or_none():
    rows = data.multi_hot([[2], [], np.array([0, 1], np.uint8)], 3, np.float64)
    assert rows.dtype == np.float64
    assert rows.tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0]]


def test_a_network_with_tanh_at_its_output_learns_them(rng):
    X = rng.normal(size=(60, 2))
    labels = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
    Y = data.one_hot(labels, 4, low=-1)
    net = fully_connected([2, 16, 4], "tanh", "tanh", seed=0)
    history = tg.fit(net, losses.squared_error, (X, Y), optim.Adam(net.parameters(), 0.02), 100, progress=False)
    assert set(np.unique(net.decide(X).numpy())) == {-1.0, 1.0}
    assert history.errors[-1] < 0.05


@pytest.mark.parametrize(
    ("labels", "n_classes", "error", "text"),
    [
        ([[0], [1, 3]], 3, DataError, "labels of row 1: 3 in row 1 is outside 0 to 2"),
        ([0, 1], 3, DataError, r"labels of row 0: expected one whole number a row, shape \(n,\), got shape \(\)"),
        ([[0]], 0, ArgumentError, "n_classes must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_properties_are_told(labels, n_classes, error, text):
    with pytest.raises(error, match=text):
        data.multi_hot(labels, n_classes)
