"""The passes: functions from program to program that keep its results and make it cheaper.

Each has a name and can be turned off by it; that changes speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..program import Program
from .bias import fold_bias
from .common_subexpressions import share_common_subexpressions
from .constant_folding import fold_constants
from .dead_code import remove_dead_code
from .dots import fold_dots
from .early_updates import move_updates_forward
from .elementwise_chains import chain_elementwise
from .lowering import lower
from .single_rows import view_single_rows
from .transposes import fold_transposes
from .updates import fold_updates

PASSES: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("dead code", remove_dead_code),
    ("lowering", lower),
    ("constant folding", fold_constants),
    ("common subexpressions", share_common_subexpressions),
    ("transposes", fold_transposes),
    ("dead code", remove_dead_code),
    ("updates", fold_updates),
    ("bias", fold_bias),
    ("dots", fold_dots),
    ("single rows", view_single_rows),
    ("common subexpressions", share_common_subexpressions),
    ("dead code", remove_dead_code),
    ("early updates", move_updates_forward),
    ("elementwise chains", chain_elementwise),
)
IN_PLACE = "in place"  # the last: whether results may be written over inputs that are read for the last time
NAMES: tuple[str, ...] = tuple(dict.fromkeys([name for name, _ in PASSES] + [IN_PLACE]))


def rewrite(program: Program, names: Collection[str]) -> Program:
    """Return the program after the passes called `names`, in the order of `PASSES`."""
    for name, apply in PASSES:
        if name in names:
            program = apply(program)
    return program
