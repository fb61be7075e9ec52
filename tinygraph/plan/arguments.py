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
from .straight import Straight
from .trees import Tree

# What a plan takes for granted of a tensor x, or of an array: the spec of an argument is made of these expressions, and
# so are the lines that compare it.
OF_TENSOR = (
    *("type({x})", "{x}.data.shape", "{x}.data.dtype", "{x}.backend"),
    *("{x}.requires_grad", "{x}.name", "{x}.role", "({x}.op is None)"),
)
OF_ARRAY = "type({x})", "{x}.shape", "{x}.dtype"


Spec = tuple[Hashable, ...]


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
    specs: tuple[Spec, ...]
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
        specs = tuple([_of_tensor(x) if type(x) is Tensor else _of_array(x) for x in leaves])
        return cls(tree, specs, repeats, len(args), tuple(kwargs))

    def split(self, roots: Sequence[object]) -> tuple[Sequence[object], dict[str, object]]:
        """Return positional arguments and those by name out of all in a row."""
        return roots[: self.positional], dict(zip(self.keywords, roots[self.positional :], strict=True))

    def names(self, function: Callable[..., object]) -> list[str]:
        """Return what a function calls its arguments."""
        return [*_positional_names(function, self.positional), *self.keywords]


def _maker(facts: Sequence[str]) -> Callable[[Any], Spec]:
    """Return a function that makes the spec of an argument."""
    return Straight().function("spec", ["_x"], [f"return {', '.join(facts).format(x='_x')}"])


_of_tensor, _of_array = _maker(OF_TENSOR), _maker(OF_ARRAY)


def differs(code: Straight, x: str, spec: Spec) -> str:
    """Return a condition that is true unless the argument named `x` has a spec."""
    facts = OF_TENSOR if spec[0] is Tensor else OF_ARRAY
    return " or ".join(_is_other(code, fact.format(x=x), value) for fact, value in zip(facts, spec, strict=True))


def _is_other(code: Straight, fact: str, value: object) -> str:
    if value is None or isinstance(value, bool):
        return f"{fact} is not {value}"
    if type(value) in (tuple, str):
        return f"{fact} != {value!r}"
    name = code(value, "value")
    return f"{fact} is not {name}" + ("" if isinstance(value, type | Backend) else f" and {fact} != {name}")


def array_type(spec: Spec) -> object:
    """Return the type of an array, or of that of a tensor, which has a spec."""
    backend: Any = spec[3] if spec[0] is Tensor else None
    return spec[0] if backend is None else backend.array_type


def copied(code: Straight, x: str, spec: Spec, array: Any, backend: Backend) -> str:
    """Return the line that writes the argument named `x` to an array of a backend."""
    y = code(array, "array")
    source = f"{x}.data" if spec[0] is Tensor else x
    if array_type(spec) is type(array) is np.ndarray and spec[2] is array.dtype:
        return f"{y}[...] = {source}"  # without the calls that `copyto` makes first
    if spec[0] is not Tensor:
        source = f"{code(array_of, 'array_of')}({x}, {code(backend, 'backend')}, {code(array.dtype, 'dtype')})"
    return f"{code(backend.xp.copyto, 'copyto')}({y}, {source})"


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
