"""How somebody wants to see a graph: the level of detail and the look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypedDict

from ..arguments import check_name, whole
from ..errors import ArgumentError
from .themes import THEMES

LEVELS = ("modules", "rules", "operations", "primitives")
DIRECTIONS = {"down": "TB", "up": "BT", "right": "LR", "left": "RL"}  # as Graphviz calls them
FONT_SIZES = (4, 72)  # points
MEASURED = ("values", "gradients", "dead", "saturated")  # what tensors are looked at for
COLOURS = (*MEASURED, "time", "bytes")


class Options(TypedDict, total=False):
    """What somebody may ask for; see `Graph.render`. Defaults are those of `View`."""

    level: str | None
    depth: int | None
    direction: str
    theme: str
    font_size: float
    color_by: str | None
    values: bool


@dataclass(frozen=True, kw_only=True)
class View:
    """What of a graph is drawn, and how; see `Graph.render`.

    Raises
    ------
    ArgumentError
        For a name that is not known, or a number out of range.
    """

    level: str | None = None
    depth: int | None = None
    direction: str = "down"
    theme: str = "light"
    font_size: float = 11
    color_by: str | None = None
    values: bool = False

    def __post_init__(self) -> None:
        if self.level is not None:
            check_name("level", self.level, LEVELS)
        check_name("direction", self.direction, DIRECTIONS)
        check_name("theme", self.theme, THEMES)
        if self.color_by is not None:
            check_name("color_by", self.color_by, COLOURS)
        if not isinstance(self.values, bool):
            raise ArgumentError(f"values: expected True or False, got {self.values!r:.60}")
        if self.depth is not None:
            depth = whole(self.depth)
            if depth is None or depth < 0:
                raise ArgumentError(f"depth: expected a whole number from 0 on, got {self.depth!r:.60}")
            if self.level not in (None, "modules"):
                raise ArgumentError(f"depth: says how far modules are open; level={self.level!r} has none")
        size = self.font_size
        smallest, largest = FONT_SIZES
        is_number = isinstance(size, int | float) and not isinstance(size, bool)
        if not is_number or not smallest <= size <= largest:
            raise ArgumentError(f"font_size: expected points from {smallest} to {largest}, got {size!r:.60}")

    def changed(self, options: Mapping[str, object]) -> Self:
        """Return the view with other options; `level` and `depth` go together, and None of both changes neither."""
        for name in options:
            check_name("option of a drawing", name, [field.name for field in fields(self)])
        changes: dict[str, Any] = {"level": None, "depth": None, **options}
        if changes["level"] is changes["depth"] is None:
            del changes["level"], changes["depth"]
        return replace(self, **changes)

    @property
    def is_measured(self) -> bool:
        """Whether it shows what only a look at the tensors tells."""
        return self.values or self.color_by in MEASURED

    def level_for(self, has_gradients: bool) -> str:
        """Return the level that is drawn."""
        if self.level is not None:
            return self.level
        if self.depth is not None:
            return "modules"
        return "rules" if has_gradients else "operations"
