"""The cost of one eager training step of a tiny network, next to PyTorch and HIPS autograd.

Run ``python -m tinygraph.tools.eager_overhead``. The network is 4-8-8-2 with ReLU and softmax cross-entropy,
one sample, plain gradient descent in float32: nearly all of the time is the frameworks' own. The contenders
take turns in short blocks, so that a change in the machine's speed meets all of them; the medians of the
blocks and their ratios are printed. A contender that is not installed is left out.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np

import tinygraph as tg
from tinygraph.models import fully_connected

SIZES, STEPS, BLOCKS = (4, 8, 8, 2), 300, 30
X, Y = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32), np.array([[1.0, 0.0]], np.float32)
Step = Callable[[], object]


def tinygraph_step() -> Step:
    """Return a training step in tinygraph."""
    net = fully_connected(SIZES, seed=0)
    optimizer = tg.optim.SGD(net.parameters(), 0.01)
    x, y = tg.tensor(X), tg.tensor(Y)

    def step() -> None:
        optimizer.zero_grad()
        tg.losses.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def torch_step() -> Step:
    """Return a training step in PyTorch."""
    import torch

    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(SIZES)]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    x, y = torch.tensor(X), torch.tensor(Y)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def autograd_step() -> Step:
    """Return a training step in HIPS autograd."""
    import autograd.numpy as anp
    from autograd import grad

    rng = np.random.default_rng(0)
    parameters = [
        (rng.normal(size=(a, b)).astype(np.float32), np.zeros(b, np.float32)) for a, b in itertools.pairwise(SIZES)
    ]

    def loss(layers: list[tuple[np.ndarray, np.ndarray]]) -> object:
        y = X
        for W, theta in layers[:-1]:
            y = anp.maximum(anp.dot(y, W) - theta, 0)
        z = anp.dot(y, layers[-1][0]) - layers[-1][1]
        z = z - anp.max(z, axis=1, keepdims=True)
        return -anp.sum(Y * (z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))))

    slope = grad(loss)

    def step() -> None:
        for (W, theta), (dW, dtheta) in zip(parameters, slope(parameters), strict=True):
            W -= 0.01 * dW
            theta -= 0.01 * dtheta

    return step


def measure() -> dict[str, float]:
    """Return the median microseconds a step of every contender that is installed."""
    steps: dict[str, Step] = {}
    for name, make in (("tinygraph", tinygraph_step), ("PyTorch", torch_step), ("HIPS autograd", autograd_step)):
        try:
            steps[name] = make()
        except ImportError:
            continue
    blocks: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(STEPS):
            step()
    for _ in range(BLOCKS):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            blocks[name].append((time.perf_counter() - start) / STEPS * 1e6)
    return {name: statistics.median(times) for name, times in blocks.items()}


if __name__ == "__main__":
    medians = measure()
    for contender, microseconds in medians.items():
        print(
            f"{contender:<14} {microseconds:7.1f} us a step   tinygraph / it {medians['tinygraph'] / microseconds:.2f}"
        )
