"""Pairs of samples with the answer to "same class or not?", for Siamese networks (Problems 65.22-65.24)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..arguments import whole_number
from ..backend import generator
from ..errors import ArgumentError, DataError
from ..typing import ArrayLike
from .checks import check_labels
from .minibatches import Batches


def balanced_pairs(
    X: ArrayLike, labels: ArrayLike, n_pairs: int, *, seed: int = 0, negative_label: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of samples, one half of a class, the other half of two classes, in random order.

    Classes are drawn evenly, whatever their sizes, then samples within them; a sample is never paired with
    itself.

    Parameters
    ----------
    X : array of shape (n, ...)
        One sample a row.
    labels : array of shape (n,) or (n, classes)
        Class indices, or basis vectors.
    n_pairs : int
        How many pairs to draw; of an odd number the larger half is of a class.
    seed : int
        Equal seeds give equal pairs.
    negative_label : {0, -1}
        The label of a pair of two classes: 0 for the sigmoid scores of Siamese networks (Problems 65.23, 65.24), -1
        for the cosine (Problem 65.22).

    Returns
    -------
    pairs : array of shape (n_pairs, 2, ...)
    same : float32 array of shape (n_pairs,)
        1 for two samples of a class, `negative_label` otherwise.

    Raises
    ------
    DataError
        If there is a single class, or none with two samples, or numbers of rows differ.
    ArgumentError
        If `n_pairs` is not a whole number of at least 1, or `negative_label` neither 0 nor -1.
    """
    n_pairs = whole_number("balanced_pairs: n_pairs", n_pairs, 1)
    drawer = PairDrawer(X, labels, negative_label, "balanced_pairs")
    rows, same = drawer.draw(generator(seed, "pairs"), n_pairs)
    return drawer.X[rows], same


class PairBatches(Batches):
    """Mini-batches of balanced pairs; every iteration over it is one epoch, with other pairs.

    The pairs of epoch k depend on the seed and on k alone, so that training can be resumed (see `Batches`).

    Parameters
    ----------
    X, labels, negative_label
        As for `balanced_pairs`.
    n_pairs : int
        How many pairs to draw for an epoch.
    batch_size : int
        The last batch of an epoch is smaller if `n_pairs` is not a multiple of it.
    seed : int
        From 0 to 2**64 - 1.
    augment : callable, optional
        Called as ``augment(x, rng)`` with the samples of a batch, shape (2 B, ...), and a generator of its own;
        returns what to put in their place: images moved a little, say (see `shifted`).

    Yields
    ------
    pairs : array of shape (B, 2, ...)
    same : float32 array of shape (B,)

    Raises
    ------
    DataError, ArgumentError
        As `balanced_pairs` and `Batches`.
    """

    def __init__(
        self,
        X: ArrayLike,
        labels: ArrayLike,
        n_pairs: int,
        batch_size: int = 32,
        seed: int = 0,
        *,
        negative_label: float = 0.0,
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    ) -> None:
        self.drawer = PairDrawer(X, labels, negative_label, "PairBatches")
        super().__init__(self.drawer.X, None, batch_size, seed=seed)
        self.n_pairs, self.augment = whole_number("PairBatches: n_pairs", n_pairs, 1), augment

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.n_pairs // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        rng = generator(self.seed, "pairs", self.epoch)
        self._epoch += 1
        return self._pairs(rng)

    def _pairs(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        rows, same = self.drawer.draw(rng, self.n_pairs)
        for start in range(0, self.n_pairs, self.batch_size):
            batch = slice(start, start + self.batch_size)
            x = self.X[rows[batch].ravel()]
            if self.augment is not None:
                x = self.augment(x, rng)
            yield x.reshape(-1, 2, *x.shape[1:]), same[batch]


class PairDrawer:
    """Draws rows of samples by twos; see `balanced_pairs`, whose labels and errors these are."""

    def __init__(self, X: ArrayLike, labels: ArrayLike, negative_label: float, caller: str) -> None:
        if negative_label not in (0, -1):
            raise ArgumentError(f"{caller}: negative_label must be 0 or -1, got {negative_label!r}")
        self.X, self.negative_label, self.classes = np.asarray(X), negative_label, Classes(labels, caller)
        if self.X.ndim < 1 or len(self.X) != self.classes.n_samples:
            raise DataError(
                f"{caller}: X and labels must have one row a sample, got {self.X.shape} and {np.shape(labels)}"
            )
        if len(self.classes) < 2:
            raise DataError(
                f"{caller}: pairs of two classes need at least 2 classes, the labels have {len(self.classes)}"
            )
        if not len(self.classes.several):
            raise DataError(f"{caller}: pairs of one class need a class with at least 2 samples, none has")

    def draw(self, rng: np.random.Generator, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (n_pairs, 2) and labels (n_pairs,), in random order."""
        classes, of_one = self.classes, (n_pairs + 1) // 2
        of_two = n_pairs - of_one
        c = classes.several[rng.integers(len(classes.several), size=of_one)]
        i = rng.integers(classes.counts[c])
        same = classes.rows(c, i), classes.rows(c, classes.another(rng, c, i))
        a = rng.integers(len(classes), size=of_two)
        b = (a + rng.integers(1, len(classes), size=of_two)) % len(classes)
        other = tuple(classes.rows(c, rng.integers(classes.counts[c])) for c in (a, b))
        rows = np.concatenate([np.stack(same, axis=1), np.stack(other, axis=1)])
        labels = np.where(np.arange(n_pairs) < of_one, 1, self.negative_label).astype(np.float32)
        order = rng.permutation(n_pairs)
        return rows[order], labels[order]


class Classes:
    """Where the samples of each class are: sample i of class c is in row ``order[starts[c] + i]``."""

    def __init__(self, labels: ArrayLike, caller: str) -> None:
        labels = np.asarray(labels)
        checked = check_labels(labels.argmax(axis=1) if labels.ndim == 2 else labels, name=f"{caller}: labels")
        self.n_samples = len(checked)
        self.order = np.argsort(checked, kind="stable")
        self.counts = np.unique(checked, return_counts=True)[1]
        self.starts = np.cumsum(self.counts) - self.counts
        self.several = np.flatnonzero(self.counts > 1)

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.counts)

    def rows(self, c: np.ndarray, i: np.ndarray) -> np.ndarray:
        """Return the rows of samples i of classes c."""
        rows: np.ndarray = self.order[self.starts[c] + i]
        return rows

    def another(self, rng: np.random.Generator, c: np.ndarray, i: np.ndarray) -> np.ndarray:
        """Return the numbers of samples of classes c other than i."""
        n = self.counts[c]
        numbers: np.ndarray = (i + rng.integers(1, n)) % n
        return numbers


def one_shot_episodes(
    labels: ArrayLike, n_way: int, n_episodes: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of samples for one-shot tests: a query, and one sample of each of several classes to choose from.

    Parameters
    ----------
    labels : array of shape (n,) or (n, classes)
        Class indices, or basis vectors; every class has at least 2 samples.
    n_way : int
        How many different classes an episode has.
    n_episodes : int
    seed : int
        Equal seeds give equal episodes.

    Returns
    -------
    query : int64 array of shape (n_episodes,)
        Another sample of one of the episode's classes, all of them equally likely.
    support : int64 array of shape (n_episodes, n_way)
        One sample of each class.
    answer : int64 array of shape (n_episodes,)
        The column of `support` of the query's class.

    Raises
    ------
    DataError
        If there are fewer than `n_way` classes, or one has a single sample.
    ArgumentError
        If `n_way` is not a whole number of at least 2, or `n_episodes` one of at least 1.
    """
    n_way = whole_number("one_shot_episodes: n_way", n_way, 2)
    n_episodes = whole_number("one_shot_episodes: n_episodes", n_episodes, 1)
    classes = Classes(labels, "one_shot_episodes")
    if len(classes) < n_way or len(classes.several) < len(classes):
        single = len(classes) - len(classes.several)
        raise DataError(
            f"one_shot_episodes: expected at least {n_way} classes of at least 2 samples each, got {len(classes)} "
            f"classes, {single} of them of a single sample"
        )
    rng = generator(seed, "episodes")
    chosen = rng.random((n_episodes, len(classes))).argsort(axis=1)[:, :n_way]
    support = rng.integers(classes.counts[chosen])
    answer = rng.integers(n_way, size=n_episodes)
    asked, shown = (table[np.arange(n_episodes), answer] for table in (chosen, support))
    query = classes.another(rng, asked, shown)
    return classes.rows(asked, query), classes.rows(chosen, support), answer


def shifted(x: np.ndarray, rng: np.random.Generator, shape: tuple[int, int], by: int) -> np.ndarray:
    """Return images moved by up to `by` pixels down or up and to a side; what comes in is 0.

    Parameters
    ----------
    x : array of shape (n, rows * columns)
        One image a row.
    rng : numpy.random.Generator
        Decides how far each image is moved.
    shape : tuple of int
        Rows and columns.
    by : int
        The largest number of pixels.
    """
    rows, columns = shape
    wide = np.pad(x.reshape(-1, rows, columns), ((0, 0), (by, by), (by, by)))
    down, right = rng.integers(2 * by + 1, size=(2, len(x), 1, 1))
    images = np.arange(len(x))[:, None, None]
    moved: np.ndarray = wide[images, np.arange(rows)[:, None] + down, np.arange(columns) + right]
    return moved.reshape(x.shape)
