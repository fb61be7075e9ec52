"""The Gaussian process that a network with one hidden layer of erf nodes tends to (65.191)-(65.197).

The output ``g(h) = w' erf(W_1' h - theta_1) - theta_2`` of a network with K hidden nodes (65.193) is random if its
parameters are: ``theta_2`` of variance ``sigma_theta**2`` and ``w`` of covariance ``sigma_w**2 / K I``, both with zero
mean, and for every hidden node a Gaussian vector ``r^e = (-alpha, r)`` of covariance Sigma, where alpha is the node's
bias and r its weights (65.196). The covariance of ``g(h)`` and ``g(h')`` is the same for every K; what K decides is the
shape of their distribution, which becomes Gaussian.

erf is the true one, with ``exp(-x**2)``; (65.197) does not hold for the exponent printed in (65.192).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.arguments import positive, whole_number
from tinygraph.backend import generator
from tinygraph.data.checks import check_finite, one_array
from tinygraph.errors import ArgumentError, DataError, ShapeError
from tinygraph.models import fully_connected


def kernel(H: Any, H2: Any = None, *, sigma_w: float, sigma_theta: float, Sigma: Any) -> np.ndarray:
    """Return the covariance of the outputs at two sets of inputs, by the arcsine of (65.197).

    With ``h^e = (1, h)`` and ``S(h, k) = 2 h^e' Sigma k^e`` the element of the inputs h and k is
    ``sigma_theta**2 + 2 sigma_w**2 / pi asin(S(h, k) / sqrt((1 + S(h, h)) (1 + S(k, k))))``.

    Parameters
    ----------
    H, H2 : arrays of shape (n, M) and (n2, M)
        One input h a row; without `H2` it is `H`.
    sigma_w, sigma_theta : float
        The standard deviations of ``sqrt(K) w`` and of ``theta_2``, not their squares; not negative.
    Sigma : array of shape (M + 1, M + 1)
        The covariance of a hidden node's ``(-alpha, r)``: the negative of its bias, then its weights.

    Returns
    -------
    float64 array of shape (n, n2)

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    DataError
        If there are numbers that are not finite, or rows of unequal lengths.
    ArgumentError
        If a standard deviation is negative, or `Sigma` no covariance matrix.
    """
    first, second = _two_sets(H, H2)
    root = _root(Sigma, first.shape[1] + 1)
    sigma_w, sigma_theta = positive("sigma_w", sigma_w, zero=True), positive("sigma_theta", sigma_theta, zero=True)
    products = _directions(first, root) @ _directions(second, root).T
    covariance: np.ndarray = sigma_theta**2 + 2 * sigma_w**2 / np.pi * np.arcsin(np.clip(products, -1, 1))
    return covariance


def angle_kernel(H: Any, H2: Any = None, *, sigma_w: float, sigma_theta: float) -> np.ndarray:
    """Return what the covariance tends to for long inputs: a function of the angles between them (Problem 65.25).

    It is ``sigma_theta**2 + sigma_w**2 (1 - 2 lambda / pi)`` with the angle lambda between h and h', and is close to
    `kernel` where ``Sigma = diag(sigma_alpha**2, sigma_a**2 I)`` and the squared norms of both inputs are much larger
    than ``(1 + 2 sigma_alpha**2) / (2 sigma_a**2)``.

    Parameters
    ----------
    H, H2, sigma_w, sigma_theta
        As for `kernel`; no input may be zero, which has no angle to another.

    Returns
    -------
    float64 array of shape (n, n2)

    Raises
    ------
    ShapeError, DataError, ArgumentError
        As `kernel`.
    """
    first, second = (_unit(part) for part in _two_sets(H, H2))
    sigma_w, sigma_theta = positive("sigma_w", sigma_w, zero=True), positive("sigma_theta", sigma_theta, zero=True)
    a, b = first[:, None], second[None]
    # The arccosine of their product would lose half of the digits near 0 and pi.
    angle = 2 * np.arctan2(np.linalg.norm(a - b, axis=2), np.linalg.norm(a + b, axis=2))
    covariance: np.ndarray = sigma_theta**2 + sigma_w**2 * (1 - 2 * angle / np.pi)
    return covariance


def draw_outputs(
    H: Any, K: int, draws: int, *, sigma_w: float, sigma_theta: float, Sigma: Any, seed: int = 0
) -> np.ndarray:
    """Return the outputs of random networks (65.191a)-(65.193), all of whose parameters are Gaussian.

    Parameters
    ----------
    H : array of shape (n, M)
        One input a row.
    K : int
        How many hidden nodes a network has.
    draws : int
        How many networks are drawn.
    sigma_w, sigma_theta, Sigma
        As for `kernel`.
    seed : int
        Equal seeds give equal networks.

    Returns
    -------
    float64 array of shape (draws, n)

    Raises
    ------
    ShapeError, DataError, ArgumentError
        As `kernel`; also if `K` or `draws` is not a whole number of at least 1.
    """
    H, _ = _two_sets(H, None)
    M = H.shape[1]
    root = _root(Sigma, M + 1)
    sigma_w, sigma_theta = positive("sigma_w", sigma_w, zero=True), positive("sigma_theta", sigma_theta, zero=True)
    K, draws = whole_number("K", K, 1), whole_number("draws", draws, 1)
    rng = generator(seed, "gaussian process")
    net = fully_connected([M, K, 1], activation=tg.erf, output="linear", dtype=np.float64)
    outputs = np.empty((draws, len(H)))
    x = tg.tensor(H)
    with tg.no_grad():
        for i in range(draws):
            r = rng.standard_normal((K, M + 1)) @ root.T  # a row is a hidden node's (-alpha, r)
            net.layer1.theta.assign_(-r[:, 0])
            net.layer1.W.assign_(r[:, 1:].T)
            net.layer2.W.assign_(rng.standard_normal((K, 1)) * (sigma_w / np.sqrt(K)))
            net.layer2.theta.assign_(rng.standard_normal(1) * sigma_theta)
            outputs[i] = net(x).numpy()[:, 0]
    return outputs


def sample_covariance(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the products of outputs whose mean is zero, (65.194a) and (65.194b), and its standard error.

    Parameters
    ----------
    outputs : array of shape (draws, n)

    Returns
    -------
    covariance, standard_error : float64 arrays of shape (n, n)
    """
    products = outputs[:, :, None] * outputs[:, None, :]
    return products.mean(axis=0), products.std(axis=0) / np.sqrt(len(outputs))


def excess_kurtosis(outputs: np.ndarray) -> np.ndarray:
    """Return how far each output's fourth moment is from a Gaussian's: 0 in the limit, falling like 1 / K.

    Parameters
    ----------
    outputs : array of shape (draws, n)
        Of zero mean.

    Returns
    -------
    float64 array of shape (n,)
    """
    kurtosis: np.ndarray = (outputs**4).mean(axis=0) / (outputs**2).mean(axis=0) ** 2 - 3
    return kurtosis


def _two_sets(H: Any, H2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets of inputs as float64, checked."""
    sets = []
    for name, part in (("H", H), ("H2", H if H2 is None else H2)):
        array = one_array(part, name)
        if array.ndim != 2:
            raise ShapeError(f"{name}: expected one input a row, shape (n, M), got shape {array.shape}")
        check_finite(array, name)
        sets.append(array.astype(np.float64))
    first, second = sets
    if first.shape[1] != second.shape[1]:
        raise ShapeError(f"H2: expected {first.shape[1]} numbers a row, as H has, got {second.shape[1]}")
    return first, second


def _root(Sigma: Any, size: int) -> np.ndarray:
    """Return R with ``R R' = Sigma``, after checking that Sigma is a covariance matrix."""
    Sigma = one_array(Sigma, "Sigma")
    if Sigma.shape != (size, size):
        raise ShapeError(f"Sigma: expected shape {(size, size)}: -alpha and {size - 1} weights, got {Sigma.shape}")
    check_finite(Sigma, "Sigma")
    Sigma = Sigma.astype(np.float64)
    variances, axes = np.linalg.eigh(Sigma)
    largest = np.abs(variances).max()
    if not np.allclose(Sigma, Sigma.T, rtol=1e-10, atol=1e-10 * largest):
        raise ArgumentError("Sigma: a covariance matrix is symmetric, this one is not")
    if variances.min() < -1e-10 * largest:
        raise ArgumentError(f"Sigma: a covariance matrix has no negative eigenvalue, got {variances.min():.6g}")
    root: np.ndarray = axes * np.sqrt(np.maximum(variances, 0))
    return root


def _directions(H: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return ``sqrt(2) R' h^e / sqrt(1 + 2 h^e' Sigma h^e)`` of each row; the arcsine is of their products."""
    ones = np.ones((len(H), 1))
    u = np.sqrt(2) * np.hstack([ones, H]) @ root
    directions: np.ndarray = u / np.hypot.reduce(np.hstack([ones, u]), axis=1)[:, None]
    return directions


def _unit(H: np.ndarray) -> np.ndarray:
    """Return the rows with the norm 1."""
    norms = np.hypot.reduce(H, axis=1)[:, None]
    if not norms.all():
        raise DataError(f"the input in row {int(norms.argmin())} is zero, which has no angle to another")
    unit: np.ndarray = H / norms
    return unit
