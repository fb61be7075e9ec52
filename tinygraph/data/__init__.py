"""Data: data sets by name, mini-batches, checks, tables from files."""

from .batches import Batches, batches
from .checks import check_finite, check_labels, one_hot
from .cora import NodeDataset
from .dataset import Dataset
from .datasets import load
from .pairs import balanced_pairs
from .tables import read_table

__all__ = [
    "Batches",
    "Dataset",
    "NodeDataset",
    "balanced_pairs",
    "batches",
    "check_finite",
    "check_labels",
    "load",
    "one_hot",
    "read_table",
]
