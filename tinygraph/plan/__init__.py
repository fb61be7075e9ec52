"""Plans: functions recorded once and replayed without the cost of recording."""

from . import expansion as expansion
from .compiled import Compiled, compile
from .passes import NAMES
from .plan import Plan, Profile

__all__ = ["NAMES", "Compiled", "Plan", "Profile", "compile"]
