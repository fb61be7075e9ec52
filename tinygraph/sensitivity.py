"""The chapter's sensitivities delta_l: derivatives of the loss with respect to the signals before the activations.

They are defined and carried backward in (65.52)-(65.64), at the output of a softmax in (65.70), under batch
normalisation defined in (65.200). They show how learning reaches each layer, and where it fades (65.165)-(65.166).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .autodiff import ancestors, grad
from .errors import ArgumentError, GraphError, ShapeError
from .mode import no_grad
from .nn import Module
from .nn.signals import name_signals
from .ops.reduce import norm
from .ops.shape import stack
from .tensors import Tensor

__all__ = ["gradient_norms", "own_sensitivities", "sensitivities"]


def sensitivities(loss: Tensor, net: Module) -> dict[str, Tensor]:
    """Return the sensitivities ``delta_l`` of every layer and sample by name (65.52)-(65.64), Table 65.2.

    Row b is the batch size times the gradient of the batch mean: the derivative of the sum of all samples' Q with
    respect to sample b's signal. Where samples do not meet, that is the derivative of sample b's own Q, dQ_b / dz_b.
    In the statistics of batch normalisation they meet: the signal of a sample moves the other samples' Q as well,
    and row b contains all of it. `own_sensitivities` returns the derivatives of each sample's own Q (65.200).

    Parameters
    ----------
    loss : tensor with one element
        The batch mean of Q, computed with `net`.
    net : Module

    Returns
    -------
    dict of str to tensor
        Keys "z2" to "zL" as the chapter numbers the layers; "branch.z2#1", "branch.z2#2" where a module was
        called several times (see `tinygraph.nn.signals.name_signals`). Each is of the shape and dtype of its z.
        Where z is batch normalised, the derivative is taken at the activation's input v, as in (65.200).
        Regularisers contribute nothing. The tensors can be differentiated again, unless in `no_grad`.

    Raises
    ------
    GraphError
        If no signal of `net` leads to `loss`.
    ShapeError
        If `loss` has several elements.
    """
    points = {name: v for name, (_, v) in signal_pairs("sensitivities", [loss], net).items()}
    return _per_sample(points, grad(loss, list(points.values())))


def own_sensitivities(losses: Tensor | Sequence[Tensor], net: Module) -> dict[str, Tensor]:
    """Return each sample's own sensitivities by name, dQ_b / dv_{l,b}: under batch normalisation those of (65.200).

    They differ from `sensitivities` where a sample's signal moves other samples' losses. A backward pass is made
    for each sample.

    Parameters
    ----------
    losses : tensor of shape (B,), or sequence of B tensors with one element
        Each sample's own Q, in the order of the batch, all from one call of `net`. A loss of
        `tinygraph.losses` on one row is that sample's Q::

            output = net.predict(X, train=True)
            own = tg.own_sensitivities([losses.squared_error(output[b : b + 1], Y[b : b + 1]) for b in range(B)], net)

    net : Module

    Returns
    -------
    dict of str to tensor
        Keys, shapes and dtypes as from `sensitivities`; row b is the derivative of ``losses[b]`` with respect to row
        b of the signal. The tensors can be differentiated again, unless in `no_grad`.

    Raises
    ------
    ArgumentError
        If `losses` is neither, or there is none.
    GraphError
        If no signal of `net` leads to the losses, or a signal to some of them only: they are from several calls.
    ShapeError
        If a loss in the sequence has several elements, or there are not as many losses as a signal has rows.
    """
    parts = [losses] if isinstance(losses, Tensor) else losses
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(loss, Tensor) for loss in parts):
        raise ArgumentError(
            "own_sensitivities: expected a tensor of shape (B,), or a list of B tensors, at least one, got "
            f"{losses!r:.60}"
        )
    points = {name: v for name, (_, v) in signal_pairs("own_sensitivities", parts, net).items()}
    one_call = "all losses must come from one call of the network on the whole batch"
    if not all(set(points.values()) <= set(ancestors([loss])) for loss in parts):
        raise GraphError(f"own_sensitivities: a signal of the network leads to some losses only; {one_call}")
    shape = losses.shape if isinstance(losses, Tensor) else (len(losses),)
    for name, v in points.items():
        if shape != (_samples(v),):
            raise ShapeError(
                f"own_sensitivities: expected a loss for each of the {_samples(v)} rows of {name}, got shape {shape}; "
                f"{one_call}"
            )
    if isinstance(losses, Tensor):
        gradients = [grad(losses, list(points.values()), row) for row in np.eye(len(losses), dtype=losses.dtype)]
    else:
        gradients = [grad(loss, list(points.values())) for loss in losses]
    deltas = {}
    for i, (name, v) in enumerate(points.items()):
        of_signal = [of_one[i] for of_one in gradients]  # a sample's own loss with respect to all rows of the signal
        deltas[name] = stack([g[b] for b, g in enumerate(of_signal)]) if v.ndim > 1 else of_signal[0]
        deltas[name].name = f"delta {name}"
    return deltas


@dataclass(frozen=True)
class LayerNorms:
    """The norms of one layer's sensitivities and weight gradient.

    Attributes
    ----------
    sensitivity : float
        Root mean square over the batch of the norm of delta_l.
    gradient : float
        Norm of the gradient of the loss with respect to the weights that lead to z_l.
    """

    sensitivity: float
    gradient: float


def gradient_norms(loss: Tensor, net: Module) -> dict[str, LayerNorms]:
    """Return the norms of sensitivities and weight gradients, layer by layer (65.165)-(65.166).

    Parameters
    ----------
    loss : tensor with one element
        The batch mean of Q, computed with `net`; regularisers count in the gradients, not in the sensitivities.
    net : Module
        For a module called several times the gradient is that of the shared weights, under each of its names.

    Returns
    -------
    dict of str to LayerNorms
        Keys as those of `sensitivities`.

    Raises
    ------
    GraphError
        If no signal of `net` leads to `loss`, or a signal comes from a module without weights.
    """
    signals = signal_pairs("gradient_norms", [loss], net)
    points = {name: v for name, (_, v) in signals.items()}
    weights = [weight_of(name, z) for name, (z, _) in signals.items()]
    with no_grad():
        gradients = grad(loss, [*points.values(), *weights])
        deltas = _per_sample(points, gradients[: len(points)])
        return {
            name: LayerNorms(float(norm(delta)) / _samples(delta) ** 0.5, float(norm(g)))
            for (name, delta), g in zip(deltas.items(), gradients[len(points) :], strict=True)
        }


def signal_pairs(caller: str, losses: Sequence[Tensor], net: Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return, under the name of each z in the graph of `losses`, z and the input of the activation."""
    named = name_signals(ancestors(losses), net.named_modules())
    signals = {}
    for name, z in named.items():
        path, dot, signal = name.rpartition(".")
        if signal.startswith("z"):
            signals[name] = z, named.get(f"{path}{dot}{signal.replace('z', 'v')}", z)
    if not signals:
        raise GraphError(f"{caller}: the loss was not computed with this network, or within no_grad")
    return signals


def _per_sample(points: dict[str, Tensor], gradients: list[Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the batch mean as those of the samples' own terms, named after their z."""
    deltas = {}
    for name, gradient in zip(points, gradients, strict=True):
        deltas[name] = gradient * float(_samples(gradient))
        deltas[name].name = f"delta {name}"
    return deltas


def _samples(t: Tensor) -> int:
    return t.shape[0] if t.ndim > 1 else 1


def weight_of(name: str, z: Tensor) -> Tensor:
    """Return the weights that lead to `z`."""
    module = None if z.scope is None else z.scope.module
    weights = [] if module is None else [t for t in vars(module).values() if isinstance(t, Tensor)]
    weight = next((t for t in weights if t.role == "weight"), None)
    if weight is None:
        raise GraphError(f"gradient_norms: {name} comes from a module without weights")
    return weight
