"""Gradients per sample: those of each sample's own loss, all computed at once."""

from __future__ import annotations

from typing import Literal

from ..derivatives import grad_or_zero
from ..errors import ArgumentError, GraphError, ShapeError
from ..mapping import vmap
from ..mode import enable_grad
from ..nn import BatchNorm, Module
from ..operators import Operand
from ..tensors import Tensor
from .objective import LossFunction, Objective

__all__ = ["per_sample_gradients"]


def per_sample_gradients(
    loss_fn: LossFunction,
    net: Module,
    X: Operand,
    Y: Operand,
    randomness: Literal["different", "same"] = "different",
) -> dict[str, Tensor]:
    """Return the gradient of each sample's own loss Q with respect to each parameter, by name.

    Of a layer they are ``y_l delta_{l+1}'`` for its weights and ``-delta_{l+1}`` for its biases (65.73), (65.79),
    before they are averaged over the samples in (65.74) and (65.80). Their mean is the gradient of the batch's loss.
    `sensitivities` has the deltas themselves.

    Parameters
    ----------
    loss_fn : callable
        As for `fit`: one of `tinygraph.losses`, or a function of ``(net, x, y)`` that returns a tensor with one
        element. It is called on batches of one sample.
    net : Module
        In the mode that it is in.
    X, Y : tensors or arrays of shapes (B, ...)
        Inputs and targets.
    randomness : {"different", "same"}
        Whether samples have random numbers of their own, as with ``Dropout(p, shared=False)``, or all those that one
        would have, as a mini-batch shares a mask in (65.124) and with ``Dropout(p)``. From the same seed the mean is
        then the gradient of the batch's loss again.

    Returns
    -------
    dict of str to tensor of shape (B, *shape of the parameter)
        Of the parameters that require a gradient, under the names of `Module.named_parameters`; 0 where a loss does
        not depend on one. Regularisers contribute nothing. The tensors can be differentiated again, unless in
        `no_grad`.

    Raises
    ------
    GraphError
        If batch normalisation is in training mode, in which a sample has no loss of its own, or no parameter requires
        a gradient.
    ShapeError
        If `X` and `Y` do not have the same length.
    DataError
        If a class index on the host is out of range.

    Examples
    --------
    >>> net = nn.Dense(3, 2, seed=0)
    >>> X, Y = np.ones((4, 3)), np.zeros((4, 2))
    >>> {name: g.shape for name, g in tg.per_sample_gradients(losses.squared_error, net, X, Y).items()}
    {'W': (4, 3, 2), 'theta': (4, 2)}
    """
    if not callable(loss_fn):
        raise ArgumentError(f"per_sample_gradients: expected a loss such as losses.cross_entropy, got {loss_fn!r:.60}")
    for path, module in net.named_modules():
        if isinstance(module, BatchNorm) and module.training:
            raise GraphError(
                f"per_sample_gradients: {path or 'the network'} is batch normalisation in training mode, by which "
                "every sample's loss depends on all samples; call net.eval(), or use tg.own_sensitivities"
            )
    parameters = {name: t for name, t in net.named_parameters() if t.requires_grad}
    if not parameters:
        raise GraphError("per_sample_gradients: no parameter of the network requires a gradient")
    objective = Objective(net, loss_fn, caller="per_sample_gradients")
    inputs, targets = net._as_tensors((X, Y))
    if inputs.shape[:1] != targets.shape[:1] or not inputs.ndim:
        raise ShapeError(
            f"per_sample_gradients: expected as many targets as inputs, got X {inputs.shape} and Y {targets.shape}"
        )

    if objective.loss is not None:
        objective.check_labels(inputs, Y)

    def of_one(x: Tensor, y: Tensor) -> list[Tensor]:
        with enable_grad():
            loss = objective(x[None], y[None])[0]
        return grad_or_zero(loss, list(parameters.values()))

    gradients = vmap(of_one, randomness=randomness)(inputs, targets)
    return dict(zip(parameters, gradients, strict=True))
