"""Modules: parameters, layers, initialisation."""

from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, PerNode, Sequential
from .module import OUTPUTS, Module, Scope

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "OUTPUTS",
    "Dense",
    "Module",
    "NeighborhoodDense",
    "PerNode",
    "Scope",
    "Sequential",
]
