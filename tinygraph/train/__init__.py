"""Training: `fit`, `evaluate`, and the `History` of what happened."""

from .history import History
from .loop import evaluate, fit

__all__ = ["History", "evaluate", "fit"]
