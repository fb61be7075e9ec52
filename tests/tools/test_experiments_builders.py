"""Autoencoder, neighbourhoods and multitask on real tasks: their data, their metrics, and what users see of them."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from commands import predict, train
from data_files import SHARED

import tinygraph as tg
from tinygraph import data, metrics
from tinygraph.data.cora import EDGES, NODES, SPLIT, WORDS
from tinygraph.errors import ArgumentError, DataError
from tinygraph.tools.experiments import multitask as multitask_module
from tinygraph.tools.experiments import prepare, settings_of
from tinygraph.tools.experiments.graph_neighborhood import NodeClassifier
from tinygraph.tools.experiments.multitask import ATTRIBUTES

needs_cora = pytest.mark.skipif(not (SHARED / "cora" / "cora_planetoid.npz").is_file(), reason="needs the Cora file")
host = pytest.mark.host


# metrics of several tasks -----------------------------------------------------------------------


def test_errors_and_log_losses_by_task_against_loops(rng):
    n, T = 20, 3
    p = rng.random((n, T))
    t = rng.integers(0, 2, (n, T)).astype(float)
    t[rng.random((n, T)) < 0.3] = np.nan
    t[:, 2] = np.nan  # a task without labels
    wrong, cost, known = [0] * T, [0.0] * T, [0] * T
    for i in range(n):
        for k in range(T):
            if math.isnan(t[i, k]):
                continue
            known[k] += 1
            wrong[k] += (p[i, k] > 0.5) != (t[i, k] == 1)
            cost[k] -= math.log(p[i, k] if t[i, k] == 1 else 1 - p[i, k])
    pairs = tg.tensor(np.stack([p, 1 - p], axis=2))
    vectors = np.stack([t, 1 - t], axis=2)
    for labels in (t, vectors, vectors.reshape(n, 2 * T), tg.tensor(vectors)):
        for decision in ((p > 0.5).astype(float), pairs):
            errors = metrics.task_errors(decision, labels)
            np.testing.assert_allclose(errors[:2], [wrong[k] / known[k] for k in range(2)])
            assert math.isnan(errors[2])
            assert metrics.multitask_error(decision, labels) == pytest.approx(sum(wrong) / sum(known))
        for probabilities in (p, pairs):
            losses = metrics.task_log_losses(probabilities, labels)
            np.testing.assert_allclose(losses[:2], [cost[k] / known[k] for k in range(2)], rtol=1e-12)
            assert math.isnan(losses[2])
    assert metrics.task_log_losses([[0.0]], [[1.0]])[0] == math.inf
    assert metrics.multitask_error([[[0.5, 0.5]]], [[1]]) == 0  # a tie is decided to be present


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: metrics.task_errors([[1, 0]], [[1, 2]]),
            r"from 0 to 1, or NaN where missing; there is 2.0 at \[0, 1\]",
        ),
        (lambda: metrics.task_errors([[0.5]], [[1]]), "decisions must be 0 or 1"),
        (lambda: metrics.multitask_error([[1]], [[1, 1]]), r"must add up to 1, .*; row 0 has \[1.0, 1.0\] for task 0"),
        (
            lambda: metrics.multitask_error([[1]], [[1, 0, 1]]),
            r"expected labels of shape \(1, 1\), .* got shape \(1, 3\)",
        ),
        (lambda: metrics.multitask_error([[1]], [[1], [0]]), "expected as many rows as labels have, 2, got 1"),
        (lambda: metrics.multitask_error([1], [1]), r"one a task, or pairs \(n, T, 2\), got \(1,\)"),
        (
            lambda: metrics.task_errors([[1, 0]], [[0.5, 1]]),
            r"must be 0, 1, or NaN where missing; there is 0.5 at \[0, 0\]",
        ),
        (lambda: metrics.task_log_losses([[1.5]], [[1]]), "probabilities must be from 0 to 1"),
    ],
)
def test_labels_and_decisions_that_do_not_fit_are_told(call, text):
    with pytest.raises(DataError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)


# Cora -------------------------------------------------------------------------------------------


@host
@needs_cora
def test_cora_and_its_split():
    cora = data.load("cora", SHARED)
    assert (cora.features.shape, cora.features.dtype, cora.Y.shape) == ((2708, 1433), np.float32, (2708, 7))
    assert cora.features.sum() == 49_216
    assert np.unique(cora.features).tolist() == [0, 1]
    assert np.bincount(cora.labels).tolist() == [351, 217, 418, 818, 426, 298, 180]  # as its source counts them
    assert np.bincount(cora.labels[cora.train_index]).tolist() == [20] * 7
    assert [len(i) for i in (cora.train_index, cora.validation_index, cora.test_index)] == [140, 500, 1000]
    assert cora.edges.shape == (5278, 2)
    same = (cora.labels[cora.edges[:, 0]] == cora.labels[cora.edges[:, 1]]).mean()
    assert same > 0.8  # papers cite papers of their class
    assert "2708 nodes, 5278 edges" in repr(cora)


def made_cora(path, **changed):
    """Write a file laid out as Cora's, with made contents of which some are changed."""
    rng = np.random.default_rng(0)
    upper = np.argwhere(np.triu(np.ones((110, 110)), 1))[:EDGES]
    arrays = {
        "feature_rows": np.arange(NODES),
        "feature_cols": rng.integers(0, WORDS, NODES),
        "labels": rng.integers(0, 7, NODES),
        "edges": upper,
        "train_index": np.arange(140),
        "val_index": np.arange(140, 640),
        "test_index": np.arange(1708, 2708),
    }
    arrays |= changed
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})


@host
def test_a_file_laid_out_so_is_read(tmp_path):
    made_cora(tmp_path / "cora_planetoid.npz")
    cora = data.load("cora", tmp_path)
    assert (cora.features.sum(axis=1) == 1).all()
    with pytest.raises(ArgumentError, match="zeros and ones and stay so"):
        data.load("cora", tmp_path, center=True)


@host
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"labels": np.full(NODES, 7)}, "labels: 7 in row 0 is outside 0 to 6"),
        ({"labels": np.zeros(5, int)}, r"labels is int64 \(5,\), expected whole numbers \(2708,\)"),
        ({"edges": np.zeros((EDGES, 2), int)}, "an edge occurs twice, or leads from a node to itself"),
        ({"edges": np.full((EDGES, 2), NODES)}, "edges has values outside 0 to 2707"),
        ({"feature_cols": np.full(NODES, WORDS)}, "feature_cols has values outside 0 to 1432"),
        ({"feature_rows": np.zeros(NODES)}, "feature_rows is float64"),
        ({"val_index": np.arange(SPLIT["val_index"])}, "a node is in the split twice"),
        ({"test_index": None}, "expected an array called test_index"),
        ({"labels": np.array([None] * NODES)}, "labels: holds pickled objects"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, changed, text):
    made_cora(tmp_path / "cora_planetoid.npz", **changed)
    with pytest.raises(DataError, match=text) as caught:
        data.load("cora", tmp_path)
    assert "\n" not in str(caught.value)


@host
def test_a_missing_file_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAPH_DATA_DIR", raising=False)
    with pytest.raises(DataError, match=r"put cora_planetoid\.npz into a folder and name it by data_dir"):
        data.load("cora")
    with pytest.raises(DataError, match=r"no cora in .*: expected cora_planetoid\.npz there or in cora/"):
        data.load("cora", tmp_path)


def test_a_node_begins_with_the_mean_of_its_neighbours_neighbours(rng):
    """(65.112) twice, by loops, then a dense layer."""
    lists = [[0, 1], [0, 1, 2], [1, 2], [3]]
    features = rng.normal(size=(4, 3)).astype(np.float32)
    net = NodeClassifier(features, tg.Neighborhoods(lists), 2, seed=0).eval()
    y = 0.5 * features  # in testing, half of the nodes having slept in training
    for _ in range(2):
        y = np.array([np.mean([y[i] for i in nodes], axis=0) for nodes in lists])
    expected = y[[3, 1, 1]] @ net.dense.W.numpy() - net.dense.theta.numpy()
    np.testing.assert_allclose(net(np.array([[3], [1], [1]])).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert net.along1.w.numpy().tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1])


def test_every_edge_of_both_layers_learns(rng):
    net = NodeClassifier(rng.normal(size=(3, 4)), tg.Neighborhoods([[0, 1], [1, 2], [2, 0]]), 2, seed=0).eval()
    tg.losses.cross_entropy(net(np.array([[0], [1], [2]])), np.array([0, 1, 0])).backward()
    assert net.along1.w.grad.numpy().all()
    assert net.along2.w.grad.numpy().all()


@pytest.mark.slow
@host
@needs_cora
def test_edges_tell_papers_apart_that_words_alone_do_not(tinygraph):
    lines, results = train(tinygraph, "graph_neighborhood", "--data", "cora", "--data-dir", SHARED, "--epochs", 18)
    assert re.search(r"on cora: 2708 nodes, 5278 edges, 140 labelled nodes, 36566 parameters", lines[0])
    assert 0.38 < results["dense_test_error"] < 0.45
    assert results["test_error"] < 0.27
    assert lines[-1] == f"test error {100 * results['test_error']:.1f} %"
    np.save("in.npy", [[0], [2707]])
    status, out, _ = tinygraph("predict", "r", "in.npy", "--data-dir", SHARED)
    assert (status, out.splitlines()[0], len(out.splitlines())) == (0, "row,class,probability", 3)
    np.save("in.npy", [[0], [2708]])
    status, _, err = tinygraph("predict", "r", "in.npy", "--data-dir", SHARED)
    assert (status, err) == (2, "tinygraph: row 1: expected the number of a node, 0 to 2707, got 2708\n")
    status, out, _ = tinygraph("render", "graph_neighborhood", "--data", "cora", "--data-dir", SHARED, "-o", "n.dot")
    assert status == 0
    assert "13264 edges" in Path("n.dot").read_text()


# patches of digits ------------------------------------------------------------------------------


@host
def test_patches_of_digits_do_with_fewer_weights_what_a_dense_network_does(tinygraph):
    lines, results = train(tinygraph, "graph_neighborhood")
    assert (results["parameters"], results["dense_parameters"]) == (22**2 + 64 + 650, 4810)
    assert results["test_error"] < 0.04
    assert results["dense_test_error"] < 0.04
    assert re.match(r"a dense network of these sizes: 4810 parameters, [\d.]+ s, test error [\d.]+ %", lines[-2])
    X, Y = data.load("digits").test
    names, found = predict(tinygraph, X)
    assert names == ["row", "class", "probability"]
    assert (found[:, 1] != Y.argmax(axis=1)).mean() == pytest.approx(results["test_error"])


# five questions ---------------------------------------------------------------------------------


@host
def test_which_digits_have_which_attribute():
    primes = [d for d in range(10) if d > 1 and all(d % k for k in range(2, d))]
    assert ATTRIBUTES["even"] == tuple(d for d in range(10) if d % 2 == 0)
    assert ATTRIBUTES["prime"] == tuple(primes)
    assert ATTRIBUTES["above_4"] == tuple(d for d in range(10) if d > 4)
    experiment = prepare(settings_of("multitask"))
    labels = data.load("digits").labels_train
    for i, digit in enumerate(labels):
        assert experiment.complete[i].tolist() == [float(digit in those) for those in ATTRIBUTES.values()]
    Y = experiment.train_set[1]
    assert abs(np.isnan(Y).mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / Y.size)
    np.testing.assert_array_equal(Y[~np.isnan(Y)], experiment.complete[~np.isnan(Y)])
    np.testing.assert_array_equal(prepare(settings_of("multitask")).train_set[1], Y)
    assert (np.isnan(prepare(settings_of("multitask", seed=1)).train_set[1]) != np.isnan(Y)).any()


@host
def test_five_questions_about_a_digit_with_labels_missing(tinygraph):
    lines, results = train(tinygraph, "multitask", "--epochs", 25)
    assert list(results["task_errors"]) == list(ATTRIBUTES)
    assert results["test_error"] == pytest.approx(np.mean(list(results["task_errors"].values())))
    assert max(results["test_error"], results["complete_test_error"], results["single_test_error"]) < 0.045
    assert lines[-1] == f"test error {100 * results['test_error']:.1f} %"
    experiment = prepare(settings_of("multitask"))
    X, Y = experiment.validation
    names, found = predict(tinygraph, X)
    assert names == ["row", *ATTRIBUTES]
    errors = ((found[:, 1:] > 0.5) != (Y == 1)).mean(axis=0)
    np.testing.assert_allclose(errors, list(results["task_errors"].values()), atol=1 / len(X))


@host
def test_labels_other_than_yes_no_and_missing_are_told(tinygraph, monkeypatch):
    monkeypatch.setattr(multitask_module, "attributes", lambda labels: np.full((len(labels), 5), 2, np.float32))
    status, _, err = tinygraph("train", "multitask")
    assert (status, err.count("\n")) == (2, 1)
    assert "labels must be from 0 to 1, or NaN where missing; there is 2.0 at" in err


# autoencoders -----------------------------------------------------------------------------------


@host
def test_a_code_beats_as_many_principal_components(tinygraph):
    lines, results = train(tinygraph, "autoencoder", "--epochs", 30)
    assert results["test_loss"] < results["components_loss"]
    assert "by a code of 16 numbers" in lines[-1]
    history = Path("r/history.csv").read_text().splitlines()
    assert history[1].split(",")[2] == ""  # shades of grey are no decisions
    X = data.load("digits").test[0]
    names, found = predict(tinygraph, X)
    assert names == ["row", "error", *(f"code{j}" for j in range(1, 17))]
    assert found[:, 1].mean() == pytest.approx(results["test_loss"], abs=1e-4)


@host
def test_tied_weights_and_damaged_images(tinygraph):
    lines, results = train(tinygraph, "autoencoder", "--tied", "--noise", 0.3, "--hidden", 32, "--epochs", 20)
    assert "[64, 32, 64], tied weights, 0.3 of the inputs zeroed on digits" in lines[0]
    assert f"{64 * 32 + 32 + 64} parameters" in lines[0]
    assert results["restored_test_loss"] < results["restored_components_loss"]
    assert any(line.startswith("of damaged images: ") for line in lines)


# drawings and mistakes --------------------------------------------------------------------------


@host
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["autoencoder", "--tied", "--noise", "0.3", "--hidden", "16"],
            ["encoder", "decoder", "squared_error", "mask"],
        ),
        (["graph_neighborhood"], ["neighborhood_matmul(484 edges)", "dw_ij = sum over"]),
        (["multitask"], ["shared", "pairs", "sigmoid_cross_entropy"]),
    ],
)
def test_drawings_with_gradients(tinygraph, arguments, words):
    status, out, err = tinygraph("render", *arguments, "--backward", "-o", "net.dot")
    assert (status, err) == (0, "")
    assert re.match(r"wrote net\.dot: \d+ nodes", out)
    drawn = Path("net.dot").read_text()
    assert [word for word in words if word not in drawn] == []
    assert re.search(r'label="dQ/d[\w.]*theta\\n', drawn)


@host
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["graph_neighborhood", "--hidden", "32"], "leads from 64 to 32 nodes, but its neighbourhoods from 64 to 64"),
        (["graph_neighborhood", "--data", "cifar10"], "graph_neighborhood: data set 'cifar10' is not known; known: "),
        (["graph_neighborhood", "--data", "cora", "--hidden", "9"], "hidden: the network on cora has no hidden layer"),
        (["graph_neighborhood", "--data", "cora"], r"cora: .*put cora_planetoid\.npz into a folder"),
        (
            ["multitask", "--data", "fashion-mnist"],
            "data set 'fashion-mnist' is not known; known: digits, mnist",
        ),
        (["autoencoder", "--data", "cora"], "autoencoder: data set 'cora' is not known"),
        (["autoencoder", "--hidden", ""], "sizes must be an odd number of layers, at least 3"),
        (["autoencoder", "--noise", "1"], "denoise must be at least 0 and below 1, got 1.0"),
    ],
)
def test_mistakes_end_in_one_line_and_status_two(tinygraph, tmp_path, arguments, text):
    status, out, err = tinygraph("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(text, err)
    assert list(tmp_path.iterdir()) == []
