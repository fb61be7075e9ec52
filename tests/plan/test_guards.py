"""What the recording sees, and what a refused one leaves behind; the table of ways is in `test_stale.py`."""

import collections
import contextlib
import cProfile
import datetime
import decimal
import io
import logging
import random
import sys
import time
import types

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import CompileError
from tinygraph.models import fully_connected
from tinygraph.plan import guards, places
from tinygraph.plan.straight import Straight

pytestmark = pytest.mark.host
X = tg.tensor([1.0, 2.0])


class Box:
    def __init__(self):
        self.count, self.items = 0, [1.0]


def count(box):
    box.count += 1
    return X * float(box.count)


def grow(box):
    box.items.append(2.0)
    return X * sum(box.items)


def forget(box):
    del box.count
    return X


def invent(box):
    box.more = 1.0
    return X * box.more


def fill(box, buffer=np.zeros(3)):  # noqa: B008
    buffer += 1.0
    return X * float(buffer.sum())


@pytest.mark.parametrize("function", [count, grow, forget, invent, fill], ids=lambda f: f.__name__)
def test_a_refused_recording_leaves_everything_as_it_was(function):
    box = Box()
    before = dict(vars(box)) | {"items": list(box.items)}
    with pytest.raises(CompileError, match=r"the function changes .*, which a replay would not: return the new value"):
        tg.compile(lambda: function(box))()
    assert vars(box) == before
    assert fill.__defaults__[0].sum() == 0


def test_generators_are_put_back():
    own, python = np.random.default_rng(1), random.Random(2)
    states = own.bit_generator.state, python.getstate(), random.getstate(), np.random.get_state()[1].tolist()
    for draw in (own.random, python.random, random.random, np.random.rand, lambda: python.uniform(0, 1)):
        with pytest.raises(CompileError, match="draws from .*draw outside and pass it as an argument"):
            tg.compile(lambda draw=draw: X * float(draw()))()
    after = own.bit_generator.state, python.getstate(), random.getstate(), np.random.get_state()[1].tolist()
    assert after == states


@pytest.mark.parametrize("error", [ValueError, CompileError])
def test_the_profile_function_of_before_comes_back(error):
    seen = []

    def profile(frame, event, argument):
        seen.append(event)

    def fails(x):
        raise error("no")

    sys.setprofile(profile)
    try:
        tg.compile(lambda x: x * 2.0)(X)
        assert sys.getprofile() is profile
        with pytest.raises(error):
            tg.compile(fails)(X)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    with cProfile.Profile() as profiler:
        tg.compile(lambda x: x * 3.0)(X)
        sum(range(3))
    assert any("<built-in method builtins.sum>" in str(entry.code) for entry in profiler.getstats())


def test_a_plan_keeps_no_tensor_of_its_recording_alive():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    def work(x):
        pair = Pair(x * 2.0, [x + 1.0])
        return helper(pair)

    def helper(pair):
        return pair.a + pair.b[0]

    assert tg.compile(work)(X).numpy().tolist() == [4.0, 7.0]


def is_recorded_during_collections(callback):
    import gc

    def work(x):
        gc.collect()
        return x * 2.0

    gc.callbacks.append(callback)
    try:
        return tg.compile(work)(X).numpy().tolist() == [2.0, 4.0]
    finally:
        gc.callbacks.remove(callback)


def test_a_clock_read_by_a_callback_of_the_collector_is_no_doing_of_the_function():
    space = {"time": time, "__name__": "another"}
    exec("def look(phase, info): time.perf_counter()", space)
    assert is_recorded_during_collections(space["look"])


collections_seen = 0


def test_what_a_callback_of_the_collector_changes_is_no_doing_of_the_function():
    def note(phase, info):
        global collections_seen
        collections_seen += 1

    assert is_recorded_during_collections(note)
    assert collections_seen > 0


def test_the_clock_of_numpy_is_refused():
    with pytest.raises(CompileError, match=r"reads the clock \(numpy.datetime64\)"):
        tg.compile(lambda x: x * float(np.datetime64("now", "ns").astype(np.int64)))(np.ones(3, np.float32))


def test_a_refusal_is_raised_whatever_the_function_makes_of_it_and_what_it_changed_is_put_back():
    counts = [0]

    def f(x):
        counts[0] += 1
        try:
            return x * float(x.sum())
        except CompileError as error:
            raise KeyError("another") from error

    with pytest.raises(CompileError, match="item"):
        tg.compile(f)(np.ones(3, np.float32))
    assert counts == [0]


SAME = [(1, 1), (1.0, 1.0), ("a" * 99, "".join(["a"] * 99)), (float("nan"), float("nan")), ((1, 2.0), (1, 2.0))]
SAME += [(np.float32(1), np.float32(1)), (frozenset({1}), frozenset({1})), (1j, 1j)]
OTHER = [(1, True), (1, 1.0), (0.0, -0.0), (1, 2), ((1,), (True,)), (np.float32(1), np.float64(1)), (0j, -0j), ([], [])]
OTHER += [(frozenset({1}), frozenset({True})), (frozenset([0, 8]), frozenset([8, 0])), (np.zeros(2), np.zeros(2))]


@pytest.mark.parametrize(("a", "b", "expected"), [(*p, True) for p in SAME] + [(*p, False) for p in OTHER], ids=repr)
def test_which_values_are_the_same(a, b, expected):
    assert places.same(a, b) is expected


def test_an_equal_number_in_the_place_of_another_records_nothing_anew():
    box = types.SimpleNamespace(scale=2.5, name="a")
    fast = tg.compile(lambda x: x * box.scale if box.name == "a" else x)
    for _ in range(3):
        fast(X)
        box.scale, box.name = float("2.5"), "".join(["a"])
    assert len(fast.plans) == 1


def test_guards_of_a_training_step_are_few():
    """Comparisons of the step of the benchmark's smallest network: about one for each attribute that is read."""
    net = fully_connected([4, 8, 8, 2], activation="tanh", seed=0)
    sgd = optim.SGD(net.parameters(), 0.1)

    def step(x, y):
        sgd.zero_grad()
        loss = losses.squared_error(net(x), y)
        loss.backward()
        sgd.step()
        return loss

    fast = tg.compile(step)
    fast(np.ones((1, 4), np.float32), np.ones((1, 2), np.float32))
    (entry,) = fast._cache
    assert len(entry.guards.reads) <= 62


def test_the_kinds_of_reads():
    class Sub(collections.OrderedDict):
        pass

    held = Sub(a=1)
    found = [places.Read("members", held, None, places.members(held), "d")]
    code = Straight()
    lines = guards.Guards(found).lines(code, "return False")
    check = code.function("check", [], [*lines, "return True"])
    assert check()
    held["b"] = 2
    assert not check()
    del held["b"]
    assert check()


def test_a_module_that_is_not_called_is_watched_too():
    net = nn.Dense(2, 2, seed=0)
    fast = tg.compile(lambda x: x @ net.W)
    fast(X)
    net.W = tg.parameter(np.zeros((2, 2), np.float32))
    assert fast(X).numpy().tolist() == [0.0, 0.0]


FINE = {
    "a logger with a handler": "log.info('shape %s', x.shape); return x * 2.0",
    "a logger's level": "return x * 2.0 if log.isEnabledFor(logging.DEBUG) else x",
    "stderr": "sys.stderr.write(''); print(end='', file=sys.stderr); return x * 2.0",
    "a time span": "return x * span.total_seconds()",
    "a decimal": "return x * float(price.quantize(decimal.Decimal('0.1')))",
    "errors that are caught": "with contextlib.suppress(KeyError): return x * box.scale",
}


@pytest.mark.parametrize("body", FINE.values(), ids=FINE)
def test_what_is_no_reason_to_refuse_or_to_record_anew(body):
    log = logging.getLogger("tinygraph.tests.guards")
    log.handlers, log.propagate = [logging.StreamHandler(io.StringIO())], False
    log.setLevel(logging.INFO)
    space = {"__name__": "another", "log": log, "box": types.SimpleNamespace(scale=2.0, epoch=0)}
    space |= {"logging": logging, "sys": sys, "contextlib": contextlib, "decimal": decimal}
    space |= {"span": datetime.timedelta(seconds=2), "price": decimal.Decimal("1.25")}
    exec(f"def f(x): {body}" if not body.startswith("with") else f"def f(x):\n    {body}", space)
    fast = tg.compile(space["f"])
    for epoch in range(3):
        space["box"].epoch, space["unrelated"] = epoch, epoch
        assert np.array_equal(fast(X).numpy(), space["f"](X).numpy())
    assert len(fast.plans) == 1


def test_a_mode_set_inside_and_put_back_is_no_change():
    """Even where it had never been set, so that it was the class's."""
    net = fully_connected([2, 2], dropout=0.5, output="softmax", seed=0)

    def switched(x):
        net.eval()
        signals = net(x)
        net.train()
        return signals, net.predict(x, train=True).shape

    fast = tg.compile(switched)
    np.testing.assert_array_equal(fast(X[None])[0].numpy(), switched(X[None])[0].numpy())
    net.eval()
    with pytest.raises(CompileError, match="changes the mode of"):
        tg.compile(switched)(X[None])
    assert not net.training
