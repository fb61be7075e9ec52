"""Optimisers: parameters and their gradients in, new parameters out.

Everything that changes - parameters, momenta, the learning rate - is a tensor changed by `assign_`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .backend import Backend
from .errors import ArgumentError
from .ops.update import descend
from .tensor import Operand, Tensor, no_grad


class Optimizer:
    """What all optimisers share; a subclass writes `update` and lists its state in `state`.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require gradients; one without a gradient is left as it is.
    lr : float
        The learning rate mu, positive.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        given = list(params)
        if not given:
            raise ArgumentError(f"{type(self).__name__}: expected parameters, got none")
        for p in given:
            if not isinstance(p, Tensor) or p.op is not None or p.dtype.kind != "f":
                raise ArgumentError(f"{type(self).__name__}: expected floating leaves, got {p!r:.80}")
        self.params = list(dict.fromkeys(given))
        self._rates: dict[tuple[Backend, Any], Tensor] = {}
        self.lr = lr

    @property
    def lr(self) -> float:
        """The learning rate; it can be set at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = positive(f"{type(self).__name__}: lr", value)
        for rate in self._rates.values():
            rate.assign_(self._lr)

    def rate(self, p: Tensor) -> Tensor:
        """Return the learning rate as a tensor of the dtype and on the backend of `p`."""
        key = p.backend, p.data.dtype
        if key not in self._rates:
            self._rates[key] = Tensor(p.backend.asarray(np.array(self._lr, p.dtype)), p.backend, name="lr")
        return self._rates[key]

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        with no_grad():
            for i, p in enumerate(self.params):
                if p.grad is not None and p.requires_grad:
                    self.update(i, p, p.grad)

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`, `p`, whose gradient is `g`."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next `backward` starts anew."""
        for p in self.params:
            p.grad = None

    def state(self) -> dict[str, list[Tensor]]:
        """Return the tensors that an update changes besides the parameters, by name, one per parameter."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: the learning rate, and ``name.i`` for parameter number i."""
        arrays = {f"{name}.{i}": t.numpy() for name, ts in self.state().items() for i, t in enumerate(ts)}
        return {"lr": self.lr, **arrays}

    def load_state_dict(self, state: Mapping[str, Operand]) -> None:
        """Write a state that `state_dict` returned, in place.

        Raises
        ------
        ArgumentError
            If the names differ; nothing is written then.
        ShapeError, DTypeError
            If a value does not fit.
        """
        own = {f"{name}.{i}": t for name, ts in self.state().items() for i, t in enumerate(ts)}
        if set(state) != {"lr", *own}:
            wrong = ", ".join(sorted(set(state) ^ {"lr", *own}))
            raise ArgumentError(f"{type(self).__name__}: the state is another optimiser's; names that differ: {wrong}")
        for name, t in own.items():
            t.assign_(np.asarray(state[name]))
        self.lr = float(state["lr"])


def positive(what: str, value: Any, *, zero: bool = False) -> float:
    """Return a finite positive number (or zero, if allowed), or raise an error that says so."""
    fits = isinstance(value, int | float | np.number) and math.isfinite(value)
    if not fits or value < 0 or (value == 0 and not zero):
        raise ArgumentError(f"{what}: expected a finite number {'of at least' if zero else 'above'} 0, got {value!r}")
    return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked: ``v <- m v + g, p <- p - mu v`` (65.82).

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        The learning rate mu.
    momentum : float
        The factor m, at least 0 and below 1; 0: plain ``p <- p - mu g``.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0) -> None:
        super().__init__(params, lr)
        self.momentum = positive("SGD: momentum", momentum, zero=True)
        if self.momentum >= 1:
            raise ArgumentError(f"SGD: momentum must be below 1, got {momentum}")
        self._velocities = [zeros_like(p) for p in self.params] if momentum else []

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        if self.momentum:
            g = self._velocities[i].assign_(self.momentum * self._velocities[i] + g)
        p.assign_(descend(p, self.rate(p), g))

    def state(self) -> dict[str, list[Tensor]]:
        """Return the velocities."""
        return {"velocity": self._velocities}


def zeros_like(p: Tensor) -> Tensor:
    """Return zeros of the shape and dtype and on the backend of `p`."""
    return Tensor(p.backend.xp.zeros_like(p.data), p.backend, name=p.name)
