"""The Gaussian-process limit (65.191)-(65.197), by simulation.

Run ``python -m tinygraph.tools.gaussian_process [FILE.svg]``. A network with one hidden layer of K erf nodes
is drawn at random many times, ``w1 ~ N(0, 1)``, ``theta1 ~ N(0, s2)``, ``w2 ~ N(0, 1 / K)``, ``theta2 ~ N(0, s2)``,
and its outputs at a few inputs are collected. Their covariance is that of the arcsine kernel (65.197) for every K; what
K decides is their shape, which becomes Gaussian: the excess kurtosis falls like 1 / K.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

import tinygraph as tg
from tinygraph.checkpoint import write_file
from tinygraph.models import fully_connected
from tinygraph.tools.plot import figure, svg

BIAS_VARIANCE = 0.1


def kernel(X: np.ndarray, weight_variance: float = 1.0) -> np.ndarray:
    """Return the covariance of the limit at the rows of `X` (65.197).

    With ``x~ = (x, -1)`` and ``S = diag(weight variance, ..., bias variance)`` it is
    ``s2 + 2 / pi asin(2 x~' S x~* / sqrt((1 + 2 x~' S x~)(1 + 2 x~*' S x~*)))``.

    Parameters
    ----------
    X : array of shape (n, d)
    weight_variance : float
        Of the first layer's weights.

    Returns
    -------
    array of shape (n, n)
    """
    inner = 2 * (weight_variance * X @ X.T + BIAS_VARIANCE)
    scale = 1 + np.diag(inner)
    covariance: np.ndarray = BIAS_VARIANCE + 2 / np.pi * np.arcsin(inner / np.sqrt(np.outer(scale, scale)))
    return covariance


def draw_outputs(X: np.ndarray, K: int, draws: int, seed: int) -> np.ndarray:
    """Return the outputs of `draws` random networks with `K` hidden nodes at the rows of `X`: (draws, n)."""
    rng = np.random.default_rng(seed)
    net = fully_connected([X.shape[1], K, 1], activation=tg.erf, output="linear", dtype=np.float64)
    outputs = np.empty((draws, len(X)))
    x = tg.tensor(X)
    with tg.no_grad():
        for i in range(draws):
            net.layer1.W.assign_(rng.standard_normal((X.shape[1], K)))
            net.layer1.theta.assign_(rng.standard_normal(K) * np.sqrt(BIAS_VARIANCE))
            net.layer2.W.assign_(rng.standard_normal((K, 1)) / np.sqrt(K))
            net.layer2.theta.assign_(rng.standard_normal(1) * np.sqrt(BIAS_VARIANCE))
            outputs[i] = net(x).numpy()[:, 0]
    return outputs


@dataclass(frozen=True)
class Result:
    """What a simulation with K hidden nodes found."""

    K: int
    covariance_error: float
    standard_error: float
    kurtosis: float


def simulate(sizes: tuple[int, ...] = (1, 2, 4, 16, 64), draws: int = 20_000, seed: int = 0) -> list[Result]:
    """Return, for every K, the largest error of the simulated covariance and the mean excess kurtosis."""
    X = np.linspace(-2, 2, 5)[:, None]
    expected = kernel(X)
    found = []
    for K in sizes:
        y = draw_outputs(X, K, draws, seed)
        products = y[:, :, None] * y[:, None, :]
        error = np.abs(products.mean(axis=0) - expected)
        standard = products.std(axis=0) / np.sqrt(draws)
        kurtosis = float(((y**4).mean(axis=0) / (y**2).mean(axis=0) ** 2 - 3).mean())
        found.append(Result(K, float(error.max()), float(standard.max()), kurtosis))
    return found


def main(path: str | None = None) -> None:
    """Print the table, and draw it to `path` if one is given."""
    results = simulate()
    print("   K   error of covariance   standard error   excess kurtosis")
    for r in results:
        print(f"{r.K:4d} {r.covariance_error:21.4f} {r.standard_error:16.4f} {r.kurtosis:17.3f}")
    if path is not None:
        picture, axes = figure()
        axes.loglog([r.K for r in results], [abs(r.kurtosis) for r in results], "o-", color="#0072B2")
        axes.set_xlabel("hidden nodes K")
        axes.set_ylabel("excess kurtosis of the output")
        write_file(path, svg(picture))


if __name__ == "__main__":
    main(*sys.argv[1:2])
