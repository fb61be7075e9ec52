"""Which weights belong to nodes that dropout has put to sleep (65.120)-(65.124)."""

from __future__ import annotations

from ..autodiff import ancestors
from ..ops.declare import ElementwiseOp
from ..ops.normalize import BatchNorm
from ..ops.products import MatMul
from ..ops.random import mask
from ..ops.shape import reshape
from ..tensors import Tensor


def awake_weights(loss: Tensor) -> dict[Tensor, Tensor]:
    """Return a mask for every weight matrix next to a masked layer: 0 at weights from or to a sleeping node.

    Parameters
    ----------
    loss : tensor
        Computed with masks of one row, each for a whole mini-batch, as `nn.Dropout` draws them.

    Returns
    -------
    dict of weight to tensor of its shape or one that broadcasts to it
        A weight that is next to no masked layer is left out.
    """
    nodes = ancestors([loss])
    masks = {t: t.inputs[1] for t in nodes if t.op is mask.op and t.inputs[1].shape[:1] == (1,)}
    awake: dict[Tensor, Tensor] = {}

    def keep(W: Tensor, part: Tensor) -> None:
        awake[W] = awake[W] * part if W in awake else part

    for t in nodes:
        if isinstance(t.op, MatMul) and t.inputs[0] in masks and t.inputs[1].role == "weight":
            keep(t.inputs[1], reshape(masks[t.inputs[0]], (-1, 1)))  # the weights from a sleeping node
    for t, awake_nodes in masks.items():
        before = t.inputs[0]
        while isinstance(before.op, ElementwiseOp | BatchNorm):  # back through activation, bias, normalisation
            before = before.inputs[0]
        if isinstance(before.op, MatMul) and before.inputs[1].role == "weight":
            keep(before.inputs[1], awake_nodes)  # the weights to a sleeping node
    return awake
