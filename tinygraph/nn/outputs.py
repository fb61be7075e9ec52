"""Output activations, and the decisions that go with them (65.35)-(65.42).

A decision is made on the signals z_L before the output activation, which tells the same as the prediction does:
a sigmoid is at least 1/2 where z is at least 0, a hyperbolic tangent has the sign of z, and the softmax keeps the
order. So a prediction that is rounded to 1/2, or to a tie, does not change what is decided, and counting errors in
training costs no activation. A signal that is NaN decides nothing, and counts as a wrong decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..operators import Operand
from ..ops.activation import elu, identity, leaky_relu, relu, scaled_tanh, sigmoid, softmax, softplus, tanh
from ..ops.elementwise import equal, greater, greater_equal, not_equal, where
from ..ops.indexing import OneHot
from ..ops.reduce import argmax, sum
from ..tensors import Tensor


def wrong_elements(decision: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return where two tensors of one shape differ, and where `target` is known (not NaN): truth values."""
    return not_equal(decision.astype(target.dtype), target), equal(target, target)


def wrong_classes(decision: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return where two classes differ, and where that of `target` is known: truth values.

    A tensor of one axis holds class indices; one of more axes has rows along its last, whose largest element is the
    class, the first of equals. The class of a row with an element missing (NaN) is not known,
    and in `decision` it is wrong.
    """
    classes = target if target.ndim == 1 else argmax(target, -1)
    decided = decision if decision.ndim == 1 else argmax(decision, -1)
    mass = target if target.ndim == 1 else sum(target, -1)
    wrong = not_equal(decided.astype(classes.dtype), classes)
    if decision.ndim > 1:
        wrong = where(greater(sum(not_equal(decision, decision).astype(decision.dtype), -1), 0.0), True, wrong)
    return wrong, equal(mass, mass)


@dataclass(frozen=True)
class Output:
    """An output activation, from z_L to the prediction gamma-hat; real values, nothing is decided.

    Attributes
    ----------
    activation : callable
        From a tensor z_L to gamma-hat, of the same shape.
    """

    activation: Callable[[Operand], Tensor]

    decides = False  # whether gamma-star is another thing than gamma-hat

    def decide(self, z: Tensor) -> Tensor:
        """Return gamma-star for the signals `z` before the activation, in their shape and dtype."""
        return self.activation(z)

    def wrong(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the decision on `z` differs from `target`, and where `target` is known (not NaN): truth values.

        Of the shape of `z`, or without its last axis where one decision is made along it. It differs where `z` is NaN.
        """
        wrong, known = wrong_elements(self.decide(z), target)
        return where(equal(z, z), wrong, True), known

    def decides_on(self, target: np.ndarray) -> bool:
        """Whether the elements of `target` are decisions, but for missing ones (NaN)."""
        return False


class Threshold(Output):
    """Decides 1 where z is at least 0, where a sigmoid is at least 1/2, and 0 elsewhere (65.36)."""

    decides = True

    def decide(self, z: Tensor) -> Tensor:
        """Return 1 or 0 for every element."""
        return greater_equal(z, 0.0).astype(z.dtype)

    def decides_on(self, target: np.ndarray) -> bool:
        """Whether all elements are 0, 1 or missing."""
        return _are_among((0, 1), target)


class Signed(Output):
    """Decides the sign of z, 1 or -1 (65.37); exactly 0 decides 1, as exactly 1/2 does in (65.36)."""

    decides = True

    def decide(self, z: Tensor) -> Tensor:
        """Return 1 or -1 for every element."""
        return 2.0 * greater_equal(z, 0.0).astype(z.dtype) - 1.0

    def decides_on(self, target: np.ndarray) -> bool:
        """Whether all elements are -1, 1 or missing."""
        return _are_among((-1, 1), target)


class Largest(Output):
    """Decides the class of the largest element along the last axis, the first of equals (65.41)."""

    decides = True

    def decide(self, z: Tensor) -> Tensor:
        """Return the basis vector of the class (65.42)."""
        return OneHot(z.shape[-1], z.dtype.name)(argmax(z))

    def wrong(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the class differs, and where that of `target` is known."""
        return wrong_classes(z, target)

    def decides_on(self, target: np.ndarray) -> bool:
        """Whether these are class indices, whole numbers of one axis, or basis vectors."""
        return (target.ndim == 1 and target.dtype.kind in "iu") or (target.ndim == 2 and _are_among((0, 1), target))


def _are_among(labels: tuple[int, int], target: np.ndarray) -> bool:
    missing = np.isnan(target) if target.dtype.kind == "f" else False
    return target.dtype.kind in "fiub" and bool(np.all((target == labels[0]) | (target == labels[1]) | missing))


OUTPUTS: dict[str, Output] = {
    "softmax": Largest(softmax),
    "sigmoid": Threshold(sigmoid),
    "tanh": Signed(tanh),
    "linear": Output(identity),
    "scaled_tanh": Signed(scaled_tanh),
    "signed": Signed(identity),
    "softplus": Output(softplus),
    "relu": Output(relu),
    "leaky_relu": Output(leaky_relu),
    "elu": Output(elu),
}
"""The output activations by name, as `output=` takes them."""
