"""A program as a user writes it, checked by mypy and Pyright in their strict modes (`test_types.py`), and run."""

# pyright: strict

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tinygraph as tg
from tinygraph import losses, metrics, models, nn, optim
from tinygraph.op import Gradients
from tinygraph.typing import Array, Namespace


@dataclass(frozen=True)
class Scaled(tg.Op):
    """Numbers times a factor that is no tensor."""

    factor: float = 2.0
    rule = "dx = factor dy"

    def forward(self, xp: Namespace, x: Array, out: Array | None = None) -> Array:
        return xp.multiply(x, self.factor, out=out)

    def backward(self, dy: tg.Tensor, y: tg.Tensor, x: tg.Tensor) -> Gradients:
        return (self.factor * dy,)


class Gate(nn.Module):
    """Inputs times what a sigmoid of their own weights lets through."""

    def __init__(self, n: int, seed: int = 0) -> None:
        self.layer = nn.Dense(n, n, activation="sigmoid", seed=seed)
        self.scale = tg.parameter(np.ones(n, np.float32), role="scale")

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return Scaled(0.5)(x * self.layer(x)) * self.scale


def samples(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4), dtype=np.float32)
    return X, (X.sum(axis=1) > 0).astype(np.int64)


def network(seed: int = 0) -> nn.Sequential:
    return nn.Sequential(nn.Dense(4, 8, activation="relu", seed=seed), Gate(8, seed=1), nn.Dense(8, 2, seed=2))


def gradients() -> list[tg.Tensor]:
    w = tg.parameter([[1.0, -2.0], [0.5, 3.0]], name="w", dtype=np.float64)
    x = tg.tensor(np.array([1.0, 2.0]))
    y = tg.sum(tg.tanh(x @ w) ** 2) + 0.1 * abs(w).sum()
    y.backward()
    assert w.grad is not None
    (dw,) = tg.grad(tg.mean(tg.exp(w)), [w])
    mixed: tg.Tensor = 1 - w / 2 + np.float64(1) * w[0, None, :]
    chosen: tg.Tensor = tg.where(w > 0, w, 0.0)
    return [w.grad, dw, mixed.T.reshape(-1), chosen]


@tg.no_grad()
def predictions(net: nn.Module, X: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(net.predict(X).numpy(), dtype=np.float32)


def by_hand(epochs: int = 2) -> float:
    X, Y = samples(64, seed=0)
    net = network()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    @tg.compile
    def step(x: NDArray[np.float32], y: NDArray[np.int64]) -> tg.Tensor:
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    loss = float("nan")
    for _ in range(epochs):
        for x, y in tg.data.Batches(X, Y, batch_size=16, seed=1):
            loss = float(step(x, y))
    return loss


def by_fit(folder: Path) -> tuple[float, NDArray[np.float32]]:
    X, Y = samples(64, seed=0)
    prepare = tg.data.standardize(X)
    net = models.fully_connected([4, 8, 2], activation="tanh", output="softmax", seed=0)
    history = tg.fit(
        net,
        losses.cross_entropy,
        (prepare(X), Y),
        optim.SGD(net.parameters(), lr=0.1),
        epochs=2,
        batch_size=16,
        metrics={"accuracy": metrics.accuracy},
        progress=False,
    )
    assert len(history["loss"]) == 2
    tg.save(folder / "weights.safetensors", net)
    tg.load(folder / "weights.safetensors", net)
    error: float = metrics.error_rate(net.decide(prepare(X)), Y)
    picture: str = tg.graph(net, input_shape=(None, 4)).to_dot()
    assert picture.startswith("digraph")
    return error, predictions(net, X)


if __name__ == "__main__":
    print(len(gradients()), by_hand(), by_fit(Path(".")))
