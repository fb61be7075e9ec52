"""Learning rates that change during training."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..arguments import REAL, fraction, positive, whole_number
from ..errors import ArgumentError
from .optimizers import Optimizer


class Schedule:
    """A learning rate that changes with the number n of calls of `step`, from the optimiser's own at n = 0.

    ``fit(schedule=)`` calls `step` after each epoch or update.

    Parameters
    ----------
    optimizer : Optimizer
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{type(self).__name__}: expected an optimiser, got {optimizer!r:.60}")
        self.optimizer, self.start, self.n = optimizer, optimizer.lr, 0

    def factor(self, n: int) -> float:
        """Return the n-th learning rate over the first."""
        raise NotImplementedError(f"{type(self).__name__} has no factor")

    def step(self, value: float | None = None) -> None:
        """Advance n by one: call it after each epoch, or after each step.

        Parameters
        ----------
        value : float, optional
            A loss, for schedules that look at one, as `Plateau` does.

        Raises
        ------
        ArgumentError
            If the rate has grown beyond the largest number.
        """
        self.n += 1
        self.apply()

    def apply(self) -> None:
        """Set the optimiser's rate to that of the present n; see `step` for errors."""
        try:
            rate = self.start * self.factor(self.n)
        except OverflowError:
            rate = math.inf
        if not math.isfinite(rate):
            raise ArgumentError(
                f"{type(self).__name__}: step {self.n} from the rate {self.start:g} is beyond the largest number; stop "
                "the schedule earlier, or let it grow less"
            )
        self.optimizer.lr = rate

    def state_dict(self) -> dict[str, float]:
        """Return the numbers that steps change."""
        return {"n": self.n}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take the numbers that `state_dict` returned, and set the rate to what follows from them.

        Raises
        ------
        ArgumentError
            If they are another schedule's, or no such numbers; nothing is changed then.
        """
        self.check_state(state)
        for name in self.state_dict():
            setattr(self, name, state[name])
        self.apply()

    def check_state(self, state: Mapping[str, float]) -> None:
        """Raise an `ArgumentError` unless `state` has the names and kinds of numbers of `state_dict`."""
        own = self.state_dict()
        if wrong := ", ".join(sorted(set(state) ^ set(own))):
            raise ArgumentError(f"{type(self).__name__}: the state is another schedule's; names that differ: {wrong}")
        for name, value in own.items():
            if isinstance(value, int):
                whole_number(f"{type(self).__name__}: {name}", state[name], 0)
            elif not isinstance(state[name], REAL) or math.isnan(state[name]):
                raise ArgumentError(f"{type(self).__name__}: {name} must be a number, got {state[name]!r}")


class StepDecay(Schedule):
    """Multiply the rate by `gamma` every `every` steps."""

    def __init__(self, optimizer: Optimizer, every: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.every, self.gamma = whole_number("StepDecay: every", every, 1), positive("StepDecay: gamma", gamma)

    def factor(self, n: int) -> float:
        """Return ``gamma ** (n // every)``."""
        return self.gamma ** (n // self.every)


class ExponentialDecay(Schedule):
    """Multiply the rate by `gamma` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer)
        self.gamma = positive("ExponentialDecay: gamma", gamma)

    def factor(self, n: int) -> float:
        """Return ``gamma ** n``."""
        return self.gamma**n


class InverseTimeDecay(Schedule):
    """A vanishing rate ``mu / (1 + n / tau)``, whose sum diverges and whose squares' sum does not."""

    def __init__(self, optimizer: Optimizer, tau: float) -> None:
        super().__init__(optimizer)
        self.tau = positive("InverseTimeDecay: tau", tau)

    def factor(self, n: int) -> float:
        """Return ``1 / (1 + n / tau)``."""
        return 1.0 / (1.0 + n / self.tau)


class CosineDecay(Schedule):
    """Half a cosine from the start to `floor` times it, over `steps` steps; `floor` from there on."""

    def __init__(self, optimizer: Optimizer, steps: int, floor: float = 1e-3) -> None:
        super().__init__(optimizer)
        self.steps, self.floor = whole_number("CosineDecay: steps", steps, 1), positive("CosineDecay: floor", floor)

    def factor(self, n: int) -> float:
        """Return ``floor + (1 - floor) (1 + cos(pi n / steps)) / 2``."""
        share = min(n / self.steps, 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2


class Warmup(Schedule):
    """Let the rate grow in equal parts from 1 / `steps` of it to the whole, then go on as another schedule does.

    Parameters
    ----------
    optimizer : Optimizer
        Its rate is set to the first part at once.
    steps : int
        The rate is whole after ``steps - 1`` steps.
    then : Schedule, optional
        Of the same optimiser; its n = 0 is step number `steps` here. By default the rate stays.
    """

    def __init__(self, optimizer: Optimizer, steps: int, then: Schedule | None = None) -> None:
        super().__init__(optimizer)
        self.steps = whole_number("Warmup: steps", steps, 1)
        if then is not None and (not isinstance(then, Schedule) or then.optimizer is not optimizer):
            raise ArgumentError(f"Warmup: then must be a schedule of the same optimiser, got {then!r:.60}")
        if isinstance(then, Plateau):
            raise ArgumentError("Warmup: then must depend on the number of steps alone, which Plateau does not")
        self.then = then
        self.apply()

    def factor(self, n: int) -> float:
        """Return ``(n + 1) / steps``, at most 1, and from n = `steps` on the factor of `then`."""
        if n < self.steps:
            return (n + 1) / self.steps
        return 1.0 if self.then is None else self.then.factor(n - self.steps)


class Plateau(Schedule):
    """Multiply the rate by `gamma` when a loss has not become smaller for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
        Below 1.
    patience : int
        How many steps without an improvement are let pass.
    threshold : float
        The part of the smallest loss by which one must be below it to count as smaller.

    Attributes
    ----------
    smallest : float
        The smallest loss so far, infinite before the first.
    waited : int
        The number of steps since.
    scale : float
        The rate over the first.
    """

    def __init__(self, optimizer: Optimizer, gamma: float = 0.1, patience: int = 10, threshold: float = 1e-4) -> None:
        super().__init__(optimizer)
        self.gamma = fraction("Plateau: gamma", gamma)
        self.patience = whole_number("Plateau: patience", patience, 0)
        self.threshold = positive("Plateau: threshold", threshold, zero=True)
        self.smallest, self.waited, self.scale = math.inf, 0, 1.0

    def factor(self, n: int) -> float:
        """Return `scale`, whatever `n` is."""
        return self.scale

    def step(self, value: float | None = None) -> None:
        """Look at the loss `value`, lower the rate if it is time to, and advance n by one."""
        if value is None:
            raise ArgumentError("Plateau: step needs the loss to look at: step(loss)")
        if value < self.smallest - self.threshold * abs(self.smallest) or math.isinf(self.smallest):
            self.smallest, self.waited = float(value), 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.scale, self.waited = self.scale * self.gamma, 0
        super().step()

    def state_dict(self) -> dict[str, float]:
        """Return the numbers that steps change."""
        return {"n": self.n, "smallest": self.smallest, "waited": self.waited, "scale": self.scale}
