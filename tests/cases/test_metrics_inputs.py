"""What the metrics are given: columns, probabilities, signs and missing labels, against counts by plain loops."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import metrics

DECIDED = [0.0, 1.0, 1.0, 0.0]
TRUE = [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint8, bool])
@pytest.mark.parametrize("columns", [(True, True), (False, True), (True, False)])
def test_one_column_is_decisions(dtype, columns):
    decision, target = (
        np.array(v, dtype)[:, None] if c else np.array(v, int) for v, c in zip((DECIDED, TRUE), columns, strict=True)
    )
    assert metrics.accuracy(decision, target) == 0.5
    assert metrics.error_rate(tg.tensor(decision), target) == 0.5
    np.testing.assert_array_equal(metrics.confusion_matrix(decision, target), [[1, 1], [1, 1]])


def test_one_column_of_signs_and_of_missing_labels():
    signs = np.array([[-1.0], [1.0], [1.0], [-1.0]])
    assert metrics.accuracy(signs, np.array([[-1.0], [1.0], [-1.0], [np.nan]])) == pytest.approx(2 / 3)


def test_decisions_of_a_network_with_one_output():
    net = tg.models.fully_connected([4, 1], output="sigmoid", seed=0)
    X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    right = (net(X).numpy()[:, 0] >= 0).astype(float)[:, None]
    right[:10] = 1 - right[:10]
    assert metrics.accuracy(net.decide(X), right) == pytest.approx(0.8)
    with pytest.raises(tg.DataError, match=r"decision: a column .* decide first"):
        metrics.accuracy(net.predict(X), right)


@pytest.mark.parametrize("bad", [0.7, 0.001, -1.0, 2.0, np.inf])
@pytest.mark.parametrize("which", ["decision", "target"])
def test_precision_of_anything_but_decisions_is_refused(bad, which):
    arrays = {"decision": np.ones((3, 2)), "target": np.ones((3, 2))}
    arrays[which][1, 0] = bad
    with pytest.raises(tg.DataError, match=rf"{which} must be 0 or 1, got {bad} at \[1, 0\]; decide first"):
        metrics.precision_recall(arrays["decision"], arrays["target"])


def test_log_loss_of_one_column_is_that_of_two():
    p = np.array([0.2, 0.9, 0.6])
    expected = -np.log([0.8, 0.9, 0.6]).mean()
    for form in (p, p[:, None], np.stack([1 - p, p], 1)):
        assert metrics.log_loss(form, [0, 1, 1]) == pytest.approx(expected)
        assert metrics.log_loss(form, np.array([[0.0], [1.0], [1.0]])) == pytest.approx(expected)


def test_a_missing_class_is_named_where_none_may_be_missing():
    column = np.array([[0.0], [np.nan]])
    for call in (lambda: metrics.confusion_matrix([0, 1], column), lambda: metrics.log_loss([0.5, 0.5], column)):
        with pytest.raises(tg.DataError, match="target: row 1 is NaN"):
            call()
