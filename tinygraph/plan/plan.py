"""A plan: a program after the passes, with the memory it runs in."""

from __future__ import annotations

from .lower import lower
from .memory import lay_out
from .program import Program
from .replay import Replay


class Plan:
    def __init__(self, program: Program, passes: tuple[str, ...] | None = None) -> None:
        self.traced = program
        self.program = lower(program)
        self.layout = lay_out(self.program)
        self.replay = Replay(self.program, self.layout)
