"""A variational autoencoder: codes with noise, from which images are drawn."""

import sys

import numpy as np

import tinygraph as tg
from tinygraph import data, nn, optim


class Variational(nn.Module):
    """An image gives a distribution of codes; a code drawn from it an image."""

    output = "linear"

    def __init__(self, code=8, hidden=128):
        self.encoder = nn.Dense(64, hidden, "elu")
        self.mean = nn.Dense(hidden, code)
        self.log_variance = nn.Dense(hidden, code)
        self.decoder = nn.Sequential(
            nn.Dense(code, hidden, "elu"),
            nn.Dense(hidden, 64),
        )

    def encode(self, x):
        y = self.encoder(x)
        return self.mean(y), self.log_variance(y)

    def code(self, mean, log_variance):
        """One drawn from the distribution, in training; else its mean."""
        if not self.training:
            return mean
        return tg.normal(mean.shape, mean, tg.exp(0.5 * log_variance))

    def forward(self, x):
        return self.decoder(self.code(*self.encode(x)))


def loss(net, x, target, noise=0.1):
    """The bound on minus the log-likelihood of pixels with Gaussian noise."""
    mean, log_variance = net.encode(x)
    image = net.decoder(net.code(mean, log_variance))
    misfit = tg.square(image - target).sum(axis=1) / (2 * noise**2)
    variance = tg.exp(log_variance)
    divergence = (tg.square(mean) + variance - log_variance - 1).sum(axis=1) / 2
    return (misfit + divergence).mean()


def picture():
    """The modules, and between them the operations that draw the code."""
    return tg.graph(Variational(), input_shape=(None, 64), level="modules")


if __name__ == "__main__":
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    tg.manual_seed(0)
    digits = data.load("digits")
    (x, _), (t, _) = digits.train, digits.test
    net = Variational()
    adam = optim.Adam(net.parameters(), lr=2e-3)
    schedule = optim.CosineDecay(adam, epochs)
    tg.fit(net, loss, (x, x), adam, epochs, schedule=schedule)
    missed = np.square(net.eval()(t).numpy() - t).sum()
    spread = np.square(t - x.mean(axis=0)).sum()
    print(f"test error {100 * missed / spread:.1f} % of the variance")
    picture().render("variational-autoencoder.svg")
