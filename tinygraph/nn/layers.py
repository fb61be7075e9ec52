"""Layers: the dense layer of (65.31), and modules in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import generator
from ..errors import ArgumentError, ShapeError
from ..ops import activation as activations
from ..ops.matmul import bias as subtract_bias
from ..ops.matmul import matmul
from ..tensor import Operand, Tensor, parameter
from .init import INITIALIZERS
from .module import Module, choose

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "identity": activations.identity,
    "sigmoid": activations.sigmoid,
    "softplus": activations.softplus,
    "tanh": activations.tanh,
    "scaled_tanh": activations.scaled_tanh,
    "relu": activations.relu,
    "leaky_relu": activations.leaky_relu,
    "elu": activations.elu,
}


def find_activation(activation: str | Activation | None) -> Activation | None:
    """Return the activation function called `activation`; a function is returned as it is.

    Raises
    ------
    ArgumentError
        If no activation has this name.
    """
    if activation is None or callable(activation):
        return activation
    found: Activation = choose("activation", activation, ACTIVATIONS)
    return found


class Dense(Module):
    """A fully-connected layer ``y' = f(y W - theta)`` (65.31).

    Parameters
    ----------
    n_in, n_out : int
        How many nodes feed it, and how many it has.
    activation : str or callable, optional
        A name of `ACTIVATIONS` or a function of a tensor; None: the signal ``z`` itself.
    bias : bool
        Whether there is a `theta`; it starts at 0.
    init : str
        How `W` is drawn, a name of `INITIALIZERS`: "normal" is (65.89).
    init_bias : str, optional
        How `theta` is drawn, likewise; "standard_normal" and its alias "normal" are (65.88).
    seed : int, optional
        Makes the draw independent of any other; by default it follows `tinygraph.manual_seed`.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    W : Tensor of shape (n_in, n_out)
    theta : Tensor of shape (n_out,), or None
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation | None = None,
        bias: bool = True,
        init: str = "normal",
        *,
        init_bias: str = "zeros",
        seed: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        for name, n in (("n_in", n_in), ("n_out", n_out)):
            if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
                raise ArgumentError(f"Dense: {name} must be a whole number of at least 1, got {n!r}")
        draw = choose("init", init, INITIALIZERS)
        draw_bias = choose("init_bias", "standard_normal" if init_bias == "normal" else init_bias, INITIALIZERS)
        weights = draw(generator(seed, "W"), (n_in, n_out), n_in, n_out)
        self.W = parameter(weights.astype(dtype), name="W")
        self.theta: Tensor | None = None
        if bias:
            start = draw_bias(generator(seed, "theta"), (n_out,), n_in, n_out)
            self.theta = parameter(start.astype(dtype), name="theta", role="bias")
        self.activation = find_activation(activation)

    def forward(self, y: Operand) -> Tensor:
        """Return ``f(y W - theta)`` for `y` of shape (B, n_in): (B, n_out)."""
        z = matmul(y, self.W)
        if self.theta is not None:
            z = subtract_bias(z, self.theta)
        z.name = "z"
        if self.activation is None:
            return z
        out = self.activation(z)
        if out.shape != z.shape:
            raise ShapeError(f"Dense: the activation changed the shape from {z.shape} to {out.shape}")
        out.name = "y"
        return out

    def describe(self) -> str:
        """Return sizes and activation."""
        n_in, n_out = self.W.shape
        name = getattr(self.activation, "__name__", type(self.activation).__name__)
        said = f", activation={name}" if self.activation is not None else ""
        return f"{n_in}, {n_out}{said}" + ("" if self.theta is not None else ", bias=False")


class Sequential(Module):
    """Modules (or functions of a tensor) applied one after the other.

    Parameters
    ----------
    *modules : Module or callable
        They are called "0", "1", ... in paths.
    output : str, optional
        The output activation of `predict`; see `Module`.
    """

    _steps: tuple[Module | Callable[[Any], Any], ...]

    def __init__(self, *modules: Module | Callable[[Any], Any], output: str | None = None) -> None:
        for i, module in enumerate(modules):
            if not callable(module):
                raise ArgumentError(f"Sequential: entry {i} must be a module or a function, got {module!r}")
            if isinstance(module, Module):
                module.__dict__.setdefault("_label", str(i))
        object.__setattr__(self, "_steps", tuple(modules))
        if output is not None:
            self.output = output
            self._output()

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules with their names, "0", "1", ..."""
        return ((str(i), m) for i, m in enumerate(self._steps) if isinstance(m, Module))

    def forward(self, x: Any) -> Any:
        """Return the last module's output."""
        for step in self._steps:
            x = step(x)
        return x

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, i: int) -> Any:
        return self._steps[i]
