"""The passes: functions from program to program that keep its results and make it cheaper.

Each has a name and can be turned off by it; that changes speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..program import Program
from .dead_code import remove_dead_code
from .early_updates import move_updates_forward
from .fusion import fuse_elementwise
from .lowering import lower
from .products import fold_products
from .simplify import SHARING, simplify

IN_PLACE = "in place"  # the last: whether results may be written over inputs that are read for the last time
FIRST_SWEEP = ("constant folding", SHARING, "transposes")
SECOND_SWEEP = ("single rows", SHARING)  # a product wants sums as they are
Pass = Callable[[Program, Collection[str]], Program]


def _one(name: str, apply: Callable[[Program], Program]) -> tuple[tuple[str, ...], Pass]:
    return (name,), lambda program, _: apply(program)


PASSES: tuple[tuple[tuple[str, ...], Pass], ...] = (
    _one("dead code", remove_dead_code),
    _one("lowering", lower),
    (FIRST_SWEEP, simplify),
    _one("dead code", remove_dead_code),
    _one("products", fold_products),
    (SECOND_SWEEP, simplify),
    _one("dead code", remove_dead_code),
    _one("early updates", move_updates_forward),
    _one("fusion", fuse_elementwise),
)
NAMES: tuple[str, ...] = (*dict.fromkeys(name for names, _ in PASSES for name in names), IN_PLACE)


def rewrite(program: Program, names: Collection[str]) -> Program:
    """Return the program after the passes called `names`, in the order of `PASSES`."""
    for pass_names, apply in PASSES:
        chosen = [name for name in pass_names if name in names]
        if chosen:
            program = apply(program, chosen)
    return program
