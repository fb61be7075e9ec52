"""A fully-connected network that tells classes of images, beside a softmax layer alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.arguments import whole_number
from tinygraph.models import fully_connected
from tinygraph.tools.reproduce.seeds import percent

HIDDEN = (512, 512)


def run(
    *, data_set: str = "fashion-mnist", passes: int = 10, seeds: int = 3, data_dir: Path | None = None
) -> Iterator[str]:
    """Train both by Adam on batches of 32, for several seeds; yield their test errors.

    Parameters
    ----------
    data_set : str
        Of images, a name that `tinygraph.data.load` knows.
    passes, seeds : int
        Over the training set; how many seeds, from 0 on.
    data_dir : path, optional
        The folder with the files of data sets.
    """
    for name, count in (("passes", passes), ("seeds", seeds)):
        whole_number(name, count, 1)
    images = data.load(data_set, data_dir, center=True)
    yield f"{images!r}, {passes} passes, seeds 0 to {seeds - 1}"
    for hidden, words in ((HIDDEN, "{}"), ((), "{}, a softmax layer alone")):
        sizes = [images.n_features, *hidden, images.n_classes]
        errors = []
        for seed in range(seeds):
            net = fully_connected(sizes, seed=seed)
            adam = optim.Adam(net.parameters(), 1e-3)
            tg.fit(net, losses.cross_entropy, images.train, adam, passes, seed=seed)
            errors.append(tg.evaluate(net, losses.cross_entropy, images.test)[1] or 0.0)
        yield f"test error {percent(errors)}: {words.format('-'.join(map(str, sizes)))}"
