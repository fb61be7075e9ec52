"""Attention: each position of a sequence gets a mean of what others offer, weighed by how well they fit."""

from __future__ import annotations

import numpy as np

from ..arguments import truth_value, whole_number
from ..errors import ArgumentError, DTypeError, ShapeError
from ..leaves import as_tensor
from ..operators import Operand
from ..ops.activation import softmax
from ..ops.attention import causal_mask
from ..ops.elementwise import where
from ..ops.products import MatMul, matmul
from ..ops.shape import reshape, transpose
from ..tensors import Tensor
from ..typing import DTypeLike
from .init import Initializer, layer_seed
from .layers import Dense
from .module import Module

_scores = MatMul(transpose_b=True)


class MultiHeadAttention(Module):
    """Scaled dot-product attention in several heads side by side (Vaswani et al. 2017).

    Each position asks by a query q; each that it may attend to has a key k and a value v. In every head, d = n / heads
    nodes wide, position i gets the sum of ``w_ij v_j`` with ``w_i = softmax(q_i k' / sqrt(d))``; a last layer joins
    the heads.

    Parameters
    ----------
    n : int
        The nodes of a position, a multiple of `heads`.
    heads : int
        How many heads.
    n_context : int, optional
        The nodes of a position of the context, where that is another sequence; by default `n`.
    causal : bool
        Whether position i attends to none behind position i, whatever else a mask says.
    bias, init, init_bias, seed, dtype
        Of the four layers, as for `Dense`.

    Attributes
    ----------
    query, key, value, join : Dense
        Their weights are of shape (n, n); those of `key` and `value` (n_context, n).
    """

    def __init__(
        self,
        n: int,
        heads: int,
        n_context: int | None = None,
        *,
        causal: bool = False,
        bias: bool = True,
        init: Initializer = "xavier_uniform",
        init_bias: Initializer = "zeros",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        n, heads = whole_number("MultiHeadAttention: n", n, 1), whole_number("MultiHeadAttention: heads", heads, 1)
        n_context = whole_number("MultiHeadAttention: n_context", n if n_context is None else n_context, 1)
        if n % heads:
            raise ArgumentError(f"MultiHeadAttention: n must be a multiple of heads, got {n} nodes and {heads} heads")

        def layer(name: str, n_in: int) -> Dense:
            return Dense(n_in, n, None, bias, init, init_bias=init_bias, seed=layer_seed(seed, name), dtype=dtype)

        self.query, self.key, self.value = layer("query", n), layer("key", n_context), layer("value", n_context)
        self.join = layer("join", n)
        self.heads, self.causal = heads, truth_value("MultiHeadAttention: causal", causal)

    def forward(self, x: Operand, context: Operand | None = None, mask: Operand | None = None) -> Tensor:
        """Return what each position of `x` gets, of shape (B, T, n).

        Parameters
        ----------
        x : tensor of shape (B, T, n)
        context : tensor of shape (B, S, n_context), optional
            What is attended to; by default `x` itself.
        mask : tensor of truth values of shape (T, S) or (B, T, S), optional
            Which positions may be attended to; lengths of 1 repeat, so (B, 1, S) masks positions of the context. One
            that may attend to nothing gets the zero vector from every head.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        DTypeError
            If the mask is not of truth values.
        """
        x = as_tensor(x, self.query.W)
        context = x if context is None else as_tensor(context, self.query.W)
        for name, t, layer in (("x", x, self.query), ("context", context, self.key)):
            if t.ndim != 3 or t.shape[-1] != layer.W.shape[0]:
                raise ShapeError(
                    f"MultiHeadAttention: expected {name} (B, length, {layer.W.shape[0]}), got shape {t.shape}"
                )
        q, k, v = self._in_heads(self.query(x)), self._in_heads(self.key(context)), self._in_heads(self.value(context))
        scores = _scores(q * (1.0 / q.shape[-1] ** 0.5), k)
        allowed = causal_mask(scores) if self.causal else None
        if mask is not None:
            given = self._mask(mask, scores)
            allowed = given if allowed is None else allowed * given
        if allowed is not None:  # a finite number: what may attend to nothing is not NaN
            scores = where(allowed, scores, -3e4 if scores.dtype == np.float16 else -1e30)
        weights = softmax(scores)
        if mask is not None and allowed is not None:
            weights = where(allowed, weights, 0.0)
        heads = transpose(matmul(weights, v), (0, 2, 1, 3))
        joined: Tensor = self.join(reshape(heads, (*heads.shape[:2], heads.shape[2] * heads.shape[3])))
        return joined

    def _in_heads(self, y: Tensor) -> Tensor:
        """Return signals of shape (B, length, n) as those of heads, (B, heads, length, d)."""
        return transpose(reshape(y, (*y.shape[:2], self.heads, y.shape[2] // self.heads)), (0, 2, 1, 3))

    def _mask(self, mask: Operand, scores: Tensor) -> Tensor:
        """Return a mask in a shape that broadcasts against scores of shape (B, heads, T, S)."""
        allowed = as_tensor(mask)
        if allowed.dtype.kind != "b":
            raise DTypeError(f"MultiHeadAttention: expected a mask of truth values, got {allowed.dtype}")
        batch, _, *lengths = scores.shape
        wanted = (batch, *lengths)[-allowed.ndim :]
        if allowed.ndim not in (2, 3) or any(n not in (1, m) for n, m in zip(allowed.shape, wanted, strict=True)):
            raise ShapeError(
                f"MultiHeadAttention: expected a mask {tuple(lengths)} or {(batch, *lengths)}, got {allowed.shape}"
            )
        return allowed if allowed.ndim == 2 else reshape(allowed, (allowed.shape[0], 1, *allowed.shape[1:]))

    def describe(self) -> str:
        """Return sizes and heads."""
        n_context, n = self.key.W.shape
        context = f", n_context={n_context}" if n_context != n else ""
        return f"{n}, heads={self.heads}{context}{', causal=True' if self.causal else ''}"
