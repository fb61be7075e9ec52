"""A small reverse-mode computational-graph framework: build, train and see feedforward networks.

Every operation states its own local backward rule; networks are composed from operations; arrays live on a
pluggable backend. Equation numbers such as (65.82) point into a textbook chapter on feedforward neural
networks; the documentation maps them to names.
"""

from . import data, losses, nn, optim
from .autodiff import detect_anomaly, grad
from .backend import backends, manual_seed, use, using
from .checkpoint import load, save
from .errors import (
    AnomalyError,
    ArgumentError,
    BackendError,
    DataError,
    DTypeError,
    GradientError,
    GraphError,
    IndexRangeError,
    RenderError,
    ShapeError,
    TinygraphError,
)
from .gradcheck import gradcheck
from .graph import graph
from .op import Op
from .ops import *  # noqa: F403
from .tensor import Tensor, no_grad, parameter, tensor

from .train import History, evaluate, fit

__version__ = "0.1.0"
