"""What a module is called: its label in the module that it is a part of, and its path from the outermost one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import ref

from ..structure import Scope


class _Place(NamedTuple):
    label: str
    owner: ref[Any]
    """The module of which it is a part; held weakly, since a part keeps no network alive."""
    part: ref[Any]


_places: dict[int, _Place] = {}  # by the ids of modules that live; a WeakKeyDictionary takes longer at every call


def place_in(owner: object, label: str, part: object) -> None:
    """Note that `part` is called `label` in `owner`, unless it has a place already, or is itself around `owner`."""
    key = id(part)
    place = _places.get(key)
    if place is not None and place.owner() is not None:
        return
    if all(module is not part for module in _around(owner)):
        _places[key] = _Place(label, ref(owner), ref(part, partial(_forget, key)))


def place_parts(owner: object, parts: Sequence[tuple[str, object]]) -> None:
    """Do the same for all parts of `owner`, given with what they are called now; some may have moved in a list."""
    for label, part in parts:
        place = _places.get(id(part))
        if place is None or place.owner() is None:
            place_in(owner, label, part)
        elif place.label != label and place.owner() is owner and (place.label, part) not in parts:
            _places[id(part)] = place._replace(label=label)


def _forget(key: int, _: ref[object]) -> None:
    """Drop the place of a module that is gone."""
    _places.pop(key, None)


def scope_of(module: object, outer: Scope | None) -> Scope:
    """Return the scope of a call of `module` during the call `outer`."""
    kind = type(module).__name__
    if outer is None:
        return Scope(module, _path(module), kind, None, 1, {module: 1})
    place = _places.get(id(module))
    if place is not None and place.owner() is outer.module:
        name = place.label
    else:  # called by another than its owner
        name = _path(module, outer.module) or _label_in(outer.module, module) or (place.label if place else kind)
    call = outer.calls[module] = outer.calls.get(module, 0) + 1
    return Scope(module, f"{outer.path}.{name}" if outer.path else name, kind, outer, call, outer.calls)


def _around(module: object) -> Iterator[Any]:
    """Yield a module and those that it is a part of, the innermost first."""
    while module is not None:
        yield module
        place = _places.get(id(module))
        module = None if place is None else place.owner()


def _path(module: object, top: object = None) -> str:
    """Return the labels from below `top`, by default the outermost, down to a module; "" if it is not in `top`."""
    chain = list(_around(module))
    below = next((i for i, around in enumerate(chain) if around is top), 0 if top is not None else len(chain) - 1)
    return ".".join([_places[id(part)].label for part in reversed(chain[:below])])


def _label_in(owner: Any, module: Any) -> str | None:
    """Return what a module is called among the parts of another, or None."""
    return next((label for label, child in owner.children() if child is module), None)
