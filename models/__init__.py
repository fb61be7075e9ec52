"""Builders for the chapter's networks, composed from public modules; each file defines one network."""

from .autoencoders import Autoencoder, TiedDense, autoencoder
from .fully_connected_networks import FullyConnected, fully_connected
from .graph_networks import graph_neighborhood
from .multitask_networks import Multitask, multitask
from .siamese_networks import AbsoluteDifference, Cosine, Relation, Siamese, siamese
from .transfer_learning import Transfer, transfer

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
