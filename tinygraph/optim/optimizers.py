"""Optimisers: parameters and their gradients in, new parameters out.

Everything that changes - parameters, momenta, the learning rate - is a tensor changed by `assign_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..arguments import fraction, positive, whole_number
from ..backend import Backend
from ..errors import ArgumentError
from ..mode import no_grad
from ..notebook import HTML, Displayed, html_table
from ..operators import Operand
from ..ops.elementwise import add, sqrt, square, subtract_scaled
from ..ops.state import update_
from ..tensors import Tensor, read_grads, write_grads


class Optimizer(Displayed):
    """What all optimisers share; a subclass writes `update`, and makes each tensor of its state by `slot`.

    The state follows the parameters where `Module.to` moves them. For a parameter in half precision, which holds no
    square of a small gradient and no small `eps`, `update` is given single precision, and the state is kept in it; the
    new parameter is rounded.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require gradients; one without a gradient is left as it is.
    lr : float
        The learning rate mu, positive; where it is set later, a schedule that decays may come down to 0.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        params = list(params)
        if not params:
            raise ArgumentError(f"{type(self).__name__}: expected parameters, got none")
        for p in params:
            if not isinstance(p, Tensor) or p.op is not None or p.dtype.kind != "f":
                raise ArgumentError(f"{type(self).__name__}: expected floating leaves, got {p!r:.80}")
        self.params = list(dict.fromkeys(params))
        self._rates: dict[tuple[Backend, Any], Tensor] = {}
        self._slots: dict[str, list[Tensor]] = {}
        self._epoch = 0
        self.lr = positive(f"{type(self).__name__}: lr", lr)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self._facts().items())
        return f"{type(self).__name__}({len(self.params)} parameters, {facts})"

    def _facts(self) -> dict[str, object]:
        """Return the learning rate and what else was set, by name."""
        return {"lr": self.lr} | {k: v for k, v in vars(self).items() if k[0] != "_" and k != "params"}

    def _display(self) -> dict[str, str]:
        numbers = sum(p.size for p in self.params)
        rows = [
            ("setting", "value"),
            *((name, repr(value)) for name, value in self._facts().items()),
            ("epoch", str(self.epoch)),
            ("parameters", f"{len(self.params)} tensors, {numbers:,} numbers"),
            ("state", ", ".join(self.state()) or "none"),
        ]
        return {HTML: html_table(rows, title=type(self).__name__)}

    @property
    def lr(self) -> float:
        """The learning rate; it can be set at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = positive(f"{type(self).__name__}: lr", value, zero=True)
        for rate in self._rates.values():
            rate.assign_(self._lr)

    @property
    def epoch(self) -> int:
        """The number of the epoch that `fit` trains next, from 0: it decides the order of the data; it can be set."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number(f"{type(self).__name__}: epoch", epoch, 0)

    def rate(self, p: Tensor) -> Tensor:
        """Return the learning rate as a tensor of the dtype and on the backend of `p`."""
        key = p.backend, p.data.dtype
        if key not in self._rates:
            self._rates[key] = Tensor(p.backend.asarray(np.array(self._lr, p.dtype)), p.backend, name="lr")
        return self._rates[key]

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        with no_grad():
            self._follow()
            for i, (p, g) in enumerate(zip(self.params, read_grads(self.params), strict=True)):
                if g is None or not p.requires_grad:
                    continue
                if p.data.dtype.char != "e":
                    self.update(i, p, g)
                else:
                    single = p.astype(np.float32)
                    single.name, single.role = p.name, p.role
                    self.update(i, single, g.astype(np.float32))
                    p.assign_(single.astype(np.float16))

    def _follow(self) -> None:
        """Move the state to the backends that parameters were moved to since it was made."""
        for tensors in self._slots.values():
            for t, p in zip(tensors, self.params, strict=True):
                if t.backend is not p.backend:
                    t.data, t.backend = p.backend.asarray(t.backend.to_host(t.data)), p.backend

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`, `p`, whose gradient is `g`."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def zero_grad(self) -> None:
        """Set the gradients to None, so that the next `backward` starts from zero."""
        write_grads(self.params, [None] * len(self.params))

    def slot(self, name: str, symbol: str, initial: np.ndarray | None = None) -> list[Tensor]:
        """Add to the state, under `name`, one tensor per parameter that updates change, and return these.

        Each is on the backend of its parameter, has its dtype, single precision for half, and holds `initial`, by
        default zeros of its shape; in drawings it is called `symbol`.
        """
        tensors = []
        for p in self.params:
            dtype = np.result_type(p.dtype, np.float32)
            data = p.backend.xp.full(p.shape, 0, dtype) if initial is None else p.backend.asarray(initial.astype(dtype))
            t = Tensor(data, p.backend)
            t.name = f"{symbol} of {p.name}" if p.name else symbol
            tensors.append(t)
        self._slots[name] = tensors
        return tensors

    def state(self) -> dict[str, list[Tensor]]:
        """Return the tensors that an update changes besides the parameters, by name, one per parameter."""
        return dict(self._slots)

    def named_state(self) -> dict[str, Tensor]:
        """Return the tensors of `state` as ``name.i`` for parameter number i."""
        return {f"{name}.{i}": t for name, ts in self.state().items() for i, t in enumerate(ts)}

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: the learning rate, the next epoch, and the arrays of `named_state`."""
        return {"lr": self.lr, "epoch": self.epoch, **{name: t.numpy() for name, t in self.named_state().items()}}

    def load_state_dict(self, state: Mapping[str, Operand]) -> None:
        """Write a state that `state_dict` returned, in place; without "epoch", that stays as it is.

        Raises
        ------
        ArgumentError
            If the names differ; nothing is written then.
        ShapeError, DTypeError
            If a value does not fit.
        """
        tensors = self.named_state()
        if wrong := ", ".join(sorted((set(state) - {"epoch"}) ^ {"lr", *tensors})):
            raise ArgumentError(f"{type(self).__name__}: the state is another optimiser's; names that differ: {wrong}")
        for name, t in tensors.items():
            t.assign_(np.asarray(state[name]))
        self.lr, self.epoch = float(state["lr"]), int(state.get("epoch", self.epoch))


class SGD(Optimizer):
    """Stochastic gradient descent ``p <- p - mu g``, the step of the training listings (65.82), (65.87).

    With momentum, which the chapter does not have, ``v <- m v + g, p <- p - mu v``.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        The learning rate mu.
    momentum : float
        The factor m, at least 0 and below 1; 0: none.
    nesterov : bool
        Look ahead along the momentum: ``p <- p - mu (g + m v)``.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0, *, nesterov: bool = False) -> None:
        super().__init__(params, lr)
        self.momentum = fraction("SGD: momentum", momentum)
        self.nesterov = nesterov
        if nesterov and not self.momentum:
            raise ArgumentError("SGD: nesterov needs a momentum above 0")
        self._velocities = self.slot("velocity", "v") if self.momentum else []

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        if self.momentum:
            v = self._velocities[i]
            update_(v, add, self.momentum * v, g)
            g = g + self.momentum * v if self.nesterov else v
        update_(p, subtract_scaled, p, self.rate(p), g)


class Adam(Optimizer):
    """Adam as in Example 65.3, (65.95)-(65.98), with forgetting factors of their own for the biases.

    With n the number of the step, from 1 (the iteration m of (65.98) from 0, plus 1), element by element::

        m <- b1 m + (1 - b1) g
        s <- b2 s + (1 - b2) g**2
        p <- p - mu sqrt(1 - b2**n) / (1 - b1**n) * m / (sqrt(s) + eps)

    eps is added before the bias is corrected; PyTorch adds it after, which is the same as an eps that is
    ``sqrt(1 - b2**n)`` times as large here.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        The learning rate mu.
    betas : pair of float
        The factors b1 and b2, at least 0 and below 1.
    bias_betas : pair of float, optional
        Those for parameters of role "bias"; by default the same.
    eps : float
        Positive.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        bias_betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr)
        self.betas = _betas("betas", betas)
        self.bias_betas = self.betas if bias_betas is None else _betas("bias_betas", bias_betas)
        self.eps = positive(f"{type(self).__name__}: eps", eps)
        self._first, self._second = self.slot("first", "m"), self.slot("second", "s")
        one = np.array(1.0)
        self._powers = list(zip(self.slot("power1", "b1**n", one), self.slot("power2", "b2**n", one), strict=True))

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        b1, b2 = self.bias_betas if p.role == "bias" else self.betas
        m, s = self._first[i], self._second[i]
        update_(m, add, b1 * m, (1 - b1) * g)
        update_(s, add, b2 * s, (1 - b2) * square(g))
        power1, power2 = (power.assign_(power * b) for power, b in zip(self._powers[i], (b1, b2), strict=True))
        correction = sqrt(1.0 - power2) / (1.0 - power1)
        update_(p, subtract_scaled, p, self.rate(p) * correction, m / (sqrt(s) + self.eps))


class AdamW(Adam):
    """Adam whose weights also decay by themselves: ``W <- (1 - mu d) W`` before each step, biases never.

    Parameters
    ----------
    params, lr, betas, bias_betas, eps
        As for `Adam`.
    decay : float
        The factor d, at least 0.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        bias_betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
        decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, bias_betas, eps)
        self.decay = positive("AdamW: decay", decay, zero=True)

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        if self.decay and p.role == "weight":
            update_(p, subtract_scaled, p, self.rate(p) * self.decay, p)
        super().update(i, p, g)


class RMSProp(Optimizer):
    """Steps scaled by the recent size of the gradient: ``s <- a s + (1 - a) g**2, p <- p - mu g / (sqrt(s) + eps)``.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        The learning rate mu.
    smoothing : float
        The factor a, at least 0 and below 1.
    eps : float
        Positive.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, smoothing: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(params, lr)
        self.smoothing = fraction("RMSProp: smoothing", smoothing)
        self.eps = positive("RMSProp: eps", eps)
        self._second = self.slot("second", "s")

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        s = self._second[i]
        update_(s, add, self.smoothing * s, (1 - self.smoothing) * square(g))
        update_(p, subtract_scaled, p, self.rate(p), g / (sqrt(s) + self.eps))


def _betas(name: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ArgumentError(f"Adam: {name} must be a pair of numbers, got {pair!r}")
    return fraction(f"Adam: {name}[0]", pair[0]), fraction(f"Adam: {name}[1]", pair[1])
