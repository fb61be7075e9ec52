"""Tables of numbers from files."""

from __future__ import annotations

import codecs
import csv
import io
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from ..errors import ArgumentError, DataError
from .arrays import read_npy, read_npz
from .checks import check_finite
from .opening import as_path, one_line, opened, reading

SUFFIXES = (".csv", ".npy", ".npz")
LONGEST = 1 << 24  # characters in a line
MISSING = {"", "na", "n/a", "none", "null", "nil", "missing"}  # what stands for a number that is missing, "nan" aside


def read_table(path: str | Path, *, names: bool | None = None) -> np.ndarray:
    """Return the numbers of a ``.csv``, ``.npy`` or ``.npz`` file, one sample a row, as float32.

    Parameters
    ----------
    path : path
        NPZ: the array ``X``, or the only one. An array of one axis is one sample.

        CSV: text in UTF-8, or in UTF-16 with a mark, read by Python's `csv`. Fields are separated by commas, may stand
        in double quotes, and hold numbers such as ``-1.5e3``, with a decimal point; blanks around them do not count.
        Every row has as many. Empty lines do not count, but between the rows of a single column, where they may be
        missing numbers, they are an error. There are no comments: no row is dropped.
    names : bool, optional
        CSV: whether the first row holds names of the columns, as many as there are. By default it does if every field
        begins with a letter or ``_`` and none is a word for a missing number, such as ``NA``; a ``#`` before the first
        one does not count.

    Returns
    -------
    float32 array of shape (n, ...)

    Raises
    ------
    DataError
        If the file is missing, damaged, empty, breaks one of these rules, or holds anything but finite numbers. Of
        CSV the text names the line and the field, counted from 1. Pickled objects are never loaded.
    ArgumentError
        If `path` is none, or `names` something else or given for a file that is not CSV.
    """
    path = as_path(path, "read_table")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a name ending in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if names not in (None, True, False):
        raise ArgumentError(f"names must be True, False or None, got {names!r:.80}")
    if names is not None and suffix != ".csv":
        raise ArgumentError(f"names: only a CSV file has a row of names, got {path}")
    rows = _read_csv(path, names) if suffix == ".csv" else read_npy(path) if suffix == ".npy" else _read_npz(path)
    if not rows.size or not rows.ndim:
        raise DataError(f"{path}: holds no rows")
    check_finite(rows, str(path))
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    check_finite(rows, f"{path}: as float32")
    return rows[None] if rows.ndim == 1 else rows


def _read_npz(path: Path) -> np.ndarray:
    with read_npz(path) as arrays:
        names = list(arrays)
        if "X" not in names and len(names) != 1:
            raise DataError(f"{path}: expected an array called X, found {', '.join(names) or 'none'}")
        return arrays["X" if "X" in names else names[0]]


def _read_csv(path: Path, names: bool | None) -> np.ndarray:
    with reading(path), opened(path) as file:
        mark = file.read(2)
        file.seek(0)
        encoding = "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        try:
            with io.TextIOWrapper(file, encoding, newline="") as text:
                return _numbers(path, text, names)
        except UnicodeError as error:
            raise DataError(f"{path}: damaged, or not text in UTF-8 ({one_line(error)}); save it as UTF-8") from None


def _numbers(path: Path, text: TextIO, names: bool | None) -> np.ndarray:
    """Return the numbers in the rows of a CSV file, float64 of shape (n, n_columns)."""
    numbers = array("d")  # 8 bytes each, whatever the text is
    reader = csv.reader(_lines(path, text), skipinitialspace=True, strict=True)
    columns, first, empty = 0, 0, 0  # fields of a row, the line of the first, an empty line after it
    try:
        for fields in reader:
            line = reader.line_num
            if not fields:
                empty = empty or line
                continue
            if not first:
                columns, first, empty = len(fields), line, 0
            if len(fields) != columns:
                expected = f"{columns} field{'s' * (columns > 1)}"
                raise DataError(f"{path}: line {line}: expected {expected} as in line {first}, got {len(fields)}")
            if columns == 1 and empty:
                raise DataError(f"{path}: line {empty}: empty, expected a number")
            if line == first and (names or (names is None and _are_names(fields))):
                continue
            try:
                plain = "".join(fields)
                read = float if plain.isascii() and plain.isprintable() and "_" not in plain else _number
                numbers.extend(map(read, fields))
            except ValueError:
                may_be_names = line == first and names is None
                raise _no_number(f"{path}: line {line}", fields, may_be_names) from None
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: cannot be read as CSV: {one_line(error)}") from None
    return np.frombuffer(numbers).reshape(-1, columns or 1)


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    """Yield the lines; breaks are those of files (a form feed is none), and an empty line holds no blanks."""
    number = 0
    while line := text.readline(LONGEST):
        number += 1
        if len(line) == LONGEST:
            raise DataError(f"{path}: line {number}: longer than {LONGEST:,} characters")
        yield line if line.strip(" \t\r\n") else "\n"


def _are_names(fields: list[str]) -> bool:
    """Return whether all fields are names: a row with one wrong field is a mistake, not names."""
    stripped = [field.strip() for field in fields]
    stripped[0] = stripped[0].removeprefix("#").lstrip()
    return all(
        (name[:1].isalpha() or name[:1] == "_") and name.lower() not in MISSING and not _is_number(name)
        for name in stripped
    )


def _number(field: str) -> float:
    """Return the number in a field, without what only Python takes for one: ``1_000``, digits of other scripts."""
    field = field.strip(" \t")
    if "_" in field or not field.isascii() or not field.isprintable():
        raise ValueError
    return float(field)


def _is_number(field: str) -> bool:
    try:
        _number(field)
    except ValueError:
        return False
    return True


def _no_number(where: str, fields: list[str], may_be_names: bool) -> DataError:
    """Return the error for a row of which one field is no number."""
    column, field = next((k, f) for k, f in enumerate(fields, 1) if not _is_number(f))
    if ";" in field or "\t" in field.strip(" \t"):
        remedy = "; separate the fields by commas"
    elif _is_number(field.replace(",", ".", 1)):
        remedy = "; write decimal points"
    elif field.startswith("#"):
        remedy = "; a row after # is not passed over: take it out of the file, or the # before it"
    elif may_be_names and any(_is_number(f) for f in fields):
        remedy = "; a first row of names holds no numbers (names=True takes any)"
    elif may_be_names:
        remedy = "; names begin with a letter and are not missing (names=True takes any)"
    else:
        remedy = ""
    got = f"got {field!r:.60}" if field.strip() else "got nothing"
    return DataError(f"{where}, field {column}: expected a number, {got}{remedy}")
