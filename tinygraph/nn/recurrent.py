"""Recurrent layers: a cell that is called once for each position of a sequence, with the same weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arguments import truth_value, whole_number
from ..backend import generator
from ..errors import ArgumentError, ShapeError
from ..leaves import as_tensor, parameter, tensor
from ..operators import Operand
from ..ops.activation import sigmoid, tanh
from ..ops.products import matmul
from ..ops.reduce import broadcast_to
from ..ops.shape import concatenate, expand_dims
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer, initial, layer_seed
from .layers import Activation, Dense, Layer
from .module import Module


class RecurrentCell(Layer):
    """A layer that is also fed by its own signals of the step before, ``h' = f(x W + h U - theta)`` (Elman 1990).

    Parameters
    ----------
    n_in, n_out : int
        How many nodes feed it, and how many it has.
    activation, bias, init_bias, seed, dtype
        As for `Dense`; "tanh" by default.
    init : str or callable
        How `W` is drawn, as for `Dense`.
    init_state : str or callable
        How `U` is drawn, likewise; an orthogonal one keeps the length of the state, however often it is applied.

    Attributes
    ----------
    W : Tensor of shape (n_in, n_out)
    U : Tensor of shape (n_out, n_out)
    theta : Tensor of shape (n_out,), or None
    start : Tensor of shape (n_out,)
        The state before the first step: zeros, not learned.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation | Sequence[str | Activation] | None = "tanh",
        bias: bool = True,
        init: Initializer = "normal",
        *,
        init_state: Initializer = "orthogonal",
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n_in, n_out = whole_number("RecurrentCell: n_in", n_in, 1), whole_number("RecurrentCell: n_out", n_out, 1)
        W = initial("init", init, generator(seed, "W"), (n_in, n_out), n_in, n_out, dtype)
        U = initial("init_state", init_state, generator(seed, "U"), (n_out, n_out), n_out, n_out, dtype)
        self.W, self.U = parameter(W, name="W", dtype=dtype), parameter(U, name="U", dtype=dtype)
        super().__init__(n_in, n_out, activation, bias, init_bias=init_bias, seed=seed, dtype=dtype)
        self.start = tensor(np.zeros(n_out), dtype, name="start")

    def forward(self, x: Operand, h: Operand | None = None) -> Tensor:
        """Return the next state for `x` of shape (B, n_in) and the state `h`, both of shape (B, n_out)."""
        x = as_tensor(x, self.W)
        h = _state("RecurrentCell", self.start, x, h)
        return self.activate(matmul(x, self.W) + matmul(h, self.U))

    def describe(self) -> str:
        """Return sizes and activation."""
        n_in, n_out = self.W.shape
        return f"{n_in}, {n_out}{self._options()}"


class GRUCell(Module):
    """A cell whose gates decide what of its state is kept (Cho et al. 2014).

    With r and u, the gates of what is read and of what is kept, ``c = tanh(x W_c - theta_c + r (h U_c - phi_c))`` is
    the candidate, and ``h' = u h + (1 - u) c`` the next state, as in PyTorch.

    Parameters
    ----------
    n_in, n_out : int
        How many nodes feed it, and how many it has.
    bias, init, init_bias, seed, dtype
        As for `Dense`.
    init_state : str or callable
        How the weights of the state are drawn, as for `RecurrentCell`.

    Attributes
    ----------
    of_input, of_state : Dense
        Layers of 3 n_out nodes: those of r, of u, and of the candidate.
    start : Tensor of shape (n_out,)
        The state before the first step: zeros, not learned.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = True,
        init: Initializer = "normal",
        *,
        init_state: Initializer = "orthogonal",
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n_in, n_out = whole_number("GRUCell: n_in", n_in, 1), whole_number("GRUCell: n_out", n_out, 1)

        def layer(name: str, n: int, drawn: Initializer) -> Dense:
            return Dense(n, 3 * n_out, None, bias, drawn, init_bias=init_bias, seed=layer_seed(seed, name), dtype=dtype)

        self.of_input, self.of_state = layer("of_input", n_in, init), layer("of_state", n_out, init_state)
        self.start = tensor(np.zeros(n_out), dtype, name="start")

    def forward(self, x: Operand, h: Operand | None = None) -> Tensor:
        """Return the next state for `x` of shape (B, n_in) and the state `h`, both of shape (B, n_out)."""
        x = as_tensor(x, self.start)
        h, n = _state("GRUCell", self.start, x, h), self.start.shape[0]
        a, b = self.of_input(x), self.of_state(h)
        gates = sigmoid(a[:, : 2 * n] + b[:, : 2 * n])
        kept = gates[:, n:]
        candidate = tanh(a[:, 2 * n :] + gates[:, :n] * b[:, 2 * n :])
        return kept * h + (1.0 - kept) * candidate

    def describe(self) -> str:
        """Return sizes."""
        return f"{self.of_input.W.shape[0]}, {self.start.shape[0]}"


def _state(cell: str, start: Tensor, x: Tensor, h: Operand | None) -> Tensor:
    """Return the state `h` of shape (B, n), or that before the first step."""
    if x.ndim != 2:
        raise ShapeError(
            f"{cell}: expected x (B, n_in), got shape {x.shape}; nn.Recurrent(cell) takes sequences (B, T, n_in)"
        )
    state = broadcast_to(start, (len(x), *start.shape)) if h is None else as_tensor(h, start)
    if state.shape != (len(x), *start.shape):
        raise ShapeError(f"{cell}: expected a state of shape {(len(x), *start.shape)}, got {state.shape}")
    return state


class Recurrent(Module):
    """A cell called once for each position of a sequence, on what stands there and on its own state.

    Parameters
    ----------
    cell : Module
        Called as ``cell(x, h)`` with `x` of shape (B, n_in) and the state, a tensor of shape (B, n); returns the next
        state. At the first position, unless a state is given, that is ``cell.start`` for every sample; a cell that has
        none is called as ``cell(x)`` there.
    last : bool
        Whether the result is the last state alone; else it is all of them.
    """

    def __init__(self, cell: Module, *, last: bool = False) -> None:
        if not callable(cell):
            raise ArgumentError(f"Recurrent: cell must be a module or a function, got {cell!r}")
        self.cell, self.last = cell, truth_value("Recurrent: last", last)

    def forward(self, x: Operand, h: Operand | None = None) -> Tensor:
        """Return the states for `x` of shape (B, T, n_in): (B, T, n), or (B, n) of the last alone.

        Raises
        ------
        ShapeError
            If `x` does not have three axes, or has no position.
        """
        x = as_tensor(x)
        if x.ndim != 3 or not x.shape[1]:
            raise ShapeError(f"Recurrent: expected x (B, T, n), T from 1 on, got shape {x.shape}")
        if h is None and isinstance(getattr(self.cell, "start", None), Tensor):  # for the first call like the others
            start = self.cell.start
            h = broadcast_to(start, (len(x), *start.shape))
        states: list[Tensor] = []
        for t in range(x.shape[1]):
            h = state = self.cell(x[:, t]) if h is None else self.cell(x[:, t], h)
            if not isinstance(state, Tensor):
                raise ArgumentError(f"Recurrent: the cell must return its next state, a tensor, got {state!r:.60}")
            if not self.last:
                states.append(expand_dims(state, 1))
        return state if self.last else concatenate(states, axis=1)  # pyright: ignore[reportPossiblyUnboundVariable]

    def describe(self) -> str:
        """Return what the result is."""
        return "last=True" if self.last else ""
