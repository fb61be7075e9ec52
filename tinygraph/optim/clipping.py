"""Gradients kept within limits before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..arguments import positive
from ..errors import ArgumentError
from ..mode import no_grad
from ..ops.elementwise import clip, maximum, minimum
from ..ops.reduce import in_single, norm
from ..ops.shape import concatenate, reshape
from ..tensors import Tensor


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients so that together they have at most the norm `max_norm`; return the norm they had.

    Infinite elements count as the largest of which all together have a norm: they stay finite, and the others become 0.

    Returns
    -------
    tensor of shape ()

    Raises
    ------
    ArgumentError
        If `max_norm` is not positive, or there is no gradient.
    """
    limit = positive("clip_grad_norm: max_norm", max_norm)
    with_gradient = [p for p in dict.fromkeys(params) if p.grad is not None]
    if not with_gradient:
        raise ArgumentError("clip_grad_norm: no parameter has a gradient; call backward first")
    with no_grad():
        gradients = [in_single(p.grad) for p in with_gradient if p.grad is not None]
        size = norm(concatenate([reshape(norm(g), (1,)) for g in gradients]))
        longest = float(np.finfo(size.dtype).max) / 2
        largest = longest / math.sqrt(sum(g.size for g in gradients))
        factor = limit / minimum(maximum(size, limit), longest)
        for p, g in zip(with_gradient, gradients, strict=True):
            p.grad = (clip(g, -largest, largest) * factor).astype(p.dtype)
    return size


def clip_grad_value(params: Iterable[Tensor], limit: float) -> None:
    """Limit every element of every gradient to the interval from ``-limit`` to ``limit``."""
    limit = positive("clip_grad_value: limit", limit)
    with no_grad():
        for p in dict.fromkeys(params):
            if p.grad is not None:
                p.grad = clip(p.grad, -limit, limit)
