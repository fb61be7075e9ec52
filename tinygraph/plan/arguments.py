"""What a compiled function is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Backend
from ..errors import CompileError
from ..tensors import Tensor
from ..typing import Array, DType
from .trees import Tree


class Arguments(NamedTuple):
    """The arguments of one call.

    Attributes
    ----------
    tree : Tree
        Of the positional arguments and then of those by name.
    specs : tuple
        What a plan takes for granted of each tensor and array.
    repeats : tuple of int or None
        For each of them the position of the first that is the same object; None if all differ.
    positional : int
        How many arguments are positional.
    keywords : tuple of str
        The names of the others.
    """

    tree: Tree
    specs: tuple[Hashable, ...]
    repeats: tuple[int, ...] | None
    positional: int
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Arguments:
        """Look through the arguments of a call."""
        tree = Tree((*args, *kwargs.values()) if kwargs else args)
        leaves = tree.leaves
        repeats = None
        if len(leaves) > 1 and len(set(map(id, leaves))) < len(leaves):
            first: dict[int, int] = {}
            repeats = tuple(first.setdefault(id(x), n) for n, x in enumerate(leaves))
        return cls(tree, tuple([_spec(x) for x in leaves]), repeats, len(args), tuple(kwargs))

    def split(self, roots: Sequence[object]) -> tuple[Sequence[object], dict[str, object]]:
        """Return positional arguments and those by name out of all in a row."""
        return roots[: self.positional], dict(zip(self.keywords, roots[self.positional :], strict=True))

    def names(self, function: Callable[..., object]) -> list[str]:
        """Return what a function calls its arguments."""
        return [*_positional_names(function, self.positional), *self.keywords]


def _spec(x: Tensor | Array) -> Hashable:
    """Return what must be the same of a tensor or an array for a plan to fit."""
    if type(x) is Tensor:
        return x.data.shape, x.data.dtype, x.backend, x.requires_grad, x.name, x.role, x.op is None
    return x.shape, x.dtype, type(x)


def array_of(x: Any, backend: Backend, dtype: DType) -> Array:
    """Return the array of an argument, on a backend."""
    if isinstance(x, Tensor):
        return x.data
    own: Array | None = x if type(x) is backend.array_type else None
    return own if own is not None and own.dtype is dtype else backend.asarray(np.asarray(x, dtype))


def check_unchanged(before: Tree, after: Tree, names: Sequence[str]) -> None:
    """Raise an error if the function changed an argument that is no tensor: a list, a dict, a set."""
    if before.tokens != after.tokens or any(a is not b for a, b in zip(before.leaves, after.leaves, strict=True)):
        paths, others = before.paths(names), iter(after.tokens)
        changed = next((path for path, t in zip(paths, before.tokens, strict=True) if t != next(others, t)), paths[0])
        raise CompileError(
            f"compile: the function changes its argument {changed!r}; a replay would not: return the new value instead"
        )


def _positional_names(function: Callable[..., object], count: int) -> list[str]:
    """Return what a function calls its first `count` arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a function written in C may not tell
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    return [*names, *(f"{rest}[{i}]" for i in range(count - len(names)))][:count]
