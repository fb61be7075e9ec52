"""Tables from files: what the rules for CSV take and refuse, NumPy's files, damage."""

import io
import struct
import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tinygraph.data import read_table
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# CSV -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "1,2\n3,4\n"),
        ("named.csv", "u,v\n1,2\n3,4\n"),
        ("underscored.csv", "_u,v_1\n1,2\n3,4\n"),
        ("commented.csv", "# u,v\n1,2\n3,4\n"),
        ("marked.csv", "\ufeff1,2\r\n3,4\r\n"),
        ("CAPITAL.CSV", "1,2\n\n3,4"),
        ("old_mac.csv", "u,v\r1,2\r3,4\r"),
        ("spaced.csv", "\n  \n u , v \n 1 ,\t2\n3,4 \n\n"),
        ("quoted.csv", '"u","v, w"\n"1",2\n 3, "4"\n'),
        ("ways.csv", "1.,+2\n.3e1,4E0\n"),
        ("wide.csv", "\ufeffGröße,v\n1,2\n3,4\n".encode("utf-16-le")),
        ("big.csv", "\ufeff1,2\r\n3,4\r\n".encode("utf-16-be")),
    ],
)
def test_csv_tables(tmp_path, name, content):
    table = read_table(written(tmp_path / name, content))
    assert table.dtype == np.float32
    assert table.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        # nothing is passed over
        ("1,2\n#3,4\n5,6\n", "line 2, field 1: expected a number, got '#3'; a row after # is not passed over"),
        ("#1,2\n3,4\n", "line 1, field 1: expected a number, got '#1'"),
        ("1,2#3\n", "line 1, field 2: expected a number, got '2#3'"),
        ("# a file\n# of two\nu,v\n1,2\n", "line 2, field 1: expected a number, got '# of two'; a row after #"),
        ("NA,NA\n1,2\n", "line 1, field 1: expected a number, got 'NA'; names begin with a letter"),
        ("x,n/a\n1,2\n", "line 1, field 1: expected a number, got 'x'"),
        ("-,-\n1,2\n", "line 1, field 1: expected a number, got '-'"),
        ("1.o,2.l\n1,2\n", "line 1, field 1: expected a number, got '1.o'"),
        ("?,?\n1,2\n", "line 1, field 1: expected a number, got '?'"),
        (",v\n1,2\n", "line 1, field 1: expected a number, got nothing"),
        ("u,1\n2,3\n", "line 1, field 1: expected a number, got 'u'; a first row of names holds no numbers"),
        ("1,2\nfoo,bar\n", "line 2, field 1: expected a number, got 'foo'$"),
        ("u,v\nw,x\n1,2\n", "line 2, field 1: expected a number, got 'w'$"),
        # other widths
        ("1,2\n3\n", "line 2: expected 2 fields as in line 1, got 1"),
        ("1,2\n3,4,5\n", "line 2: expected 2 fields as in line 1, got 3"),
        ("u\n0,5\n1,5\n", "line 2: expected 1 field as in line 1, got 2"),
        ("u,v,w\n\n1,2\n", "line 3: expected 3 fields as in line 1, got 2"),
        ("1,2,\n3,4,\n", "line 1, field 3: expected a number, got nothing"),
        ("1,\n3,4\n", "line 1, field 2: expected a number, got nothing"),
        # other ways to write numbers
        ("0;5\n1;5\n", "line 1, field 1: expected a number, got '0;5'; separate the fields by commas"),
        ("1\t2\n", r"line 1, field 1: expected a number, got '1\\t2'; separate the fields by commas"),
        ('"0,5",1\n', "line 1, field 1: expected a number, got '0,5'; write decimal points"),
        ("1_000,2\n", "line 1, field 1: expected a number, got '1_000'"),
        ("\u0661,2\n", "line 1, field 1: expected a number, got '\u0661'"),
        ("0x10,2\n", "line 1, field 1: expected a number, got '0x10'"),
        ("True,False\nTrue,True\n", "line 2, field 1: expected a number, got 'True'"),
        # breaks inside a row
        ('1,"2\n3"\n', r"line 2, field 2: expected a number, got '2\\n3'"),
        ('1,"2\n"\n', r"line 2, field 2: expected a number, got '2\\n'"),
        ("1,2\f3,4\n", r"line 1, field 2: expected a number, got '2\\x0c3'"),
        ("1,2\u20283,4\n", "line 1, field 2: expected a number, got"),
        ("1,2\x1c\n", "line 1, field 2: expected a number, got"),
        ("1,2\x00\n", "line 1, field 2: expected a number, got"),
        ('1,"2\n3,4\n', "line 2: cannot be read as CSV: unexpected end of data"),
        ('1,"2"3\n', "line 1: cannot be read as CSV"),
        # missing numbers of a single column
        ("1\n\n3\n", "line 2: empty, expected a number"),
        ("u\n \n3\n", "line 2: empty, expected a number"),
        ('1\n""\n3\n', "line 2, field 1: expected a number, got nothing"),
        # encodings
        ("Größe,v\n1,2\n".encode("latin-1"), "damaged, or not text in UTF-8 .*; save it as UTF-8"),
        (b"\xff\xfe\x00", "damaged, or not text in UTF-8"),
        ("1,2\n\ufeff3,4\n", "line 2, field 1: expected a number"),
        # nothing there
        ("", "holds no rows"),
        ("\n\n", "holds no rows"),
        ("u,v\n", "holds no rows"),
        # no numbers to compute with
        ("1,nan\n", r"nan at \[0, 1\] \(row 0, column 1\)"),
        ("u,v\n1,-inf\n", r"-inf at \[0, 1\]"),
        ("1,1e300\n", r"as float32: inf at \[0, 1\]"),
    ],
)
def test_csv_files_that_break_a_rule(tmp_path, content, text):
    with pytest.raises(DataError, match=f"a.csv: {text}") as error:
        read_table(written(tmp_path / "a.csv", content))
    assert "\n" not in str(error.value)


def test_whether_there_are_names_can_be_said(tmp_path):
    path = written(tmp_path / "a.csv", "0,1\n2,3\n")
    assert read_table(path).tolist() == [[0, 1], [2, 3]]
    assert read_table(path, names=False).tolist() == [[0, 1], [2, 3]]
    assert read_table(path, names=True).tolist() == [[2, 3]]
    named = written(tmp_path / "named.csv", "NA,2nd\n2,3\n")
    assert read_table(named, names=True).tolist() == [[2, 3]]
    with pytest.raises(DataError, match="line 1, field 1: expected a number, got 'u'$"):
        read_table(written(tmp_path / "b.csv", "u,v\n2,3\n"), names=False)
    with pytest.raises(DataError, match="line 2: expected 1 field as in line 1, got 2"):
        read_table(written(tmp_path / "c.csv", "a name\n2,3\n"), names=True)
    assert read_table(written(tmp_path / "d.csv", "\n\nu\n1\n2\n\n")).tolist() == [[1], [2]]
    for wrong in (["u", "v"], "u", 2):
        with pytest.raises(ArgumentError, match="names must be True, False or None, got"):
            read_table(path, names=wrong)
    with pytest.raises(ArgumentError, match="names: only a CSV or TSV file has a row of names"):
        read_table(tmp_path / "a.npy", names=True)


@given(
    rows=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=3, max_size=3),
        min_size=1,
        max_size=9,
    ),
    names=st.sampled_from(["", "u,v,w\n", '"u","v","w"\n']),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quote=st.booleans(),
    last=st.booleans(),
)
def test_every_row_that_is_written_is_read(tmp_path_factory, rows, names, end, quote, last):
    form = '"{}"' if quote else "{}"
    text = names + end.join(",".join(form.format(repr(x)) for x in row) for row in rows) + end * last
    path = written(tmp_path_factory.mktemp("csv") / "a.csv", text)
    np.testing.assert_array_equal(read_table(path), np.array(rows, np.float32))


def test_a_line_without_end_is_refused_before_it_is_whole(tmp_path):
    with open(tmp_path / "a.csv", "wb") as file:
        file.truncate(1 << 28)  # zeros, on no disk
    with pytest.raises(DataError, match=r"a\.csv: line 1: longer than 16,777,216 characters"):
        read_table(tmp_path / "a.csv")


# NumPy's files ---------------------------------------------------------------------------------


def test_numpy_tables(tmp_path):
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.save(tmp_path / "a.npy", numbers)
    np.save(tmp_path / "columns.npy", np.asfortranarray(numbers))
    np.save(tmp_path / "big.npy", numbers.astype(">i2"))
    np.savez(tmp_path / "a.npz", X=numbers, other=np.zeros(1))
    np.savez(tmp_path / "only.npz", numbers)
    np.savez_compressed(tmp_path / "packed.npz", X=np.asfortranarray(numbers))
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_table(str(path)), numbers)


def test_a_table_of_one_axis_is_one_sample(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert read_table(tmp_path / "a.npy").tolist() == [[0, 1, 2]]


def test_a_table_of_truth_values(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[True, False]]))
    assert read_table(tmp_path / "a.npy").tolist() == [[1, 0]]


def npy(shape, dtype="<f8", content=b"", version=1):
    """Return the bytes of an NPY file, written out from its description."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + content


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("absent.csv", None, "there is no such file"),
        ("absent.npy", None, "there is no such file"),
        ("cut.npy", b"\x93NUMPY\x01\x00", "damaged"),
        ("empty.npy", b"", "damaged"),
        ("cut.npz", b"PK\x03\x04", "damaged"),
        ("raw.npy", b"\x80\x04K\x01.", "holds pickled objects, which are never loaded"),
        ("table.txt", b"1 2", r"expected a name ending in \.csv, \.tsv, \.npy, \.npz or \.parquet, or of an"),
        ("short.npy", npy((2,), content=bytes(15)), r"damaged: float64 of shape \(2,\) takes 16 bytes, there are 15"),
        ("two.npy", npy((2,), content=bytes(16)) * 2, "damaged: float64 of shape .* takes 16 bytes"),
        ("petabytes.npy", npy((1 << 50,)), "damaged: float64 of shape"),
        ("negative.npy", npy((-1,)), "damaged: float64 of shape"),
        ("axes.npy", npy((1,) * 99, content=bytes(8)), "damaged"),
        ("deep.npy", npy("(" * 9000), "damaged: its header cannot be read"),
        ("minus.npy", npy("-" * 9000 + "1"), "damaged: its header cannot be read"),
        ("records.npy", npy((1,), [("a", "<f8")], bytes(8), 2), "expected numbers, got records"),
        ("void.npy", npy((1,), "|V8", bytes(8)), "expected numbers, got records"),
        ("third.npy", npy((1,), content=bytes(8), version=3), "damaged: its header cannot be read"),
        ("truth.npy", npy((1,), "|b1", b"\2"), "damaged: a truth value is neither 0 nor 1"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content, text):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {text}") as error:
        read_table(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([{}], object), "holds pickled objects, which are never loaded"),
        (np.array(["a"]), "expected numbers, got dtype"),
        (np.array(["2020-01-01"], "M8[D]"), "expected numbers, got dtype"),
        (np.array([1j]), "expected numbers, got dtype"),
        (np.array(3.0), "holds no rows"),
        (np.zeros((0, 3)), "holds no rows"),
    ],
)
def test_arrays_that_are_no_tables_are_told(tmp_path, array, text):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=rf"a\.npy: {text}"):
        read_table(tmp_path / "a.npy")


def test_an_archive_of_several_arrays_needs_one_called_X(tmp_path):
    np.savez(tmp_path / "a.npz", u=np.zeros(1), v=np.zeros(1))
    with pytest.raises(DataError, match=r"a\.npz: expected an array called X, found u, v"):
        read_table(tmp_path / "a.npz")


ONE = npy((1, 1), content=bytes(8))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([("X.txt", b"no array")], "X.txt: damaged, or not an array in the NPY format"),
        ([("X.npy", b"no array")], "X: damaged, or not an array in the NPY format"),
        ([("X.npy", b"")], "X: damaged, or not an array in the NPY format"),
        ([("X.npy", b"\x80\x04K\x01.")], "X: holds pickled objects, which are never loaded"),
        ([("X.npy", ONE), ("X.npy", ONE)], "damaged: it holds 'X' twice"),
        ([("X.npy", ONE), ("X", ONE)], "damaged: it holds 'X' twice"),
        ([("X.npy", npy((1, 2), content=bytes(8)))], "X: damaged: float64 of shape .* takes 16 bytes, there are 8"),
        ([], "expected an array called X, found none"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_of_something_else_are_told(tmp_path, members, text):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    with pytest.raises(DataError, match=rf"a\.npz: {text}"):
        read_table(tmp_path / "a.npz")


def test_an_archive_packed_in_a_way_whose_memory_has_no_limit_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", ONE)
    with pytest.raises(DataError, match="X is encrypted, or packed in a way that NumPy does not write"):
        read_table(tmp_path / "a.npz")


@given(at=st.integers(0, 150), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_array_is_told_or_harmless(tmp_path_factory, at, bit, cut):
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(2, 3))
    raw = bytearray(file.getvalue())
    if cut:
        raw = raw[:at]
    else:
        raw[at] ^= 1 << bit
    path = tmp_path_factory.mktemp("damaged") / "a.npy"
    path.write_bytes(raw)
    try:
        table, said = read_table(path), ""
    except DataError as error:
        table, said = None, str(error)
    assert table.dtype == np.float32 if table is not None else said.startswith(str(path)) and "\n" not in said


@pytest.mark.parametrize("path", [5, None, b"a.csv", 1.5])
def test_what_is_no_path_is_told(path):
    with pytest.raises(ArgumentError, match="read_table: expected a path, got"):
        read_table(path)
