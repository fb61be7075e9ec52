"""The chapter's sensitivities: the derivative of the loss with respect to the signals before the activations.

They show how learning reaches each layer, and where it fades: (65.50)-(65.64), (65.165)-(65.166).
"""

from __future__ import annotations

from dataclasses import dataclass

from .autodiff import ancestors, grad
from .errors import GraphError
from .nn import Module, Scope
from .nn.signals import name_signals
from .ops.reduce import norm
from .tensor import Tensor, no_grad


def sensitivities(loss: Tensor, net: Module) -> dict[str, Tensor]:
    """Return ``delta_l = dQ / dz_l`` of every layer and sample, by name (65.50)-(65.64), Table 65.2.

    Parameters
    ----------
    loss : tensor with one entry
        The batch mean of Q, computed with `net`.
    net : Module

    Returns
    -------
    dict of str to tensor
        Keys "z2" to "zL" as the chapter numbers the layers; "branch.z2#1", "branch.z2#2" where a module was
        called several times (see `tinygraph.nn.signals.name_signals`). Each is of the shape and dtype of its z;
        row b is the derivative of sample b's own Q: the batch size times the gradient of the batch mean.
        Where z is batch normalised, the derivative is taken at the activation's input v (65.200).
        Regularisers contribute nothing. The tensors can be differentiated again, unless in `no_grad`.

    Raises
    ------
    GraphError
        If no signal of `net` leads to `loss`.
    ShapeError
        If `loss` has several entries.
    """
    points = {name: v for name, (_, v) in _signals(loss, net).items()}
    return _per_sample(points, grad(loss, list(points.values())))


@dataclass(frozen=True)
class LayerNorms:
    """How strongly learning reaches one layer.

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
    loss : tensor with one entry
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
    signals = _signals(loss, net)
    points = {name: v for name, (_, v) in signals.items()}
    weights = [_weight(name, z) for name, (z, _) in signals.items()]
    with no_grad():
        gradients = grad(loss, [*points.values(), *weights])
        deltas = _per_sample(points, gradients[: len(points)])
        return {
            name: LayerNorms(float(norm(delta)) / _samples(delta) ** 0.5, float(norm(g)))
            for (name, delta), g in zip(deltas.items(), gradients[len(points) :], strict=True)
        }


def _signals(loss: Tensor, net: Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return, under the name of each z in the graph of `loss`, z and the input of the activation."""
    named = name_signals(ancestors([loss]), net)
    found = {}
    for name, z in named.items():
        path, dot, signal = name.rpartition(".")
        if signal.startswith("z"):
            found[name] = z, named.get(f"{path}{dot}{signal.replace('z', 'v')}", z)
    if not found:
        raise GraphError("sensitivities: the loss was not computed with this network, or within no_grad")
    return found


def _per_sample(points: dict[str, Tensor], gradients: list[Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the batch mean as those of the samples' own terms, named after their z."""
    deltas = {}
    for name, gradient in zip(points, gradients, strict=True):
        deltas[name] = gradient * float(_samples(gradient))
        deltas[name].name = f"delta {name}"
    return deltas


def _samples(t: Tensor) -> int:
    return t.shape[0] if t.ndim > 1 else 1


def _weight(name: str, z: Tensor) -> Tensor:
    """Return the weights that lead to `z`."""
    module = z.scope.module if isinstance(z.scope, Scope) else None
    weights = [] if module is None else [t for t in vars(module).values() if isinstance(t, Tensor)]
    found = next((t for t in weights if t.role == "weight"), None)
    if found is None:
        raise GraphError(f"gradient_norms: {name} comes from a module without weights")
    return found
