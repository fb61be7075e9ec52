"""Autoencoders (Example 65.4): networks that give back their input through a code, gamma = h (65.99)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.arguments import fraction
from tinygraph.errors import ArgumentError
from tinygraph.nn import Dense, Module, Sequential
from tinygraph.nn.init import Initializer
from tinygraph.nn.layers import Activation, Layer
from tinygraph.operators import Operand
from tinygraph.ops import bernoulli, mask, matmul
from tinygraph.tensors import Tensor

from .layer_options import LayerOptions, activation_per_layer, list_of_sizes


class TiedDense(Layer):
    """A layer ``y' = f(y W^T - theta)`` with the weights of another one, the same parameter (Problem 65.16).

    Parameters
    ----------
    W : Tensor of shape (n_out, n_in)
        The other layer's; its gradient adds up both uses.
    activation : str or callable, optional
    init_bias : str or callable
    seed : int, optional
        As for `tinygraph.nn.Dense`; `theta` is this layer's own.
    """

    def __init__(
        self,
        W: Tensor,
        activation: str | Activation | Sequence[str | Activation] | None = None,
        *,
        init_bias: Initializer = "zeros",
        seed: int | None = None,
    ) -> None:
        self.W = W
        n_out, n_in = W.shape
        super().__init__(n_in, n_out, activation, True, init_bias=init_bias, seed=seed, dtype=W.dtype)

    def forward(self, y: Tensor) -> Tensor:
        """Return ``f(y W^T - theta)`` for `y` of shape (B, n_in): (B, n_out)."""
        return self.activate(matmul(y, self.W.T))


class Autoencoder(Module):
    """An encoder (65.101) and a decoder (65.102) in a row; returns z_L, the signal before the output activation.

    Attributes
    ----------
    encoder, decoder : Sequential
        The layers up to the code, and those after it.
    output : str
        The output activation, a name of `tinygraph.nn.OUTPUTS`, that `predict` and `decode` apply.
    denoise : float
        The fraction of the inputs that are zeroed in training (Example 65.4).
    """

    def __init__(self, encoder: Sequential, decoder: Sequential, output: str, denoise: float = 0.0) -> None:
        self.encoder, self.decoder, self.output, self.denoise = encoder, decoder, output, denoise
        self._output()

    def forward(self, x: Tensor) -> Tensor:
        """Return z_L for `x` of shape (B, n); in training some of its elements are zeroed, anew at each call."""
        if self.training and self.denoise:
            x = mask(x, bernoulli(self.denoise, x.shape, x.dtype, x.backend))
        z: Tensor = self.decoder(self.encoder(x))
        return z

    def encode(self, x: Operand) -> Tensor:
        """Return the code of `x`, of shape (B, n): the output of the middle layer (65.101). Nothing is zeroed."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, y: Operand) -> Tensor:
        """Return the reconstruction h-hat from a code (65.102); ``decode(encode(x))`` equals ``predict(x)``."""
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
    activation: str | Activation | Sequence[str | Activation] = "relu",
    init: Initializer = "normal",
    init_bias: Initializer = "zeros",
    seed: int | None = None,
    dtype: Any = np.float32,
) -> Autoencoder:
    """Build an autoencoder (Example 65.4): plain, deep, overcomplete, denoising, with tied weights.

    Train it with the inputs as targets (65.99): ``tg.fit(net, losses.squared_error, (X, X), optimizer)``.

    Parameters
    ----------
    sizes : sequence of int
        How many nodes each layer has, an odd number of layers; the middle one is the code, the last has as
        many as the first: ``[784, 64, 784]``, ``[784, 256, 32, 256, 784]``. A code larger than the input is
        overcomplete.
    tied : bool
        Whether a decoding layer uses the transposed weights of the encoding layer it mirrors, ``W2 = W1^T``:
        one parameter, not a copy (Problem 65.16). A regulariser counts it once: as ``rho |W1|^2``, where a sum
        over the layers l of ``rho |W_l|^2`` would count it twice; double rho to have that.
    output : str
        By the range of the data: "sigmoid" for (0, 1), "tanh" for (-1, 1), "linear" for any; a name of
        `tinygraph.nn.OUTPUTS`.
    denoise : float
        The fraction of inputs zeroed in training; the target stays the whole input.
    activation : str or callable, or one for each hidden layer
        Of the hidden layers, the code among them. "identity" with a linear output finds the space of the
        principal components (65.103)-(65.109).
    init, init_bias, seed, dtype
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
    sizes = list_of_sizes("autoencoder: sizes", sizes)
    if len(sizes) < 3 or len(sizes) % 2 == 0 or sizes[0] != sizes[-1]:
        raise ArgumentError(
            f"autoencoder: sizes must be an odd number of layers, at least 3, the last as large as the first, got "
            f"{sizes}"
        )
    if tied and sizes != sizes[::-1]:
        raise ArgumentError(f"autoencoder: tied weights need sizes that read the same backwards, got {sizes}")
    denoise = fraction("autoencoder: denoise", denoise)
    depth, middle = len(sizes) - 1, len(sizes) // 2
    functions = [*activation_per_layer("autoencoder", activation, depth - 1), None]
    options = LayerOptions(init, init_bias, seed, dtype)

    def dense(l: int) -> Dense:
        return Dense(sizes[l], sizes[l + 1], functions[l], **options.at(l + 1))

    def mirrored(l: int) -> TiedDense:
        return TiedDense(encoding[depth - 1 - l].W, functions[l], init_bias=init_bias, seed=options.at(l + 1)["seed"])

    encoding = [dense(l) for l in range(middle)]
    decoding: list[Module] = [mirrored(l) if tied else dense(l) for l in range(middle, depth)]
    return Autoencoder(Sequential(*encoding), Sequential(*decoding), output, denoise)
