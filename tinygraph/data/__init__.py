"""Data: data sets by name, mini-batches, checks, tables from files."""

from .batches import Batches, batches
from .checks import check_finite, check_labels, multi_hot, one_hot, task_labels
from .cora import NodeDataset
from .dataset import Dataset
from .datasets import load
from .pairs import PairBatches, balanced_pairs, one_shot_episodes, shifted
from .tables import read_table

__all__ = [
    "Batches",
    "Dataset",
    "NodeDataset",
    "PairBatches",
    "balanced_pairs",
    "batches",
    "check_finite",
    "check_labels",
    "load",
    "multi_hot",
    "one_hot",
    "one_shot_episodes",
    "read_table",
    "shifted",
    "task_labels",
]
