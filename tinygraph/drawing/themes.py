"""Colours for the screen, for a dark one, and for print.

Kinds of items differ in shape and in line as well, and their lines stay apart for readers who see no red or no green.

Amounts are shown by ColorBrewer's YlGnBu (Harrower and Brewer, 2003), from light to dark and on a dark screen from dark
to light, whose steps stay apart for readers who see no red, no green or no blue; in print by greys.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """The colours of a picture; of items the pairs (fill, line)."""

    background: str
    ink: str
    muted: str
    faint: str
    frames: tuple[str, str]
    """Fills of frames, by depth in turns."""
    frame_line: str
    backward: str
    """Behind the gradients of a frame."""
    input: tuple[str, str]
    parameter: tuple[str, str]
    constant: tuple[str, str]
    op: tuple[str, str]
    module: tuple[str, str]
    output: tuple[str, str]
    gradient: tuple[str, str]
    scale: tuple[str, ...]
    """Fills for amounts, from small to large, in `SHADES` steps."""
    not_finite: str
    """The fill for an amount that is infinite or no number."""


SHADES = 7
NOT_FINITE = -1  # in the place of a step of the scale
YELLOW_TO_BLUE = ("#EDF8B1", "#C7E9B4", "#7FCDBB", "#41B6C4", "#1D91C0", "#225EA8", "#253494")
GREYS = ("#FFFFFF", "#E0E0E0", "#BDBDBD", "#969696", "#737373", "#525252", "#252525")


def fill_of(shade: int, theme: Theme) -> str:
    """Return the fill for a step of the scale, or for `NOT_FINITE`."""
    return theme.not_finite if shade == NOT_FINITE else theme.scale[shade]


def ink_on(fill: str) -> str:
    """Return black or white, whichever stands out more on a colour ``#RRGGBB``: by 4.5 to 1 at least (WCAG 2)."""
    parts = [int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    luminance = sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#FFFFFF"


THEMES = {
    "light": Theme(
        background="white",
        ink="#1F2933",
        muted="#52606D",
        faint="#9AA5B1",
        frames=("#F5F7FA", "#E9EDF2"),
        frame_line="#CBD2D9",
        backward="#FCF6FA",
        input=("#DCEBFA", "#2F6DA8"),
        parameter=("#FCEBC8", "#B07A12"),
        constant=("#EEF0F2", "#9AA5B1"),
        op=("#FFFFFF", "#7B8794"),
        module=("#E9EDF2", "#52606D"),
        output=("#D5F0E4", "#0B7A55"),
        gradient=("#F9E6F1", "#A23B79"),
        scale=YELLOW_TO_BLUE,
        not_finite="#D55E00",
    ),
    "dark": Theme(
        background="#14181D",
        ink="#EEF1F4",
        muted="#B8C2CC",
        faint="#7B8794",
        frames=("#1B2128", "#242C35"),
        frame_line="#3E4C59",
        backward="#241A22",
        input=("#16324C", "#6CB2F2"),
        parameter=("#3D2F10", "#E5B04A"),
        constant=("#2A323B", "#7B8794"),
        op=("#20272F", "#9AA5B1"),
        module=("#2C353F", "#B8C2CC"),
        output=("#0F3A2B", "#3FC994"),
        gradient=("#3B1B31", "#E486BF"),
        scale=YELLOW_TO_BLUE[::-1],
        not_finite="#D55E00",
    ),
    "print": Theme(
        background="white",
        ink="black",
        muted="black",
        faint="#767676",
        frames=("white", "white"),
        frame_line="#767676",
        backward="white",
        input=("white", "black"),
        parameter=("#E4E4E4", "black"),
        constant=("white", "#767676"),
        op=("white", "black"),
        module=("#F0F0F0", "black"),
        output=("white", "black"),
        gradient=("white", "#595959"),
        scale=GREYS,
        not_finite="#FFFFFF",
    ),
}
