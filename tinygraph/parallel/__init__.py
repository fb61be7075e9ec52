"""The same training on many processes: each takes its share of every mini-batch, and gradients are added up."""

from .communicator import Communicator, first_process, processes_of
from .partition import LocalNeighborhoods, Partition, metis, renumbered

__all__ = ["Communicator", "LocalNeighborhoods", "Partition", "first_process", "metis", "processes_of", "renumbered"]
