"""From columns to the arrays that a network takes, and scaling that is learned from a training set."""

import json

import numpy as np
import pytest

from tinygraph.data import Standardizer, Table, TableEncoder, Words
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host

TOWNS = ["Ulm", "Bonn", "Ulm", "Köln"] * 5
AREA = np.arange(20) * 2.5
SOLD = ["yes", "no"] * 10


def houses(source="houses", named=True, **more):
    columns = {"area": AREA, "town": Words.of(TOWNS), "sold": Words.of(SOLD), **more}
    return Table(source, columns, named=named)


def test_words_become_indicator_columns_and_classes():
    encoder = TableEncoder(houses(), "sold")
    X, Y = encoder(houses())
    words = sorted(set(TOWNS))
    expected = [[area, *(float(town == word) for word in words)] for area, town in zip(AREA, TOWNS, strict=True)]
    assert X.tolist() == expected
    assert encoder.names == ("area", *(f"town={word}" for word in words))
    assert encoder.indicators.tolist() == [False, True, True, True]
    assert encoder.classes == ("no", "yes")
    assert [encoder.classes[k] for k in Y] == SOLD
    assert (encoder.n_inputs, encoder.n_outputs, X.dtype, Y.dtype) == (4, 2, np.float64, np.int64)


def test_a_target_of_numbers():
    X, Y = TableEncoder(Table("t", {"area": AREA, "town": Words.of(TOWNS)}), "area")(houses())
    assert (X.shape, Y.tolist()) == ((20, 3), AREA[:, None].tolist())


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1, 2, 3] * 5, None, (0, 1, 2, 3)),
        ([0.0, 10.0, 9.0, 10.0] * 5, None, (0, 9, 10)),
        ([0.5, 1.0] * 10, None, None),
        ([0.5, 1.0] * 10, "classes", (0.5, 1)),
        ([0, 1, 2, 3] * 5, "numbers", None),
        (list(range(5)) * 4, None, None),  # fewer than five rows a value
        (list(range(5)) * 4, "classes", (0, 1, 2, 3, 4)),
        ([True, False] * 10, None, (False, True)),
    ],
)
def test_the_task_by_the_target(values, task, classes):
    table = houses(y=np.array(values))
    encoder = TableEncoder(table, "y", task=task)
    assert encoder.classes == classes
    Y = encoder.targets(table)
    found = [encoder.classes[k] for k in Y] if classes else Y[:, 0].tolist()
    assert found == values


def test_arrays_and_images_are_laid_out_in_a_row():
    images = np.arange(40, dtype=np.uint8).reshape(20, 2, 1)
    encoder = TableEncoder(Table("t", {"image": images, "y": Words.of(SOLD)}), "y")
    X = encoder.inputs(Table("u", {"image": images[:2]}))
    assert (X.tolist(), X.dtype) == ([[0, 1], [2, 3]], np.float32)
    assert encoder.names == ("image[0, 0]", "image[1, 0]")
    with pytest.raises(DataError, match=r"u: column 'image': expected numbers of shape \(2, 1\) a row, got \(1, 2\)"):
        encoder.inputs(Table("u", {"image": images[:2].reshape(2, 1, 2)}))
    coloured = TableEncoder(Table("t", {"image": np.zeros((20, 2, 1, 3), np.uint8), "y": Words.of(SOLD)}), "y")
    assert coloured.inputs(Table("u", {"image": images[1:2]})).tolist() == [[2, 2, 2, 3, 3, 3]]


def test_columns_are_found_by_name_and_without_names_by_order():
    table = houses(named=False)
    encoder = TableEncoder(table, "sold")
    X = encoder.inputs(table)
    mixed = Table("m", {"more": AREA, "town": Words.of(TOWNS), "area": AREA})
    assert np.array_equal(TableEncoder(houses(), "sold").inputs(mixed), X)
    numbered = Table("n", {"1": AREA, "2": Words.of(TOWNS)}, named=False)
    for has_names in (False, True):
        encoder = TableEncoder(houses(named=has_names), "sold")
        assert np.array_equal(encoder.inputs(numbered), X)
    sold, ignored = Words.of(SOLD), Words.of(TOWNS)
    read = Table("t", {"1": sold, "2": AREA, "3": AREA + 1}, named=False, ignored=("4",))
    first = TableEncoder(read, "1")
    whole = Table("t", {"1": sold, "2": AREA, "3": AREA + 1, "4": ignored}, named=False)
    assert first.inputs(read)[0].tolist() == first.inputs(whole)[0].tolist() == [0, 1]
    assert first.inputs(Table("u", {"1": AREA, "2": AREA + 1}, named=False))[0].tolist() == [0, 1]
    with pytest.raises(DataError, match="u: expected 2 columns, those of the inputs, or all 4; got 3 without names"):
        first.inputs(Table("u", {"1": AREA, "2": AREA + 1, "3": ignored}, named=False))


def test_it_is_kept_as_json():
    for target in ("sold", "area"):
        encoder = TableEncoder(houses(), target)
        again = TableEncoder.from_state(json.loads(json.dumps(encoder.state())))
        for a, b in zip(encoder(houses()), again(houses()), strict=True):
            assert np.array_equal(a, b)
        assert (again.classes, again.names) == (encoder.classes, encoder.names)
    for wrong in ({}, {"target": 1}, {**encoder.state(), "features": [[1]]}, {**encoder.state(), "features": 7}):
        with pytest.raises(DataError, match="not the state of a TableEncoder"):
            TableEncoder.from_state(wrong)


@pytest.mark.parametrize(
    ("columns", "target", "options", "error", "text"),
    [
        ({}, "pirce", {}, DataError, "houses: no column is called 'pirce'; columns: area, town, sold"),
        ({}, "sold", {"task": "numbers"}, ArgumentError, "column 'sold' holds words, such as 'no': they are classes"),
        ({}, "sold", {"task": "number"}, ArgumentError, "task 'number' is not known; known: classes, numbers"),
        ({}, "area", {"task": "classes"}, DataError, "20 different numbers in 20 rows are no classes"),
        ({"y": Words.of(["x"] * 20)}, "y", {}, DataError, "column 'y': 'x' in every row; a decision needs two"),
        ({"y": np.ones(20)}, "y", {}, DataError, "column 'y': 1 in every row; a decision needs two"),
        ({"y": np.ones(20)}, "y", {"task": "numbers"}, DataError, "column 'y': 1 in every row; there is nothing"),
        ({"y": np.ones((20, 2))}, "y", {}, DataError, r"expected a number or a word a row, got shape \(20, 2\)"),
    ],
)
def test_targets_and_columns_that_do_not_do(columns, target, options, error, text):
    with pytest.raises(error, match=text):
        TableEncoder(houses(**columns), target, **options)


def test_a_target_needs_inputs():
    with pytest.raises(ArgumentError, match="t: no column is left as an input beside the target 'sold'"):
        TableEncoder(Table("t", {"sold": Words.of(SOLD)}), "sold")


def test_names_of_rows_are_no_features():
    names = Words.of([f"n{k}" for k in range(30)])
    table = Table("t", {"name": names, "y": Words.of(["a", "b"] * 15)})
    with pytest.raises(DataError, match="column 'name': 30 different words in 30 rows are names, not features"):
        TableEncoder(table, "y")
    with pytest.raises(DataError, match="column 'name': 30 different words in 30 rows are no classes"):
        TableEncoder(table, "name")


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"area": AREA}, "new: no column is called 'town'; columns: area"),
        ({"area": AREA, "town": Words.of(["Rom"] * 20)}, "new: row 0, column 'town': 'Rom' is not known; known: Bonn"),
        ({"area": AREA, "town": AREA}, "new: row 0, column 'town': expected a word such as 'Bonn', got a number"),
        ({"area": Words.of(TOWNS), "town": AREA}, "new: row 0, column 'area': expected a number, got 'Ulm'"),
        ({"area": AREA[:, None], "town": AREA}, r"column 'area': expected numbers of shape \(\) a row, got \(1,\)"),
    ],
)
def test_other_tables_than_the_one_it_knows(columns, text):
    encoder = TableEncoder(houses(), "sold")
    with pytest.raises(DataError, match=text):
        encoder.inputs(Table("new", columns))


def test_labels_that_it_does_not_know():
    encoder = TableEncoder(houses(), "sold")
    with pytest.raises(DataError, match="row 1, column 'sold': 'perhaps' is not known; known: no, yes"):
        encoder.targets(Table("new", {"sold": Words.of(["yes", "perhaps"])}))
    with pytest.raises(DataError, match="new: column 'area': expected a number a row"):
        TableEncoder(houses(), "area").targets(Table("new", {"area": Words.of(["a"])}))


# scaling ---------------------------------------------------------------------------------------


def test_a_standardizer_keeps_what_it_learned(rng):
    train, other = rng.normal(3, 5, (50, 4)), rng.normal(3, 5, (7, 4))
    scale = Standardizer().fit(train)
    np.testing.assert_allclose(scale(other), (other - train.mean(0)) / train.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(scale.inverse(scale(other)), other, rtol=1e-12)
    again = Standardizer().load_state_dict(scale.state_dict())
    assert np.array_equal(again(other), scale(other))


def test_a_standardizer_leaves_indicators_and_takes_one_deviation_for_pixels(rng):
    train = rng.normal(3, 5, (50, 4))
    leave = np.array([True, False, False, False])
    scale = Standardizer(leave=leave, together=True).fit(train)
    deviation = np.sqrt(train[:, 1:].var(axis=0, ddof=1).mean())
    expected = np.column_stack([train[:, 0], (train[:, 1:] - train[:, 1:].mean(0)) / deviation])
    np.testing.assert_allclose(scale(train), expected, rtol=1e-12)
    assert np.array_equal(Standardizer(leave=np.ones(4), together=True).fit(train)(train), train)


def test_what_a_standardizer_refuses():
    with pytest.raises(ArgumentError, match="nothing is learned yet; call fit"):
        Standardizer()(np.ones((2, 2)))
    with pytest.raises(DataError, match="a deviation needs at least 2 rows"):
        Standardizer().fit(np.ones((1, 2)))
    with pytest.raises(DataError, match=r"leave has shape \(3,\), but there are 2 columns"):
        Standardizer(leave=[True] * 3).fit(np.ones((2, 2)))
    for wrong in (
        {},
        {"mean": [1.0]},
        {"mean": [1.0], "deviation": [1.0, 2.0]},
        {"mean": [np.nan], "deviation": [1.0]},
    ):
        with pytest.raises(DataError, match="Standardizer"):
            Standardizer().load_state_dict(wrong)
