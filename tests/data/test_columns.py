"""Tables with columns from files of every kind, and images: what is read, and what is refused in one line."""

import csv
import io
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from tinygraph.data import Table, Words, read_table
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host

HOUSES = "area,town,price\n30,Bonn,100\n50.5,Ulm,190\n40,Ulm,140\n"


MIXED = "a,b\n1,x\n2,Köln\n".encode() + "3,Köln\n".encode("latin-1")


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def columns(table):
    return {name: table[name].tolist() for name in table.names}


EXPECTED = {"area": [30, 50.5, 40], "town": ["Bonn", "Ulm", "Ulm"], "price": [100, 190, 140]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", HOUSES),
        ("a.tsv", HOUSES.replace(",", "\t")),
        ("marked.csv", "\ufeff" + HOUSES),
        ("wide.tsv", ("\ufeff" + HOUSES.replace(",", "\t")).encode("utf-16-le")),
        ("hash.csv", "# " + HOUSES),
        ("spaced.csv", HOUSES.replace(",", " , ").replace("\n", "\n\n")),
        ("quoted.csv", HOUSES.replace("Ulm", '"Ulm"').replace("30", '"30"')),
    ],
)
def test_columns_of_text(tmp_path, name, content):
    table = read_table(written(tmp_path / name, content), columns="all")
    assert columns(table) == EXPECTED
    assert (len(table), table.named, table["area"].dtype) == (3, True, np.float64)


def test_columns_of_a_stream():
    for text in (HOUSES, HOUSES.replace(",", "\t")):
        table = read_table(io.BytesIO(text.encode()), columns="all")
        assert columns(table) == EXPECTED
    assert read_table(io.BytesIO(b"1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]


def test_a_table_says_what_is_in_it(tmp_path):
    table = read_table(written(tmp_path / "a.csv", HOUSES), columns="all")
    assert repr(table) == f"Table('{tmp_path / 'a.csv'}': 3 rows; area: numbers, town: 2 words, price: numbers)"
    with pytest.raises(DataError, match="no column is called 'aera'; columns: area, town, price; did you mean 'area'"):
        table["aera"]


def test_columns_are_chosen_and_numbers_taken_as_words(tmp_path):
    path = written(tmp_path / "a.csv", "zip,price,note\n053,1,\n12,2,x\n")
    table = read_table(path, columns=["price", "zip"], words=["zip"])
    assert columns(table) == {"zip": ["053", "12"], "price": [1, 2]}
    for wrong in ({"columns": ["pirce"]}, {"columns": "all", "words": ["pirce"]}):
        with pytest.raises(DataError, match=r"no column is called 'pirce'; columns: .*; did you mean 'price'"):
            read_table(path, **wrong)
    for wrong in ({"columns": "price"}, {"columns": []}, {"columns": [1]}, {"words": ["zip"]}):
        with pytest.raises(ArgumentError):
            read_table(path, **wrong)


def test_what_is_ignored_may_hold_anything(tmp_path):
    path = written(tmp_path / "a.csv", "note,price\n,1\nx,2\n")
    table = read_table(path, columns="all", ignore=["note", "absent"])
    assert (columns(table), table.ignored) == ({"price": [1, 2]}, ("note",))
    np.savez(tmp_path / "a.npz", note=np.array([1j]), price=np.array([1]))
    table = read_table(tmp_path / "a.npz", columns="all", ignore=["note"])
    assert (columns(table), table.ignored) == ({"price": [1]}, ("note",))
    with pytest.raises(DataError, match="no column is left; columns: note, price"):
        read_table(path, columns="all", ignore=["note", "price"])
    with pytest.raises(ArgumentError, match="words and ignore are for columns"):
        read_table(path, ignore=["note"])


def test_columns_without_names_are_numbered(tmp_path):
    table = read_table(written(tmp_path / "a.csv", "1,red\n2,blue\n"), columns="all")
    assert columns(table) == {"1": [1, 2], "2": ["red", "blue"]}
    assert not table.named
    only_words = written(tmp_path / "b.csv", "a,b\nc,d\n")
    assert columns(read_table(only_words, columns="all")) == {"a": ["c"], "b": ["d"]}
    assert columns(read_table(only_words, columns="all", names=False)) == {"1": ["a", "c"], "2": ["b", "d"]}
    assert columns(read_table(written(tmp_path / "c.csv", "1,2\n3,4\n"), columns="all", names=True)) == {
        "1": [3],
        "2": [4],
    }


@given(
    rows=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.text("abcxyzäöü #-.,;_\"'", min_size=1).filter(lambda w: w.strip() == w and not w.startswith(" ")),
        ),
        min_size=1,
        max_size=30,
    ),
    tabs=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, rows, tabs):
    path = tmp_path_factory.mktemp("csv") / f"a.{'tsv' if tabs else 'csv'}"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if tabs else ",").writerows([("number", "word"), *rows])
    table = read_table(path, columns="all", words=["word"])
    assert table["number"].tolist() == [number for number, _ in rows]
    assert table["word"].tolist() == [word for _, word in rows]


def test_a_column_longer_than_what_is_read_at_a_time(tmp_path):
    words = [f"w{k % 7}" for k in range(10_000)]
    lines = "".join(f"{k},{word}\n" for k, word in enumerate(words))
    table = read_table(written(tmp_path / "a.csv", "n,w\n" + lines), columns="all")
    assert table["n"].tolist() == list(range(10_000))
    assert table["w"].tolist() == words
    for late, text in (("x,w1", "line 10002, column 'n': 'x' is a word among"), ("1,7", "column 'w': '7' is a number")):
        with pytest.raises(DataError, match=text):
            read_table(written(tmp_path / "b.csv", "n,w\n" + lines + late), columns="all")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        # missing
        ("a,b\n1,x\n,y\n", "line 3, column 'a': the cell is empty; fill it, or leave out the row or the column"),
        ("a,b\n1,x\n2,\n", "line 3, column 'b': the cell is empty"),
        ("a,b\n1,x\n2, \n", "line 3, column 'b': the cell is empty"),
        ("a,b\n1,x\nNA,y\n", "line 3, column 'a': 'NA' stands for a missing number"),
        ("a,b\nnan,x\n2,y\n", "line 2, column 'a': 'nan' stands for a missing number"),
        ("a,b\n1,x\n2,nan\n", "line 3, column 'b': 'nan' stands for a missing number"),
        ("a,b\nNULL,x\n2,y\n", "line 2, column 'a': 'NULL' stands for a missing number"),
        ("a,b\n1,x\n-inf,y\n", "line 3, column 'a': -inf is not finite"),
        ("a\n1\n\n2\n", "line 3: empty, expected a number or a word"),
        # numbers among words
        (
            "a,b\n1,x\n2x,y\n",
            "line 3, column 'a': '2x' is a word among numbers; if they are all words, name the column",
        ),
        ("a,b\n1,x\n2,7\n", "line 2, column 'b': 'x' is a word among numbers"),
        ('a,b\n1,x\n"2,5",y\n', "line 3, column 'a': '2,5' is a word among numbers; write decimal points"),
        ('a,b\n"2,5",x\n"3,5",y\n', "line 2, column 'a': expected a number or a word, got '2,5'; write decimal points"),
        # shapes
        ("a,b\n1,x\n2\n", "line 3: expected 2 fields as in line 1, got 1"),
        ("a,b\n1,x\n2,y,z\n", "line 3: expected 2 fields as in line 1, got 3"),
        ("a;b\n1;x\n", "line 1: a single column, called 'a;b'; separate the fields by commas"),
        ("a\tb\n1\tx\n", r"line 1: a single column, called 'a\\tb'; separate the fields by commas"),
        # names
        (",b\n1,x\n", "line 1, field 1: the column has no name"),
        ("a,b,a\n1,x,2\n", "line 1, field 3: another column is called 'a' too"),
        ("a,b\n", "holds names and no rows"),
        ("", "holds no rows"),
        # encodings
        (
            "a,b\n1,x\n2,Köln\n".encode() + "3,Köln\n".encode("latin-1"),
            "damaged, or not text in UTF-8 .line 4, field 2",
        ),
        (b"\xff\xfe\x00", "damaged, or not text in UTF-8"),
    ],
)
def test_text_that_breaks_a_rule(tmp_path, content, text):
    with pytest.raises(DataError, match=rf"a\.csv: {text}") as error:
        read_table(written(tmp_path / "a.csv", content), columns="all")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a\tb\n1\tx\n\t\n", "line 3, column 'a': the cell is empty"),  # a row, not an empty line
        ("a\tb\n1\tx\n2;5\ty\n", "line 3, column 'a': '2;5' is a word among numbers; separate the fields by tabs"),
        ("a,b\n1,x\n", "line 2: expected|no column"),
    ],
)
def test_tabs_that_break_a_rule(tmp_path, content, text):
    with pytest.raises(DataError, match=text):
        read_table(written(tmp_path / "a.tsv", content), columns=["a", "b"])


def test_tabs_in_tables_of_numbers(tmp_path):
    assert read_table(written(tmp_path / "a.tsv", "u\tv\n1\t2\n3\t4\n")).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="line 2, field 1: expected a number, got nothing"):
        read_table(written(tmp_path / "b.tsv", "1\t2\n\t\n"))


# arrays ----------------------------------------------------------------------------------------


def test_columns_of_arrays(tmp_path):
    X, y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array(["b", "a", "b"])
    np.savez(tmp_path / "a.npz", X=X, y=y)
    table = read_table(tmp_path / "a.npz", columns="all")
    assert table["X"].tolist() == X.tolist()
    assert table["y"].tolist() == ["b", "a", "b"]
    assert table.column("y").levels == ("a", "b")
    assert "X: numbers (2, 2), y: 2 words" in repr(table)
    np.save(tmp_path / "a.npy", X)
    assert read_table(tmp_path / "a.npy", columns="all").names == ("X",)
    np.savez(tmp_path / "codes.npz", X=X, zip=np.array([10, 9, 10]))
    assert read_table(tmp_path / "codes.npz", columns="all", words=["zip"]).column("zip").levels == ("10", "9")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"X": np.zeros((3, 2)), "y": np.zeros(2)}, r"X has shape \(3, 2\), y \(2,\)"),
        ({"X": np.zeros(())}, "arrays need one row a sample"),
        ({"X": np.array([1.0, np.nan])}, r"X: nan at \[1\] \(row 1\)"),
        ({"X": np.array([1j])}, "X: expected numbers or words, got dtype complex128"),
        ({"X": np.array([["a"]])}, "X: expected one word a row"),
        ({"X": np.array(["a", " "])}, "row 1, column 'X': the cell is empty"),
        ({}, "holds no arrays"),
    ],
)
def test_arrays_that_are_no_columns(tmp_path, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"a\.npz: {text}|a\.npz: .*{text}"):
        read_table(tmp_path / "a.npz", columns="all")


@pytest.mark.parametrize("letter", [0x110000, 0xD800, 0xDFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("order", "<>")
def test_a_text_of_what_is_no_letter(tmp_path, letter, order):
    words = np.array(["ab", "c\uffff"], f"{order}U2")
    np.save(tmp_path / "a.npy", words)
    assert read_table(tmp_path / "a.npy", columns="all")["X"].tolist() == ["ab", "c\uffff"]
    words.view(f"{order}u4")[1] = letter
    np.save(tmp_path / "a.npy", words)
    with pytest.raises(DataError, match=r"a\.npy: damaged: a text holds what is no letter"):
        read_table(tmp_path / "a.npy", columns="all")


def test_words_are_sorted_and_numbered():
    column = Words.of(["b", "a", "c", "b"])
    assert (column.levels, column.codes.tolist()) == (("a", "b", "c"), [1, 0, 2, 1])


# Parquet ---------------------------------------------------------------------------------------


def test_columns_of_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    town = pyarrow.array(["Bonn", "Ulm", "Ulm"]).dictionary_encode()
    columns = {"area": [30, 50, 40], "town": town, "sold": [True, False, True]}
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path, columns="all")
    assert {name: table[name].tolist() for name in table.names} == {**columns, "town": ["Bonn", "Ulm", "Ulm"]}
    assert read_table(path, columns=["area"]).names == ("area",)
    with pytest.raises(DataError, match="column 'town': expected numbers, got town: 2 words"):
        read_table(path)
    parquet.write_table(pyarrow.table({"u": [1.0, 2.0], "v": [3, 4]}), path)
    assert read_table(path).tolist() == [[1, 3], [2, 4]]
    parquet.write_table(pyarrow.table({"u": [1.0, None]}), path)
    with pytest.raises(DataError, match=r"a\.parquet: row 1, column 'u': the cell is missing"):
        read_table(path, columns="all")
    parquet.write_table(pyarrow.table({"u": [[1, 2]]}), path)
    with pytest.raises(DataError, match="column 'u': expected numbers or words, got list"):
        read_table(path, columns="all")
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"a\.parquet: damaged") as error:
        read_table(path, columns="all")
    assert "\n" not in str(error.value)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="reading Parquet needs pyarrow; install it by: pip install pyarrow"):
        read_table(tmp_path / "a.parquet", columns="all")


# images ----------------------------------------------------------------------------------------


def picture(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


GREY = [[0, 50], [100, 255]]


def test_an_image_is_one_sample(tmp_path):
    assert read_table(picture(tmp_path / "a.png", GREY)).tolist() == [GREY]
    colours = [[[1, 2, 3], [4, 5, 6]]]
    assert read_table(picture(tmp_path / "b.png", colours)).tolist() == [colours]
    assert read_table(picture(tmp_path / "c.png", colours, "RGBA")).tolist() == [colours]
    assert read_table(picture(tmp_path / "d.png", GREY, "LA")).tolist() == [GREY]
    table = read_table(tmp_path / "a.png", columns="all")
    assert (table.names, table["image"].dtype, table["image"].tolist()) == (("image",), np.uint8, [GREY])
    deep = Image.fromarray(np.array(GREY, np.uint16))
    deep.save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: expected 8 bits a colour"):
        read_table(tmp_path / "deep.png")
    whole = (tmp_path / "a.png").read_bytes()
    for name, content in (("cut.png", whole[:45]), ("text.png", b"no image"), ("empty.png", b"")):
        with pytest.raises(DataError, match=rf"{name}: damaged") as error:
            read_table(written(tmp_path / name, content))
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"absent\.png: there is no such file"):
        read_table(tmp_path / "absent.png")


def test_a_folder_with_one_folder_of_images_a_class(tmp_path):
    picture(tmp_path / "f" / "dog" / "1.png", GREY)
    picture(tmp_path / "f" / "cat" / "2.bmp", np.zeros((2, 2)))
    (tmp_path / "f" / "cat" / ".hidden").write_text("")
    table = read_table(tmp_path / "f", columns="all")
    assert isinstance(table, Table)
    assert table["class"].tolist() == ["cat", "dog"]
    assert table["image"].tolist() == [[[0, 0], [0, 0]], GREY]
    picture(tmp_path / "f" / "dog" / "3.png", [[[1, 2, 3]] * 2] * 2)
    table = read_table(tmp_path / "f", columns="all")
    assert table["image"].shape == (3, 2, 2, 3)
    assert table["image"][1].tolist() == [[[g] * 3 for g in row] for row in GREY]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            lambda f: picture(f / "dog" / "2.png", np.zeros((3, 2))),
            "2.png: an image of 2 x 3 pixels, but",
        ),
        (lambda f: written(f / "dog" / "note.txt", "x"), "note.txt: expected an image, a name ending in .png"),
        (lambda f: written(f / "note.txt", "x"), "expected one folder a class and nothing else, got the file note.txt"),
        (lambda f: (f / "eel").mkdir(), "eel: holds no images"),
        (lambda f: written(f / "dog" / "2.png", "x"), "2.png: damaged"),
    ],
)
def test_folders_of_something_else(tmp_path, spoil, text):
    folder = tmp_path / "f"
    picture(folder / "cat" / "1.png", GREY)
    picture(folder / "dog" / "1.png", GREY)
    spoil(folder)
    with pytest.raises(DataError, match=text) as error:
        read_table(folder, columns="all")
    assert "\n" not in str(error.value)


def test_a_folder_is_read_as_columns_only(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(DataError, match="a folder of images is read with columns='all'"):
        read_table(tmp_path / "f")
    with pytest.raises(DataError, match="holds no folders of images, one for each class"):
        read_table(tmp_path / "f", columns="all")
