"""Modules: parameters, layers, initialisation."""

from ..structure import Scope
from .dropout import Dropout
from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, PerNode, Sequential
from .module import Module
from .normalization import BatchNorm, population_statistics
from .outputs import OUTPUTS, Output

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "OUTPUTS",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Module",
    "NeighborhoodDense",
    "Output",
    "PerNode",
    "Scope",
    "Sequential",
    "population_statistics",
]
