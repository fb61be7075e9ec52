"""Which labels a loss takes: how they are checked, once and on the host, and laid out beside the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .data.checks import SUM_TOLERANCE, check_finite, one_hot, task_labels
from .errors import DataError, ShapeError
from .leaves import as_tensor
from .operators import Operand
from .ops.indexing import OneHot, require
from .ops.shape import reshape, stack
from .tensors import Tensor

UNSIGNED = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


@dataclass(frozen=True)
class Labels:
    """Real numbers in the shape of the output.

    Attributes
    ----------
    missing : bool
        Whether NaN stands for a missing label.
    """

    missing: bool = False

    def checked(self, Y: np.ndarray, output: Callable[[], Tensor], name: str) -> np.ndarray:
        """Return the labels of a data set, one row a sample, as training takes them.

        Parameters
        ----------
        Y : array of shape (n, ...)
        output : callable
            Returns what the network gives for the first sample, by which some labels are told apart.
        name : str
            What an error calls the data set.

        Raises
        ------
        DataError
            Names the first label that does not fit, and its place.
        """
        check_finite(Y, f"{name}: Y", missing=self.missing)
        if Y.ndim == 1:
            shape = output().shape
            if shape[1:] == (1,):
                raise DataError(
                    f"{name}: the network's output has shape ({len(Y)}, 1), Y has {Y.shape}; pass Y[:, None]"
                )
        return Y

    def aligned(self, target: Operand, output: Tensor) -> Tensor:
        """Return the labels of a batch as a tensor like `output`; whole numbers and truth values take its dtype.

        What is laid out already is returned as it is.
        """
        labels = as_tensor(target, output)
        return labels if labels.dtype.kind == "f" else labels.astype(output.dtype)


@dataclass(frozen=True)
class LimitedLabels(Labels):
    """Real numbers of which only some are labels.

    Attributes
    ----------
    allows : callable
        From an array to truth values of its shape.
    allowed : str
        The same in words.
    """

    allows: Callable[[np.ndarray], np.ndarray] = np.isfinite
    allowed: str = "finite"

    def checked(self, Y: np.ndarray, output: Callable[[], Tensor], name: str) -> np.ndarray:
        """Return `Y`, all of it allowed or, where that is allowed, missing."""
        Y = super().checked(Y, output, name)
        wrong = np.argwhere(~(self.allows(Y) | np.isnan(Y)))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            allowed = f"{self.allowed}, or NaN where missing" if self.missing else self.allowed
            raise DataError(f"{name}: labels must be {allowed}; Y has {Y[at]} at {list(at)}")
        return Y


@dataclass(frozen=True)
class ClassLabels(Labels):
    """Class indices, or rows of class probabilities, of which basis vectors (65.125) are a case."""

    def checked(self, Y: np.ndarray, output: Callable[[], Tensor], name: str) -> np.ndarray:
        """Return rows of class probabilities, floating."""
        check_finite(Y, f"{name}: Y")
        classes = output().shape[-1]
        if Y.dtype.kind in "iu" and Y.ndim == 1:
            return one_hot(Y, classes)
        if Y.ndim == 1:
            raise DataError(f"{name}: class indices must be whole numbers, Y is {Y.dtype}; convert with Y.astype(int)")
        if Y.shape != (len(Y), classes):
            raise DataError(
                f"{name}: the network has {classes} classes, so Y must be class indices of shape ({len(Y)},) or rows "
                f"of shape ({len(Y)}, {classes}), got shape {Y.shape}"
            )
        wrong = np.flatnonzero((Y.min(axis=1) < 0) | (np.abs(Y.sum(axis=1) - 1) > SUM_TOLERANCE))
        if len(wrong):
            raise DataError(
                f"{name}: each row of Y must be probabilities of the {classes} classes, adding up to 1; row "
                f"{wrong[0]} is {Y[wrong[0]].tolist()}"
            )
        return Y

    def aligned(self, target: Operand, output: Tensor) -> Tensor:
        """Return class indices as basis vectors, rows of probabilities as they are."""
        given: Any = target
        host = None if isinstance(target, Tensor) else np.asarray(target)
        kind, ndim = (given.dtype.kind, given.ndim) if host is None else (host.dtype.kind, host.ndim)
        if kind not in "iu" or ndim == 2:
            return super().aligned(target, output)
        classes = output.shape[-1]
        check = partial(self.check_indices, classes=classes, name="cross_entropy")
        if isinstance(target, Tensor):
            require(target, check)
        elif host is not None:
            check(host)
        indices = as_tensor(target, output)
        if indices.shape != output.shape[:1]:
            raise ShapeError(f"cross_entropy: expected {output.shape[0]} class indices, got shape {indices.shape}")
        # what is not read on the host cannot be refused here: the loss of a class out of range is NaN, not 0
        return OneHot(classes, output.dtype.name)(indices)

    @staticmethod
    def check_indices(indices: np.ndarray, classes: int, name: str) -> None:
        """Raise an error that names the first of `indices` outside 0 to ``classes - 1``."""
        unsigned = indices.view(UNSIGNED[indices.itemsize])  # a number below 0 is a large one
        if indices.size and unsigned.item(unsigned.argmax()) >= classes:
            wrong = np.flatnonzero((indices < 0) | (indices >= classes))
            place = f" in row {wrong[0]}" if len(indices.shape) == 1 else ""
            raise DataError(f"{name}: class {indices.flat[wrong[0]]}{place} is outside 0 to {classes - 1}")


@dataclass(frozen=True)
class TaskLabels(Labels):
    """Labels of T tasks: one a task, or pairs (present, absent); any of them may be missing."""

    missing: bool = True

    def checked(self, Y: np.ndarray, output: Callable[[], Tensor], name: str) -> np.ndarray:
        """Return one label a task, shape (n, T)."""
        return task_labels(Y, number_of_tasks(output()), f"{name}: Y")

    def aligned(self, target: Operand, output: Tensor) -> Tensor:
        """Return labels in any form as pairs (present, absent), in the shape of `output`."""
        rows, tasks = output.shape[0], number_of_tasks(output)
        labels = super().aligned(target, output)
        if labels.shape not in ((rows, tasks), (rows, 2 * tasks), (rows, tasks, 2)):
            raise ShapeError(
                f"multitask_cross_entropy: for logits {output.shape} expected labels ({rows}, {tasks}), one a task, "
                f"or pairs (present, absent) of shape ({rows}, {2 * tasks}) or ({rows}, {tasks}, 2), "
                f"got {labels.shape}"
            )
        if isinstance(target, np.ndarray | list | tuple):
            task_labels(target, tasks, "multitask_cross_entropy")
        if labels.shape == (rows, tasks):
            labels = stack([labels, 1.0 - labels], axis=-1)
        return labels if labels.shape == output.shape else reshape(labels, output.shape)


def number_of_tasks(logits: Tensor) -> int:
    """Return T for signals of shape (B, 2 T) or (B, T, 2)."""
    pairs = logits.ndim == 3 and logits.shape[2] == 2
    if not pairs and (logits.ndim != 2 or logits.shape[1] % 2):
        raise ShapeError(f"multitask_cross_entropy: expected logits (B, 2 T) or (B, T, 2), got {logits.shape}")
    return logits.shape[1] if pairs else logits.shape[1] // 2


REAL = Labels()
BINARY = LimitedLabels(True, lambda Y: (Y >= 0) & (Y <= 1), "from 0 to 1")
SIGNS = LimitedLabels(False, lambda Y: np.abs(Y) == 1, "-1 or 1")
CLASSES = ClassLabels()
TASKS = TaskLabels()
