"""Layers: the dense layer of (65.31), and modules in sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arguments import choose, whole_number
from ..backend import generator
from ..errors import ArgumentError, ShapeError
from ..leaves import parameter
from ..operators import Operand
from ..ops import activation as activations
from ..ops.indexing import take
from ..ops.neighborhood import Neighborhoods, neighborhood_matmul
from ..ops.products import bias as subtract_bias
from ..ops.products import matmul
from ..ops.shape import concatenate
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer, initial
from .module import Module
from .paths import place_in

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
    "selu": activations.selu,
    "gelu": activations.gelu,
    "silu": activations.silu,
    "softsign": activations.softsign,
}


def find_activation(activation: str | Activation | Sequence[str | Activation] | None) -> Activation | None:
    """Return the activation function called `activation`, `PerNode` for a list; a function as it is.

    Raises
    ------
    ArgumentError
        If no activation has this name.
    """
    if activation is None or callable(activation):
        return activation
    if isinstance(activation, list | tuple):
        return PerNode(activation)
    return choose("activation", activation, ACTIVATIONS)


class PerNode(Module):
    """A different activation for each node of a layer (Problem 65.6).

    Nodes with the same function are computed together.

    Parameters
    ----------
    activations : sequence of str or callable
        One for each node, in their order; names of `ACTIVATIONS` or functions of a tensor of shape (..., nodes)
        that keep its shape.

    Raises
    ------
    ArgumentError
        If there is none, or no activation has one of the names.
    """

    def __init__(self, activations: Sequence[str | Activation]) -> None:
        functions = [f for f in map(find_activation, activations) if f is not None]
        if not functions or len(functions) < len(activations):
            raise ArgumentError(f"PerNode: expected an activation for every node, got {list(activations)!r}")
        self.functions = functions
        groups: dict[Any, list[int]] = {}
        for node, function in enumerate(functions):
            groups.setdefault(function, []).append(node)
        self._groups = list(groups.items())
        order = [node for _, nodes in self._groups for node in nodes]
        self._places = sorted(range(len(order)), key=order.__getitem__)

    def forward(self, z: Tensor) -> Tensor:
        """Return the output of every node's own activation for `z` of shape (..., nodes)."""
        nodes = len(self.functions)
        if not z.shape or z.shape[-1] != nodes:
            raise ShapeError(f"PerNode: expected {nodes} nodes along the last axis, got shape {z.shape}")
        parts = []
        for function, members in self._groups:
            part = take(z, members, axis=-1)
            parts.append(function(part))
            if parts[-1].shape != part.shape:
                raise ShapeError(f"PerNode: an activation changed the shape from {part.shape} to {parts[-1].shape}")
        return take(concatenate(parts, axis=-1), self._places, axis=-1)

    def describe(self) -> str:
        """Return the names of the activations."""
        return ", ".join(_name(f) for f in self.functions)


def _name(activation: Activation) -> str:
    name: str = getattr(activation, "__name__", type(activation).__name__)
    return name


class Layer(Module):
    """Nodes with a bias and an activation, ``f(z - theta)``; a subclass has the weights that make z.

    Parameters
    ----------
    fan_in, n_out : int
        How many nodes feed a node, and how many nodes there are.
    activation, bias, init_bias, seed, dtype
        As for `Dense`.

    Attributes
    ----------
    theta : Tensor of shape (n_out,), or None
    activation : callable, or None
    """

    def __init__(
        self,
        fan_in: int,
        n_out: int,
        activation: str | Activation | Sequence[str | Activation] | None,
        bias: bool,
        *,
        init_bias: Initializer,
        seed: int | None,
        dtype: DTypeLike,
    ) -> None:
        if isinstance(activation, list | tuple) and len(activation) != n_out:
            raise ArgumentError(
                f"{type(self).__name__}: expected one activation for each of the {n_out} nodes, got {len(activation)}"
            )
        self.theta = initial_bias(fan_in, n_out, init_bias, seed, dtype) if bias else None
        self.activation = find_activation(activation)

    def activate(self, z: Tensor) -> Tensor:
        """Return ``f(z - theta)`` for `z` of shape (B, n_out), naming the signals z and y of the layer."""
        if self.theta is not None:
            z = subtract_bias(z, self.theta)
        z.name = "z"
        if self.activation is None:
            return z
        y: Tensor = self.activation(z)
        if y is z:
            return z
        if y.data.shape != z.data.shape:
            raise ShapeError(f"{type(self).__name__}: the activation changed the shape from {z.shape} to {y.shape}")
        y.name = "y"
        return y

    def _options(self) -> str:
        """Return what `describe` says of activation and bias."""
        activation = "" if self.activation is None else f", activation={_name(self.activation)}"
        return activation + ("" if self.theta is not None else ", bias=False")


class Dense(Layer):
    """A fully-connected layer ``y' = f(y W - theta)`` (65.31).

    Parameters
    ----------
    n_in, n_out : int
        How many nodes feed it, and how many it has.
    activation : str or callable, or a list with one for each node, optional
        A name of `ACTIVATIONS` or a function of a tensor; None: the signal ``z`` itself. See `PerNode` for lists.
    bias : bool
        Whether there is a `theta`.
    init : str or callable
        How `W` is drawn, a name of `INITIALIZERS`; "normal" is the variance 1 / n_in of (65.89). Or a function
        ``f(shape, rng, dtype)`` that returns an array of this shape, drawn from the `numpy.random.Generator` `rng`.
    init_bias : str or callable
        How `theta` is drawn, likewise: 0 by default, as is the field's custom; "normal", with the same meaning as
        "standard_normal", is the chapter's N(0, 1) (65.88).
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
        activation: str | Activation | Sequence[str | Activation] | None = None,
        bias: bool = True,
        init: Initializer = "normal",
        *,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n_in, n_out = whole_number("Dense: n_in", n_in, 1), whole_number("Dense: n_out", n_out, 1)
        weights = initial("init", init, generator(seed, "W"), (n_in, n_out), n_in, n_out, dtype)
        self.W = parameter(weights, name="W", dtype=dtype)
        super().__init__(n_in, n_out, activation, bias, init_bias=init_bias, seed=seed, dtype=dtype)

    def forward(self, y: Operand) -> Tensor:
        """Return ``f(y W - theta)`` for `y` of shape (B, n_in): (B, n_out)."""
        return self.activate(matmul(y, self.W))

    def describe(self) -> str:
        """Return sizes and activation."""
        n_in, n_out = self.W.shape
        return f"{n_in}, {n_out}{self._options()}"


def of_bias(init_bias: Initializer) -> Initializer:
    """Return what draws biases: of a bias "normal" means N(0, 1) (65.88)."""
    return "standard_normal" if init_bias == "normal" else init_bias


def initial_bias(n_in: int, n_out: int, init_bias: Initializer, seed: int | None, dtype: DTypeLike) -> Tensor:
    """Return the `theta` of a layer of `n_out` nodes, drawn as `init_bias` says; see `Dense`."""
    values = initial("init_bias", of_bias(init_bias), generator(seed, "theta"), (n_out,), n_in, n_out, dtype)
    return parameter(values, name="theta", role="bias", dtype=dtype)


class NeighborhoodDense(Layer):
    """A layer in which each node is fed by its neighbours only: one weight for each edge (65.110)-(65.119).

    Parameters
    ----------
    neighborhoods : Neighborhoods
        Which nodes feed which.
    activation, bias, init_bias, seed, dtype
        As for `Dense`.
    init : str or callable
        As for `Dense`, the names with the mean number of neighbours, rounded, in the place of n_l: (65.89) divides by
        all n_l nodes of the layer before, as many as feed a node there; here z would shrink with the share of them that
        do.

    Attributes
    ----------
    w : Tensor of shape (n_edges,)
        In the order of `Neighborhoods`.
    theta : Tensor of shape (n_out,), or None
    """

    def __init__(
        self,
        neighborhoods: Neighborhoods,
        n_in: int | None = None,
        n_out: int | None = None,
        activation: str | Activation | Sequence[str | Activation] | None = None,
        bias: bool = True,
        init: Initializer = "normal",
        *,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if not isinstance(neighborhoods, Neighborhoods):
            raise ArgumentError(f"NeighborhoodDense: expected Neighborhoods, got {type(neighborhoods).__name__}")
        for name, n, actual in (("n_in", n_in, neighborhoods.n_in), ("n_out", n_out, neighborhoods.n_out)):
            if n is not None and n != actual:
                raise ArgumentError(f"NeighborhoodDense: {name} is {n}, the neighborhoods have {actual}")
        edges, nodes = neighborhoods.n_edges, neighborhoods.n_out
        fan_in = max(1, round(edges / max(1, nodes)))
        fan_out = max(1, round(edges / max(1, neighborhoods.n_in)))
        self.neighborhoods = neighborhoods
        weights = initial("init", init, generator(seed, "w"), (edges,), fan_in, fan_out, dtype)
        self.w = parameter(weights, name="w", dtype=dtype)
        super().__init__(fan_in, nodes, activation, bias, init_bias=init_bias, seed=seed, dtype=dtype)

    def forward(self, y: Operand) -> Tensor:
        """Return ``f(z - theta)`` for `y` of shape (B, n_in): (B, n_out)."""
        return self.activate(neighborhood_matmul(y, self.w, self.neighborhoods))

    def describe(self) -> str:
        """Return the edges and the activation."""
        return f"{self.neighborhoods!r}{self._options()}"


class Sequential(Module):
    """Modules (or functions of a tensor) applied one after the other.

    Parameters
    ----------
    *modules : Module or callable
        They are called "0", "1", ... in paths.
    output : str, optional
        The output activation of `predict`; see `Module`.

    Attributes
    ----------
    steps : tuple
        The modules and functions.
    """

    steps: tuple[Module | Callable[[Any], Any], ...]

    def __init__(self, *modules: Module | Callable[..., object], output: str | None = None) -> None:
        for i, module in enumerate(modules):
            if not callable(module):
                raise ArgumentError(f"Sequential: argument {i} must be a module or a function, got {module!r}")
        object.__setattr__(self, "steps", tuple(modules))
        for label, part in self.children():
            place_in(self, label, part)
        if output is not None:
            self.output = output
            self._output()

    def _parts(self) -> list[tuple[str, Module | Tensor]]:
        """Return the modules with their names, "0", "1", ...; and what a subclass has for attributes."""
        return [(label.removeprefix("steps."), part) for label, part in super()._parts()]

    def forward(self, x: Any) -> Any:
        """Return the last module's output."""
        for step in self.steps:
            x = step(x)
        return x

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i: int) -> Any:
        return self.steps[i]
