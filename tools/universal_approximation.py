"""Universal approximation (65.189)-(65.190): one hidden layer fits a curve, better with more nodes.

Run ``python -m tinygraph.tools.universal_approximation [FILE.svg]``.
"""

from __future__ import annotations

import sys

import numpy as np

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.checkpoint import write_file
from tinygraph.models import FullyConnected, fully_connected
from tinygraph.tools.plot import figure, svg


def curve(x: np.ndarray) -> np.ndarray:
    """Return the curve to fit, on [-1, 1]."""
    y: np.ndarray = np.sin(3 * np.pi * x) * (1 - x**2) + 0.5 * np.abs(x)
    return y


def fit_curve(K: int, steps: int = 4000, seed: int = 0) -> tuple[FullyConnected, float]:
    """Return a network with `K` hidden tanh nodes fitted to `curve`, and its largest error on [-1, 1].

    The hidden nodes start as steps spread over the interval; full-batch gradient descent with momentum.
    """
    x = np.linspace(-1, 1, 201)[:, None]
    y = curve(x)
    net = fully_connected([1, K, 1], "tanh", "linear", seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    slopes = rng.choice([-1.0, 1.0], (1, K)) * rng.uniform(4, 12, (1, K))
    net.layer1.W.assign_(slopes)
    net.layer1.theta.assign_(slopes[0] * rng.uniform(-1, 1, K))
    optimizer = optim.SGD(net.parameters(), 0.2 / K, 0.95)
    tg.fit(net, losses.squared_error, [(x, y)], optimizer, steps, progress=False)
    return net, float(np.abs(net(x).numpy() - y).max())


def main(path: str | None = None) -> None:
    """Print the errors, and draw the fits to `path` if one is given."""
    x = np.linspace(-1, 1, 201)[:, None]
    picture, axes = figure()
    axes.plot(x, curve(x), color="black", linewidth=3, alpha=0.25, label="the curve")
    print("   K   largest error")
    for K, colour in ((3, "#E69F00"), (10, "#009E73"), (50, "#0072B2")):
        net, error = fit_curve(K)
        print(f"{K:4d} {error:15.4f}")
        axes.plot(x, net(x).numpy(), color=colour, label=f"K = {K}")
    axes.legend(frameon=False)
    if path is not None:
        write_file(path, svg(picture))


if __name__ == "__main__":
    main(*sys.argv[1:2])
