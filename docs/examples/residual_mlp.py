"""A residual network: blocks that add something to what they are given."""

import sys

import tinygraph as tg
from tinygraph import data, losses, nn, optim


def block(n):
    """What is added is 0 at first: any number of blocks is the identity."""
    wide = nn.Dense(n, 2 * n, "gelu", init="he_normal")
    back = nn.Dense(2 * n, n, init="zeros")
    return nn.Residual(nn.Sequential(nn.LayerNorm(n), wide, back))


class ResidualMLP(nn.Module):
    output = "softmax"

    def __init__(self, blocks=12, n=48):
        self.first = nn.Dense(64, n, init="orthogonal")
        self.blocks = [block(n) for _ in range(blocks)]
        self.last = nn.Dense(n, 10)

    def forward(self, x):
        y = self.first(x)
        for block in self.blocks:
            y = block(y)
        return self.last(y)


def smoothed(z, labels):
    """Cross-entropy with a tenth of each target spread over all classes."""
    spread = -tg.log_softmax(z).mean()
    return 0.9 * losses.cross_entropy(z, labels) + 0.1 * spread


def picture():
    """The modules; equal blocks in a row are drawn once."""
    shape = (None, 64)
    return tg.graph(ResidualMLP(), input_shape=shape, level="modules", depth=3)


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    tg.manual_seed(0)
    digits = data.load("digits")
    net = ResidualMLP()
    inside = [p for module in net.blocks for p in module.parameters()]
    around = [*net.first.parameters(), *net.last.parameters()]
    groups = [
        {"params": inside, "weight_decay": 0.1},
        {"params": around, "lr": 1e-3},
    ]
    adam = optim.AdamW(groups, lr=2e-3, weight_decay=0.01)
    schedule = optim.Warmup(adam, 3, optim.CosineDecay(adam, epochs))
    loss = losses.Loss(smoothed, "logits")
    tg.fit(net, loss, digits.train, adam, epochs, schedule=schedule)
    error = tg.metrics.error_rate(net.decide(digits.test[0]), digits.test[1])
    print(f"test error {100 * error:.1f} %")
    picture().render("residual-mlp.svg")
