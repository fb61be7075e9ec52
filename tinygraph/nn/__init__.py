"""Modules: parameters, layers, initialisation."""

from .dropout import Dropout
from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, PerNode, Sequential
from .module import Module, Scope
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
