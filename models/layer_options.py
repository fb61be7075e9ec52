"""What all builders are told about their layers: their sizes, how they are drawn, and the activation of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinygraph.errors import ArgumentError
from tinygraph.nn.init import Initializer, layer_seed
from tinygraph.nn.layers import Activation


@dataclass(frozen=True)
class LayerOptions:
    """How the layers of a network are drawn; every builder takes these by the same names."""

    init: Initializer
    init_bias: Initializer
    seed: int | None
    dtype: Any

    def at(self, *place: str | int) -> dict[str, Any]:
        """Return the keyword arguments of the layer at `place`, which has a seed of its own."""
        return {
            "init": self.init,
            "init_bias": self.init_bias,
            "seed": layer_seed(self.seed, *place),
            "dtype": self.dtype,
        }


def list_of_sizes(name: str, sizes: Any) -> list[int]:
    """Return the sizes of layers as a list, or raise an `ArgumentError` if they are not listed."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        hint = f"; say [{sizes}]" if isinstance(sizes, int) else ""
        raise ArgumentError(f"{name} must list the sizes of layers, got {sizes!r}{hint}")
    return list(sizes)


def activation_per_layer(
    builder: str, activation: str | Activation | Sequence[Any], layers: int, which: str = "hidden"
) -> list[Any]:
    """Return one activation for each of the layers: a single one for all of them, or a list as it is.

    Raises
    ------
    ArgumentError
        If the list has another length.
    """
    if not isinstance(activation, list | tuple):
        return [activation] * layers
    if len(activation) != layers:
        raise ArgumentError(
            f"{builder}: expected one activation for each of the {layers} {which} layers, got {len(activation)}"
        )
    return list(activation)
