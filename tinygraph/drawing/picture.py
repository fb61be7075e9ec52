"""What is drawn, whatever of a graph it shows and however it will look: items, arrows, frames and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ItemKind = Literal["input", "parameter", "constant", "op", "module", "rule", "gradient", "prediction", "reference"]
ArrowKind = Literal["data", "parameter", "gradient", "value", "pair", "prediction", "below"]


@dataclass(kw_only=True)
class Item:
    """One thing in a picture.

    Attributes
    ----------
    id : str
        What arrows call it.
    kind : str
        Decides shape and colour.
    lines : sequence of str
        What stands in it.
    hint : sequence of str
        What is shown when a reader points at it.
    frame : int or None
        The frame it stands in.
    is_output : bool
        Whether it was asked for; drawn with a thicker line.
    is_backward : bool
        Whether it belongs to the backward pass; drawn dashed.
    is_frozen : bool
        Whether it is, or is made of, parameters that no training changes.
    nodes, gives : sequence of int
        The ids of the nodes of a graph that it stands for, and of those among them that are used elsewhere.
    folded : sequence of int
        The ids of the nodes of equal blocks, drawn once, that it stands for besides.
    shade : int or None
        Which colour of a scale it has, from 0 on; `themes.NOT_FINITE` for what has no place there. None: that of its
        kind, or none if the picture has a legend.
    """

    id: str
    kind: ItemKind
    lines: Sequence[str]
    hint: Sequence[str]
    frame: int | None = None
    is_output: bool = False
    is_backward: bool = False
    is_frozen: bool = False
    nodes: Sequence[int] = ()
    gives: Sequence[int] = ()
    folded: Sequence[int] = ()
    shade: int | None = None


@dataclass(frozen=True)
class Arrow:
    """From one item to another.

    Attributes
    ----------
    source, target : str
        Ids of items.
    kind : str
        "data" and "parameter": what an operation is applied to. "gradient": a step of the backward pass, laid out
        upwards. "value": what a gradient is computed from besides gradients. "pair": an operation and its rule.
        "prediction": to what only `predict` applies. "below": not drawn; the target stands below the source.
    is_trunk : bool
        Whether it is part of the longest way through the graph, which is drawn straight.
    """

    source: str
    target: str
    kind: ArrowKind
    is_trunk: bool = False


@dataclass
class Frame:
    """A box around items.

    Attributes
    ----------
    id : int
    title : str
        In its corner.
    hint : str
        What is shown when a reader points at it.
    parent : int or None
        The frame around it, which comes before it.
    """

    id: int
    title: str
    hint: str
    parent: int | None


@dataclass(frozen=True)
class Legend:
    """What colours tell.

    Attributes
    ----------
    title : str
    classes : sequence of (int, str)
        For every colour, as in `Item.shade`, the amount from which on it is used.
    end : str
        The largest amount.
    """

    title: str
    classes: Sequence[tuple[int, str]]
    end: str


@dataclass
class Picture:
    """A picture.

    Attributes
    ----------
    items : list of Item
    arrows : list of Arrow
    frames : list of Frame
    rows : list of list of str
        Ids of items that stand at one height, from left to right.
    backward_apart : bool
        Whether the backward items of a frame keep together.
    legend : Legend or None
        What the colours of items tell, if not their kinds.
    """

    items: list[Item] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    backward_apart: bool = False
    legend: Legend | None = None
