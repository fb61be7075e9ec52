"""Training: `fit`, `evaluate`, the `History` of what happened, and callbacks; `explore` steps through it."""

from .callbacks import Callback, Training
from .exploration import explore
from .history import History
from .loop import evaluate, fit

__all__ = ["Callback", "History", "Training", "evaluate", "explore", "fit"]
