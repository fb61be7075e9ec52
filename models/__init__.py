"""Builders for the chapter's networks, composed from public modules; each file defines one network."""

from .autoencoder import Autoencoder, TiedDense, autoencoder
from .fully_connected import FullyConnected, fully_connected
from .graph_neighborhood import graph_neighborhood
from .multitask import Multitask, multitask
from .siamese import AbsoluteDifference, Cosine, Relation, Siamese, siamese
from .transfer import Transfer, transfer

__all__ = [
    "AbsoluteDifference",
    "Autoencoder",
    "Cosine",
    "FullyConnected",
    "Multitask",
    "Relation",
    "Siamese",
    "TiedDense",
    "Transfer",
    "autoencoder",
    "fully_connected",
    "graph_neighborhood",
    "multitask",
    "siamese",
    "transfer",
]
