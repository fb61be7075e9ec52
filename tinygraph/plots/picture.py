"""A Matplotlib figure that shows itself in a notebook, without pyplot and its windows."""

from __future__ import annotations

from matplotlib.figure import Figure

from .canvas import image


class Picture(Figure):
    """A figure whose value in a notebook is its picture."""

    def _repr_svg_(self) -> str:
        text = image(self).decode()
        return text[text.index("<svg") :]
