"""Colours for the screen, for a dark one, and for print.

Kinds of items differ in shape and in line as well, and their lines stay apart for readers who see no red or no green.
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
    ),
}
