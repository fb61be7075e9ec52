"""The usual call runs straight code, which must refuse whatever the plan does not hold for."""

import collections
import gc
import threading
import weakref

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import CompileError
from tinygraph.plan import cache
from tinygraph.plan.arguments import Arguments
from tinygraph.plan.entry import REFUSED
from tinygraph.plan.trees import Tree
from tinygraph.tensors import Tensor, leaf_of

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def at_the_second_call(monkeypatch):
    """Let plans have code for the usual call when they are used again for the first time."""
    monkeypatch.setattr(cache, "OFTEN", 1)


def test_only_plans_that_are_used_often_have_code_for_the_usual_call(monkeypatch):
    monkeypatch.undo()
    fast, x = tg.compile(lambda x: x * 2.0), np.ones(2)
    for n in range(3 * cache.OFTEN):
        assert bool(fast._cache.often) == (n > cache.OFTEN)
        fast(x)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = tg.parameter(np.arange(1.0, 10.0).reshape(3, 3), name="W")
        self.scale, self.word, self.pair, self.factors = 2.0, "plus", (1.0, 2.0), [1.5, 0.5]
        self.inner = nn.Dense(3, 3, seed=0, dtype="float64")

    def forward(self, x):
        z = self.inner(x @ self.W) * self.scale * self.factors[0] * self.pair[1]
        z = z + 1.0 if self.word == "plus" else z - 1.0
        return z * 3.0 if self.training else z


class Problem:
    """A step that updates the leaves it reads, called with tensors x and y."""

    def __init__(self):
        self.net = Scaled()
        self.factor = 1.0
        rng = np.random.default_rng(0)
        self.x, self.y = (tg.tensor(rng.standard_normal((3, 3))) for _ in range(2))

    def make(self):
        net, factor = self.net, 1.0

        def step(x, y, power=2):
            W = net.W
            loss = tg.sum((net(x) - y) ** power) * factor * self.factor
            if W.requires_grad:
                (dW,) = tg.grad(loss, [W])
                W.assign_(W - 1e-4 * dW)
            if getattr(y, "name", None) == "loud":
                loss = loss * 2.0
            return loss

        def change(value):
            nonlocal factor
            factor = value

        self.step, self.change_factor = step, change
        return step


class Sub(np.ndarray):
    pass


def put(place, name, value):
    """Return a change that sets an attribute of what `place` finds in a problem."""
    return lambda p: setattr(place(p), name, value)


def net(p):
    return p.net


def with_arguments(x=lambda p: p.x, y=lambda p: p.y, *more):
    return lambda p: (x(p), y(p), *more)


usual = with_arguments()
ARGUMENTS = {
    "another dtype": with_arguments(lambda p: tg.tensor(p.x.numpy().astype(np.float32))),
    "another shape": with_arguments(lambda p: p.x[:2].detach(), lambda p: p.y[:2].detach()),
    "one row that broadcasts": with_arguments(y=lambda p: p.y[:1].detach()),
    "an array": with_arguments(lambda p: p.x.numpy()),
    "an array of a subclass": with_arguments(lambda p: p.x.numpy().view(Sub)),
    "a list": with_arguments(lambda p: p.x.numpy().tolist()),
    "a gradient is wanted": with_arguments(lambda p: tg.parameter(p.x.numpy())),
    "a name": with_arguments(y=lambda p: tg.tensor(p.y.numpy(), name="loud")),
    "an argument twice": with_arguments(y=lambda p: p.x),
    "a result of an operation": with_arguments(lambda p: p.x * 1.0),
    "the parameter": with_arguments(lambda p: p.net.W),
    "a twin of the parameter": with_arguments(y=lambda p: p.net.W.detach()),
    "one more": with_arguments(lambda p: p.x, lambda p: p.y, 3),
    "one more that is the default": with_arguments(lambda p: p.x, lambda p: p.y, 2),
    "one more, equal": with_arguments(lambda p: p.x, lambda p: p.y, 2.0),
    "too many": with_arguments(lambda p: p.x, lambda p: p.y, 2, 2),
    "too few": lambda p: (p.x,),
    "none": lambda p: (),
}
IN_THE_PARAMETERS_MEMORY = {
    "its array": with_arguments(y=lambda p: p.net.W.data),
    "a view of its array": with_arguments(y=lambda p: p.net.W.data[::-1]),
    "a tensor in its memory": with_arguments(y=lambda p: Tensor(p.net.W.data[:], p.net.W.backend)),
}
STATES = {
    "the parameter's data": lambda p: setattr(p.net.W, "data", p.net.W.data + 1.0),
    "the parameter is assigned": lambda p: p.net.W.assign_(p.net.W * 0.5),
    "the parameter is frozen": lambda p: setattr(p.net.W, "requires_grad", False),
    "another parameter": lambda p: setattr(p.net, "W", tg.parameter(np.eye(3))),
    "a number": put(net, "scale", 5.0),
    "a number that is equal and an int": put(net, "scale", 2),
    "a word": put(net, "word", "minus"),
    "a tuple": put(net, "pair", (1.0, 7.0)),
    "a list": put(net, "factors", [2.5]),
    "a member of a list": lambda p: p.net.factors.__setitem__(0, 9.0),
    "a shorter list": lambda p: p.net.factors.pop(0),
    "a module": put(net, "inner", nn.Dense(3, 3, seed=5, dtype="float64")),
    "an activation": lambda p: setattr(p.net.inner, "activation", tg.tanh),
    "the mode": lambda p: p.net.eval(),
    "the class": lambda p: setattr(p.net, "__class__", type("Half", (Scaled,), {"forward": half})),
    "a method of the object": lambda p: setattr(p.net, "forward", lambda x: x * 1.0),
    "a variable": lambda p: p.change_factor(4.0),
    "an attribute of an object": put(lambda p: p, "factor", 3.0),
    "an attribute is gone": lambda p: delattr(p.net, "scale"),
}


def half(self, x):
    return x * 0.5


def outcome(function, p, arguments):
    """Return what a call gives, or the words of its error, with the parameter afterwards."""
    try:
        result = function(*arguments).numpy()
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    return result, p.net.W.numpy()


def alike(a, b):
    if isinstance(a, str) or isinstance(b, str):
        assert a == b
    else:
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5 if a.dtype == np.float32 else 1e-10)


def pair():
    """Return two equal problems, with the eager step of the one and the compiled of the other, which was called."""
    eager, p = Problem(), Problem()
    function, fast = eager.make(), tg.compile(p.make())
    for _ in range(3):
        alike(function(eager.x, eager.y).numpy(), fast(p.x, p.y).numpy())
    assert len(fast._cache.often) == 1
    return eager, function, p, fast


def agree(eager, function, p, fast, arguments):
    for a, b in zip(outcome(function, eager, arguments(eager)), outcome(fast, p, arguments(p)), strict=True):
        alike(a, b)


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_other_arguments_are_refused(arguments):
    eager, function, p, fast = pair()
    (entry,), given = fast._cache.often, arguments(p)
    before = p.net.W.numpy()
    assert not entry.matches(Arguments.of(given, {}))
    assert entry.usual(given) is REFUSED
    np.testing.assert_array_equal(p.net.W.numpy(), before)
    for way in (arguments, usual, arguments, arguments, usual):  # so that there is code for both, and they take turns
        agree(eager, function, p, fast, way)


@pytest.mark.parametrize("arguments", IN_THE_PARAMETERS_MEMORY.values(), ids=IN_THE_PARAMETERS_MEMORY)
def test_memory_of_a_leaf_that_is_assigned_is_refused(arguments):
    eager, function, p, fast = pair()
    agree(eager, function, p, fast, with_arguments(y=lambda p: p.y.numpy()))
    agree(eager, function, p, fast, with_arguments(y=lambda p: p.y.numpy()))  # a plan for arrays
    assert len(fast._cache.often) == 2
    given = arguments(p)
    assert all(entry.usual(given) is REFUSED for entry in fast._cache.often)
    for _ in range(3):
        with pytest.raises(CompileError, match="shares memory with 'W', which the function assigns"):
            fast(*given)
    agree(eager, function, p, fast, usual)


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_another_state_is_refused(change):
    eager, function, p, fast = pair()
    change(p)
    change(eager)
    (entry,) = fast._cache.often
    if not entry.matches(Arguments.of(usual(p), {})):
        assert entry.usual(usual(p)) is REFUSED
    for _ in range(4):
        agree(eager, function, p, fast, usual)


def test_a_state_that_comes_back_is_as_good_as_before():
    eager, function, p, fast = pair()
    for value in (float("2.0"), 3.0, 2.0, 3.0, float("2"), 2.0):
        eager.net.scale = p.net.scale = value
        agree(eager, function, p, fast, usual)
    assert len(fast.plans) == 2
    for _ in range(3):
        p.net.scale = eager.net.scale = float("2.0")  # another object each time
        agree(eager, function, p, fast, usual)
    assert len(fast.plans) == 2


def test_modes_of_the_thread_are_refused():
    eager, function, p, fast = pair()
    (entry,) = fast._cache.often
    with tg.no_grad():
        assert entry.usual(usual(p)) is REFUSED
    with tg.backend.using("strict"):
        assert entry.usual(usual(p)) is REFUSED
    refused = []
    thread = threading.Thread(target=lambda: refused.append(entry.usual(usual(p)) is REFUSED))
    with tg.no_grad():
        thread.start()
        thread.join()
    assert refused == [False]  # a mode is that of its thread
    function(*usual(eager))
    agree(eager, function, p, fast, usual)


@pytest.mark.filterwarnings("ignore:compile. .* is recorded anew for each value:RuntimeWarning")
@pytest.mark.parametrize("value", [0.0, -0.0, 1, True, "a", None, np.float64(3.0), (1, 2), [1], {1}], ids=repr)
def test_python_arguments(value):
    """They are told apart as in general: equal is not the same."""

    def f(x, extra):
        return x + 1.0 if isinstance(extra, float | int) and not np.signbit(extra) else x - 1.0

    fast, x = tg.compile(f), tg.tensor([1.0, 1.0])
    for extra in (value, value, value, 1.0, 0, 0.0, -0.0, False, value):
        np.testing.assert_array_equal(fast(x, extra).numpy(), f(x, extra).numpy())
    for extra in (value, 1.0):
        for entry in fast._cache.often:
            assert (entry.usual((x, extra)) is not REFUSED) <= entry.matches(Arguments.of((x, extra), {}))


def test_methods_and_results_in_a_structure():
    class Model:
        def __init__(self, k):
            self.k, self.W = k, tg.parameter(np.full(2, k))

        @tg.compile
        def step(self, x):
            self.W.assign_(self.W + x)
            return {"y": self.W * self.k, "x": x}, (x[0], self.W)

    models, x = [Model(2.0), Model(3.0)], tg.tensor(np.array([1.0, 2.0]))
    for n in range(1, 5):
        for model in models:
            results, (first, W) = model.step(x)
            np.testing.assert_array_equal(model.W.numpy(), model.k + n * x.numpy())
            np.testing.assert_array_equal(results["y"].numpy(), model.k * model.W.numpy())
            assert results["x"] is x
            assert W is model.W
            assert first.numpy() == 1.0
    assert len(Model.step._cache.often) == 2


def test_results_are_made_anew_around_what_is_given():
    """Nested, empty and given ones, one tensor in two places, views, a leaf from outside, and a subclass of a tuple."""
    W, Pair = tg.parameter(np.ones(2), name="W"), collections.namedtuple("Pair", "a b")

    def f(x, y, flag):
        z = x + y
        return z, [z * 2.0, (x, {"W": W, 3: y, "none": [None, flag, ()]})], {"pair": Pair(z, x)}, z[0], [], {}

    def g(x, y, flag):
        z = x * W
        return {"a": [z, (z, flag)], 2: ((x,), [[y]]), None: ([], {}, ())}

    x, y = tg.tensor(np.array([1.0, 2.0])), np.array([3.0, 4.0])
    fast_f, fast_g = tg.compile(f), tg.compile(g)
    for _ in range(4):
        for fast, function in ((fast_f, f), (fast_g, g)):
            got, other, expected = Tree([fast(x, y, "on")]), Tree([fast(x, y, "on")]), Tree([function(x, y, "on")])
            assert got.tokens == expected.tokens
            for a, b, eager in zip(got.leaves, other.leaves, expected.leaves, strict=True):
                assert type(a) is type(eager)
                assert (a is b) == (eager is x or eager is y or eager is W)
                np.testing.assert_array_equal(np.asarray(a), np.asarray(eager))
        z, (_, (given, inside)), *_ = fast_f(x, y, "on")
        assert given is x
        assert inside["W"] is W
        assert inside[3] is y
        z, (same, flag) = fast_g(x, y, "on")["a"]
        assert z is same
        assert flag == "on"


def test_plans_that_take_turns_run_without_a_search(monkeypatch):
    fast = tg.compile(lambda x: x * 2.0)
    arrays = [np.arange(float(n)) for n in range(1, 4)]
    for _ in range(2):
        for x in arrays:
            fast(x)
    monkeypatch.setattr(Arguments, "of", None)
    for n in (0, 1, 2, 1, 0, 0, 2):
        np.testing.assert_array_equal(fast(arrays[n]).numpy(), arrays[n] * 2.0)
        assert fast.plan.program.results[0].shape == arrays[n].shape
    assert [entry.plan for entry in fast._cache._entries][-1] is fast.plan  # the latest used


def test_threads_take_turns():
    W = tg.parameter(np.zeros(3))

    def step(x):
        W.assign_(W + x)
        return x * 2.0

    fast, wrong = tg.compile(step), []

    def work(k):
        x = np.full(3, float(k))
        given = tg.tensor(x) if k % 2 else x
        wrong.extend(k for _ in range(200) if fast(given).numpy().tolist() != (2.0 * x).tolist())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert W.numpy().tolist() == [1200.0] * 3


def test_a_seed_that_is_set_between_calls_holds():
    fast, runs = tg.compile(lambda x: tg.uniform((4,), dtype="float64") * x), []
    for _ in range(2):
        tg.manual_seed(5)
        runs.append([fast(np.ones(4)).numpy().tolist() for _ in range(6)])
    assert len(fast._cache.often) == 1
    assert runs[0] == runs[1]
    assert runs[0][4] != runs[0][5]


def test_a_plan_that_is_dropped_is_gone():
    fast = tg.compile(lambda x: x * 2.0, max_bytes=0)
    small, large = np.ones(2), np.ones(3)
    for _ in range(2):
        fast(small)
    (entry,) = fast._cache.often
    gone = weakref.ref(entry)
    del entry
    gc.disable()
    try:
        fast(large)
        assert fast._cache.often == []
        assert gone() is None  # by counting references alone
    finally:
        gc.enable()


def test_checks_go_before_the_usual_call():
    offset = [1.0]
    fast = tg.compile(lambda x: x + hidden())

    def hidden():
        return offset[0]

    for _ in range(4):
        fast(np.ones(2))
    fast.check = True
    (entry,) = fast._cache.often
    calls = entry.calls
    fast(np.ones(2))
    assert entry.calls == calls + 1


def test_a_leaf_made_at_once_is_one_that_is_called_for():
    data, backend = np.ones(2), tg.backend.current()
    a, b = Tensor(data, backend), leaf_of(data, backend)
    for name in (name for name in Tensor.__slots__ if name not in ("index", "__weakref__")):
        assert getattr(a, name) is getattr(b, name)
    assert b.index == a.index + 1
