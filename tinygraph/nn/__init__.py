"""Modules: parameters, layers, initialisation."""

from typing import TYPE_CHECKING, NoReturn

from ..counterparts import no_attribute
from ..structure import Scope
from .attention import MultiHeadAttention
from .containers import Parallel, Residual
from .dropout import Dropout
from .embedding import Embedding
from .grid import Convolution, MaxPool, MeanPool, Reshape
from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, PerNode, Sequential
from .module import Module
from .normalization import BatchNorm, LayerNorm, population_statistics
from .outputs import OUTPUTS, Output
from .recurrent import GRUCell, Recurrent, RecurrentCell

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "OUTPUTS",
    "BatchNorm",
    "Convolution",
    "Dense",
    "Dropout",
    "Embedding",
    "GRUCell",
    "LayerNorm",
    "MaxPool",
    "MeanPool",
    "Module",
    "MultiHeadAttention",
    "NeighborhoodDense",
    "Output",
    "Parallel",
    "PerNode",
    "Recurrent",
    "RecurrentCell",
    "Reshape",
    "Residual",
    "Scope",
    "Sequential",
    "population_statistics",
]


if not TYPE_CHECKING:  # a type checker knows by itself what is not there

    def __getattr__(name: str) -> NoReturn:
        raise no_attribute(__name__, name)
