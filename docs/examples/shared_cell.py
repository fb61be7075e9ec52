"""A cell that is called again and again: the same weights refine an answer."""

import sys

import tinygraph as tg
from tinygraph import data, losses, nn, optim


class Cell(nn.Module):
    """A gated step from a state h to the next, with the input u in view."""

    def __init__(self, n):
        self.proposal = nn.Dense(2 * n, n, "tanh")
        self.gate = nn.Dense(2 * n, n, "sigmoid")

    def forward(self, u, h):
        both = tg.concatenate([u, h], axis=-1)
        return h + self.gate(both) * (self.proposal(both) - h)


class Refiner(nn.Module):
    output = "softmax"

    def __init__(self, n=32, steps=6):
        self.steps = steps
        self.look = nn.Dense(64, n, "tanh")
        self.cell, self.answer = Cell(n), nn.Dense(n, 10)

    def answers(self, x):
        """The logits after each step."""
        h = u = self.look(x)
        found = []
        for _ in range(self.steps):
            h = self.cell(u, h)
            found.append(self.answer(h))
        return found

    def forward(self, x):
        return self.answers(x)[-1]


def loss(net, x, y):
    """The mean over all answers: auxiliary ones teach it to be right early."""
    found = net.answers(x)
    return sum(losses.cross_entropy(z, y) for z in found) / len(found)


def picture():
    """The modules with all answers; the calls of one module are numbered."""
    return tg.graph(Refiner().answers, input_shape=(None, 64), level="modules")


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    tg.manual_seed(0)
    digits = data.load("digits")
    net = Refiner()
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    schedule = optim.CosineDecay(sgd, epochs)
    tg.fit(net, loss, digits.train, sgd, epochs, schedule=schedule)
    x, y = digits.test
    for t, z in enumerate(net.answers(tg.tensor(x)), 1):
        error = tg.metrics.error_rate(z.numpy().argmax(axis=1), y)
        print(f"after {t} calls: test error {100 * error:.1f} %")
    picture().render("shared-cell.svg")
