"""The sum over all processes as an operation: in graphs and in plans like any other."""

from __future__ import annotations

from dataclasses import dataclass

from ..backend import Array
from ..op import Gradients, Op
from ..operand_checks import check_floating
from ..tensors import Tensor
from ..typing import Namespace
from .communicator import Communicator


@dataclass(frozen=True)
class AllSum(Op):
    """Every element added up over the processes; each has the sums.

    A second input is computed before, and used for nothing else: so all processes add up in the same order.

    Parameters
    ----------
    processes : Communicator
    alike : bool
        Whether all processes go on with the sums in the same way, to one loss that each of them computes; then a
        gradient is not added up again.
    """

    name = "all_sum"
    rule = "dx = dy, added up over all processes unless all compute one loss alike"

    processes: Communicator
    alike: bool = False

    @property
    def label(self) -> str:
        """The name with the number of processes."""
        return f"{self.name}({self.processes.size} processes)"

    def check(self, *inputs: Tensor) -> None:
        check_floating(self, inputs[0])

    def forward(self, xp: Namespace, x: Array, after: Array | None = None, out: Array | None = None) -> Array:
        return xp.on_host(self.processes.sum, x.shape, x, out=out)

    def backward(self, dy: Tensor, y: Tensor, x: Tensor, after: Tensor | None = None) -> Gradients:
        gradients: Gradients = ((lambda: dy) if self.alike else lambda: AllSum(self.processes)(dy), None)
        return gradients[: 1 if after is None else 2]
