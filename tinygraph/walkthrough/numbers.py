"""The numbers of one run: the value of every tensor, the gradient that arrives at it, and what its rule passes on.

Arrays are kept on the host. Of one with more than `LONGEST` rows or columns, the means of blocks are kept, with what
tells that it is a summary: a page is read by a human.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..autodiff import apply_rule
from ..mode import no_grad
from ..record import Run
from ..tensors import Tensor

LONGEST = 32  # rows or columns that are shown one by one
NODES, ELEMENTS = 500, 2_000_000  # of a run up to which a graph keeps its numbers


@dataclass(frozen=True)
class Digest:
    """An array to look at, as rows and columns.

    Attributes
    ----------
    shape : tuple of int
        Of the array itself. One with more than two axes is shown with all but the last as rows; a vector is one row.
    dtype : str
    cells : array of shape (rows, columns)
        The elements; or the means of blocks of `block` elements each, those at the ends of what is left.
    block : (int, int)
        How many rows and columns of the array one cell stands for.
    facts : dict of str to float
        Of all elements: ``min``, ``max``, ``mean``, ``norm``, and ``zeros``, the share that is 0.
    """

    shape: tuple[int, ...]
    dtype: str
    cells: np.ndarray
    block: tuple[int, int]
    facts: dict[str, float]

    @property
    def key(self) -> tuple[object, ...]:
        """What is equal for equal arrays only, as far as they are shown."""
        return self.shape, self.dtype, self.block, self.cells.tobytes(), *map(repr, self.facts.values())  # NaN too


@dataclass
class Numbers:
    """The arrays of one run by the ids of its nodes.

    Attributes
    ----------
    values : dict of int to Digest
        Of every node.
    gradients : dict of int to Digest
        What arrives at a node in the backward pass: the gradient of the output with respect to it, as `tinygraph.grad`
        returns it.
    parts : dict of (int, int) to Digest
        What the rule of an operation passes on to an input: by the ids of the two, its part of the input's gradient.
    """

    values: dict[int, Digest] = field(default_factory=dict)
    gradients: dict[int, Digest] = field(default_factory=dict)
    parts: dict[tuple[int, int], Digest] = field(default_factory=dict)


def is_small(run: Run) -> bool:
    """Return whether the numbers of a run are few enough to be kept by every graph."""
    return len(run.tensors) <= NODES and sum(t.size for t in run.tensors) <= ELEMENTS


def numbers_of(run: Run) -> Numbers:
    """Return the numbers of a run; of the backward pass where the gradients that arrive are part of it."""
    numbers = Numbers()
    places = {t: i for i, t in enumerate(run.tensors)}
    known: dict[int, Digest] = {}  # by array: a gradient is often also the part that one rule has passed on

    def digest_of(t: Tensor) -> Digest:
        if id(t.data) not in known:
            known[id(t.data)] = digest(t.backend.to_host(t.data))
        return known[id(t.data)]

    numbers.values = {i: digest_of(t) for t, i in places.items()}
    numbers.gradients = {places[t]: digest_of(g) for t, g in run.arriving.items()}
    kept = []  # as long as arrays are told apart by their ids
    reached = set(run.arriving)
    with no_grad():
        for t, gradient in run.arriving.items():
            if t.op is not None:
                parts: dict[Tensor, Tensor] = {}
                for x, part in apply_rule(t.op, gradient, t, reached):
                    parts[x] = parts[x] + part if x in parts else part
                kept.append(parts)
                numbers.parts |= {(places[t], places[x]): digest_of(part) for x, part in parts.items()}
    return numbers


def digest(array: np.ndarray) -> Digest:
    """Return an array to look at."""
    table = array.reshape(-1, array.shape[-1]) if array.ndim and array.size else array.reshape(array.size, 1)
    block = tuple(max(1, math.ceil(n / LONGEST)) for n in table.shape)
    wide = table.astype(np.float64) if table.dtype.kind != "f" or table.dtype.itemsize < 8 else table
    with np.errstate(all="ignore"):  # what is not finite is shown as it is
        facts = (
            {}
            if not array.size
            else {
                "min": float(wide.min()),
                "max": float(wide.max()),
                "mean": float(wide.mean()),
                "norm": float(np.sqrt(np.square(wide).sum())),
                "zeros": float((wide == 0).mean()),
            }
        )
        cells = table.copy() if block == (1, 1) else _means(wide, block[0], block[1])
    return Digest(array.shape, str(array.dtype), cells, (block[0], block[1]), facts)


def _means(table: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the means of blocks of so many rows and columns."""
    down, across = range(0, table.shape[0], rows), range(0, table.shape[1], columns)
    sums = np.add.reduceat(np.add.reduceat(table, down, axis=0), across, axis=1)
    heights = np.diff([*down, table.shape[0]])
    widths = np.diff([*across, table.shape[1]])
    means: np.ndarray = sums / np.outer(heights, widths)
    return means
