"""Optimisers: parameters and their gradients in, new parameters out.

Everything that changes - parameters, momenta, the learning rate - is a tensor changed by `assign_`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..arguments import fraction, pair_of_fractions, positive, truth_value, whole_number
from ..backend import Backend
from ..errors import ArgumentError
from ..mode import no_grad
from ..notebook import HTML, Displayed, html_table
from ..ops.declare import instance
from ..ops.elementwise import OverRoot, ScaledSum, corrected_rate, multiply, square, subtract_scaled
from ..ops.state import update_
from ..tensors import Tensor, read_grads, write_grads
from .groups import Check, grouped

T = TypeVar("T")
Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]


class Optimizer(Displayed):
    """What all optimisers share; a subclass writes `update`, and makes each tensor of its state by `slot`.

    The state follows the parameters where `Module.to` moves them. For a parameter in half precision, which holds no
    square of a small gradient and no small `eps`, `update` is given single precision, and the state is kept in it; the
    new parameter is rounded.

    Settings may differ between groups of parameters, given as in PyTorch; a group has the optimiser's where it names
    none::

        groups = [{"params": net.trunk.parameters(), "lr": 1e-4}, {"params": net.head.parameters(), "weight_decay": 0}]
        optimizer = optim.Adam(groups, lr=1e-3, weight_decay=1e-4)

    A subclass names in `checks` the settings that groups may have, and asks for them by `setting`.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Leaves that require gradients; one without a gradient is left as it is. Or groups of such: "params" has the
        parameters, the other keys are settings by their names here.
    lr : float
        The learning rate mu, positive; where it is set later, a schedule that decays may come down to 0.
    weight_decay : float
        The factor d, at least 0: ``d p`` is added to the gradient of every parameter p of role "weight", as
        ``fit(l2=d / 2)`` does, and never to that of a bias or a scale.

    Attributes
    ----------
    params : list of Tensor
        Those of all groups.
    groups : list of Group
        Parameters with what they have in the place of the optimiser's settings; one group where none are given.
    """

    checks: ClassVar[Mapping[str, Check]] = {"lr": positive, "weight_decay": partial(positive, zero=True)}

    def __init__(self, params: Parameters, lr: float, weight_decay: float = 0.0) -> None:
        name = type(self).__name__
        self.groups = grouped(name, params, self.checks)
        self.params = [p for group in self.groups for p in group.params]
        self._settings = [group.settings for group in self.groups for _ in group.params]
        self._rates: dict[tuple[Backend, Any, float | None], Tensor] = {}
        self._slots: dict[str, list[Tensor]] = {}
        self._epoch = 0
        self._lr = self._start = positive(f"{name}: lr", lr)
        self.weight_decay = positive(f"{name}: weight_decay", weight_decay, zero=True)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self._facts().items())
        return f"{type(self).__name__}({len(self.params)} parameters, {facts})"

    def _facts(self) -> dict[str, object]:
        """Return the learning rate and what else was set, by name."""
        apart = "params", "groups", "weight_decay"
        settings = {name: value for name, value in vars(self).items() if name[0] != "_" and name not in apart}
        decay = {"weight_decay": self.weight_decay} if self.weight_decay else {}
        groups = {"groups": len(self.groups)} if self.has_groups() else {}
        return {"lr": self.lr, **settings, **decay, **groups}

    def has_groups(self) -> bool:
        """Whether there are several groups, or one with settings of its own."""
        return len(self.groups) > 1 or bool(self.groups[0].settings)

    def _display(self) -> dict[str, str]:
        numbers = sum(p.size for p in self.params)
        rows = [
            ("setting", "value"),
            *((name, repr(value)) for name, value in self._facts().items()),
            *((f"group {k}", repr(group)) for k, group in enumerate(self.groups) if self.has_groups()),
            ("epoch", str(self.epoch)),
            ("parameters", f"{len(self.params)} tensors, {numbers:,} numbers"),
            ("state", ", ".join(self.state()) or "none"),
        ]
        return {HTML: html_table(rows, title=type(self).__name__)}

    @property
    def lr(self) -> float:
        """The learning rate; it can be set at any time. Groups with a rate of their own keep their proportion to it."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        name = f"{type(self).__name__}: lr"
        lr = positive(name, value, zero=True)
        for own in self._own_rates():
            if not math.isfinite(own * (lr / self._start)):
                raise ArgumentError(f"{name} {lr:g} takes the rate {own:g} of a group beyond the largest number")
        self._lr = lr
        for (_, _, group_lr), rate in self._rates.items():
            rate.assign_(self._present(group_lr))

    def _own_rates(self) -> list[float]:
        return [group.settings["lr"] for group in self.groups if "lr" in group.settings]

    def _present(self, own: float | None) -> float:
        """Return what the rate `own` of a group has become; None: the optimiser's."""
        return self._lr if own is None else own * (self._lr / self._start)

    def lr_of(self, i: int) -> float:
        """Return the learning rate of parameter number `i`, which is that of its group."""
        return self._present(self._settings[i].get("lr"))

    def setting(self, name: str, i: int, default: T) -> T:
        """Return what the group of parameter number `i` sets for `name`, or `default`, the optimiser's.

        The latter is written as an attribute, ``self.setting("momentum", i, self.momentum)``, so that a compiled step
        knows what it depends on.
        """
        found: T = self._settings[i].get(name, default)
        return found

    def uses(self, name: str) -> bool:
        """Whether the setting `name` is other than 0 for any parameter."""
        return any(self.setting(name, i, getattr(self, name)) for i in range(len(self.params)))

    @property
    def epoch(self) -> int:
        """The number of the epoch that `fit` trains next, from 0: it decides the order of the data; it can be set."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number(f"{type(self).__name__}: epoch", epoch, 0)

    def rate(self, p: Tensor, i: int | None = None) -> Tensor:
        """Return the learning rate of parameter number `i` as a tensor of the dtype and on the backend of `p`.

        Without `i` it is the optimiser's; groups that have their own need the number.
        """
        if i is None and self._own_rates():
            raise ArgumentError(f"{type(self).__name__}: groups have rates of their own; write self.rate(p, i)")
        own = None if i is None else self._settings[i].get("lr")
        key = p.backend, p.data.dtype, own
        if key not in self._rates:
            self._rates[key] = Tensor(p.backend.asarray(np.array(self._present(own), p.dtype)), p.backend, name="lr")
        return self._rates[key]

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        with no_grad():
            self._follow()
            for i, (p, g) in enumerate(zip(self.params, read_grads(self.params), strict=True)):
                if g is None or not p.requires_grad:
                    continue
                half, q = p.data.dtype.char == "e", p
                if half:
                    q, g = p.astype(np.float32), g.astype(np.float32)
                    q.name, q.role = p.name, p.role
                decay = self._settings[i].get("weight_decay", self.weight_decay)
                if decay and p.role == "weight":
                    g = self.decayed(i, q, g, decay)
                self.update(i, q, g)
                if half:
                    p.assign_(q.astype(np.float16))

    def _follow(self) -> None:
        """Move the state to the backends that parameters were moved to since it was made."""
        for tensors in self._slots.values():
            for t, p in zip(tensors, self.params, strict=True):
                if t.backend is not p.backend:
                    t.data, t.backend = p.backend.asarray(t.backend.to_host(t.data)), p.backend

    def decayed(self, i: int, p: Tensor, g: Tensor, decay: float) -> Tensor:
        """Return the gradient with which weight number `i`, `p`, decays, where its own is `g`."""
        return instance(ScaledSum, 1.0, decay)(g, p)

    def shrink(self, i: int, p: Tensor, decay: float) -> None:
        """Do ``p <- (1 - mu d) p`` with weight number `i`, `p`."""
        update_(p, subtract_scaled.op, p, self.rate(p, i) * decay, p)

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
        """Return a copy of the state: the learning rate, the next epoch, and the arrays of `named_state`.

        Where groups have rates of their own, also the rate at the start, "lr_start", to which these are relative.
        """
        start = {"lr_start": self._start} if self._own_rates() else {}
        arrays = {name: t.numpy() for name, t in self.named_state().items()}
        return {"lr": self.lr, "epoch": self.epoch, **start, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write a state that `state_dict` returned, in place; "epoch" and "lr_start" stay as they are if not there.

        Raises
        ------
        ArgumentError
            If the names differ; nothing is written then.
        ShapeError, DTypeError
            If a value does not fit.
        """
        tensors = self.named_state()
        if wrong := ", ".join(sorted((set(state) - {"epoch", "lr_start"}) ^ {"lr", *tensors})):
            raise ArgumentError(f"{type(self).__name__}: the state is another optimiser's; names that differ: {wrong}")
        start = positive(f"{type(self).__name__}: lr_start", state.get("lr_start", self._start))
        for name, t in tensors.items():
            t.assign_(np.asarray(state[name]))
        self._start = start
        self.lr, self.epoch = float(state["lr"]), int(state.get("epoch", self.epoch))


class SGD(Optimizer):
    """Stochastic gradient descent ``p <- p - mu g``, the step of the training listings (65.82), (65.87).

    With momentum, which the chapter does not have, ``v <- m v + g, p <- p - mu v``.

    Parameters
    ----------
    params, lr, weight_decay
        As for `Optimizer`.
    momentum : float
        The factor m, at least 0 and below 1; 0: none.
    nesterov : bool
        Look ahead along the momentum: ``p <- p - mu (g + m v)``.
    """

    checks: ClassVar[Mapping[str, Check]] = {**Optimizer.checks, "momentum": fraction, "nesterov": truth_value}

    def __init__(
        self,
        params: Parameters,
        lr: float,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum = fraction("SGD: momentum", momentum)
        self.nesterov = truth_value("SGD: nesterov", nesterov)
        for i in range(len(self.params)):
            if self.setting("nesterov", i, self.nesterov) and not self.setting("momentum", i, self.momentum):
                raise ArgumentError("SGD: nesterov needs a momentum above 0")
        self._velocities = self.slot("velocity", "v") if self.uses("momentum") else []

    def decayed(self, i: int, p: Tensor, g: Tensor, decay: float) -> Tensor:
        """Without momentum shrink weight number `i`, since ``p - mu (g + d p) = (1 - mu d) p - mu g``."""
        if self._settings[i].get("momentum", self.momentum):
            return super().decayed(i, p, g, decay)
        self.shrink(i, p, decay)
        return g

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        momentum = self._settings[i].get("momentum", self.momentum)  # as `setting` does, with a call less
        if momentum:
            v = self._velocities[i]
            update_(v, instance(ScaledSum, momentum, 1.0), v, g)
            g = instance(ScaledSum, 1.0, momentum)(g, v) if self.setting("nesterov", i, self.nesterov) else v
        update_(p, subtract_scaled.op, p, self.rate(p, i), g)


class Adam(Optimizer):
    """Adam as in Example 65.3, (65.95)-(65.98), with forgetting factors of their own for the biases.

    With n the number of the step, from 1 (the iteration m of (65.98) from 0, plus 1), element by element::

        m <- b1 m + (1 - b1) g
        s <- b2 s + (1 - b2) g**2
        p <- p - mu sqrt(1 - b2**n) / (1 - b1**n) * m / (sqrt(s) + eps)

    eps is added before the bias is corrected; PyTorch adds it after, which is the same as an eps that is
    ``sqrt(1 - b2**n)`` times as large here. With a weight decay d the gradient of a weight is ``g + d W``.

    Parameters
    ----------
    params, lr, weight_decay
        As for `Optimizer`. `lr` is 0.001 by default, Kingma and Ba's.
    betas : pair of float
        The factors b1 and b2, at least 0 and below 1.
    bias_betas : pair of float, optional
        Those for parameters of role "bias"; by default the same.
    eps : float
        Positive.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **Optimizer.checks,
        "betas": pair_of_fractions,
        "bias_betas": pair_of_fractions,
        "eps": positive,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        bias_betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        name = type(self).__name__
        self.betas = pair_of_fractions(f"{name}: betas", betas)
        self.bias_betas = self.betas if bias_betas is None else pair_of_fractions(f"{name}: bias_betas", bias_betas)
        self.eps = positive(f"{name}: eps", eps)
        for group in self.groups:
            if bias_betas is None and "betas" in group.settings:
                group.settings.setdefault("bias_betas", group.settings["betas"])
        self._first, self._second = self.slot("first", "m"), self.slot("second", "s")
        one = np.array(1.0)
        self._powers = list(zip(self.slot("power1", "b1**n", one), self.slot("power2", "b2**n", one), strict=True))

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        if p.role == "bias":
            b1, b2 = self.setting("bias_betas", i, self.bias_betas)
        else:
            b1, b2 = self.setting("betas", i, self.betas)
        m, s = self._first[i], self._second[i]
        update_(m, instance(ScaledSum, b1, 1 - b1), m, g)
        update_(s, instance(ScaledSum, b2, 1 - b2), s, square(g))
        power1, power2 = (
            update_(power, multiply.op, power, b) for power, b in zip(self._powers[i], (b1, b2), strict=True)
        )
        rate = corrected_rate(self.rate(p, i), power1, power2)
        update_(p, subtract_scaled.op, p, rate, instance(OverRoot, self.setting("eps", i, self.eps))(m, s))


class AdamW(Adam):
    """Adam whose weights decay by themselves: ``W <- (1 - mu d) W`` before each step, biases never.

    Parameters
    ----------
    params, lr, betas, bias_betas, eps
        As for `Adam`.
    weight_decay : float
        The factor d, at least 0.
    decay : float, optional
        Another name of `weight_decay`.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        bias_betas: tuple[float, float] | None = None,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        decay: float | None = None,
    ) -> None:
        super().__init__(params, lr, betas, bias_betas, eps, weight_decay=weight_decay if decay is None else decay)

    @property
    def decay(self) -> float:
        """Another name of `weight_decay`."""
        return self.weight_decay

    @decay.setter
    def decay(self, value: float) -> None:
        self.weight_decay = value

    def decayed(self, i: int, p: Tensor, g: Tensor, decay: float) -> Tensor:
        """Shrink weight number `i`, and return its gradient as it is."""
        self.shrink(i, p, decay)
        return g


class RMSProp(Optimizer):
    """Steps scaled by the recent size of the gradient: ``s <- a s + (1 - a) g**2, p <- p - mu g / (sqrt(s) + eps)``.

    Parameters
    ----------
    params, lr, weight_decay
        As for `Optimizer`.
    smoothing : float
        The factor a, at least 0 and below 1.
    eps : float
        Positive.
    """

    checks: ClassVar[Mapping[str, Check]] = {**Optimizer.checks, "smoothing": fraction, "eps": positive}

    def __init__(
        self,
        params: Parameters,
        lr: float,
        smoothing: float = 0.99,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.smoothing = fraction("RMSProp: smoothing", smoothing)
        self.eps = positive("RMSProp: eps", eps)
        self._second = self.slot("second", "s")

    def update(self, i: int, p: Tensor, g: Tensor) -> None:
        """Change parameter number `i`."""
        s, a = self._second[i], self.setting("smoothing", i, self.smoothing)
        update_(s, instance(ScaledSum, a, 1 - a), s, square(g))
        step = instance(OverRoot, self.setting("eps", i, self.eps))(g, s)
        update_(p, subtract_scaled.op, p, self.rate(p, i), step)
