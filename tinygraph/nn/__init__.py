"""Modules: parameters, layers, initialisation."""

from .dropout import Dropout
from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, PerNode, Sequential
from .module import OUTPUTS, Module, Scope
from .normalization import BatchNorm, population_statistics

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "OUTPUTS",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Module",
    "NeighborhoodDense",
    "PerNode",
    "Scope",
    "Sequential",
    "population_statistics",
]
