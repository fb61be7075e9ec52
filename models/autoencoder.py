"""Autoencoders (65.99)-(65.102): networks that give back their input through a code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.errors import ArgumentError
from tinygraph.nn import Dense, Module, Sequential
from tinygraph.nn.layers import Activation, find_activation
from tinygraph.ops import bernoulli, bias, mask, matmul
from tinygraph.tensor import Operand, Tensor, parameter

from .seeds import layer_seed


class TiedDense(Module):
    """A layer ``y' = f(y W^T - theta)`` with the weights of another one, the same parameter (Problem 65.16).

    Parameters
    ----------
    W : Tensor of shape (n_out, n_in)
        The other layer's; its gradient adds up both uses.
    activation : str or callable, optional
        As for `tinygraph.nn.Dense`.
    """

    def __init__(self, W: Tensor, activation: str | Activation | None = None) -> None:
        self.W = W
        self.theta = parameter(np.zeros(W.shape[0], W.dtype), name="theta", role="bias")
        self.activation = find_activation(activation)

    def forward(self, y: Tensor) -> Tensor:
        """Return ``f(y W^T - theta)`` for `y` of shape (B, n_in): (B, n_out)."""
        z = bias(matmul(y, self.W.T), self.theta)
        z.name = "z"
        if self.activation is None:
            return z
        after = self.activation(z)
        after.name = "y"
        return after


class Autoencoder(Module):
    """An encoder and a decoder in a row; returns z_L, the signal before the output activation (65.99)-(65.101).

    Attributes
    ----------
    encoder, decoder : Sequential
        The layers up to the code, and those after it.
    denoise : float
        The fraction of the inputs that are zeroed in training (65.102).
    """

    def __init__(self, encoder: Sequential, decoder: Sequential, output: str, denoise: float = 0.0) -> None:
        self.encoder, self.decoder, self.output, self.denoise = encoder, decoder, output, denoise
        self._output()

    def forward(self, x: Tensor) -> Tensor:
        """Return z_L for `x` of shape (B, n); in training some of its entries are zeroed, anew at each call."""
        if self.training and self.denoise:
            x = mask(x, bernoulli(self.denoise, x.shape, x.dtype, x.backend))
        z: Tensor = self.decoder(self.encoder(x))
        return z

    def encode(self, x: Operand) -> Tensor:
        """Return the code of `x`, of shape (B, n): the output of the middle layer. Nothing is zeroed."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, y: Operand) -> Tensor:
        """Return the reconstruction gamma-hat from a code; ``decode(encode(x))`` equals ``predict(x)``."""
        return self._output().activation(self.decoder(y))

    def describe(self) -> str:
        """Return the output activation and the fraction of zeroed inputs."""
        return f"output={self.output!r}" + (f", denoise={self.denoise}" if self.denoise else "")


def autoencoder(
    sizes: Sequence[int],
    tied: bool = False,
    output: str = "sigmoid",
    denoise: float = 0.0,
    *,
    activation: str | Activation = "relu",
    init: str = "normal",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Autoencoder:
    """Build an autoencoder (65.99)-(65.102): plain, deep, overcomplete, denoising, with tied weights.

    Parameters
    ----------
    sizes : sequence of int
        How many nodes each layer has, an odd number of layers; the middle one is the code, the last has as
        many as the first: ``[784, 64, 784]``, ``[784, 256, 32, 256, 784]``. A code larger than the input is
        overcomplete.
    tied : bool
        Whether a decoding layer uses the transposed weights of the encoding layer it mirrors, ``W2 = W1^T``:
        one parameter, not a copy (Problem 65.16).
    output : {"sigmoid", "tanh", "linear", "softmax"}
        By the range of the data: "sigmoid" for [0, 1], "tanh" for [-1, 1], "linear" for any.
    denoise : float
        The fraction of inputs zeroed in training; the target stays the whole input.
    activation : str or callable
        Of the hidden layers, the code among them. "identity" with a linear output finds the space of the
        principal components (65.103)-(65.109).
    init, seed, dtype
        As for `fully_connected`.

    Raises
    ------
    ArgumentError
        For sizes that do not mirror, a fraction outside [0, 1), or unknown names.

    Examples
    --------
    >>> net = autoencoder([64, 16, 64], seed=0)
    >>> net.encode(np.zeros((5, 64), np.float32)).shape
    (5, 16)
    """
    if isinstance(sizes, int) or len(sizes) < 3 or len(sizes) % 2 == 0 or sizes[0] != sizes[-1]:
        raise ArgumentError(
            f"autoencoder: sizes must be an odd number of layers, at least 3, the last as large as the first, got "
            f"{sizes!r}"
        )
    if tied and list(sizes) != list(reversed(sizes)):
        raise ArgumentError(f"autoencoder: tied weights need sizes that read the same backwards, got {list(sizes)}")
    if isinstance(denoise, bool) or not isinstance(denoise, int | float) or not 0 <= denoise < 1:
        raise ArgumentError(f"autoencoder: denoise must be a fraction from 0 to below 1, got {denoise!r}")
    depth, middle = len(sizes) - 1, len(sizes) // 2
    functions: list[Any] = [activation] * (depth - 1) + [None]

    def dense(l: int) -> Dense:
        return Dense(sizes[l], sizes[l + 1], functions[l], init=init, seed=layer_seed(seed, l + 1), dtype=dtype)

    encoding = [dense(l) for l in range(middle)]
    decoding: list[Callable[..., Any]]
    if tied:
        decoding = [TiedDense(encoding[depth - 1 - l].W, functions[l]) for l in range(middle, depth)]
    else:
        decoding = [dense(l) for l in range(middle, depth)]
    return Autoencoder(Sequential(*encoding), Sequential(*decoding), output, float(denoise))
