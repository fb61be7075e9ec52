"""What Exs. 65.9 and 65.10 do to images, and the passes they run, in plain loops."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from chapter import listings

import tinygraph as tg
from tinygraph import losses, optim

SHARED = Path(os.environ.get("TINYGRAPH_DATA_DIR") or Path(__file__).resolve().parents[3] / "shared" / "data")


def mean_feature_vector(pixels, M, start=0, record=None):
    """The mean of each of the M entries, scaled by 255, over records of bytes whose pixels begin at `start`."""
    record = M if record is None else record
    n = len(pixels) // record
    return [sum(pixels[start + j :: record]) / 255 / n for j in range(M)]


def centred(pixels, mean):
    """One image: its pixels scaled by 255, less the mean feature vector of the set it belongs to."""
    return [p / 255 - m for p, m in zip(pixels, mean, strict=True)]


def difference_after_a_pass(net, f, samples, mu, rho, passes=1, compiled=True, masks=None):
    """The largest difference of any parameter between `fit` and the listing (65.150), after passes of a few samples.

    Before each pass the samples are shuffled anew, as the examples say; the order is that of `tg.data.batches`. With
    `masks`, a list of them for each step, the listing is that of dropout.
    """
    W, theta = listings.parameters(net)
    start = listings.parameters(net)
    shuffled, step = tg.data.batches(*samples, 1, seed=3), 0
    for _ in range(passes):
        for h, gamma in shuffled:
            pair = h.tolist(), gamma.tolist()
            if masks is None:
                W, theta = listings.stochastic_step(pair[0][0], pair[1][0], W, theta, mu, rho, f, "cross-entropy")
            else:
                W, theta = listings.dropout_step(*pair, masks[step], W, theta, mu, rho, f, "cross-entropy")
            step += 1
    optimizer = optim.SGD(net.parameters(), mu)
    options = {"l2": rho, "seed": 3, "compiled": compiled}
    tg.fit(net, losses.cross_entropy, samples, optimizer, passes, batch_size=1, **options)
    assert listings.largest_difference(start, listings.parameters(net)) > 1e-4, "the parameters did not move"
    return listings.largest_difference(listings.parameters(net), (W, theta))


def empirical_error_rate(net, f, X, Y):
    """The fraction of samples whose largest output is not at their class (65.148)."""
    W, theta = listings.parameters(net)
    wrong = 0
    for h, gamma in zip(X.tolist(), Y.tolist(), strict=True):
        gamma_hat = listings.forward(h, W, theta, f)[0]
        wrong += gamma_hat.index(max(gamma_hat)) != gamma.index(1)
    return wrong / len(X)


def percentage_of(errors, samples):
    """What the library makes of that many wrong decisions, in percent."""
    right = np.zeros((samples, 2), np.float32)
    right[:, 0] = 1
    decided = right.copy()
    decided[:errors] = [0, 1]
    return 100 * tg.metrics.error_rate(decided, right)
