"""Draw a graph: from its record to a picture in words, from that to DOT, from DOT to a file.

What is drawn is decided in `levels.py` and `modules.py`, which make a `Picture` (`picture.py`); `amounts.py` adds what
was measured, and `references.py` shortens it. How it looks is decided in `dot.py` and `themes.py`, which know nothing
of graphs. `renderers.py` has it painted.
"""

from .output import draw, render, to_dot
from .view import LEVELS, Options, View

__all__ = ["LEVELS", "Options", "View", "draw", "render", "to_dot"]
