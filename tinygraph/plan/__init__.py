"""Plans: functions recorded once and replayed without the cost of recording."""

from .compile import Compiled, compile
from .plan import Plan

__all__ = ["Compiled", "Plan", "compile"]
