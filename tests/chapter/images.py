"""What Exs. 65.9 and 65.10 do to images, and the passes they run, in plain loops."""

from __future__ import annotations

import numpy as np
from chapter import listings

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected

MU, RHO = 0.001, 0.0001  # (65.151), (65.152)
SLEEP = {1: 0.1, 2: 0.5, 3: 0.5}


def mean_feature_vector(pixels, M, start=0, record=None):
    """The mean of each of the M entries, scaled by 255, over records of bytes whose pixels begin at `start`."""
    record = M if record is None else record
    n = len(pixels) // record
    return [sum(pixels[start + j :: record]) / 255 / n for j in range(M)]


def centred(pixels, mean):
    """One image: its pixels scaled by 255, less the mean feature vector of the set it belongs to."""
    return [p / 255 - m for p, m in zip(pixels, mean, strict=True)]


def few(part, n=10):
    """The first samples of a set, in float64."""
    return tuple(a[:n].astype(np.float64) for a in part)


def network(sizes, activation, **options):
    """A network of the examples' kind; the hidden layers of `sizes` may be smaller, for plain loops."""
    return fully_connected(sizes, activation, "softmax", init_bias="normal", seed=7, dtype=np.float64, **options)


def drawn_masks(sizes, steps):
    """The masks of so many steps, one by one as the layers of a network with dropout `SLEEP` draw them."""
    return [
        {l: tg.bernoulli(p, (1, sizes[l - 1]), np.float64).numpy()[0].tolist() for l, p in SLEEP.items()}
        for _ in range(steps)
    ]


def difference_with_dropout(sizes, activation, samples, passes=1):
    """The largest difference of any parameter after passes with dropout, (65.150) against `fit`."""
    tg.manual_seed(1)
    masks = drawn_masks(sizes, passes * len(samples[0]))
    tg.manual_seed(1)
    net, f = network(sizes, activation, dropout=list(SLEEP.values())), listings.activations(4, activation, "softmax")
    return difference_after_a_pass(net, f, samples, passes, masks=masks)


def difference_after_a_pass(net, f, samples, passes=1, compiled=True, masks=None):
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
                W, theta = listings.stochastic_step(pair[0][0], pair[1][0], W, theta, MU, RHO, f, "cross-entropy")
            else:
                W, theta = listings.dropout_step(*pair, masks[step], W, theta, MU, RHO, f, "cross-entropy")
            step += 1
    optimizer = optim.SGD(net.parameters(), MU)
    options = {"l2": RHO, "seed": 3, "compiled": compiled}
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
