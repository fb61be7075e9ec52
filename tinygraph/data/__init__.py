"""Data: data sets by name, mini-batches, checks, tables from files, preparation of features."""

from .checks import check_finite, check_labels, multi_hot, one_hot, task_labels
from .columns import Table, Words
from .cora import NodeDataset
from .dataset import Dataset
from .datasets import load
from .encoding import Feature, TableEncoder
from .minibatches import Batches, batches
from .pairs import PairBatches, balanced_pairs, one_shot_episodes, shifted
from .preprocessing import PCA, Scaling, Standardizer, center, pca, standardize
from .shards import ShardBatches, write_shards
from .splitting import split
from .tables import read_table

__all__ = [
    "PCA",
    "Batches",
    "Dataset",
    "Feature",
    "NodeDataset",
    "PairBatches",
    "Scaling",
    "ShardBatches",
    "Standardizer",
    "Table",
    "TableEncoder",
    "Words",
    "balanced_pairs",
    "batches",
    "center",
    "check_finite",
    "check_labels",
    "load",
    "multi_hot",
    "one_hot",
    "one_shot_episodes",
    "pca",
    "read_table",
    "shifted",
    "split",
    "standardize",
    "task_labels",
    "write_shards",
]
