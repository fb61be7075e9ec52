"""Text of fields between commas or tabs (CSV, TSV): its rows, and the numbers in their fields."""

from __future__ import annotations

import codecs
import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from ..errors import DataError
from .opening import one_line, opened, reading

LONGEST = 1 << 24  # characters in a line
MISSING = {"", "na", "n/a", "none", "null", "nil", "missing"}  # what stands for a number that is missing, "nan" aside
TABBED = ".tsv"


@dataclass(frozen=True)
class Delimited:
    """An open file of fields.

    Attributes
    ----------
    name : str
        What errors call it.
    text : text stream
    tabs : bool
        Whether fields are separated by tabs, not by commas.
    """

    name: str
    text: TextIO
    tabs: bool

    def rows(self, wanted: str = "a number") -> Iterator[tuple[int, list[str]]]:
        """Yield the number of a line and its fields, as many in every row; errors call them `wanted`.

        Raises
        ------
        DataError
            If rows have other numbers of fields, an empty line stands between rows of one, or quotes do not close.
        """
        reader = csv.reader(self._lines(), delimiter="\t" if self.tabs else ",", skipinitialspace=True, strict=True)
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
                    raise DataError(
                        f"{self.name}: line {line}: expected {expected} as in line {first}, got {len(fields)}"
                    )
                if columns == 1 and empty:
                    raise DataError(f"{self.name}: line {empty}: empty, expected {wanted}")
                yield line, fields
        except csv.Error as error:
            raise DataError(
                f"{self.name}: line {reader.line_num}: cannot be read as {self.kind}: {one_line(error)}"
            ) from None

    @property
    def kind(self) -> str:
        """The format's name."""
        return "TSV" if self.tabs else "CSV"

    def remedy(self, field: str) -> str:
        """Return what to do about a field that is no number, "" if that is not known."""
        other = ";" in field or (not self.tabs and "\t" in field.strip(" \t"))
        if other:
            return f"; separate the fields by {'tabs' if self.tabs else 'commas'}"
        return "; write decimal points" if is_number(field.replace(",", ".", 1)) else ""

    def _lines(self) -> Iterator[str]:
        """Yield the lines; breaks are those of files (a form feed is none), and an empty line holds no blanks."""
        number, blanks = 0, " \r\n" if self.tabs else " \t\r\n"
        while line := self.text.readline(LONGEST):
            number += 1
            if len(line) == LONGEST:
                raise DataError(f"{self.name}: line {number}: longer than {LONGEST:,} characters")
            yield line if line.strip(blanks) else "\n"


@contextmanager
def delimited(path: Path) -> Iterator[Delimited]:
    """Open a file of text in UTF-8, or in UTF-16 with a mark; a name ending in ``.tsv`` says that it has tabs."""
    with reading(path), opened(path) as file, _decoded(str(path), file, path.suffix.lower() == TABBED) as text:
        yield text


@contextmanager
def delimited_stream(name: str, file: BinaryIO) -> Iterator[Delimited]:
    """Read all of a stream, of CSV or, if its first line has a tab and no comma, of TSV."""
    content = file.read()
    first = content.lstrip(b"\r\n").partition(b"\n")[0]
    tabs = b"\t" in first and b"," not in first
    with reading(Path(name)), _decoded(name, io.BytesIO(content), tabs) as text:
        yield text


@contextmanager
def _decoded(name: str, file: BinaryIO, tabs: bool) -> Iterator[Delimited]:
    mark = file.read(2)
    file.seek(0)
    wide = mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        yield Delimited(name, io.TextIOWrapper(file, "utf-16" if wide else "utf-8-sig", newline=""), tabs)
    except UnicodeError as error:
        found = one_line(error) if wide else _first_not_decoded(file, tabs)
        raise DataError(f"{name}: damaged, or not text in UTF-8 ({found}); save it as UTF-8") from None


def _first_not_decoded(file: BinaryIO, tabs: bool) -> str:
    """Return the words for the first place in a file that is not UTF-8."""
    file.seek(0)
    for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            field = line[: error.start].count(b"\t" if tabs else b",") + 1
            return f"line {number}, field {field}: the byte 0x{line[error.start]:02x}, {error.reason}"
    return "its last character is cut off"


def read_numbers(file: Delimited, names: bool | None) -> np.ndarray:
    """Return the numbers in the rows, float64 of shape (n, n_columns); `names` as for `read_table`."""
    numbers, columns, started = array("d"), 1, False  # 8 bytes each, whatever the text is
    for line, fields in file.rows():
        is_first, started, columns = not started, True, len(fields)
        if is_first and (names or (names is None and _are_names(fields))):
            continue
        try:
            numbers.extend(numbers_in(fields))
        except ValueError:
            raise _no_number(file, line, fields, is_first and names is None) from None
    return np.frombuffer(numbers).reshape(-1, columns)


def numbers_in(fields: Sequence[str]) -> Iterable[float]:
    """Return the numbers in fields; a `ValueError` is raised, when they are gone through, for one that holds none."""
    plain = "".join(fields)
    return map(float if plain.isascii() and plain.isprintable() and "_" not in plain else _number, fields)


def _are_names(fields: list[str]) -> bool:
    """Return whether all fields are names: a row with one wrong field is a mistake, not names."""
    return all(
        (name[:1].isalpha() or name[:1] == "_") and name.lower() not in MISSING and not is_number(name)
        for name in names_in(fields)
    )


def names_in(fields: list[str]) -> list[str]:
    """Return the names in the fields of a first row; a ``#`` before the first does not count."""
    stripped = [field.strip() for field in fields]
    return [stripped[0].removeprefix("#").lstrip(), *stripped[1:]]


def _number(field: str) -> float:
    """Return the number in a field, without what only Python takes for one: ``1_000``, digits of other scripts."""
    field = field.strip(" \t")
    if "_" in field or not field.isascii() or not field.isprintable():
        raise ValueError
    return float(field)


def is_number(field: str) -> bool:
    """Return whether a field holds a number, perhaps one that is not finite."""
    try:
        _number(field)
    except ValueError:
        return False
    return True


def _no_number(file: Delimited, line: int, fields: list[str], may_be_names: bool) -> DataError:
    """Return the error for a row of which one field is no number."""
    column, field = next((k, f) for k, f in enumerate(fields, 1) if not is_number(f))
    remedy = file.remedy(field)
    if remedy:
        pass
    elif field.startswith("#"):
        remedy = "; a row after # is not passed over: take it out of the file, or the # before it"
    elif may_be_names and any(is_number(f) for f in fields):
        remedy = "; a first row of names holds no numbers (names=True takes any)"
    elif may_be_names:
        remedy = "; names begin with a letter and are not missing (names=True takes any)"
    got = f"got {field!r:.60}" if field.strip() else "got nothing"
    return DataError(f"{file.name}: line {line}, field {column}: expected a number, {got}{remedy}")
