"""Names in the place of long arrows: of what is used again and again, as the weights of an unrolled recurrence.

A fan of arrows through a whole picture cannot be followed by a reader, and laying it out takes time that grows with
the square of its size. So far uses show the name of what they use, as a small item of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .picture import Arrow, Item, Picture

MANY = 6  # uses from which on far ones are replaced
FAR = 6  # steps between two uses


def with_references(picture: Picture) -> Picture:
    """Return a picture in which far uses of what is used often are references."""
    height = _heights(picture)
    frames = {item.id: item.frame for item in picture.items}
    uses: dict[tuple[str, bool], list[Arrow]] = defaultdict(list)  # by what is used, or is a sum of many gradients
    for arrow in picture.arrows:
        if arrow.kind != "pair" and arrow.kind != "below":
            backward = arrow.kind == "gradient"
            uses[arrow.target if backward else arrow.source, backward].append(arrow)
    far: dict[Arrow, str] = {}
    for (name, backward), arrows in uses.items():
        if len(arrows) > MANY:
            users = [arrow.source if backward else arrow.target for arrow in arrows]
            nearest = min(height[user] for user in users)
            far |= {a: name for a, user in zip(arrows, users, strict=True) if height[user] > nearest + FAR}
    if not far:
        return picture
    marks = _marks(picture.items, far.values())
    items = [replace(i, lines=[marks[i.id], *i.lines[1:]]) if i.id in marks else i for i in picture.items]
    arrows = []
    for k, arrow in enumerate(picture.arrows):
        used = far.get(arrow)
        if used is None:
            arrows.append(arrow)
            continue
        backward = arrow.kind == "gradient"
        user = arrow.source if backward else arrow.target
        items.append(_reference(k, marks[used], frames[user], backward))
        ends = (arrow.source, f"ref{k}") if backward else (f"ref{k}", arrow.target)
        arrows.append(Arrow(*ends, arrow.kind))
    return replace(picture, items=items, arrows=arrows)


def _reference(number: int, name: str, frame: int | None, backward: bool) -> Item:
    hint = [f"{name}, which is drawn elsewhere"]
    return Item(id=f"ref{number}", kind="reference", lines=[name], hint=hint, frame=frame, is_backward=backward)


def _heights(picture: Picture) -> Mapping[str, int]:
    """Return how many steps from the beginning of the forward pass an item stands, as late as its uses allow.

    What stands in a row has one height.
    """
    below: dict[str, list[str]] = defaultdict(list)
    open_ends: Counter[str] = Counter()
    for arrow in picture.arrows:
        if arrow.kind in ("data", "parameter", "value"):
            below[arrow.source].append(arrow.target)
            open_ends[arrow.target] += 1
    height = {item.id: 0 for item in picture.items}
    order = [name for name in height if not open_ends[name]]
    for source in order:  # which grows meanwhile
        for target in below[source]:
            height[target] = max(height[target], height[source] + 1)
            open_ends[target] -= 1
            if not open_ends[target]:
                order.append(target)
    for name in reversed(order):
        height[name] = min((height[target] - 1 for target in below[name]), default=height[name])
    for row in picture.rows:
        highest = max(height[name] for name in row)
        height |= dict.fromkeys(row, highest)
    return height


def _marks(items: Sequence[Item], used: Iterable[str]) -> dict[str, str]:
    """Return what items are called by references: their first line, with a number where that is no name."""
    names = set(used)
    lines = Counter(item.lines[0] for item in items)
    marks: dict[str, str] = {}
    for item in items:
        if item.id in names:
            number = f"  [{len(marks) + 1}]" if lines[item.lines[0]] > 1 else ""
            marks[item.id] = item.lines[0] + number
    return marks
