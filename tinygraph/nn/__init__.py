"""Modules: parameters, layers, initialisation."""

from .init import INITIALIZERS
from .layers import ACTIVATIONS, Dense, NeighborhoodDense, Sequential
from .module import OUTPUTS, Module, Scope

__all__ = ["ACTIVATIONS", "INITIALIZERS", "OUTPUTS", "Dense", "Module", "NeighborhoodDense", "Scope", "Sequential"]
