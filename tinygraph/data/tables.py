"""Tables from files: of numbers, or of columns of numbers and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, overload

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import read_npy, read_npz
from .checks import check_finite
from .columns import Selection, Table, columns_as_numbers, columns_of_arrays, columns_of_parquet, columns_of_text
from .delimited import delimited, delimited_stream, read_numbers
from .images import images_by_folder, is_image, read_image
from .opening import as_path

TEXT = (".csv", ".tsv")
ARRAYS = (".npy", ".npz")
PARQUET = ".parquet"
SUFFIXES = (*TEXT, *ARRAYS, PARQUET)

Source = str | Path | BinaryIO


@overload
def read_table(path: Source, *, names: bool | None = None) -> np.ndarray: ...


@overload
def read_table(
    path: Source,
    *,
    names: bool | None = None,
    columns: Literal["all"] | Sequence[str],
    words: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Table: ...


def read_table(
    path: Source,
    *,
    names: bool | None = None,
    columns: Iterable[str] | None = None,
    words: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> np.ndarray | Table:
    r"""Return the numbers of a file, one sample a row, as float32; or with `columns` its columns, of numbers and words.

    Parameters
    ----------
    path : path, or binary stream
        NPZ: the array ``X``, or the only one; as columns all arrays, one row a sample. NPY: the array, as a column it
        is called "X". An array of one axis is one sample, but as columns a column.

        CSV and TSV: text in UTF-8, or in UTF-16 with a mark, read by Python's `csv`. Fields are separated by commas
        (TSV: tabs), may stand in double quotes, and hold numbers such as ``-1.5e3``, with a decimal point; blanks
        around them do not count. Every row has as many. Empty lines do not count, but between the rows of a single
        column, where they may be missing numbers, they are an error. There are no comments: no row is dropped. Such
        text is also read from a binary stream, such as ``sys.stdin.buffer``; it has tabs if its first line has some
        and no comma.

        Parquet: columns of numbers, truth values and words; needs pyarrow, the extra ``parquet``.

        An image (PNG, JPEG and others): its pixels, 0 to 255, one sample. A folder with one folder of images a
        class, all of one size, is read as columns: "image", uint8 of shape (n, height, width), or (n, height, width,
        3) if any has colours, and "class", words, the names of the folders.
    names : bool, optional
        CSV and TSV: whether the first row holds names of the columns, as many as there are. By default it does if every
        field begins with a letter or ``_`` and none is a word for a missing number, such as ``NA``; a ``#`` before the
        first one does not count. Read as columns, whose rows may be words, it does unless a field is a number.
    columns : "all", or list of str; optional
        Read these columns, as a `Table`, each of numbers or of words. Without names in the file they are called "1",
        "2" and so on.
    words : list of str
        Columns that are words though they look like numbers, such as codes of places.
    ignore : list of str
        Columns that are not read, if they are there, whatever they hold.

    Returns
    -------
    float32 array of shape (n, ...), or Table

    Raises
    ------
    DataError
        If the file is missing, damaged, empty, breaks one of these rules, holds anything but finite numbers, or as
        columns a cell that is missing, or a word among numbers. Of CSV and TSV the text names the line, and the field,
        both counted from 1, or the column. Pickled objects are never loaded.
    ArgumentError
        If `path` is none, or an argument something else or given for a file that has no use for it.

    Examples
    --------
    >>> import io
    >>> table = read_table(io.BytesIO(b"area,town,price\n30,Bonn,100\n50,Ulm,190\n40,Ulm,140\n"), columns="all")
    >>> table
    Table('stream': 3 rows; area: numbers, town: 2 words, price: numbers)
    >>> table["area"].tolist(), table["town"].tolist()
    ([30.0, 50.0, 40.0], ['Bonn', 'Ulm', 'Ulm'])
    """
    if names not in (None, True, False):
        raise ArgumentError(f"names must be True, False or None, got {names!r:.80}")
    if columns is None and (words or ignore):
        raise ArgumentError("read_table: words and ignore are for columns; give columns='all', or a list of names")
    if not isinstance(path, str | Path) and callable(getattr(path, "read", None)):
        with delimited_stream(f"{getattr(path, 'name', 'stream')}", path) as text:
            if columns is None:
                return _as_samples(read_numbers(text, names), text.name)
            return columns_of_text(text, names, Selection.checked(columns, words, ignore))
    path = as_path(path, "read_table")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and not is_image(path) and (columns is None or not path.is_dir()):
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        hint = "; a folder of images is read with columns='all'" if path.is_dir() else ""
        expected = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise DataError(f"{path}: expected a name ending in {expected}, or of an image{hint}")
    if names is not None and suffix not in TEXT:
        raise ArgumentError(f"names: only a CSV or TSV file has a row of names, got {path}")
    if columns is None:
        return _as_samples(_numbers(path, suffix, names), str(path))
    selection = Selection.checked(columns, words, ignore)
    if suffix in TEXT:
        with delimited(path) as text:
            return columns_of_text(text, names, selection)
    if suffix in ARRAYS:
        return columns_of_arrays(path, selection)
    if suffix == PARQUET:
        return columns_of_parquet(path, selection)
    if is_image(path):
        return Table(str(path), {"image": read_image(path)[None]})
    return images_by_folder(path)


def _numbers(path: Path, suffix: str, names: bool | None) -> np.ndarray:
    """Return the numbers of a file, of any real dtype."""
    if suffix in TEXT:
        with delimited(path) as text:
            return read_numbers(text, names)
    if suffix == PARQUET:
        return columns_as_numbers(columns_of_parquet(path, Selection(None)))
    if suffix == ".npy":
        return read_npy(path)
    return _read_npz(path) if suffix == ".npz" else read_image(path)[None]


def _as_samples(rows: np.ndarray, source: str) -> np.ndarray:
    """Return numbers as float32, one sample a row, checked."""
    if not rows.size or not rows.ndim:
        raise DataError(f"{source}: holds no rows")
    check_finite(rows, source)
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    check_finite(rows, f"{source}: as float32")
    return rows[None] if rows.ndim == 1 else rows


def _read_npz(path: Path) -> np.ndarray:
    with read_npz(path) as arrays:
        names = list(arrays)
        if "X" not in names and len(names) != 1:
            raise DataError(f"{path}: expected an array called X, found {', '.join(names) or 'none'}")
        return arrays["X" if "X" in names else names[0]]
