"""Builders for the chapter's networks, composed from public modules; each file defines one network."""

from .fully_connected import FullyConnected, fully_connected

__all__ = ["FullyConnected", "fully_connected"]
