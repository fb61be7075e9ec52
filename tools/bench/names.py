"""Names a user gives, looked up in a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from tinygraph.arguments import check_name

T = TypeVar("T")


def chosen(kind: str, table: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    """Return the part of `table` called `names`, in the table's order; all of them if no name is given.

    Raises
    ------
    ArgumentError
        If a name is not in the table.
    """
    for name in names:
        check_name(kind, name, table)
    return {name: value for name, value in table.items() if not names or name in names}
