"""Operations of one's own that draw: a plan draws as often, in the same order and from the same place."""

import random

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.ops.reduce import Sum
from tinygraph.plan import NAMES
from tinygraph.plan.passes import fusion


class Noise(tg.Op):
    """Adds one number, drawn at each call."""

    random = True

    def __init__(self, rng):
        object.__setattr__(self, "rng", rng)

    def forward(self, xp, x, out=None):
        return x + x.dtype.type(self.rng.random())

    def backward(self, dy, y, x):
        return (dy,)


def twice(x, noise):
    return noise(x), noise(x)


def never_read(x, noise):
    noise(x)
    return noise(x), x * 2.0


def between_large_operations(x, noise):
    a = tg.exp(x)
    b = noise(a)
    c = noise(x)
    return tg.tanh(a) + b, c * b


def of_numbers(x, noise):
    scale = tg.sum(x) * 0.0
    return noise(x), noise(scale), noise(x)


@pytest.mark.host
@pytest.mark.parametrize("fn", [twice, never_read, between_large_operations, of_numbers])
@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState, random.Random])
@pytest.mark.parametrize("passes", [(), ("dead code",), NAMES])
def test_a_plan_draws_as_the_function_does(fn, make, passes, monkeypatch):
    monkeypatch.setattr(fusion, "SMALLEST", 2)
    x = tg.tensor(np.linspace(0.1, 1.0, 6))
    plain, compiled = Noise(make(3)), Noise(make(3))
    fast = tg.compile(lambda x: fn(x, compiled), passes=passes)
    for _ in range(3):
        for made, expected in zip(fast(x), fn(x, plain), strict=True):
            np.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.host
def test_updates_that_draw_stay_in_order():
    def training(noise):
        a, b = tg.parameter(np.ones(3)), tg.parameter(np.ones(3))

        def step(x):
            y = noise(a * x)
            a.assign_(noise(a))
            b.assign_(noise(b))
            return y, noise(a * b)

        return step, (a, b)

    x = tg.tensor(np.ones(3))
    (step, leaves), (other, others) = (
        training(Noise(np.random.default_rng(1))),
        training(Noise(np.random.default_rng(1))),
    )
    fast = tg.compile(step)
    for _ in range(3):
        for made, expected in zip((*fast(x), *leaves), (*other(x), *others), strict=True):
            np.testing.assert_allclose(made.numpy(), expected.numpy())


@pytest.mark.host
def test_what_is_declared_random_is_kept_whole():
    class Drawn(Noise):
        """Looks as if it gave the same for the same."""

        def forward(self, xp, x, out=None):
            return x * 2.0

    fast = tg.compile(lambda x: Drawn(None)(x) + Drawn(None)(x))
    assert fast(tg.tensor([1.0])).item() == 4.0
    assert [i.op.name for i in fast.plan.program.instructions] == ["drawn", "drawn", "add"]


@pytest.mark.host
def test_the_run_for_the_shape_leaves_nothing_behind():
    class Counts(tg.Op):
        """Counts its calls in its class, and keeps an attribute."""

        calls = 0

        def forward(self, xp, x, out=None):
            Counts.calls += 1
            self.__dict__["seen"] = True
            return x * float(Counts.calls)

        def backward(self, dy, y, x):
            return (dy,)

    op = Counts()
    fast = tg.compile(lambda x: op(x))
    assert [fast(tg.tensor([1.0])).item() for _ in range(3)] == [1.0, 2.0, 3.0]


@pytest.mark.host
def test_equality_is_identity_unless_it_is_declared():
    class Power(tg.Op):
        def __init__(self, n):
            object.__setattr__(self, "n", n)

    assert Power(2) != Power(3)
    assert Power(2) != Power(2)
    assert Sum(0) == Sum(0) != Sum(1)
