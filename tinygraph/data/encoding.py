"""From the columns of a table to the arrays that a network takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import check_name
from ..errors import ArgumentError, DataError
from .checks import one_hot
from .columns import Table, Words, check_column_names
from .images import as_coloured

TASKS = ("classes", "numbers")
FEW_CLASSES = 20  # different whole numbers in a target that are taken for classes
ROWS_A_CLASS = 5  # how many rows there are then, at least, for each
FEW_WORDS = 20  # so many words tell nothing about whether they are names of single rows

Label = str | int | float


@dataclass(frozen=True)
class Feature:
    """A column of inputs.

    Attributes
    ----------
    name : str
    levels : tuple of str, or None
        The words that have an indicator column each; None for numbers.
    shape : tuple of int
        Of the numbers of one row: () for one, (height, width) for an image.
    """

    name: str
    levels: tuple[str, ...] | None
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many inputs it makes."""
        return len(self.levels) if self.levels is not None else int(np.prod(self.shape, dtype=int))


class TableEncoder:
    """What becomes of the columns of a table: numbers stay, words become indicator columns, a target classes.

    Calling it on a table gives the arrays ``(X, Y)``; on a table without the target, `inputs` gives `X`. Columns are
    found by their names, or by their places in a table without names, which has all of them or those of the inputs
    alone. Numbers are not scaled: see `Standardizer`.

    Parameters
    ----------
    table : Table
        With all words, and all classes.
    target : str
        The column to be predicted.
    task : {"classes", "numbers"}, optional
        What the target holds. By default words and truth values are classes, and so are whole numbers of which there
        are at most 20 different ones, each in 5 rows on average.

    Attributes
    ----------
    features : tuple of Feature
    target : str
    classes : tuple of str or int or float, or None
        The labels, sorted; None if the target holds numbers.
    n_columns : int or None
        How many columns a table without names has, with the target and those that were ignored; None if it has names.

    Raises
    ------
    DataError
        If a column is not there; the target has one value only, or words that are nearly all different; or an input
        column has such words.
    ArgumentError
        If `task` is something else, does not fit the target, or no column is left as an input.

    Examples
    --------
    >>> from tinygraph.data import Words
    >>> table = Table("t", {"area": np.array([30.0, 50.0]), "town": Words.of(["Ulm", "Bonn"]), "rent": np.arange(2.0)})
    >>> encoder = TableEncoder(table, "rent")
    >>> encoder.names
    ('area', 'town=Bonn', 'town=Ulm')
    >>> X, Y = encoder(table)
    >>> X.tolist(), Y.tolist()
    ([[30.0, 0.0, 1.0], [50.0, 1.0, 0.0]], [[0.0], [1.0]])
    """

    def __init__(self, table: Table, target: str, *, task: str | None = None) -> None:
        if task is not None:
            check_name("task", task, TASKS)
        check_column_names(table.source, table.names, [target])
        inputs = [name for name in table.names if name != target]
        if not inputs:
            raise ArgumentError(f"{table.source}: no column is left as an input beside the target {target!r}")
        self.target = target
        self.n_columns = None if table.named else len(table.names) + len(table.ignored)
        self.features = tuple(_feature(table, name) for name in inputs)
        self.classes = _classes(table, target, task)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of `X` are called: by their column, with the word of an indicator or the place in an array.

        Such as "area", "town=Ulm", "image[0, 3]".
        """
        names: list[str] = []
        for f in self.features:
            if f.levels is not None:
                names += [f"{f.name}={level}" for level in f.levels]
            else:
                names += [f"{f.name}{list(at)}" if at else f.name for at in np.ndindex(f.shape)]
        return tuple(names)

    @property
    def indicators(self) -> np.ndarray:
        """Which columns of `X` are indicators of words, bool of shape (M,)."""
        return np.repeat([f.levels is not None for f in self.features], [f.size for f in self.features])

    @property
    def n_inputs(self) -> int:
        """M, the number of columns of `X`."""
        return sum(f.size for f in self.features)

    @property
    def n_outputs(self) -> int:
        """How many outputs a network has: one a class, or one number."""
        return 1 if self.classes is None else len(self.classes)

    def __call__(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(X, Y)``, see `inputs` and `targets`."""
        return self.inputs(table), self.targets(table)

    def inputs(self, table: Table) -> np.ndarray:
        """Return `X` of shape (n, M): float64 of numbers, float32 of what is smaller, such as pixels.

        Raises
        ------
        DataError
            If a column is not there, holds another kind of thing, or a word that is not known; with its place.
        """
        columns = [self._column(table, k, f) for k, f in enumerate(self.features)]
        parts = [_indicated(table, f, column) for f, column in zip(self.features, columns, strict=True)]
        return np.concatenate(parts, axis=1)

    def _column(self, table: Table, k: int, feature: Feature) -> np.ndarray | Words:
        """Return the column of a feature, the `k`-th."""
        if table.named or len(table.names) + len(table.ignored) == self.n_columns:
            return table.column(feature.name)
        if len(table.names) == len(self.features):
            return table.column(table.names[k])
        whole = "" if self.n_columns is None else f", or all {self.n_columns}"
        raise DataError(
            f"{table.source}: expected {len(self.features)} columns, those of the inputs{whole}; got "
            f"{len(table.names)} without names"
        )

    def targets(self, table: Table) -> np.ndarray:
        """Return `Y`: indices of classes, int64 of shape (n,), or numbers, float64 of shape (n, 1).

        Raises
        ------
        DataError
            If there is no target, or it holds something else, or a class that is not known; with its place.
        """
        column = table.column(self.target)
        if self.classes is None:
            if isinstance(column, Words) or column.ndim > 1:
                raise DataError(f"{table.source}: column {self.target!r}: expected a number a row")
            return np.asarray(column, np.float64)[:, None]
        if isinstance(column, Words):
            values: list[Any] = list(column.levels)
            codes = column.codes
        else:
            unique, codes = np.unique(column, return_inverse=True)
            values = [_plain(value) for value in unique.tolist()]
        known = {label: k for k, label in enumerate(self.classes)}
        for k, value in enumerate(values):
            if value not in known:
                raise _unknown(table, int((codes == k).argmax()), self.target, value, self.classes)
        places: np.ndarray = np.array([known[value] for value in values], np.int64)[codes]
        return places

    def state(self) -> dict[str, object]:
        """Return all of it as JSON can hold it."""
        features = [[f.name, f.levels and list(f.levels), list(f.shape)] for f in self.features]
        classes = None if self.classes is None else list(self.classes)
        return {"target": self.target, "columns": self.n_columns, "features": features, "classes": classes}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TableEncoder:
        """Return the encoder that `state` told about itself.

        Raises
        ------
        DataError
            If it is something else.
        """
        encoder = cls.__new__(cls)
        try:
            encoder.target, encoder.n_columns = str(state["target"]), state["columns"] and int(state["columns"])
            encoder.features = tuple(
                Feature(str(name), None if levels is None else tuple(map(str, levels)), tuple(map(int, shape)))
                for name, levels, shape in state["features"]
            )
            classes = state["classes"]
            encoder.classes = None if classes is None else tuple(classes)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not the state of a TableEncoder ({type(error).__name__}: {error})") from None
        return encoder


def _feature(table: Table, name: str) -> Feature:
    column = table.column(name)
    if not isinstance(column, Words):
        return Feature(name, None, column.shape[1:])
    if _are_all_different(column):
        raise DataError(
            f"{table.source}: column {name!r}: {len(column.levels)} different words in {len(column)} rows are names, "
            "not features; leave the column out"
        )
    return Feature(name, column.levels)


def _are_all_different(column: Words) -> bool:
    return len(column.levels) > max(FEW_WORDS, len(column) / 2)


def _classes(table: Table, target: str, task: str | None) -> tuple[Label, ...] | None:
    """Return the labels in the target, or None if it holds numbers."""
    column = table.column(target)
    where = f"{table.source}: column {target!r}"
    if isinstance(column, Words):
        if task == "numbers":
            raise ArgumentError(f"{where} holds words, such as {column.levels[0]!r:.60}: they are classes")
        if _are_all_different(column):
            raise DataError(f"{where}: {len(column.levels)} different words in {len(column)} rows are no classes")
        values: tuple[Any, ...] = column.levels
    else:
        if column.ndim > 1:
            raise DataError(f"{where}: expected a number or a word a row, got shape {column.shape}")
        unique = np.unique(column)
        values = tuple(_plain(value) for value in unique.tolist()) if len(unique) <= len(column) / 2 else ()
        few = 0 < len(unique) <= min(FEW_CLASSES, len(column) / ROWS_A_CLASS)
        whole = column.dtype.kind != "f" or bool(np.all(unique == np.round(unique)))
        if task == "numbers" or (task is None and not (column.dtype.kind == "b" or (few and whole))):
            if len(unique) == 1:
                raise DataError(f"{where}: {_plain(unique.tolist()[0])!r} in every row; there is nothing to learn")
            return None
        if not values:
            raise DataError(f"{where}: {len(unique)} different numbers in {len(column)} rows are no classes")
    if len(values) == 1:
        raise DataError(f"{where}: {values[0]!r} in every row; a decision needs two classes or more")
    return values


def _plain(value: object) -> Any:
    """Return a number as one is written: 3, not 3.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _indicated(table: Table, feature: Feature, column: np.ndarray | Words) -> np.ndarray:
    """Return the inputs that a column makes, shape (n, size)."""
    name = feature.name
    if feature.levels is None:
        if isinstance(column, Words):
            raise DataError(f"{table.where(0, name)}: expected a number, got {column.levels[column.codes[0]]!r:.60}")
        if len(feature.shape) == 3 and column.ndim == 3 and feature.shape[2] == 3:
            column = np.stack([as_coloured(pixels) for pixels in column])
        if column.shape[1:] != feature.shape:
            raise DataError(
                f"{table.source}: column {name!r}: expected numbers of shape {feature.shape} a row, got "
                f"{column.shape[1:]}"
            )
        numbers = column.reshape(len(column), -1)
        return numbers.astype(np.result_type(numbers.dtype, np.float32), copy=False)
    if not isinstance(column, Words):
        raise DataError(f"{table.where(0, name)}: expected a word such as {feature.levels[0]!r:.60}, got a number")
    places = {level: k for k, level in enumerate(feature.levels)}
    for k, word in enumerate(column.levels):
        if word not in places:
            raise _unknown(table, int((column.codes == k).argmax()), name, word, feature.levels)
    levels = np.array([places[word] for word in column.levels], np.int64)
    return one_hot(levels[column.codes], len(feature.levels))


def _unknown(table: Table, row: int, name: str, value: object, known: Collection[object]) -> DataError:
    listed = ", ".join(str(k) for k in list(known)[:10]) + ", ..." * (len(known) > 10)
    return DataError(f"{table.where(row, name)}: {value!r:.60} is not known; known: {listed}")
