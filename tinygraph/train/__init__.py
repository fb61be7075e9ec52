"""Training: `fit`, `evaluate`, the `History` of what happened, callbacks; `explore`; gradients per sample."""

from .callbacks import Callback, Training
from .exploration import explore
from .history import History
from .loop import evaluate, fit
from .sample_gradients import per_sample_gradients

__all__ = ["Callback", "History", "Training", "evaluate", "explore", "fit", "per_sample_gradients"]
