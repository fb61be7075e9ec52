"""Groups of parameters that an optimiser treats with settings of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..arguments import check_name
from ..errors import ArgumentError
from ..tensors import Tensor

Check = Callable[[str, Any], Any]


@dataclass(eq=False)
class Group:
    """Parameters, and by name the settings that hold for them in the place of the optimiser's."""

    params: list[Tensor]
    settings: dict[str, Any]

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"Group({len(self.params)} parameters{settings})"


def grouped(optimizer: str, params: object, checks: Mapping[str, Check]) -> list[Group]:
    """Return the groups of `params`, which are parameters or dicts; see `Optimizer`.

    Parameters
    ----------
    optimizer : str
        The name that errors begin with.
    params : iterable
    checks : dict of str to callable
        What makes a setting of what was given for it, or raises an error that begins with its first argument.

    Raises
    ------
    ArgumentError
        If there is no parameter, one is not a floating leaf or is in two groups, or a setting is not known.
    """
    given = [params] if isinstance(params, Mapping) else _listed(params)
    if not any(isinstance(item, Mapping) for item in given):
        return [Group(_leaves(optimizer, given), {})]
    groups, where = [], dict[Tensor, int]()
    for k, item in enumerate(given):
        name = f"{optimizer}: group {k}"
        if not isinstance(item, Mapping):
            raise ArgumentError(f"{name}: expected a dict as the other groups are, got {item!r:.80}")
        settings = {key: value for key, value in item.items() if key != "params"}
        for key in settings:
            check_name(f"{name}: setting", key, ("params", *checks))
        leaves = _leaves(name, item.get("params", ()))
        for p in leaves:
            if p in where:
                told = "a parameter" if p.name is None else f"parameter {p.name!r}"
                raise ArgumentError(f"{name}: {told} of shape {p.shape} is in group {where[p]} already; name it once")
            where[p] = k
        groups.append(Group(leaves, {key: checks[key](f"{name}: {key}", value) for key, value in settings.items()}))
    return groups


def _listed(x: object) -> list[object]:
    return list(x) if isinstance(x, Iterable) and not isinstance(x, Tensor) else [x]


def _leaves(name: str, params: object) -> list[Tensor]:
    """Return `params`, a parameter or some, each once, or raise an error that begins with `name`."""
    leaves: dict[Tensor, None] = {}
    for p in _listed(params):
        if not isinstance(p, Tensor) or p.op is not None or p.dtype.kind != "f":
            raise ArgumentError(f"{name}: expected floating leaves, got {p!r:.80}")
        leaves[p] = None
    if not leaves:
        raise ArgumentError(f"{name}: expected parameters, got none")
    return list(leaves)
