"""Seeds of layers: a layer's initial weights depend on its place in the network, not on when it is built."""

from __future__ import annotations

from tinygraph.backend import generator


def layer_seed(seed: int | None, *place: str | int) -> int | None:
    """Return the seed of the layer at `place` in a network built with `seed`; None stays None."""
    return None if seed is None else int(generator(seed, "layer", *place).integers(2**63))
