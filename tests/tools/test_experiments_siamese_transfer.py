"""The Siamese and transfer experiments from the command line: results, predictions, drawings, mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import predict, train
from data_files import SHARED

import tinygraph as tg
from tinygraph import data
from tinygraph.tools.experiments import prepare, settings_of
from tinygraph.tools.experiments.transfer import SUBSETS

pytestmark = pytest.mark.host
OMNIGLOT = SHARED / "omniglot" / "omniglot_background.npz"


# Siamese ----------------------------------------------------------------------------------------


def test_no_digit_above_6_is_learned_and_both_kinds_of_test_are_new():
    experiment = prepare(settings_of("siamese"))
    digits = data.load("digits")
    large = {x.tobytes() for x in digits.train[0][digits.labels_train > 6]}
    assert {int(c) for c in np.unique(experiment.learned[1])} == set(range(7))
    for batch, _ in data.PairBatches(*experiment.learned, 500, 500):
        assert not large & {x.tobytes() for x in batch.reshape(-1, 64)}
    test = {x.tobytes() for x in digits.test[0]}
    for samples, labels in ((experiment.new, {7, 8, 9}), (experiment.seen, set(range(7)))):
        assert {int(c) for c in np.unique(samples[1])} == labels
        assert {x.tobytes() for x in samples[0]} <= test


@pytest.mark.slow
def test_verification_of_digits_by_the_cosine(tinygraph):
    lines, results = train(tinygraph, "siamese", "--epochs", 3)
    assert "[64, 512], cosine, on digits: 4000 pairs an epoch, 33280 parameters" in lines[0]
    assert "among 3 classes not learned" in lines[-1]
    assert lines[-3].startswith("new images of learned classes: ")
    for name in ("seen", "new"):
        assert results[f"{name}_accuracy"] > 0.6  # guessing: 0.5
        assert results[f"{name}_area"] > 0.6
        assert results[f"{name}_equal_error"] < 0.4
    assert results["one_shot_3"] > 0.45  # guessing: 1/3
    digits = data.load("digits")
    pairs, same = data.balanced_pairs(digits.test[0], digits.labels_test, 300, seed=4)
    names, found = predict(tinygraph, pairs.reshape(300, 128))
    assert names == ["row", "score", "same"]
    np.testing.assert_array_equal(found[:, 0], np.arange(300))
    clear = abs(found[:, 1] - results["threshold"]) > 1e-4  # as printed
    np.testing.assert_array_equal(found[clear, 2], found[clear, 1] > results["threshold"])
    assert (found[:, 2] == same).mean() > 0.6
    swapped = predict(tinygraph, pairs[:, ::-1].reshape(300, 128))[1]
    np.testing.assert_allclose(swapped[:, 1], found[:, 1], atol=1e-4)


@pytest.mark.parametrize("head", ["absolute_difference", "relation"])
def test_a_score_of_one_half_decides_for_the_other_heads(tinygraph, head):
    options = ("--head", head, "--hidden", "32,16", "--noise", 0, "--lr", 3e-3, "--epochs", 3)
    _, results = train(tinygraph, "siamese", *options)
    assert results["threshold"] == 0.5
    assert results["seen_accuracy"] > 0.6
    digits = data.load("digits")
    _, found = predict(tinygraph, data.balanced_pairs(digits.test[0], digits.labels_test, 40)[0])
    assert found[:, 1].min() >= 0
    assert found[:, 1].max() <= 1
    np.testing.assert_array_equal(found[:, 2], found[:, 1] >= 0.5)


def test_a_siamese_run_is_continued_as_if_it_had_never_stopped(tinygraph):
    options = ("siamese", "--hidden", "8", "--batch-size", "200")
    train(tinygraph, *options, "--epochs", 3, out="once")
    train(tinygraph, *options, "--epochs", 1, out="twice")
    train(tinygraph, *options, "--epochs", 3, "--resume", out="twice")
    assert Path("once/weights.safetensors").read_bytes() == Path("twice/weights.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not OMNIGLOT.is_file(), reason="needs the Omniglot file")
def test_characters_of_unknown_alphabets_are_told_apart_better_than_by_pixels(tinygraph):
    options = ("siamese", "--data", "omniglot", "--data-dir", SHARED, "--hidden", "128,64", "--epochs", 2)
    lines, results = train(tinygraph, *options)
    assert "[441, 128, 64], cosine, on omniglot: 20000 pairs an epoch" in lines[0]
    assert not any(name.startswith("seen") for name in results)
    for n in (5, 20):
        assert results[f"one_shot_{n}"] > results[f"one_shot_pixels_{n}"] > 1.5 / n
        assert results[f"one_shot_{n}"] > results[f"one_shot_pixels_cosine_{n}"]
    assert results["new_area"] > results["new_pixels_area"]


# transfer ---------------------------------------------------------------------------------------


def test_from_five_digits_to_five_others(tinygraph):
    lines, results = train(tinygraph, "transfer", "--hidden", 64)
    assert "[64, 64, 5] on digits: 723 samples of 0 to 4, then 50 of 5 to 9" in lines[0]
    for way in ("scratch", "frozen", "tuned"):
        assert results[f"{way}_test_error"] < 0.3  # guessing: 0.8
        assert results[f"{way}_deviation"] > 0
    assert results["source_test_error"] < 0.1
    assert [line.split(",")[0] for line in lines[-3:]] == ["test error on 5 to 9"] * 3
    digits = data.load("digits")
    new = digits.labels_test >= 5
    names, found = predict(tinygraph, digits.test[0][new])
    assert names == ["row", "class", "probability"]
    assert set(found[:, 1]) == {5, 6, 7, 8, 9}
    assert (found[:, 1] == digits.labels_test[new]).mean() > 0.7


def test_each_choice_has_ten_of_each_new_digit_and_the_trunk_is_the_source_s():
    experiment = prepare(settings_of("transfer", hidden="16"))
    chosen = [experiment._few(subset) for subset in range(SUBSETS)]
    for X, Y in chosen:
        assert X.shape == (50, 64)
        np.testing.assert_array_equal(Y.sum(axis=0), 10)
        assert len(np.unique(X, axis=0)) == 50
    assert (chosen[0][0] != chosen[1][0]).any()
    before = {name: t.numpy() for name, t in experiment.source.state_dict().items()}
    frozen, tuned = (experiment._learned(way, 1) for way in ("frozen", "tuned"))
    after = {name: t.numpy() for name, t in experiment.source.state_dict().items()}
    for name, value in before.items():  # the source stays as it was
        np.testing.assert_array_equal(after[name], value)
    np.testing.assert_array_equal(frozen.trunk[0].W.numpy(), experiment.source.layer1.W.numpy())
    assert (tuned.trunk[0].W.numpy() != frozen.trunk[0].W.numpy()).any()
    assert frozen.frozen
    assert not tuned.frozen


# drawings and mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words", "absent"),
    [
        (["siamese"], ["branch #1", "branch #2", "divide_or_zero", "mask", "h1", "h2", "same", "squared_error"], []),
        (["siamese", "--head", "absolute_difference"], ["abs", "sigmoid_cross_entropy"], ["divide_or_zero"]),
        (
            ["siamese", "--head", "relation", "--hidden", "9"],
            ["concatenate", "layers.1", "squared_error"],
            ["divide_or_zero"],
        ),
        (["transfer"], ["trunk", "head", "softmax_cross_entropy", r"dQ/dW\n(256, 5)"], [r"dQ/dW\n(64, 256)"]),
    ],
)
def test_drawings_with_gradients(tinygraph, arguments, words, absent):
    status, out, err = tinygraph("render", *arguments, "--backward", "-o", "net.dot")
    assert (status, err) == (0, "")
    assert re.match(r"wrote net\.dot: \d+ nodes", out)
    drawn = Path("net.dot").read_text()
    assert [word for word in words if word not in drawn] == []
    assert re.search(r'label="dQ/d[\w.]*theta\\n', drawn)
    assert [word for word in absent if word in drawn] == []


def test_a_branch_without_dropout_is_drawn_for_any_batch(tinygraph):
    graph = prepare(settings_of("siamese", noise=0.0)).graph()
    inputs = [node for node in graph.nodes if node.kind == "input"]
    assert [(node.name, node.shape) for node in inputs] == [("h1", ("B", 64)), ("h2", ("B", 64))]
    assert isinstance(graph, tg.Graph)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["siamese", "--head", "cosin"], "head 'cosin' is not known; .* did you mean 'cosine'"),
        (["siamese", "--hidden", ""], r"sizes must list at least input and embedding, got \[64\]"),
        (["siamese", "--hidden", "8,x"], "hidden: expected whole numbers"),
        (["siamese", "--noise", "1"], "p must be at least 0 and below 1, got 1.0"),
        (["siamese", "--data", "mnist"], "siamese: data set 'mnist' is not known; known: digits, omniglot"),
        (["siamese", "--data", "omniglot"], r"omniglot: .*put omniglot_background\.npz into a folder"),
        (["transfer", "--hidden", ""], "has 1 layers with weights and at least one must be kept"),
        (["transfer", "--data", "cifar10"], "transfer: data set 'cifar10' is not known; known: digits, mnist"),
        (["transfer", "--lr", "0"], "Adam: lr must be a finite number above 0, got 0.0"),
    ],
)
def test_mistakes_end_in_one_line_and_status_two(tinygraph, tmp_path, arguments, text):
    status, out, err = tinygraph("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(text, err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("model", "n"), [("siamese", 128), ("transfer", 64)])
def test_rows_of_another_length_are_told(tinygraph, model, n):
    train(tinygraph, model, "--hidden", 4, "--epochs", 1)
    np.save("in.npy", np.zeros((2, 96)))
    status, out, err = tinygraph("predict", "r", "in.npy")
    assert (status, out) == (2, "")
    assert err == f"tinygraph: in.npy: expected {n} numbers a row, got 96\n"
