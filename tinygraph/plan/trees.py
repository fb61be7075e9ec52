"""Arguments and results as trees: tensors and arrays are leaves; tuples, lists and dicts branch; the rest is fixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import current
from ..tensors import Tensor

LEAF = None  # stands in a structure for a tensor or an array


def is_leaf(x: Any) -> bool:
    """Whether an object is a tensor or an array; a number without axes is not."""
    kind = x.__class__
    return kind is Tensor or ((kind is np.ndarray or isinstance(x, current().array_type)) and len(x.shape) > 0)


def flatten(tree: Any, leaves: list[Any]) -> Any:
    """Append the leaves of `tree` to a list; return all the rest, which is equal for trees that differ in leaves only.

    That is `LEAF`, or the type and what is inside: branches, or a fixed object.
    """
    kind = tree.__class__
    if kind is Tensor or (kind is np.ndarray and tree.ndim) or is_leaf(tree):
        leaves.append(tree)
        return LEAF
    if isinstance(tree, list | tuple):
        return (kind, *[flatten(item, leaves) for item in tree])
    if isinstance(tree, dict):
        return (dict, *[(key, flatten(item, leaves)) for key, item in tree.items()])
    if kind is float:
        return (float, tree.hex())  # 0.0 is equal to -0.0
    return (kind, tree.copy() if kind is np.ndarray else tree)


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """Return the tree with this structure and these leaves, in their order."""
    if structure is LEAF:
        return next(leaves)
    kind, *items = structure
    if kind is dict:
        return {key: unflatten(item, leaves) for key, item in items}
    if issubclass(kind, list | tuple):
        branches = [unflatten(item, leaves) for item in items]
        return kind(*branches) if hasattr(kind, "_fields") else kind(branches)
    return float.fromhex(items[0]) if kind is float else items[0]


def paths(structure: Any, path: str) -> Iterator[str]:
    """Yield for each leaf how it is reached from `path`: ``batch[0]``, ``views.left``."""
    if structure is LEAF:
        yield path
        return
    kind, *items = structure
    if kind is dict:
        for key, item in items:
            yield from paths(item, f"{path}[{key!r}]")
    elif issubclass(kind, list | tuple):
        fields = getattr(kind, "_fields", None)
        for n, item in enumerate(items):
            yield from paths(item, f"{path}[{n}]" if fields is None else f"{path}.{fields[n]}")


def fixed(structure: Any) -> Iterator[Any]:
    """Yield the objects in a structure that are neither leaves nor branches."""
    if structure is LEAF:
        return
    kind, *items = structure
    if kind is dict or issubclass(kind, list | tuple):
        for item in items:
            yield from fixed(item[1] if kind is dict else item)
    else:
        yield items[0]
