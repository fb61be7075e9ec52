"""Training: `fit`, `evaluate`, the `History` of what happened, and callbacks."""

from .callbacks import Callback, Training
from .history import History
from .loop import evaluate, fit

__all__ = ["Callback", "History", "Training", "evaluate", "fit"]
