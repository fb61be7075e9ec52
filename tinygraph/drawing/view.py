"""How somebody wants to see a graph: the level of detail and the look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..arguments import check_name, whole
from ..errors import ArgumentError
from .themes import THEMES

LEVELS = ("modules", "rules", "operations", "primitives")
DIRECTIONS = {"down": "TB", "up": "BT", "right": "LR", "left": "RL"}  # as Graphviz calls them
FONT_SIZES = (4, 72)  # points


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

    def __post_init__(self) -> None:
        if self.level is not None:
            check_name("level", self.level, LEVELS)
        check_name("direction", self.direction, DIRECTIONS)
        check_name("theme", self.theme, THEMES)
        if self.depth is not None:
            depth = whole(self.depth)
            if depth is None or depth < 0:
                raise ArgumentError(f"depth: expected a whole number from 0 on, got {self.depth!r:.60}")
            if self.level not in (None, "modules"):
                raise ArgumentError(f"depth: says how far modules are open; level={self.level!r} has none")
        size = self.font_size
        smallest, largest = FONT_SIZES
        is_number = isinstance(size, int | float) and not isinstance(size, bool) and math.isfinite(size)
        if not is_number or not smallest <= size <= largest:
            raise ArgumentError(f"font_size: expected points from {smallest} to {largest}, got {size!r:.60}")

    def level_for(self, has_gradients: bool) -> str:
        """Return the level that is drawn."""
        if self.level is not None:
            return self.level
        if self.depth is not None:
            return "modules"
        return "rules" if has_gradients else "operations"
