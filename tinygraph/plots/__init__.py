"""Pictures of training and of what was learned, by Matplotlib, which is imported when one is drawn.

Each function returns a Matplotlib figure, which a notebook shows; `save` writes it to a file.
"""

from .canvas import save
from .recorder import LayerState, Moment, Recorder
from .results import confusion_matrix, decision_regions, embeddings, reconstructions, roc, weights
from .training import activations, gradient_norms, learning_curves, norms_by_layer, saturation, update_ratios

__all__ = [
    "LayerState",
    "Moment",
    "Recorder",
    "activations",
    "confusion_matrix",
    "decision_regions",
    "embeddings",
    "gradient_norms",
    "learning_curves",
    "norms_by_layer",
    "reconstructions",
    "roc",
    "saturation",
    "save",
    "update_ratios",
    "weights",
]
