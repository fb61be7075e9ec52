"""Preparation of features: centring, scaling to unit variance, principal components (65.103)-(65.109)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..arguments import whole_number
from ..errors import ArgumentError, DataError
from ..typing import ArrayLike
from .checks import check_finite, one_array


@dataclass(frozen=True, eq=False)
class Scaling:
    """Features moved and scaled, one by one: ``(h - mean) / deviation``; call it on the rows of a test set, say.

    Attributes
    ----------
    mean, deviation : float64 arrays of shape (M,)
        What each column is lessened and divided by; a deviation of 0 divides by 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, H: ArrayLike) -> np.ndarray:
        """Return the rows of `H` (n, M), moved and scaled, in their own floating dtype."""
        H = _features(H, "Scaling", len(self.mean))
        return _like(H, (H - self.mean) / self._divisor)

    def inverse(self, H: ArrayLike) -> np.ndarray:
        """Return the features that scaling made the rows of `H` (n, M) from."""
        H = _features(H, "Scaling", len(self.mean))
        return _like(H, H * self._divisor + self.mean)

    @property
    def _divisor(self) -> np.ndarray:
        return np.where(self.deviation > 0, self.deviation, 1.0)


def center(H: ArrayLike) -> Scaling:
    """Return the scaling that subtracts the mean feature vector of `H` (N, M), and leaves the deviations.

    Parameters
    ----------
    H : array of shape (N, M)
        Finite numbers, one feature vector a row.

    Raises
    ------
    DataError
        If there is no row, or values are not finite.

    Examples
    --------
    >>> H = np.array([[1.0, 10.0], [3.0, 10.0]])
    >>> center(H)(H).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    H = _features(H, "center")
    return Scaling(_mean(H), np.ones(H.shape[1]))


def standardize(H: ArrayLike) -> Scaling:
    """Return the scaling that centres features around their mean and divides them by their deviation (57.5b), (57.6).

    The preprocessing that PCA in Example 65.5 and the batch-normalisation listing (65.187) ask for. Take it from the
    training set, and call it on every set.

    Parameters
    ----------
    H : array of shape (N, M)
        Finite numbers, one feature vector a row, N at least 2.

    Returns
    -------
    Scaling
        With the mean of each column, and its standard deviation, of squares added up and divided by N - 1. A
        column that is constant has deviation 0 and becomes 0.

    Raises
    ------
    DataError
        If there are fewer than two rows, or values are not finite or of a size of 2**1020 (1e307) or more.

    Examples
    --------
    >>> H = np.array([[1.0, 10.0], [3.0, 10.0]])
    >>> standardize(H)(H).round(4).tolist()
    [[-0.7071, 0.0], [0.7071, 0.0]]
    """
    H = _features(H, "standardize")
    if len(H) < 2:
        raise DataError("standardize: a deviation needs at least 2 rows, got 1")
    # Squares stay finite, and above 0, if each column is first divided by a power of 2, which rounds nothing.
    exponents = np.frexp(np.abs(H.astype(np.float64)).max(axis=0))[1]
    if exponents.max() > 1020:
        raise DataError("standardize: the numbers are too large, 2**1020 (1e307) or more; divide them first")
    scaled = np.ldexp(H.astype(np.float64), -exponents)
    mean = _mean(scaled)
    deviation = np.sqrt(np.square(scaled - mean).sum(axis=0) / (len(H) - 1))
    return Scaling(np.ldexp(mean, exponents), np.ldexp(deviation, exponents))


class Standardizer:
    """The scaling of `standardize`, learned from a training set by `fit` and kept; call it on the rows of any set.

    Parameters
    ----------
    leave : bool array of shape (M,), optional
        Columns that are not changed, such as the indicators of words.
    together : bool
        Divide all columns by one deviation, the root of their mean variance, as suits the pixels of images; by default
        each by its own.

    Attributes
    ----------
    scaling : Scaling
        After `fit`.

    Examples
    --------
    >>> scale = Standardizer(leave=np.array([False, True])).fit(np.array([[1.0, 0.0], [3.0, 1.0]]))
    >>> scale(np.array([[2.0, 1.0]])).tolist(), scale.inverse(np.array([[0.0, 1.0]])).tolist()
    ([[0.0, 1.0]], [[2.0, 1.0]])
    """

    def __init__(self, *, leave: ArrayLike | None = None, together: bool = False) -> None:
        self.leave = None if leave is None else np.asarray(leave, bool)
        self.together = bool(together)
        self._scaling: Scaling | None = None

    @property
    def scaling(self) -> Scaling:
        """What `fit` or `load_state_dict` has set."""
        if self._scaling is None:
            raise ArgumentError("Standardizer: nothing is learned yet; call fit with the training set first")
        return self._scaling

    def fit(self, H: ArrayLike) -> Self:
        """Take means and deviations from the rows of `H` (N, M), N at least 2; return the standardizer.

        Raises
        ------
        DataError
            As `standardize`, or if `leave` has another number of columns.
        """
        found = standardize(H)
        mean, deviation = found.mean, found.deviation
        leave = np.zeros(len(mean), bool) if self.leave is None else self.leave
        if leave.shape != mean.shape:
            raise DataError(f"Standardizer: leave has shape {leave.shape}, but there are {len(mean)} columns")
        if self.together and not leave.all():
            deviation = np.full(mean.shape, np.sqrt(np.square(deviation[~leave]).mean()))
        self._scaling = Scaling(np.where(leave, 0.0, mean), np.where(leave, 1.0, deviation))
        return self

    def __call__(self, H: ArrayLike) -> np.ndarray:
        """Return the rows of `H` (n, M), moved and scaled, in their own floating dtype."""
        return self.scaling(H)

    def inverse(self, H: ArrayLike) -> np.ndarray:
        """Return the features that scaling made the rows of `H` (n, M) from."""
        return self.scaling.inverse(H)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return what was learned: "mean" and "deviation", float64 of shape (M,)."""
        return {"mean": self.scaling.mean, "deviation": self.scaling.deviation}

    def load_state_dict(self, state: Mapping[str, object]) -> Self:
        """Take what `state_dict` returned; return the standardizer.

        Raises
        ------
        DataError
            If it is something else.
        """
        found = [np.asarray(state.get(name, np.nan), np.float64) for name in ("mean", "deviation")]
        if set(state) != {"mean", "deviation"} or found[0].ndim != 1 or found[0].shape != found[1].shape:
            raise DataError(f"Standardizer: expected a mean and a deviation of one shape (M,), got {', '.join(state)}")
        for name, values in zip(("mean", "deviation"), found, strict=True):
            check_finite(values, f"Standardizer: {name}")
        self._scaling = Scaling(*found)
        return self


@dataclass(frozen=True, eq=False)
class PCA:
    """The principal components of features, an encoder and a decoder (65.105).

    Attributes
    ----------
    U1 : float64 array of shape (M, k)
        Orthonormal columns, the directions of the largest variances; the element of each that is largest in size is
        positive.
    eigenvalues : float64 array of shape (M,)
        The variances along all directions, largest first (65.104).
    mean : float64 array of shape (M,)
        What is subtracted before encoding: 0 unless it was asked for.
    """

    U1: np.ndarray
    eigenvalues: np.ndarray
    mean: np.ndarray

    def encode(self, H: ArrayLike) -> np.ndarray:
        """Return the codes ``h' = U1^T h`` of the rows of `H` (n, M): (n, k), in their floating dtype (65.105)."""
        H = _features(H, "PCA.encode", len(self.mean))
        return _like(H, (H - self.mean) @ self.U1)

    def decode(self, codes: ArrayLike) -> np.ndarray:
        """Return the features ``U1 h'`` that the rows of `codes` (n, k) stand for: (n, M) (65.105)."""
        codes = _features(codes, "PCA.decode", self.U1.shape[1])
        return _like(codes, codes @ self.U1.T + self.mean)


def pca(H: ArrayLike, k: int, *, center: bool = False) -> PCA:
    """Return the first `k` principal components of feature vectors (65.103)-(65.109).

    ``decode(encode(H))`` is ``H U1 U1^T`` (65.109), the matrix of rank `k` that is nearest to `H` (65.107). A linear
    autoencoder without biases does the same with the weights ``W1 = U1`` and ``W2 = U1^T``.

    Parameters
    ----------
    H : array of shape (N, M)
        Finite numbers, one feature vector a row, N at least 2; already preprocessed, as printed (see `standardize`).
    k : int
        The size M' of the code, from 1 to M.
    center : bool
        Whether to subtract the mean feature vector first, and add it in decoding, as is custom elsewhere.

    Raises
    ------
    DataError
        If there are fewer than two rows, or values are not finite.
    ArgumentError
        If `k` is not a whole number from 1 to M.

    Examples
    --------
    >>> components = pca(np.array([[3.0, 3.0], [-1.0, -1.0], [-2.0, -2.0]]), 1)
    >>> components.U1.round(4).tolist(), components.eigenvalues.round(4).tolist()
    ([[0.7071], [0.7071]], [14.0, 0.0])
    """
    H = _features(H, "pca")
    N, M = H.shape
    if N < 2:
        raise DataError("pca: a covariance needs at least 2 rows, got 1")
    k = whole_number("pca: k", k, 1)
    if k > M:
        raise ArgumentError(f"pca: k is {k}, but there are {M} features")
    mean = _mean(H) if center else np.zeros(M)
    moved = H.astype(np.float64) - mean
    eigenvalues, U = np.linalg.eigh(moved.T @ moved / (N - 1))  # (65.103), in ascending order
    eigenvalues, U = np.maximum(eigenvalues[::-1], 0.0), U[:, ::-1]
    largest = U[np.abs(U).argmax(axis=0), np.arange(M)]
    return PCA((U * np.sign(largest))[:, :k], eigenvalues, mean)


def _features(H: ArrayLike, name: str, columns: int | None = None) -> np.ndarray:
    """Return `H` as an array of finite numbers with one feature vector a row, checked."""
    rows = one_array(H, name)
    if rows.ndim != 2 or not rows.size or (columns is not None and rows.shape[1] != columns):
        wanted = "(N, M)" if columns is None else f"(n, {columns})"
        raise DataError(f"{name}: expected one feature vector a row, shape {wanted}, got {rows.shape}")
    check_finite(rows, name)
    return rows


def _mean(H: np.ndarray) -> np.ndarray:
    """Return the mean of each column; of a constant one exactly its value, so that nothing of it is left."""
    mean: np.ndarray = np.where(np.all(H[0] == H, axis=0), H[0], H.mean(axis=0, dtype=np.float64))
    return mean


def _like(H: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return `result` in the dtype of `H` if that is a floating one."""
    converted: np.ndarray = result.astype(H.dtype, copy=False) if H.dtype.kind == "f" else result
    return converted
