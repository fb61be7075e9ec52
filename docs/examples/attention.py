"""Attention: an image is read row by row, and a row asks those above it."""

import sys

import numpy as np

import tinygraph as tg
from tinygraph import data, losses, nn, optim


class Attention(nn.Module):
    """Causal self-attention with several heads, (B, rows, n) to the same."""

    def __init__(self, n, heads, rows=8):
        self.query, self.key, self.value, self.back = (
            nn.Dense(n, n, bias=False) for _ in range(4)
        )
        self.heads, self.size = heads, n // heads
        later = np.triu(np.ones((rows, rows), bool), 1)  # hidden from a row
        self.later = tg.tensor(later, name="later")

    def split(self, y):
        """(B, rows, n) as (B, heads, rows, n / heads)."""
        return y.reshape(*y.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

    def forward(self, y):
        query, key = self.split(self.query(y)), self.split(self.key(y))
        scores = query @ key.transpose(0, 1, 3, 2) / self.size**0.5
        weights = tg.softmax(tg.where(self.later, -float("inf"), scores))
        found = weights @ self.split(self.value(y))
        return self.back(found.transpose(0, 2, 1, 3).reshape(y.shape))


def layers(n):
    return nn.Sequential(nn.Dense(n, 2 * n, "gelu"), nn.Dense(2 * n, n))


class Reader(nn.Module):
    """Two blocks of attention and two dense layers; the last row answers."""

    output = "softmax"

    def __init__(self, n=32, heads=4, blocks=2):
        self.embed = nn.Dense(8, n)
        self.positions = tg.parameter(np.zeros((8, n), np.float32), "positions")
        self.parts = []
        for _ in range(blocks):
            for part in (Attention(n, heads), layers(n)):
                self.parts.append(
                    nn.Residual(nn.Sequential(nn.LayerNorm(n), part))
                )
        self.last = nn.Sequential(nn.LayerNorm(n), nn.Dense(n, 10))

    def forward(self, x):
        y = self.embed(x.reshape(-1, 8, 8)) + self.positions
        for part in self.parts:
            y = part(y)
        return self.last(y[:, -1])


def picture():
    """What one attention computes."""
    attention = Attention(32, heads=4)
    return tg.graph(attention, input_shape=(None, 8, 32), level="modules")


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    tg.manual_seed(0)
    digits = data.load("digits")
    net = Reader()
    adam = optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = optim.Warmup(adam, 3, optim.CosineDecay(adam, epochs))
    tg.fit(
        net, losses.cross_entropy, digits.train, adam, epochs, schedule=schedule
    )
    error = tg.metrics.error_rate(net.decide(digits.test[0]), digits.test[1])
    print(f"test error {100 * error:.1f} %")
    picture().render("attention.svg")
