"""Names a user gives, looked up in a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

from tinygraph.errors import ArgumentError

T = TypeVar("T")


def chosen(what: str, table: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    """Return the entries called `names`, in the table's order; all of them if no name is given.

    Raises
    ------
    ArgumentError
        If a name is not in the table.
    """
    for name in names:
        if name not in table:
            near = get_close_matches(name, list(table), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(f"{what} {name!r} is not known; known: {', '.join(table)}{hint}")
    return {name: entry for name, entry in table.items() if not names or name in names}
