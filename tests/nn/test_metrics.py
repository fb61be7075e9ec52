"""Metrics against counts by hand."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import metrics
from tinygraph.errors import DataError


def test_error_rate_accuracy_and_confusion():
    decision, target = [0, 1, 2, 2, 1], [0, 2, 2, 2, 0]
    assert metrics.error_rate(decision, target) == pytest.approx(2 / 5)
    assert metrics.accuracy(tg.tensor(np.eye(3)[decision]), np.eye(3)[target]) == pytest.approx(3 / 5)
    np.testing.assert_array_equal(metrics.confusion_matrix(decision, target), [[1, 1, 0], [0, 0, 0], [0, 1, 2]])
    assert metrics.confusion_matrix([0], [0], n_classes=4).shape == (4, 4)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_rows_may_have_any_dtype(dtype):
    rows = np.eye(3)[[0, 1, 2, 2, 1]].astype(dtype)
    assert metrics.error_rate(rows, [0, 2, 2, 2, 0]) == metrics.error_rate([0, 2, 2, 2, 0], rows) == 2 / 5


def test_a_target_with_an_entry_missing_is_left_out():
    target = np.array([[0.0, 1.0], [np.nan, np.nan], [1.0, 0.0]])
    assert metrics.error_rate([1, 0, 1], target) == 1 / 2
    assert np.isnan(metrics.error_rate([1], target[1:2]))


def test_precision_and_recall_of_labels_leave_out_missing_ones():
    decision = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]])
    target = np.array([[1, 0, 0], [0, np.nan, 0], [1, 1, 0]])
    precision, recall = metrics.precision_recall(decision, target)
    np.testing.assert_array_equal(precision, [1 / 2, 1, np.nan])
    np.testing.assert_array_equal(recall, [1 / 2, 1, np.nan])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: metrics.error_rate([], []), "at least 1: got 0 and 0"),
        (lambda: metrics.error_rate([0], [0, 1]), "got 1 and 2"),
        (lambda: metrics.error_rate([0.5], [0]), "expected class indices"),
        (lambda: metrics.confusion_matrix([3], [0], 2), "classes must be from 0 to 1"),
        (lambda: metrics.precision_recall([1], [1]), r"two arrays \(n, labels\)"),
        (lambda: metrics.log_loss([[1.2, 0]], [0]), "probabilities must be from 0 to 1"),
        (lambda: metrics.log_loss([[1.0, 0]], [0, 1]), "probabilities of 2 samples"),
        (lambda: metrics.entropy(["a", "b"]), "entropy: p: expected numbers, got dtype <U1"),
        (lambda: metrics.entropy([[0.5, 0.5], [1]]), "entropy: p: expected one array, got a list of unequal parts"),
        (lambda: metrics.cross_entropy([0.5, 0.5], ["a", "b"]), "cross_entropy: s: expected numbers"),
        (lambda: metrics.cross_entropy([[0.5, 0.5], [1]], [1]), "cross_entropy: p: expected one array"),
        (lambda: metrics.kl_divergence(["a"], [1]), "kl_divergence: p: expected numbers"),
        (lambda: metrics.kl_divergence([1], [[0.5, 0.5], [1]]), "kl_divergence: s: expected one array"),
        (lambda: metrics.error_rate(["a"], [0]), "decision: expected numbers"),
        (lambda: metrics.roc_curve([0.1, "a"], [0, 1]), "roc_curve: expected numbers"),
        (lambda: metrics.task_errors([[1], [1, 0]], [[1]]), "task_errors: expected one array"),
        (lambda: metrics.confusion_matrix([[np.nan, 1]], [0]), "decision holds NaN"),
    ],
)
def test_what_does_not_fit_is_told(call, text):
    with pytest.raises(DataError, match=text):
        call()


def test_a_decision_that_is_nan_is_wrong_whatever_the_label():
    rows = np.array([[np.nan, 0.0], [0.0, np.nan], [1.0, 0.0]])
    for label in (0, 1):
        assert metrics.error_rate(rows[:2], [label] * 2) == 1
    assert metrics.accuracy(rows, [0, 1, 0]) == pytest.approx(1 / 3)
    labels = np.array([[0.0], [1.0], [1.0]])
    assert metrics.task_errors(rows[:, None], labels).tolist() == [2 / 3]
    assert metrics.multitask_error(rows[:, :1], labels) == pytest.approx(2 / 3)
