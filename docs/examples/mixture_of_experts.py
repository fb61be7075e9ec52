"""A mixture of experts: a gate sends an image to two of eight networks."""

import sys

import tinygraph as tg
from tinygraph import data, losses, nn, optim


def expert(hidden=24):
    wide = nn.Dense(64, hidden, "relu", init="he_normal")
    return nn.Sequential(wide, nn.Dense(hidden, 10))


class Mixture(nn.Module):
    """The answers of two experts, weighted by the softmax of their gates."""

    output = "softmax"

    def __init__(self, experts=8):
        self.gate = nn.Dense(64, experts)
        self.experts = [expert() for _ in range(experts)]

    def weights(self, x):
        """Weights of shape (B, experts), two a row not 0; and those of all."""
        gates = self.gate(x)
        largest, _ = tg.topk(gates, 2)
        chosen = tg.where(gates < largest[:, 1:], -float("inf"), gates)
        return tg.softmax(chosen), tg.softmax(gates)

    def forward(self, x):
        weights, _ = self.weights(x)
        answers = tg.stack([expert(x) for expert in self.experts], axis=1)
        return (weights[:, :, None] * answers).sum(axis=1)  # (B, 10)


def loss(net, x, y):
    """Cross-entropy, and a term that is least where all experts have work.

    It is 0.1 if each is asked equally often. How often is a count, so gradients
    reach the gate by its probabilities.
    """
    weights, probabilities = net.weights(x)
    asked = (weights > 0).astype("float32").mean(axis=0) / 2
    balance = len(net.experts) * (asked * probabilities.mean(axis=0)).sum()
    return losses.cross_entropy(net(x), y) + 0.1 * balance


def picture():
    """The modules; the experts are equal and drawn once."""
    return tg.graph(Mixture(), input_shape=(None, 64), level="modules")


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    tg.manual_seed(0)
    digits = data.load("digits")
    net = Mixture()
    adam = optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    tg.fit(net, loss, digits.train, adam, epochs)
    x, y = digits.test
    asked = 100 * (net.weights(x)[0].numpy() > 0).mean(axis=0)
    print("experts asked:", ", ".join(f"{share:.0f} %" for share in asked))
    print(f"test error {100 * tg.metrics.error_rate(net.decide(x), y):.1f} %")
    picture().render("mixture-of-experts.svg")
