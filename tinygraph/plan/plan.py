"""A plan: a program after the passes, with the memory it runs in."""

from __future__ import annotations

from collections.abc import Iterable

from .memory import lay_out
from .passes import PASSES
from .program import Program
from .replay import Replay


class Plan:
    def __init__(self, program: Program, passes: Iterable[str] | None = None) -> None:
        self.traced = program
        self.program = program
        wanted = set(PASSES) | {"in place"} if passes is None else set(passes)
        for name, rewrite in PASSES.items():
            if name in wanted:
                self.program = rewrite(self.program)
        self.layout = lay_out(self.program, "in place" in wanted)
        self.replay = Replay(self.program, self.layout)
