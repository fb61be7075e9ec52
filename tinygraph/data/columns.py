"""Tables with columns: what each column of a file holds, numbers or words."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ..arguments import did_you_mean
from ..errors import ArgumentError, DataError
from .arrays import read_npy, read_npz
from .checks import check_finite
from .delimited import MISSING, Delimited, is_number, names_in, numbers_in
from .opening import opened, reading

ROWS_AT_A_TIME = 4096
LEAVE_OUT = "fill it, or leave out the row or the column"
IF_WORDS = "; if they are all words, name the column in words"


@dataclass(frozen=True, eq=False)
class Words:
    """A column of words.

    Attributes
    ----------
    levels : tuple of str
        The different words, sorted.
    codes : int64 array of shape (n,)
        Which of them each row has.
    """

    levels: tuple[str, ...]
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    @staticmethod
    def of(words: Sequence[str]) -> Words:
        """Return the column of these words."""
        places: dict[str, int] = {}
        codes = np.array([places.setdefault(word, len(places)) for word in words], np.int64)
        return Words._sorted(places, codes)

    @staticmethod
    def _sorted(places: dict[str, int], codes: np.ndarray) -> Words:
        levels = sorted(places)
        order = np.empty(len(levels), np.int64)
        for place, word in enumerate(levels):
            order[places[word]] = place
        return Words(tuple(levels), order[codes])


class Table:
    """Columns of equal length by name: numbers, arrays of numbers such as images, or words.

    ``table[name]`` is a column as an array: float64 numbers of text, any real dtype of other files, with the rows along
    its first axis; or strings.

    Attributes
    ----------
    source : str
        What errors call it, the name of a file.
    columns : dict of str to array or Words
    named : bool
        Whether the file names its columns; otherwise they are called "1", "2" and so on.
    ignored : tuple of str
        Columns of the file that were not read because `read_table` was told so.
    """

    def __init__(
        self,
        source: str,
        columns: dict[str, np.ndarray | Words],
        *,
        named: bool = True,
        ignored: tuple[str, ...] = (),
        lines: np.ndarray | None = None,
    ) -> None:
        self.source, self.columns, self.named, self.ignored = source, columns, named, ignored
        self._lines = lines

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the file."""
        return tuple(self.columns)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        column = self.column(name)
        return np.array(column.levels)[column.codes] if isinstance(column, Words) else column

    def column(self, name: str) -> np.ndarray | Words:
        """Return a column as it is stored.

        Raises
        ------
        DataError
            If there is none of this name.
        """
        check_column_names(self.source, self.columns, [name])
        return self.columns[name]

    def where(self, row: int, name: str) -> str:
        """Return the words for a place: file, line (or row, counted from 0, where a file has no lines), column."""
        place = f"row {row}" if self._lines is None else f"line {self._lines[row]}"
        return f"{self.source}: {place}, column {name!r}"

    def __repr__(self) -> str:
        return f"Table({self.source!r}: {len(self)} rows; {', '.join(map(self._described, self.columns))})"

    def _described(self, name: str) -> str:
        column = self.columns[name]
        if isinstance(column, Words):
            return f"{name}: {len(column.levels)} word{'s' * (len(column.levels) > 1)}"
        return f"{name}: numbers" + (f" {column.shape[1:]}" if column.ndim > 1 else "")


def _listed(names: Collection[str], most: int = 20) -> str:
    return ", ".join(islice(names, most)) + (f" and {len(names) - most} more" if len(names) > most else "")


class _Column:
    """One column of text while it is read: numbers or words, found by its first cells."""

    def __init__(self, file: Delimited, name: str, as_words: bool) -> None:
        self.file, self.name, self.as_words = file, name, as_words
        self.numbers, self.codes = array("d"), array("q")
        self.places: dict[str, int] = {}

    def extend(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Add the cells of some rows.

        Raises
        ------
        DataError
            For a cell that is missing, is not finite, or is a number among words or a word among numbers.
        """
        if not self.as_words and not self.places:
            try:
                numbers = np.fromiter(numbers_in(cells), np.float64, len(cells))
            except ValueError:
                if self.numbers or any(is_number(cell) and not _is_missing(cell) for cell in set(cells)):
                    wrong = next(i for i, cell in enumerate(cells) if not is_number(cell))
                    raise self._not_a_number(cells, lines, wrong) from None
            else:
                if not np.isfinite(numbers).all():
                    raise self._not_a_number(cells, lines, int(np.isfinite(numbers).argmin()))
                self.numbers.frombytes(numbers.tobytes())
                return
        words = [cell.strip() for cell in cells]
        for word in dict.fromkeys(words):
            if word not in self.places:
                self._check_word(word, lines[words.index(word)])
        self.codes.extend([self.places.setdefault(word, len(self.places)) for word in words])

    def _check_word(self, word: str, line: int) -> None:
        if not word or (not self.as_words and is_number(word) and _is_missing(word)):
            raise self._missing(word, line)
        if self.as_words:
            return
        if is_number(word):
            raise DataError(f"{self._place(line)}: {word!r:.60} is a number among words{IF_WORDS}")
        if remedy := self.file.remedy(word):
            raise DataError(f"{self._place(line)}: expected a number or a word, got {word!r:.60}{remedy}")

    def _not_a_number(self, cells: Sequence[str], lines: Sequence[int], i: int) -> DataError:
        place, cell = self._place(lines[i]), cells[i].strip()
        if _is_missing(cell):
            return self._missing(cell, lines[i])
        if is_number(cell):
            return DataError(f"{place}: {cell} is not finite; {LEAVE_OUT}")
        return DataError(f"{place}: {cell!r:.60} is a word among numbers{self.file.remedy(cell) or IF_WORDS}")

    def _missing(self, cell: str, line: int) -> DataError:
        got = f"{cell!r} stands for a missing number" if cell else "the cell is empty"
        return DataError(f"{self._place(line)}: {got}; {LEAVE_OUT}")

    def _place(self, line: int) -> str:
        return f"{self.file.name}: line {line}, column {self.name!r}"

    def whole(self) -> np.ndarray | Words:
        """Return the column."""
        if self.places:
            return Words._sorted(self.places, np.frombuffer(self.codes, np.int64))
        return np.frombuffer(self.numbers)


def _is_missing(cell: str) -> bool:
    """Return whether a cell stands for a missing number."""
    return cell.strip().lower() in {*MISSING, "nan"}


@dataclass(frozen=True)
class Selection:
    """Which columns are read, and which of them as words; names as `read_table` takes them.

    Attributes
    ----------
    chosen : tuple of str, or None
        None for all.
    words, ignore : tuple of str
    """

    chosen: tuple[str, ...] | None
    words: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @staticmethod
    def checked(columns: Iterable[str] | None, words: Iterable[str] | None, ignore: Iterable[str] | None) -> Selection:
        """Return the selection that arguments of `read_table` make, or raise an `ArgumentError`."""
        chosen = None if isinstance(columns, str) and columns == "all" else columns
        lists: list[tuple[str, ...]] = []
        for name, value in (("columns", chosen), ("words", words), ("ignore", ignore)):
            names = () if value is None else value
            if isinstance(names, str) or not all(isinstance(each, str) for each in names):
                raise ArgumentError(f"read_table: {name} must be a list of names, got {value!r:.60}")
            lists.append(tuple(names))
        if chosen is not None and not lists[0]:
            raise ArgumentError("read_table: columns is empty; 'all' are all of them")
        return Selection(None if chosen is None else lists[0], *lists[1:])

    def kept(self, source: str, names: Collection[str]) -> list[str]:
        """Return those of a file's columns that are read, in its order.

        Raises
        ------
        DataError
            If one that is chosen, or said to be words, is not there, or none is left.
        """
        check_column_names(source, names, (*(self.chosen or ()), *self.words))
        kept = [n for n in names if n not in self.ignore and (self.chosen is None or n in self.chosen)]
        if not kept:
            raise DataError(f"{source}: no column is left; columns: {_listed(names)}")
        return kept

    def ignored(self, names: Collection[str]) -> tuple[str, ...]:
        """Return those of a file's columns that are ignored."""
        return tuple(name for name in names if name in self.ignore)


def columns_of_text(file: Delimited, names: bool | None, selection: Selection) -> Table:
    """Return the columns of a file of fields; `names` as for `read_table`."""
    rows = file.rows("a number or a word")
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file.name}: holds no rows")
    line, fields = first
    named = not any(is_number(field) for field in fields) if names is None else names
    header = names_in(fields) if named else [f"{k}" for k in range(1, len(fields) + 1)]
    for k, name in enumerate(header, 1):
        if not name:
            raise DataError(
                f"{file.name}: line {line}, field {k}: the column has no name; write one (names=False: the first "
                "row is a sample)"
            )
        if header.index(name) != k - 1:
            raise DataError(f"{file.name}: line {line}, field {k}: another column is called {name!r:.60} too")
        if len(header) == 1 and (remedy := file.remedy(name)):
            raise DataError(f"{file.name}: line {line}: a single column, called {name!r:.60}{remedy}")
    chosen = selection.kept(file.name, header)
    kept = {header.index(name): _Column(file, name, name in selection.words) for name in chosen}
    lines = array("q")
    if not named:
        rows = chain([first], rows)
    while part := list(islice(rows, ROWS_AT_A_TIME)):
        numbers = [number for number, _ in part]
        cells = list(zip(*(fields for _, fields in part), strict=True))
        for k, column in kept.items():
            column.extend(cells[k], numbers)
        lines.extend(numbers)
    if not lines:
        raise DataError(f"{file.name}: holds names and no rows")
    columns = {column.name: column.whole() for column in kept.values()}
    ignored = selection.ignored(header)
    return Table(file.name, columns, named=named, ignored=ignored, lines=np.frombuffer(lines, np.int64))


def check_column_names(source: str, names: Collection[str], wanted: Iterable[str]) -> None:
    """Raise an error for the first of the names `wanted` that no column has."""
    for name in wanted:
        if name not in names:
            raise DataError(
                f"{source}: no column is called {name!r}; columns: {_listed(names)}{did_you_mean(name, names)}"
            )


def columns_of_arrays(path: Path, selection: Selection) -> Table:
    """Return the arrays of an NPZ file, or the one of an NPY file, which is called X, as columns."""
    if path.suffix.lower() == ".npy":
        names, arrays = ["X"], {"X": read_npy(path)}
        selection.kept(str(path), names)
    else:
        with read_npz(path) as archive:
            names = list(archive)
            arrays = {name: archive[name] for name in selection.kept(str(path), names)} if names else {}
    return _of_arrays(str(path), arrays, names, selection)


def _of_arrays(source: str, arrays: dict[str, np.ndarray], names: Collection[str], selection: Selection) -> Table:
    """Return a table of arrays, checked, of a file that has columns of these `names`."""
    first = next(iter(arrays.items()), None)
    if first is None:
        raise DataError(f"{source}: holds no arrays")
    columns: dict[str, np.ndarray | Words] = {}
    for name, a in arrays.items():
        if not a.ndim or not a.size or len(a) != len(first[1]):
            raise DataError(
                f"{source}: arrays need one row a sample, and as many: {first[0]} has shape {first[1].shape}, {name} "
                f"{a.shape}"
            )
        if a.dtype.kind == "U" or name in selection.words:
            if a.ndim != 1:
                raise DataError(f"{source}: {name}: expected one word a row, got shape {a.shape}")
            columns[name] = _words_of(source, name, a)
            continue
        if a.dtype.kind not in "fiub":
            raise DataError(f"{source}: {name}: expected numbers or words, got dtype {a.dtype}")
        check_finite(a, f"{source}: {name}")
        columns[name] = a
    return Table(source, columns, ignored=selection.ignored(names))


def _words_of(source: str, name: str, a: np.ndarray) -> Words:
    levels, codes = np.unique(a.astype(str), return_inverse=True)
    column = Words(tuple(str(level).strip() for level in levels), codes.astype(np.int64))
    if "" in column.levels:
        row = int((column.codes == column.levels.index("")).argmax())
        raise DataError(f"{source}: row {row}, column {name!r}: the cell is empty; {LEAVE_OUT}")
    return column if len(set(column.levels)) == len(levels) else Words.of([str(w).strip() for w in a.tolist()])


def columns_of_parquet(path: Path, selection: Selection) -> Table:
    """Return the columns of a Parquet file, read by pyarrow.

    Raises
    ------
    DataError
        Also if pyarrow is not installed, or a column holds something else than numbers, truth values and words.
    """
    try:
        from pyarrow import parquet, types
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; install it by: pip install pyarrow") from None
    with reading(path), opened(path) as file:
        found = parquet.read_table(file)
    arrays: dict[str, np.ndarray] = {}
    for name in selection.kept(str(path), found.column_names):
        column = found.column(name)
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise DataError(f"{path}: row {row}, column {name!r}: the cell is missing; {LEAVE_OUT}")
        kind = column.type
        if types.is_string(kind) or types.is_large_string(kind):
            arrays[name] = np.array(column.to_pylist(), str)
        elif types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
            arrays[name] = column.to_numpy()
        else:
            raise DataError(f"{path}: column {name!r}: expected numbers or words, got {kind}")
    return _of_arrays(str(path), arrays, found.column_names, selection)


def columns_as_numbers(table: Table) -> np.ndarray:
    """Return the columns side by side, float64 of shape (n, n_columns), all of them of one number a row.

    Raises
    ------
    DataError
        If one holds words, or arrays.
    """
    for name, column in table.columns.items():
        if isinstance(column, Words) or column.ndim > 1:
            raise DataError(f"{table.source}: column {name!r}: expected numbers, got {table._described(name)}")
    return np.column_stack([np.asarray(column, np.float64) for column in table.columns.values()])
