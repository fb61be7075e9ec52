"""Operations of a user's own in plans: taken apart where `forward` is made of functions of `xp`, whole otherwise."""

import itertools
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg

RNG = np.random.default_rng(0)
FACTOR = 2.0
calls = itertools.count()


def twice(xp, x):
    return xp.multiply(x, 2.0)


class Own(tg.Op):
    rule = "not asked for"

    def backward(self, dy, y, *inputs):
        return (None,) * len(inputs)


# -- taken apart ----------------------------------------------------------------------------------------


class Swish(Own):
    def forward(self, xp, x, out=None):
        return xp.divide(x, 1 + xp.exp(-x), out=out)


@dataclass(frozen=True)
class Gaussian(Own):
    s: float = 1.5

    def forward(self, xp, x, out=None):
        return xp.exp(x * x * (-0.5 / self.s**2), out=out)


class Square(Own):
    """Called like one of the library's, and another thing."""

    def forward(self, xp, x, out=None):
        return x * x * x


class Rows(Own):
    def forward(self, xp, x):
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)


class Outer(Own):
    def forward(self, xp, x, out=None):
        return xp.sum(x[:, :, None] * x[:, None, :], axis=(0, 2), out=out)


class Product(Own):
    def forward(self, xp, x):
        return xp.matmul(x.T, xp.clip(x, -0.5, 0.5)) + xp.zeros_like(x[:1, :1])


class Aliases(Own):
    def forward(self, xp, x):
        a = xp.exp(x)
        b = a
        xp.add(b, 1.0, out=b)
        return a * b


class Helped(Own):
    scale = 3.0

    def part(self, xp, x):
        return twice(xp, x) * FACTOR

    def forward(self, xp, x):
        return self.part(xp, x) + self.scale * math.sqrt(2.0)


class Written(Own):
    def forward(self, xp, x):
        y = xp.zeros_like(x)
        xp.add(x, 1.0, out=y)
        return y * x


class Unrolled(Own):
    def forward(self, xp, x):
        total = x[0]
        for k in range(1, len(x.shape) + 1):
            total = total + xp.power(x[k], k)
        return total if x.ndim == 2 else -total


APART = [Swish(), Gaussian(), Gaussian(0.5), Square(), Rows(), Outer(), Product(), Aliases(), Helped(), Written()]
APART += [Unrolled()]


def ran(fn, x, **options):
    """What a function gives, compiled, three times over on arrays that differ, and eagerly; and the plan."""
    compiled = tg.compile(fn, **options)
    inputs = [tg.tensor(x * k) for k in (1.0, -0.5, 2.0)]
    return [compiled(t).numpy() for t in inputs], [fn(t).numpy() for t in inputs], compiled.plan


@pytest.mark.parametrize("op", APART, ids=lambda op: op.label)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_made_of_functions_of_xp_is_taken_apart(op, dtype):
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(dtype)
    got, expected, plan = ran(lambda t: tg.tanh(op(t * 0.5)), x)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert all(i.kind for i in plan.program.instructions)
    got, expected, _ = ran(lambda t: tg.tanh(op(t * 0.5)), x, passes=["common subexpressions", "in place"])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.host
def test_arrays_that_forward_writes_over():
    class InPlace(Own):
        def forward(self, xp, x):
            a = xp.exp(x)
            b = a
            b += 1.0
            c = a.astype(a.dtype)
            c *= 3.0
            return a * b + c

    got, expected, plan = ran(lambda t: InPlace()(t), np.array([0.5, 1.5]))
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    assert all(i.kind for i in plan.program.instructions)


def test_whole_numbers_and_truth_values_count_as_they_do_in_numpy():
    class Mixed(Own):
        def forward(self, xp, x):
            return xp.where(x > 0.5, x * 0.5, 1.0) + (x > 2) * 3

    n = np.arange(-3, 5)
    compiled = tg.compile(lambda t: Mixed()(t))
    got, expected = compiled(tg.tensor(n)), Mixed()(tg.tensor(n))
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


def test_equal_parts_are_done_once_and_what_differs_is_not_merged():
    class Power(Own):  # what differs is no field, so they compare equal
        def __init__(self, n):
            object.__setattr__(self, "n", n)

        def forward(self, xp, x, out=None):
            return xp.power(x, self.n, out=out)

    x = np.array([1.5, 2.0])
    got, expected, plan = ran(lambda t: Power(4.0)(t) - Power(3.0)(t) + Power(4.0)(t), x)
    np.testing.assert_allclose(got, expected)
    assert [i.kind for i in plan.program.instructions].count("power") == 2
    got, expected, _ = ran(lambda t: Power(4.0)(t) - Power(3.0)(t), x, passes=["common subexpressions"])
    np.testing.assert_allclose(got, expected)


def test_a_number_that_forward_refers_to_is_watched():
    compiled = tg.compile(lambda t: Helped()(t))
    x = tg.tensor([1.0, 2.0])
    global FACTOR
    before = FACTOR
    try:
        for number in (2.0, 5.0):
            FACTOR = number
            np.testing.assert_allclose(compiled(x).numpy(), Helped()(x).numpy())
    finally:
        FACTOR = before


# -- kept whole -----------------------------------------------------------------------------------------


class FieldGenerator(Own):
    def __init__(self):
        object.__setattr__(self, "rng", np.random.default_rng(0))

    def forward(self, xp, x):
        return x * self.rng.random()


class ClassGenerator(Own):
    rng = random.Random(0)

    def forward(self, xp, x):
        return x * self.draw()

    def draw(self):
        return self.rng.random()


class GlobalGenerator(Own):
    def forward(self, xp, x):
        return x * float(RNG.random())


class ModuleGenerator(Own):
    def forward(self, xp, x):
        return x * random.random()


class NumpyGenerator(Own):
    def forward(self, xp, x):
        return x * float(np.random.rand())


class Coin(Own):
    sides = [1.0, -1.0]  # noqa: RUF012

    def forward(self, xp, x):
        self.sides.append(self.sides[-2] * 1.5)
        return x * self.sides[-1]


class Counting(Own):
    def forward(self, xp, x):
        return x * (1.0 + next(calls))


class Imported(Own):
    def forward(self, xp, x):
        from random import random as draw

        return x * draw()


def enclosed():
    n = 0

    class Enclosed(Own):
        def forward(self, xp, x):
            nonlocal n
            n += 1
            return x * n

    return Enclosed()


CHANGING = [FieldGenerator(), ClassGenerator(), GlobalGenerator(), ModuleGenerator(), NumpyGenerator(), Coin()]
CHANGING += [Counting(), Imported(), enclosed()]


@pytest.mark.parametrize("op", CHANGING, ids=lambda op: op.name)
def test_what_is_another_at_each_call_stays_so_and_is_never_merged(op):
    compiled = tg.compile(lambda t: (op(t), op(t)))
    x = tg.tensor([1.0, 2.0])
    drawn = [t.numpy()[0] for _ in range(3) for t in compiled(x)]
    assert len(set(drawn)) == 6
    assert [i.op for i in compiled.plan.program.instructions] == [op, op]


class OwnArray(Own):
    table = np.array([1.0, 2.0, 3.0])

    def forward(self, xp, x):
        return x * xp.add(self.table.sum(), x)


class Branching(Own):
    def forward(self, xp, x):
        return x * 2.0 if (x > 0).all() else -x


class Truth(Own):
    def forward(self, xp, x):
        return x * 2.0 if xp.sum(x) > 0 else -x


class Reading(Own):
    def forward(self, xp, x):
        return x * float(xp.max(x))


class Masked(Own):
    def forward(self, xp, x):
        return x[x == x] * 2.0


class Sorted(Own):
    def forward(self, xp, x):
        return xp.where(xp.argmax(x) > 0, x, -x)


class Counted(Own):
    """Goes on with what only the shape is known of."""

    def forward(self, xp, x):
        return x * (xp.cumsum(x, axis=0) + xp.argmax(x, axis=0).astype(x.dtype))


class Picked(Own):
    def forward(self, xp, x):
        return x[xp.arange(x.shape[0])] * 2.0


class WritesInput(Own):
    def forward(self, xp, x):
        y = xp.zeros_like(x)
        z = y[:1]
        z += 1.0
        return y * x


WHOLE = [OwnArray(), Branching(), Truth(), Reading(), Masked(), Sorted(), Counted(), Picked(), WritesInput()]


class Demanding(Own):
    """Does not take the zeros on which it is recorded."""

    def forward(self, xp, x):
        if not bool(xp.all(x * x > 0)):
            raise ValueError("zeros")
        return x * 2.0


class TooDemanding(Own):
    def forward(self, xp, x):
        if not bool(xp.all(x * x > 1)):
            raise ValueError("not above 1")
        return x * 2.0


@pytest.mark.host
def test_an_operation_that_is_kept_whole_is_asked_for_its_shape():
    np.testing.assert_allclose(tg.compile(lambda t: Demanding()(t))(tg.tensor([2.0, 3.0])).numpy(), [4, 6])
    with pytest.raises(tg.CompileError, match="too_demanding: forward was run on zeros .* ValueError: not above 1"):
        tg.compile(lambda t: TooDemanding()(t))(tg.tensor([2.0, 3.0]))


@pytest.mark.parametrize("op", WHOLE, ids=lambda op: op.name)
def test_what_looks_at_values_or_has_arrays_of_its_own_is_kept_whole(op, backend):
    if backend != "numpy" and not isinstance(op, Sorted | WritesInput):
        return  # others refuse to read values, and arrays of NumPy
    got, expected, plan = ran(lambda t: op(t * 1.0) + 1.0, np.array([1.0, -0.5, 0.25]))
    np.testing.assert_allclose(got, expected)
    assert op in [i.op for i in plan.program.instructions]
