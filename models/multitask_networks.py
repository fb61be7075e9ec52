"""The multitask network (65.154)-(65.164): a softmax pair (65.155) for each task on layers that all tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.arguments import whole_number
from tinygraph.nn import Dense, Module, Sequential
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation
from tinygraph.ops import reshape
from tinygraph.tensors import Tensor

from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


class Multitask(Module):
    """Shared layers, then two nodes for each of T tasks (65.156a); returns their signals z_L, (B, T, 2).

    ``[:, t, 0]`` is for "present" and ``[:, t, 1]`` for "absent", as `tinygraph.losses.multitask_cross_entropy` takes
    them. `predict` applies the softmax to each pair (65.155), so that ``[:, t, 0]`` is how likely the attribute is
    present; `decide` gives the larger of each pair as a label (1, 0) or (0, 1), as in (65.160) and (65.161).

    Attributes
    ----------
    shared : Sequential
        The layers that all tasks learn from.
    pairs : Dense
        From the last of them to the 2 T output nodes; columns 2 t and 2 t + 1 of its W are W_{L-1,t} of (65.156a).
    tasks : int
    """

    output = "softmax"

    def __init__(self, shared: Sequential, pairs: Dense, tasks: int) -> None:
        self.shared, self.pairs, self.tasks = shared, pairs, tasks

    def forward(self, x: Tensor) -> Tensor:
        """Return z_L of shape (B, T, 2) for `x` of shape (B, n_in)."""
        return reshape(self.pairs(self.shared(x)), (-1, self.tasks, 2))

    def describe(self) -> str:
        """Return the number of tasks."""
        return f"tasks={self.tasks}"


def multitask(
    hidden: Sequence[int],
    tasks: int,
    n_in: int,
    *,
    activation: str | Activation | Sequence[str | Activation] = "relu",
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Multitask:
    """Build a network that tells the presence of several attributes, on shared layers (65.154)-(65.164).

    With a single output for each task, as the text allows, it is a `fully_connected` network whose output is sigmoid,
    trained by `tinygraph.losses.binary_cross_entropy`.

    Parameters
    ----------
    hidden : sequence of int
        How many nodes each shared layer has: ``[64, 32]``.
    tasks : int
        T, how many tasks there are.
    n_in : int
        How many inputs.
    activation : str or callable, or one for each shared layer
        Of the shared layers.
    init, init_bias, seed, dtype
        As for `fully_connected`.

    Raises
    ------
    ArgumentError
        For sizes that are not whole positive numbers, or unknown names.

    Examples
    --------
    Missing labels are NaN; label vectors (65.162) may be given as they are:

    >>> net = multitask([64, 32], tasks=2, n_in=100, seed=0)
    >>> z = net(np.zeros((1, 100), np.float32))
    >>> loss = losses.multitask_cross_entropy(z, [[np.nan, 1.0]])
    >>> loss = losses.multitask_cross_entropy(z, [[np.nan, np.nan, 1.0, 0.0]])
    """
    tasks = whole_number("multitask: tasks", tasks, 1)
    hidden = list_of_sizes("multitask: hidden", hidden)
    sizes = [n_in, *hidden]
    functions = activation_per_layer("multitask", activation, len(hidden), "shared")
    options = LayerOptions(init, init_bias, seed, dtype)
    shared = [
        Dense(a, b, function, **options.at(l))
        for l, (a, b, function) in enumerate(zip(sizes, hidden, functions, strict=False), 1)
    ]
    pairs = Dense(sizes[-1], 2 * tasks, **options.at(len(sizes)))
    return Multitask(Sequential(*shared), pairs, tasks)
