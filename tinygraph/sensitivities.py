"""The chapter's sensitivities: the derivative of the loss with respect to the signals before the activations.

They show how learning reaches each layer, and where it fades: (65.50)-(65.64), (65.165)-(65.166).
"""

from __future__ import annotations

from dataclasses import dataclass

from .autodiff import ancestors, grad
from .errors import GraphError
from .nn import Module, Scope
from .ops.reduce import norm
from .tensor import Tensor, no_grad


def signals(outputs: Tensor, net: Module) -> dict[str, Tensor]:
    """Return the signals ``z_2 ... z_L`` before the activations in the graph of `outputs`, by name.

    Parameters
    ----------
    outputs : tensor
        Computed with `net`.
    net : Module

    Returns
    -------
    dict of str to tensor
        Keys "z2", "z3", ... in order of computation, as the chapter numbers the layers. In a module that was
        called several times the key has its path and the call: "branch.z2#1", "branch.z2#2".
    """
    inside = {module for _, module in net.named_modules()}
    found: dict[tuple[str, int], list[Tensor]] = {}
    calls: dict[str, int] = {}
    for t in ancestors([outputs]):
        if t.name == "z" and t.op is not None and isinstance(t.scope, Scope) and t.scope.module in inside:
            around = _repeated(t.scope)
            path = "" if around is None else around.path
            call = 1 if around is None else around.call
            calls[path] = max(calls.get(path, 1), call)
            found.setdefault((path, call), []).append(t)
    several = {path for path, count in calls.items() if count > 1}
    named: dict[str, Tensor] = {}
    layer = 2
    for (path, call), tensors in found.items():
        if path in several:
            named |= {f"{path}.z{l}#{call}": t for l, t in enumerate(tensors, 2)}
        else:
            named |= {f"z{l}": t for l, t in enumerate(tensors, layer)}
            layer += len(tensors)
    return named


def _repeated(scope: Scope) -> Scope | None:
    """Return the outermost call, below the network itself, of a module that was called more than once."""
    chain = []
    inner: Scope | None = scope
    while inner is not None and inner.parent is not None:
        chain.append(inner)
        inner = inner.parent
    for call in reversed(chain):
        if call._calls[call.module] > 1:
            return call
    return None


def sensitivities(loss: Tensor, net: Module) -> dict[str, Tensor]:
    """Return ``delta_l = dQ / dz_l`` of every layer and sample, by name (65.50)-(65.64).

    Parameters
    ----------
    loss : tensor with one entry
        The batch mean of Q, computed with `net`.
    net : Module

    Returns
    -------
    dict of str to tensor
        Keys as `signals` gives them, "z2" to "zL". Row b is the derivative of sample b's own Q: the batch
        size times the gradient of the batch mean. Regularisers contribute nothing.

    Raises
    ------
    GraphError
        If no signal of `net` leads to `loss`.
    """
    found = signals(loss, net)
    if not found:
        raise GraphError("sensitivities: the loss was not computed with this network")
    gradients = grad(loss, list(found.values()))
    return {name: g * float(g.shape[0]) for name, g in zip(found, gradients, strict=True)}


@dataclass(frozen=True)
class LayerNorms:
    """How strongly learning reaches one layer.

    Attributes
    ----------
    sensitivity : float
        Root mean square over the batch of the norm of delta_l.
    gradient : float
        Norm of the gradient with respect to the layer's weights.
    """

    sensitivity: float
    gradient: float


def gradient_norms(loss: Tensor, net: Module) -> dict[str, LayerNorms]:
    """Return the norms of sensitivities and weight gradients, layer by layer (65.165)-(65.166).

    Parameters
    ----------
    loss : tensor with one entry
    net : Module
        Its layers are dense, each with weights of its own.

    Returns
    -------
    dict of str to LayerNorms
        Keys "z2" to "zL".
    """
    found = signals(loss, net)
    weights = [next(t for t in _scope_module(z).parameters() if t.role == "weight") for z in found.values()]
    deltas = sensitivities(loss, net)
    gradients = grad(loss, weights)
    with no_grad():
        return {
            name: LayerNorms(float(norm(delta)) / delta.shape[0] ** 0.5, float(norm(g)))
            for (name, delta), g in zip(deltas.items(), gradients, strict=True)
        }


def _scope_module(t: Tensor) -> Module:
    if not isinstance(t.scope, Scope):
        raise GraphError("gradient_norms: a signal was made outside of a module")
    return t.scope.module
