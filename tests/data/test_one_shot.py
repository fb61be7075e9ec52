"""Pairs drawn anew, verification by scores, one-shot episodes, and Omniglot: against plain loops and the files."""

import math

import numpy as np
import pytest
from data_files import SHARED

import tinygraph as tg
from tinygraph import data, losses, metrics, optim
from tinygraph.data.omniglot import ALPHABETS, CHARACTERS, DRAWERS
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import siamese
from tinygraph.models.siamese_networks import one_shot_accuracy, pixel_similarity

OMNIGLOT = SHARED / "omniglot" / "omniglot_background.npz"
needs_omniglot = pytest.mark.skipif(not OMNIGLOT.is_file(), reason="needs the Omniglot file")
host = pytest.mark.host


@pytest.fixture
def scored(rng):
    """Scores with many ties, and labels."""
    same = (rng.random(60) < 0.4).astype(float)
    return np.round(rng.normal(size=60) + same, 1), same


# verification by scores -------------------------------------------------------------------------


def test_the_roc_curve_by_plain_loops(scored):
    scores, same = scored
    false, true, thresholds = metrics.roc_curve(tg.tensor(scores), same)
    assert thresholds.tolist() == [math.inf, *sorted(set(scores.tolist()), reverse=True)]
    for f, t, threshold in zip(false, true, thresholds, strict=True):
        accepted = [s >= threshold for s in scores]
        assert t == pytest.approx(sum(a and y == 1 for a, y in zip(accepted, same, strict=True)) / sum(same))
        assert f == pytest.approx(sum(a and y == 0 for a, y in zip(accepted, same, strict=True)) / sum(1 - same))
    signs = metrics.roc_curve(scores, 2 * same - 1)
    np.testing.assert_array_equal(signs[0], false)


def test_the_area_is_the_chance_that_a_same_pair_scores_above_a_different_one(scored):
    scores, same = scored
    a, b = scores[same == 1], scores[same == 0]
    wins = sum(1.0 if u > v else 0.5 if u == v else 0.0 for u in a for v in b)
    assert metrics.area_under_curve(scores, same) == pytest.approx(wins / (len(a) * len(b)))
    assert metrics.area_under_curve(-scores, same) == pytest.approx(1 - wins / (len(a) * len(b)))


def test_the_curve_and_its_area_against_scikit_learn(scored):
    theirs = pytest.importorskip("sklearn.metrics")
    scores, same = scored
    for a, b in zip(
        metrics.roc_curve(scores, same), theirs.roc_curve(same, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    assert metrics.area_under_curve(scores, same) == pytest.approx(theirs.roc_auc_score(same, scores))


def test_the_equal_error_rate_lies_where_both_errors_cross(scored):
    scores, same = scored
    rate = metrics.equal_error_rate(scores, same)
    false, true, _ = metrics.roc_curve(scores, same)
    # Walk along the curve in small steps; the crossing is where the errors are nearest to each other.
    best = min(
        (abs(f - (1 - t)), f)
        for k in range(len(false) - 1)
        for part in np.linspace(0, 1, 2001)
        for f, t in [((1 - part) * false[k] + part * false[k + 1], (1 - part) * true[k] + part * true[k + 1])]
    )
    assert rate == pytest.approx(best[1], abs=1e-4)


@pytest.mark.parametrize(
    ("scores", "rate", "area"),
    [([3, 2, 1, 0], 0, 1), ([0, 1, 2, 3], 1, 0), ([1, 1, 1, 1], 0.5, 0.5), ([3, 1, 2, 0], 0.5, 0.75)],
)
def test_equal_error_rates_and_areas_known_by_heart(scores, rate, area):
    assert metrics.equal_error_rate(scores, [1, 1, 0, 0]) == pytest.approx(rate)
    assert metrics.area_under_curve(scores, [1, 1, 0, 0]) == pytest.approx(area)


def test_verification_accuracy_counts_what_scores_at_least_the_threshold():
    assert metrics.verification_accuracy([0.5, 0.4, 0.6, 0.5], [1, 1, 0, -1], 0.5) == 1 / 4
    assert metrics.verification_accuracy([0.5, 0.4], [1, 1], 0.4) == 1


# pairs and episodes -----------------------------------------------------------------------------


def test_pairs_are_drawn_anew_each_pass_and_a_pass_can_be_repeated():
    labels = np.repeat(np.arange(5), 30)
    X = np.arange(150.0)[:, None]
    batches = data.PairBatches(X, labels, 100, 32, seed=1, negative_label=-1)
    first, second = list(batches), list(batches)
    assert [len(x) for x, _ in first] == [32, 32, 32, 4]
    assert len(batches) == 4
    assert any((a[0] != b[0]).any() for a, b in zip(first, second, strict=True))
    batches.set_epoch(0)
    for (x, same), (again, twice) in zip(first, batches, strict=True):
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(same, twice)
        np.testing.assert_array_equal(labels[x[:, 0, 0].astype(int)] == labels[x[:, 1, 0].astype(int)], same == 1)
    assert sum(same.sum() for _, same in second) == 0  # 50 times 1, 50 times -1


@host
def test_training_on_new_pairs_goes_on_after_a_break_as_if_there_were_none(tmp_path):
    digits = data.load("digits")

    def learn(net, epochs, checkpoint=None):
        batches = data.PairBatches(*digits.train, 128, 32, seed=2, augment=moved)
        optimizer = optim.Adam(net.parameters(), 1e-3)
        tg.fit(net, losses.binary_cross_entropy, batches, optimizer, epochs, checkpoint=checkpoint, progress=False)
        return {name: t.numpy() for name, t in net.state_dict().items()}

    def moved(x, rng):
        return data.shifted(x, rng, (8, 8), 1)

    def net():
        return siamese([64, 8], "relation", seed=0)

    at_once = learn(net(), 4)
    learn(net(), 2, tmp_path / "c.safetensors")
    resumed = learn(net(), 4, tmp_path / "c.safetensors")
    for name, value in at_once.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_images_are_moved_by_whole_pixels_and_nothing_comes_round_the_edge():
    x = np.zeros((2000, 5, 4))
    x[:, 2, 1] = 1
    x[:, 0, 3] = 7  # in a corner
    moved = data.shifted(x.reshape(2000, 20), np.random.default_rng(0), (5, 4), 1).reshape(x.shape)
    for image in moved:
        ((row, column),) = np.argwhere(image == 1).tolist()
        down, right = row - 2, column - 1
        assert max(abs(down), abs(right)) <= 1
        expected = np.zeros((5, 4))
        expected[row, column] = 1
        if down >= 0 and 3 + right < 4:
            expected[down, 3 + right] = 7
        np.testing.assert_array_equal(image, expected)
    assert len({image.tobytes() for image in moved}) == 9
    np.testing.assert_array_equal(
        data.shifted(x.reshape(2000, 20), np.random.default_rng(0), (5, 4), 0), x.reshape(2000, 20)
    )


def test_an_episode_has_another_sample_of_one_of_its_classes():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 4))
    query, support, answer = data.one_shot_episodes(labels, 5, 700, seed=3)
    assert (query.shape, support.shape, answer.shape) == ((700,), (700, 5), (700,))
    for q, shown, a in zip(query, support, answer, strict=True):
        assert len(set(labels[shown])) == 5
        assert labels[q] == labels[shown[a]]
        assert q != shown[a]
    assert np.bincount(answer, minlength=5).min() > 100  # 140 expected
    assert np.bincount(labels[query], minlength=7).min() > 60  # 100 expected
    again = data.one_shot_episodes(np.eye(7)[labels], 5, 700, seed=3)
    np.testing.assert_array_equal(again[0], query)


def test_one_shot_accuracy_by_plain_loops(rng):
    X, labels = rng.normal(size=(40, 3)), np.repeat(np.arange(8), 5)
    X += labels[:, None] * 0.5
    query, support, answer = data.one_shot_episodes(labels, 4, 50, seed=1)
    right = 0
    for q, shown, a in zip(query, support, answer, strict=True):
        distances = [math.dist(X[q], X[s]) for s in shown]
        right += distances.index(min(distances)) == a
    assert one_shot_accuracy(pixel_similarity, X, labels, 4, 50, seed=1) == right / 50
    net = siamese([3, 4], embedding="identity", seed=0, dtype=np.float64)
    right = 0
    for q, shown, a in zip(query, support, answer, strict=True):
        right += int(np.argmax([float(net(X[[q]], X[[s]]).numpy()[0]) for s in shown])) == a
    assert one_shot_accuracy(net.predict, X, labels, 4, 50, seed=1) == right / 50


def test_dropout_of_a_branch_sleeps_in_training_only(rng):
    net, x = siamese([6, 5, 4], dropout=[0.5, 0], seed=0), rng.normal(size=(3, 6)).astype(np.float32)
    awake = siamese([6, 5, 4], seed=0)
    net.eval()
    np.testing.assert_allclose(net(x, -x).numpy(), awake(x / 2, -x / 2).numpy(), rtol=1e-5)
    tg.manual_seed(0)
    assert (net.train()(x, x).numpy() < 0.999).any()  # two calls, two masks


def similar(X, labels):
    return one_shot_accuracy(pixel_similarity, np.asarray(X), labels, 3, 4)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: metrics.roc_curve([1, 2], [1, 1]), DataError, "pairs of both kinds, got 2 same and 0 different"),
        (lambda: metrics.equal_error_rate([1, 2], [0, -1]), DataError, "got 0 same and 2 different"),
        (lambda: metrics.area_under_curve([1, 2], [1]), DataError, r"got \(2,\) and \(1,\)"),
        (lambda: metrics.area_under_curve([1, np.nan], [1, 0]), DataError, "a score is not finite"),
        (lambda: metrics.verification_accuracy([1, 2], [1, 2], 0), DataError, "labels must be 1 .* 0 or -1"),
        (lambda: metrics.verification_accuracy([], [], 0), DataError, "at least one"),
        (lambda: data.PairBatches(np.zeros((3, 2)), [1, 1, 1], 4), DataError, "at least 2 classes, .* have 1"),
        (lambda: data.PairBatches(np.zeros((3, 2)), [0, 1, 2], 4), DataError, "a class with at least 2 samples"),
        (lambda: data.PairBatches(np.zeros((3, 2)), [0, 1, 1], 0), ArgumentError, "n_pairs must be a whole number"),
        (lambda: similar(np.zeros((4, 2)), [0, 0, 1, 1]), DataError, "at least 3 classes .* got 2 classes"),
        (lambda: similar(np.zeros((5, 2)), [0, 0, 1, 1, 2]), DataError, "3 classes, 1 of them of a single sample"),
        (lambda: data.one_shot_episodes([0, 0, 1, 1], 1, 1), ArgumentError, "n_way must be .* at least 2, got 1"),
        (lambda: siamese([4, 3, 2], dropout=[0.5]), ArgumentError, "each of the 2 layers but the embedding, got 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_in_one_line(make, error, text):
    with pytest.raises(error, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


# Omniglot ---------------------------------------------------------------------------------------


@host
@needs_omniglot
def test_omniglot_holds_out_every_fifth_alphabet():
    omniglot = data.load("omniglot", SHARED)
    (X, Y), (T, _) = omniglot.train, omniglot.test
    assert (X.shape, T.shape) == ((14_620, 441), (4_660, 441))
    assert (omniglot.image_shape, Y.shape[1], omniglot.note) == ((21, 21), CHARACTERS, "")
    assert 0 == X.min() < X.max() <= 1
    learned, held_out = (
        {omniglot.class_names[c] for c in set(labels)} for labels in (omniglot.labels_train, omniglot.labels_test)
    )
    assert (len(learned), len(held_out)) == (731, 233)
    alphabets = [sorted({name.split("/")[0] for name in names}) for names in (learned, held_out)]
    assert [len(names) for names in alphabets] == [24, 6]
    assert sorted(alphabets[0] + alphabets[1])[4::5] == alphabets[1]
    assert set(np.bincount(omniglot.labels_test)) == {0, DRAWERS}


@host
@needs_omniglot
def test_a_pixel_of_omniglot_is_the_ink_of_its_block():
    with np.load(OMNIGLOT, allow_pickle=False) as arrays:
        image = np.unpackbits(arrays["images"][777], axis=1)[:, :105]  # of the first alphabets, for training
        character = arrays["character"][777]
    omniglot = data.load("omniglot", OMNIGLOT.parent)
    of_its_class = omniglot.train[0][omniglot.labels_train == character]
    expected = [
        sum(int(image[5 * i + a, 5 * j + b]) for a in range(5) for b in range(5)) / 25
        for i in range(21)
        for j in range(21)
    ]
    assert np.abs(of_its_class - np.float32(expected)).max(axis=1).min() < 1e-6


@pytest.fixture
def omniglot_file(tmp_path):
    """Return a function that writes a file like Omniglot's, with some of its arrays replaced."""

    def write(**replaced):
        n = CHARACTERS * DRAWERS
        character = np.repeat(np.arange(CHARACTERS), DRAWERS)
        arrays = {
            "images": np.zeros((n, 105, 14), np.uint8),
            "alphabet": (character * ALPHABETS // CHARACTERS).astype(np.uint8),
            "character": character.astype(np.uint16),
            "character_names": np.array([f"a/{c}" for c in range(CHARACTERS)]),
        }
        np.savez(tmp_path / "omniglot_background.npz", **arrays | replaced)
        return tmp_path

    return write


@host
@pytest.mark.parametrize(
    ("replaced", "text"),
    [
        ({"images": np.zeros((3, 105, 14), np.uint8)}, r"damaged: images uint8 \(3, 105, 14\)"),
        ({"alphabet": np.zeros(3, np.uint8)}, "damaged: 19280 images, 3 alphabets, 19280 characters"),
        ({"alphabet": np.full(19280, 30, np.uint8)}, "alphabet: 30 in row 0 is outside 0 to 29"),
        ({"character": np.zeros(19280, np.uint8)}, "a character belongs to several alphabets"),
        (
            {"character_names": np.array([{}] * CHARACTERS)},
            "character_names: holds pickled objects, which are never loaded",
        ),
    ],
)
def test_damaged_omniglot_is_told(omniglot_file, replaced, text):
    with pytest.raises(DataError, match=text) as caught:
        data.load("omniglot", omniglot_file(**replaced))
    assert "\n" not in str(caught.value)


@host
def test_a_missing_omniglot_file_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAPH_DATA_DIR", raising=False)
    with pytest.raises(DataError, match=r"^omniglot: .* put omniglot_background.npz into a folder and name it by"):
        data.load("omniglot")
    with pytest.raises(DataError, match="expected omniglot_background.npz there or in omniglot/"):
        data.load("omniglot", tmp_path)
