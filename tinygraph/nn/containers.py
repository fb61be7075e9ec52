"""Modules around modules: a block beside its input, and blocks side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from ..arguments import choose
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor
from ..ops.elementwise import add, multiply
from ..ops.shape import concatenate
from ..tensors import Tensor
from .module import Module

Block = Module | Callable[[Any], Any]
Combine = Callable[[Sequence[Tensor]], Tensor]


def _concatenated(results: Sequence[Tensor]) -> Tensor:
    return concatenate(results, axis=-1)


def _added(results: Sequence[Tensor]) -> Tensor:
    return reduce(add, results)


def _multiplied(results: Sequence[Tensor]) -> Tensor:
    return reduce(multiply, results)


COMBINATIONS: dict[str, Combine] = {"concatenate": _concatenated, "add": _added, "multiply": _multiplied}


class Residual(Module):
    """A block whose result is added to its input, ``x + block(x)`` (He, Zhang, Ren and Sun 2016).

    Parameters
    ----------
    block : Module or callable
        Keeps the shape, unless `shortcut` makes the same of it. For several layers a `Sequential`.
    shortcut : Module or callable, optional
        What the input passes in the other branch, such as ``nn.Dense(64, 32, bias=False)`` where the block changes the
        number of nodes; by default nothing.
    """

    def __init__(self, block: Block, shortcut: Block | None = None) -> None:
        for name, part in (("block", block), ("shortcut", shortcut)):
            if part is not None and not callable(part):
                raise ArgumentError(f"Residual: {name} must be a module or a function, got {part!r}")
        self.block, self.shortcut = block, shortcut

    def forward(self, x: Any) -> Tensor:
        """Return ``x + block(x)`` for `x` of shape (B, ...).

        Raises
        ------
        ShapeError
            If the two branches give different shapes.
        """
        x = as_tensor(x)
        beside = x if self.shortcut is None else self.shortcut(x)
        y = self.block(x)
        if y.shape != beside.shape:
            remedy = ", shortcut= takes a module that gives the input this shape" if self.shortcut is None else ""
            raise ShapeError(f"Residual: the block gives shape {y.shape}, beside it is {beside.shape}{remedy}")
        return add(beside, y)


class Parallel(Module):
    """Modules that all get the same input, and their results in one.

    Parameters
    ----------
    *blocks : Module or callable
        They are called "blocks.0", "blocks.1", ... in paths.
    combine : {"concatenate", "add", "multiply"} or callable
        How: one behind the other along the last axis, their sum, their product element by element; or a function of
        the list of results.

    Attributes
    ----------
    blocks : list
    """

    def __init__(self, *blocks: Block, combine: str | Combine = "concatenate") -> None:
        if not blocks:
            raise ArgumentError("Parallel: expected at least one module or function, got none")
        for i, block in enumerate(blocks):
            if not callable(block):
                raise ArgumentError(f"Parallel: argument {i} must be a module or a function, got {block!r}")
        self.blocks = list(blocks)
        self.combine = combine
        self._combine = combine if callable(combine) else choose("combine", combine, COMBINATIONS)

    def forward(self, *inputs: Any) -> Tensor:
        """Return the combined results of the blocks, each called on the same inputs."""
        return self._combine([block(*inputs) for block in self.blocks])

    def describe(self) -> str:
        """Return how results are combined."""
        return f"combine={getattr(self.combine, '__name__', self.combine)!r}"
