"""Arguments of any kind, numbers that change at every call, and the plans that are kept."""

import array
import dataclasses
import decimal
import enum
import fractions
import functools
import importlib
import sys
import warnings
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ArgumentError, CompileError, nn, optim

pytestmark = pytest.mark.host

Pair = namedtuple("Pair", "x y")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Batch:
    x: object
    y: object = None
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    x: object
    scale: float = 1.0


class Tagged(dict):
    pass


class Rows(list):
    pass


def number(x):
    """Return a number that tells apart whatever can be told of an object."""
    return float(sum(map(ord, repr(x))) % 1009)


def tagged(kind, mapping, **attributes):
    made = kind(mapping)
    vars(made).update(attributes)
    return made


def read(x, value):
    return x * number((type(value).__name__, value))


def first(x, value):
    return x * value.x * value.scale


ARGUMENTS = {  # two or more arguments in a row, and what the function does with them
    "signs of zero": (lambda x, k: 1.0 / (x * k), [0.0, -0.0, 0.0]),
    "signs of zero in a list": (lambda x, k: 1.0 / (x * k[0]), [[0.0], [-0.0]]),
    "signs of zero in a complex number": (read, [0j, -0.0 + 0j, complex(0.0, -0.0)]),
    "signs of zero in a set": (read, [frozenset([0.0]), frozenset([-0.0])]),
    "equal numbers of three types": (read, [1, 1.0, True, np.float32(1), np.int64(1), np.array(1.0)]),
    "equal numbers inside": (read, [(1,), (True,), (1.0,), {1: 2}, {True: 2}, {1.0: 2}, {1: 2.0}]),
    "NaN": (lambda x, k: x * 0.0 if k != k else x * k, [float("nan"), 1.0, float("nan")]),
    "texts": (read, ["a", "b", "a", b"a"]),
    "enums": (read, [Colour.RED, Colour.BLUE]),
    "slices": (lambda x, k: x[k] * 1.0, [slice(0, 1), slice(1, 2), slice(0, 2)]),
    "ranges": (read, [range(3), range(4), range(0, 3, 2)]),
    "fractions": (read, [fractions.Fraction(1, 2), fractions.Fraction(1, 3)]),
    "decimals": (read, [decimal.Decimal("1.0"), decimal.Decimal("1.00"), decimal.Decimal("-0"), decimal.Decimal("0")]),
    "dtypes": (read, [np.dtype("float32"), np.dtype("float64"), np.float32, np.float64]),
    "zero-dimensional arrays": (lambda x, k: x * k, [np.array(2.0), np.array(3.0), np.array(-0.0)]),
    "functions": (lambda x, k: x * k(3.0), [np.sqrt, np.square, abs]),
    "methods": (lambda x, k: x * k(), [(2.0).__neg__, (3.0).__neg__, Counter(a=2).total, Counter(a=3).total]),
    "partials": (lambda x, k: x * k(2.0), [functools.partial(pow, 3.0), functools.partial(pow, 4.0)]),
    "dataclasses": (first, [Batch(1.0), Batch(2.0), Batch(2.0, scale=3.0)]),
    "dataclasses of tensors": (
        lambda x, b: x * b.x + b.y * b.scale,
        [Batch(tg.tensor([float(n)]), tg.tensor([5.0]), float(n % 2)) for n in range(3)],
    ),
    "frozen dataclasses with slots": (first, [Fixed(tg.tensor([2.0])), Fixed(tg.tensor([3.0])), Fixed(4.0, 2.0)]),
    "namespaces": (first, [SimpleNamespace(x=tg.tensor([float(n)]), scale=float(n % 2)) for n in range(4)]),
    "named tuples": (lambda x, p: x * p.x - p.y, [Pair(tg.tensor([3.0]), 1.0), Pair(1.0, 2.0), (7.0, 8.0)][:2]),
    "deques": (lambda x, d: x * d[0] + d[-1] * d.maxlen, [deque([n, tg.tensor([1.0])], 2 + n) for n in range(3)]),
    "dicts with attributes": (
        lambda x, d: x * d["a"] * d.factor,
        [tagged(Tagged, {"a": tg.tensor([2.0])}, factor=float(n)) for n in range(3)],
    ),
    "lists with attributes": (
        lambda x, d: x * d[0] * d.factor,
        [tagged(Rows, [tg.tensor([2.0])], factor=float(n)) for n in range(3)],
    ),
    "orders": (lambda x, d: x * number(list(d)), [OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}]),
    "default factories": (
        lambda x, d: x * d.default_factory(),
        [defaultdict(int), defaultdict(float), Counter(a=1)][:2],
    ),
    "names of tensors": (lambda x, t: t * 2.0 if t.name == "a" else t, [tg.parameter([1.0], name=n) for n in "aba"]),
    "roles of tensors": (
        lambda x, t: t * 2.0 if t.role == "bias" else t,
        [tg.parameter([1.0], role=role) for role in ("weight", "bias", "scale")],
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_any_other_argument_counts_by_its_value(name):
    function, values = ARGUMENTS[name]
    fast, x = tg.compile(function, check="spot"), tg.tensor([1.0, 2.0])
    with np.errstate(all="ignore"):
        for value in (*values, *values):
            np.testing.assert_array_equal(fast(x, value).numpy(), function(x, value).numpy())
    assert len(fast.plans) <= len(values)


def mutables():
    ring = deque([1.0, 2.0])
    batch, space, own = Batch(1.0), SimpleNamespace(x=1.0), Tagged(x=1.0)
    nested = {"a": [{"b": 1.0}]}
    zero = np.array(1.0)
    return {
        "set": ({1}, lambda s: s.add(7)),
        "nested list": (nested, lambda d: d["a"][0].update(b=5.0)),
        "key": (nested, lambda d: d.update(c=d.pop("a"))),
        "deque": (ring, lambda d: d.append(5.0)),
        "bytearray": (bytearray(b"ab"), lambda b: b.__setitem__(0, 99)),
        "array": (array.array("d", [1.0, 2.0]), lambda a: a.__setitem__(0, 5.0)),
        "dataclass": (batch, lambda b: setattr(b, "x", 5.0)),
        "new attribute": (batch, lambda b: setattr(b, "more", 5.0)),
        "namespace": (space, lambda s: setattr(s, "x", 5.0)),
        "dict with attributes": (own, lambda d: setattr(d, "factor", 2.0)),
        "array without axes": (zero, lambda a: a.fill(9.0)),
    }


@pytest.mark.parametrize("name", mutables())
def test_an_argument_that_is_changed_in_place_is_seen(name):
    value, change = mutables()[name]

    def function(x, value):
        return x * number((value, getattr(value, "__dict__", None)))

    fast, x = tg.compile(function), tg.tensor([1.0])
    results = []
    for n in range(3):
        np.testing.assert_array_equal(fast(x, value).numpy(), function(x, value).numpy())
        results.append(function(x, value).item())
        if n == 1:
            change(value)
    assert results[1] != results[2]


def test_positional_and_named_arguments_are_told_apart():
    def function(x, *rest, **named):
        return x * (2.0 + len(rest)) + named.get("w", 0.0)

    fast, x = tg.compile(function), tg.tensor([1.0])
    for _ in range(2):
        assert float(fast(x, {"w": 1.0})) == 3.0
        assert float(fast(x, w=1.0)) == 3.0
        assert float(fast(x, 1.0)) == 3.0
        assert float(fast(x)) == 2.0


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1.0], lambda v: v.append(2.0)),
        ({"a": 1.0}, lambda v: v.pop("a")),
        (deque([1.0]), lambda v: v.clear()),
        (Batch(1.0), lambda v: setattr(v, "x", 2.0)),
        ({"a": {"b": [tg.tensor([1.0])]}}, lambda v: v["a"]["b"].insert(0, 3.0)),
    ],
)
def test_changing_an_argument_is_refused(value, change):
    @tg.compile
    def function(x, value):
        change(value)
        return x * 2.0

    before = repr(value)
    with pytest.raises(CompileError, match="changes its argument .value.*return the new value instead"):
        function(tg.tensor([1.0]), value)
    assert repr(value) == before


def test_a_result_may_be_of_any_kind():
    def function(x):
        return Batch(x * 2.0, Pair(x, Tagged(a=x + 1.0)), 3.0), deque([x * 3.0], 4), None, OrderedDict(z=x, a=1)

    fast = tg.compile(function)
    for value in (1.0, 2.0):
        x = tg.tensor([value])
        batch, ring, nothing, ordered = fast(x)
        assert (type(batch), batch.scale, type(batch.y), type(batch.y.y)) == (Batch, 3.0, Pair, Tagged)
        assert (float(batch.x), float(batch.y.y["a"]), float(ring[0])) == (2 * value, value + 1, 3 * value)
        assert (ring.maxlen, nothing, list(ordered)) == (4, None, ["z", "a"])
        assert batch.y.x is x


def test_deep_arguments_do_not_recurse():
    x = tg.tensor([1.0])
    deep = x
    for n in range(5000):
        deep = {"a": deep} if n % 2 else [deep]

    def function(deep):
        while not isinstance(deep, tg.Tensor):
            deep = deep["a"] if isinstance(deep, dict) else deep[0]
        return deep * 2.0, [deep]

    fast = tg.compile(function)
    assert float(fast(deep)[0]) == 2.0
    assert float(fast(deep)[0]) == 2.0
    assert len(fast.plans) == 1
    assert float(tg.compile(lambda x: functools.reduce(lambda y, _: [y], range(5000), x * 2.0))(x)[0].__len__()) == 1


def test_an_argument_that_holds_itself_is_refused():
    ring = []
    ring.append(ring)
    with pytest.raises(ArgumentError, match="a list among the arguments or results holds itself"):
        tg.compile(lambda x, r: x)(tg.tensor([1.0]), ring)


# -- numbers that change at every call ------------------------------------------------------------------


def annealings():
    W = tg.parameter([1.0, 2.0])

    def step(x, k):
        loss = ((W * x) ** 2).sum() * k
        (gradient,) = tg.grad(loss, [W])
        W.assign_(W - 0.01 * k * gradient)
        return loss

    return {
        "factor": lambda x, k: x * k,
        "on the left": lambda x, k: k - x,
        "arithmetic": lambda x, k: x * (1.0 - 2 * k**2) / (1.0 + abs(-k)) + (k % 0.25) * (k // 0.5),
        "maximum": lambda x, k: tg.maximum(x, k),
        "compared with tensors": lambda x, k: tg.where(x > k, x, k * 2.0),
        "loss": step,
    }


@pytest.mark.parametrize("name", annealings())
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_a_number_that_changes_at_every_call_becomes_an_input(name, dtype, kind):
    itself, twin = annealings()[name], annealings()[name]
    fast = tg.compile(twin)
    x = tg.tensor(np.array([-1.0, 0.5], dtype)) if name != "loss" else tg.tensor([-1.0, 0.5])
    for n in range(12):
        k = kind(0.7**n)
        a, b = itself(x, k), fast(x, k)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=4 * np.finfo(a.dtype).eps)
    assert len(fast.plans) == 3


@pytest.mark.parametrize("value", [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e300, 1e-300, 65504.0, 1e-45])
def test_an_input_may_be_any_number(value):
    def function(x, k):
        return x / k, x * k, k - x

    fast = tg.compile(function)
    x = tg.tensor(np.array([0.0, 1.0, -2.0], np.float32))
    with np.errstate(all="ignore"):
        for k in (1.5, 2.5, 3.5, 4.5, value):
            for a, b in zip(function(x, k), fast(x, k), strict=True):
                np.testing.assert_array_equal(b.numpy(), a.numpy())
    assert len(fast.plans) == 3


def test_pythons_own_arithmetic_raises_what_it_raises():
    fast, x = tg.compile(lambda x, k: x * (1.0 / k)), tg.tensor([1.0])
    for k in (1.0, 2.0, 4.0, 5.0):
        assert fast(x, k).item() == pytest.approx(1 / k)
    with pytest.raises(ZeroDivisionError):
        fast(x, 0.0)


def test_several_numbers_wherever_they_stand():
    def function(x, options, *, decay=1.0):
        return x * options["k"] + options["more"].scale * decay

    fast, x = tg.compile(function), tg.tensor([1.0, 2.0])
    for n in range(1, 9):
        options = {"k": 1.0 / n, "more": Batch(None, scale=2.0 * n)}
        a, b = function(x, options, decay=0.5**n), fast(x, options, decay=0.5**n)
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-6)
    assert len(fast.plans) == 3


def test_whole_numbers_that_only_multiply_become_inputs():
    fast, x = tg.compile(lambda x, step: x / (1.0 - 0.9**step)), tg.tensor([1.0])
    for step in range(1, 30):
        assert fast(x, step).item() == pytest.approx(1 / (1 - 0.9**step), rel=1e-6)
    assert len(fast.plans) == 3


MORE_THAN_ARITHMETIC = {
    "exponent": lambda x, k: x**k,
    "compared": lambda x, k: x * (2.0 if k > 0.5 else 3.0),
    "truth": lambda x, k: x * 2.0 if k else x,
    "min": lambda x, k: x * min(k, 0.5),
    "math": lambda x, k: x * np.exp(k),
    "float": lambda x, k: x * float(k),
    "text": lambda x, k: x * len(f"{k}"),
    "key": lambda x, k: x * {0.5: 2.0}.get(k, 3.0),
    "its type": lambda x, k: x * (2.0 if type(k) is float else 3.0),
    "method": lambda x, k: x * (2.0 if k.is_integer() else 3.0),
    "option": lambda x, k: tg.leaky_relu(-x, k),
    "swallowed": lambda x, k: x * _swallowing(k),
    "returned": lambda x, k: (x * k, k)[0] if k is None else (x * k, k),
}


def _swallowing(k):
    try:
        return k if k > 0.5 else 3.0
    except Exception:
        return 7.0


@pytest.mark.parametrize("name", MORE_THAN_ARITHMETIC)
def test_a_number_with_which_more_is_done_is_recorded_anew_with_one_warning(name):
    function = MORE_THAN_ARITHMETIC[name]
    fast, x = tg.compile(function), tg.tensor([1.0, 2.0])

    def first_of(result):
        return (result[0] if isinstance(result, tuple) else result).numpy()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(12):
            k = 0.9**n
            np.testing.assert_allclose(first_of(fast(x, k)), first_of(function(x, k)), rtol=1e-6)
    (warning,) = caught
    assert "is recorded anew for each value of the number 'k'" in str(warning.message)
    assert "\n" not in str(warning.message)
    assert warning.filename == __file__


def test_plans_for_values_do_not_pile_up():
    fast, x = tg.compile(lambda x, k: x * float(k)), tg.tensor([1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in range(100):
            fast(x, float(n))
    assert len(fast.plans) == 64


# -- the plans that are kept ----------------------------------------------------------------------------


def test_the_plans_used_last_are_kept_within_a_number_of_bytes():
    fast = tg.compile(lambda x: tg.tanh(x * 2.0) + 1.0, max_bytes=200_000)
    shapes = [(n, 10) for n in range(1, 200)]
    for shape in shapes:
        fast(np.ones(shape, np.float32))
        fast(np.ones((1, 10), np.float32))  # used at every turn
        assert fast._cache.bytes <= 200_000
    kept = [plan.program.arguments[0].shape for plan in fast.plans]
    assert (1, 10) in kept
    assert kept[1:] == shapes[-len(kept) + 1 :]
    assert 1 < len(kept) < 100


def test_the_latest_plan_is_kept_whatever_it_takes():
    fast, x = tg.compile(lambda x: x * 2.0, max_bytes=0), np.ones((100, 100), np.float32)
    for _ in range(3):
        fast(x)
        assert len(fast.plans) == 1
        fast(x[:3])


def test_plans_share_the_memory_in_which_they_compute():
    def function(x):
        return tg.tanh(tg.tanh(x * 2.0) @ tg.transpose(x)).sum()

    fast = tg.compile(function)
    rows = [*range(1, 101), *range(100, 0, -1)]
    inputs = {n: np.random.default_rng(n).random((n, 8)) for n in set(rows)}
    for n in rows:
        np.testing.assert_allclose(fast(inputs[n]).numpy(), function(inputs[n]).numpy(), rtol=1e-12)
    assert len(fast.plans) == 100
    memories = {plan.memory for plan in fast.plans}
    largest = max(plan.bytes for plan in fast.plans)
    assert sum(memory.bytes for memory in memories) <= 4 * largest
    with pytest.raises(tg.GraphError, match="another plan of the function ran last"):
        fast.plans[50].profile(1)
    fast(inputs[51])
    assert fast.plan.profile(1).total > 0


@pytest.mark.parametrize(
    ("options", "text"), [({"check": "always"}, "check must be"), ({"max_bytes": -1}, "max_bytes must be")]
)
def test_options_that_are_not_known_are_refused(options, text):
    with pytest.raises(ArgumentError, match=text):
        tg.compile(number, **options)


# -- comparison with the function itself ----------------------------------------------------------------


def test_spot_checks_compare_the_second_fourth_eighth_call(monkeypatch):
    module, compared = importlib.import_module("tinygraph.plan.compiled"), []

    def noted(entry, function, arguments):
        compared.append(entry.calls)
        return comparison.compared(entry, function, arguments)

    comparison = importlib.import_module("tinygraph.plan.comparison")
    monkeypatch.setattr(module, "compared", noted)
    W = tg.parameter([1.0, 2.0])

    def function(x):
        W.assign_(W + x)
        return W * x

    fast, total = tg.compile(function, check="spot"), np.array([1.0, 2.0])
    for _ in range(9):
        result, total = fast(tg.tensor([1.0, 1.0])), total + 1
        np.testing.assert_array_equal(W.numpy(), total)
        np.testing.assert_array_equal(result.numpy(), total)
    assert compared == [2, 4, 8]
    unwatched = tg.compile(function)
    unwatched(tg.tensor([1.0, 1.0]))
    next(iter(unwatched._cache)).unseen = ["something written in C"]
    for _ in range(8):
        unwatched(tg.tensor([1.0, 1.0]))
    assert compared == [2, 4, 8, 2, 4, 8]


@pytest.mark.parametrize("factor", [1.00002, 0.5, -1.0, np.nan, np.inf])
def test_checks_find_differences_beyond_rounding_and_leave_everything_as_it_was(factor):
    W, m = tg.parameter([[1.0, 2.0], [3.0, 4.0]], name="W"), tg.tensor([0.0])
    other = SimpleNamespace(factor=1.0)
    optimizer = optim.Adam([W], lr=0.1)

    def itself(x):
        optimizer.zero_grad()
        loss = ((x @ W) * other.factor).sum()
        loss.backward()
        optimizer.step()
        m.assign_(m * 0.9 + loss)
        return loss

    fast = tg.compile(itself, check=True)
    fast._cache.find = lambda arguments: next(iter(fast._cache), None)  # whatever the guards say
    x = np.array([[1.0, 2.0]], np.float32)
    fast(x)
    fast(x)
    state = [t.numpy() for t in (W, m, *optimizer.state()["m"])] if "m" in optimizer.state() else [W.numpy(), m.numpy()]
    grad = W._grad
    other.factor = factor
    message = r"compile: check: .* differs from what the function itself gives"
    with pytest.raises(CompileError, match=message), np.errstate(all="ignore"):
        fast(x)
    now = [t.numpy() for t in (W, m, *optimizer.state()["m"])] if "m" in optimizer.state() else [W.numpy(), m.numpy()]
    for a, b in zip(state, now, strict=True):
        np.testing.assert_array_equal(a, b)
    assert W._grad is grad
    other.factor = 1.0
    fast(x)


def test_checks_find_what_is_assigned_and_gradients_that_are_missing():
    W, V = tg.parameter([1.0], name="W"), tg.parameter([1.0], name="V")
    which = SimpleNamespace(leaf=W, backward=False)

    def function(x):
        which.leaf.assign_(which.leaf * 2.0)
        if which.backward:
            (x * which.leaf).sum().backward()
        return x * 1.0

    fast = tg.compile(function, check=True)
    fast._cache.find = lambda arguments: next(iter(fast._cache), None)
    x = tg.tensor([1.0])
    fast(x)
    which.leaf = V
    with pytest.raises(CompileError, match=r"check: leaf \d, '[VW]'.* differs"):
        fast(x)
    which.leaf, which.backward = W, True
    with pytest.raises(CompileError, match=r"check: grad \d, of 'W', is missing"):
        fast(x)
    assert (W.item(), V.item(), W.grad) == (2.0, 1.0, None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_checks_let_rounding_pass(dtype):
    rng = np.random.default_rng(0)
    W = tg.parameter(rng.normal(size=(300, 40)).astype(dtype))
    b = tg.parameter(rng.normal(size=40).astype(dtype))

    def function(x):  # cancels: sums of products, differences of near numbers
        z = x @ W - b
        y = tg.softmax(z * dtype(0.1))
        loss = -(tg.log(y + dtype(1e-3)) * y).mean() - dtype(1.0) * (y * y).sum()
        loss.backward()
        return loss, z, (z - z.mean(0)).sum(0)

    fast = tg.compile(function, check=True)
    for n in range(3):
        fast((np.random.default_rng(n).normal(size=(20, 300)) * 0.1).astype(dtype))


def test_masks_are_the_same_in_the_comparison():
    net = nn.Sequential(nn.Dense(4, 8, "relu", seed=0), nn.Dropout(0.5), nn.Dense(8, 2, seed=1))
    tg.manual_seed(3)
    fast = tg.compile(lambda x: net(x), check=True)
    x = np.ones((5, 4), np.float32)
    drawn = [fast(x).numpy() for _ in range(4)]
    tg.manual_seed(3)
    for expected in drawn:
        np.testing.assert_allclose(net(x).numpy(), expected, rtol=1e-5, atol=1e-6)


class Nested(nn.Module):
    def __init__(self, inner=None):
        self.inner = inner
        self.scale = tg.parameter([0.999])

    def forward(self, x):
        return x * self.scale if self.inner is None else self.inner(x)


def test_nested_modules_take_no_more_of_the_stack_than_the_function_itself():
    def frames():
        frame, count = sys._getframe(), 0
        while frame is not None:
            frame, count = frame.f_back, count + 1
        return count

    depth = (sys.getrecursionlimit() - frames() - 40) // 3  # a call of an object takes two frames and one in C
    net = Nested()
    for _ in range(depth):
        net = Nested(net)
    x = tg.tensor([1.0])
    assert net(x).item() == tg.compile(net)(x).item() == np.float32(0.999)
