"""Who watches: watchers side by side, the first that answers, and what they do inside a compiled function."""

import copy
import pickle

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import AnomalyError, CompileError, GraphError
from tinygraph.mode import mode
from tinygraph.watchers import Watcher, watching


class Notes(Watcher):
    """Writes down every call of its methods."""

    def __init__(self):
        self.notes = []

    def computes(self, op, inputs):
        self.notes.append(f"computes {op.name}")

    def made(self, op, inputs, y):
        self.notes.append(f"made {op.name} {y.shape}")

    def assigns(self, t, source):
        self.notes.append(f"assigns {t.name}")
        return False

    def reads(self, t, how):
        self.notes.append(f"reads {t.name} by {how}")

    def copies(self):
        self.notes.append("copies")

    def shares(self, source, leaf):
        self.notes.append(f"shares {type(source).__name__}")

    def reads_grad(self, t):
        self.notes.append(f"reads_grad {t.name}")

    def writes_grad(self, t):
        self.notes.append(f"writes_grad {t.name}")

    def enters(self, module, inputs):
        self.notes.append(f"enters {type(module).__name__}")
        return inputs


def notes_of(function):
    with watching(watcher := Notes()):
        function()
    return watcher.notes


@pytest.fixture
def w():
    return tg.parameter(np.ones(2, np.float32), name="w")


@pytest.mark.parametrize(
    ("do", "notes"),
    [
        (lambda w: w * 2.0, ["computes multiply", "made multiply (2,)"]),
        (lambda w: w.assign_(3.0), ["assigns w"]),
        (lambda w: w.numpy(), ["reads w by numpy()"]),
        (lambda w: float(w[0]), ["computes index", "made index ()", "reads None by item()"]),
        (lambda w: np.asarray(w), ["reads w by numpy()"]),
        (lambda w: copy.deepcopy(w), ["reads w by deepcopy"]),
        (lambda w: w.detach(), ["shares Tensor"]),
        (lambda w: tg.tensor([1.0]), ["copies"]),
        (lambda w: tg.parameter([1.0]), ["copies"]),
        (lambda w: w.grad, ["reads_grad w"]),
        (lambda w: setattr(w, "grad", None), ["writes_grad w"]),
        (lambda w: nn.Module.__call__(Doubling(), w), ["enters Doubling", "computes multiply", "made multiply (2,)"]),
        (lambda w: repr(w) + str(w.shape), ["reads w by repr()"]),
    ],
)
def test_a_watcher_is_told(w, do, notes):
    assert notes_of(lambda: do(w)) == notes


@pytest.mark.host
def test_a_watcher_is_told_of_arrays_that_become_leaves(w):
    assert notes_of(lambda: w + np.ones(2, np.float32))[0] == "shares ndarray"
    assert notes_of(lambda: w.__dlpack__())[0] == "reads w by __dlpack__()"
    assert notes_of(lambda: w.to("strict")) == ["reads w by to()"]


class Doubling(nn.Module):
    def forward(self, x):
        return x * 2.0


def test_a_watcher_that_overrides_nothing_changes_nothing(w):
    def step():
        y = Doubling()(w)
        tg.sum(y * np.ones(2, np.float32)).backward()
        w.assign_(w.detach() - w.grad)
        return w.numpy().tolist()

    plain, w.grad = step(), None
    w.assign_(1.0)
    with watching(Watcher()):
        assert step() == plain == [-1.0, -1.0]


def test_watchers_stand_side_by_side_and_leave_when_their_block_ends(w):
    with watching(outer := Notes()):
        with pytest.raises(ZeroDivisionError), watching(inner := Notes()):
            w + 1.0
            raise ZeroDivisionError
        w - 1.0
    w * 1.0
    assert inner.notes == ["computes add", "made add (2,)"]
    assert outer.notes == [*inner.notes, "computes subtract", "made subtract (2,)"]
    assert mode.watchers == ()


def test_the_innermost_watcher_that_answers_stands_for_it(w):
    class Answers(Watcher):
        def computes(self, op, inputs):
            return inputs[0].data * 10

        def assigns(self, t, source):
            return True

    with watching(outer := Notes()), watching(Answers()), watching(inner := Notes()):
        y = w + 1.0
        w.assign_(5.0)
    assert outer.notes == ["made add (2,)"]
    assert inner.notes == ["computes add", "made add (2,)", "assigns w"]
    assert y.numpy().tolist() == [10.0, 10.0]
    assert w.numpy().tolist() == [1.0, 1.0]


# -- inside a compiled function -------------------------------------------------------------------------


def network():
    return nn.Sequential(
        nn.Dense(4, 3, activation="relu", seed=0), nn.BatchNorm(3), nn.Dropout(0.5), nn.Dense(3, 2, seed=1)
    )


@pytest.mark.compiles
def test_activations_inside_a_compiled_function_leave_state_as_it_was(rng):
    x = tg.tensor(rng.normal(size=(5, 4)).astype(np.float32))
    results, states = [], []
    for wrap in (lambda step: step, tg.compile):
        net = network()

        def step(x, net=net):
            signals = net.activations(x)
            loss = tg.sum(net(x) ** 2) + tg.sum(signals["z2"])
            loss.backward()
            for p in net.parameters():
                p.assign_(p - 0.01 * p.grad)
                p.grad = None
            return [loss, *(signals[name] for name in ("z2", "v2", "y2", "z3") if name in signals)]

        run = wrap(step)
        tg.manual_seed(1)
        results.append([[t.numpy() for t in run(x)] for _ in range(3)])
        states.append([t.numpy() for _, t in net.named_tensors()])
    for eager, compiled in zip(*results, strict=True):
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.compiles
def test_detect_anomaly_is_refused_inside_a_compiled_function_and_works_around_it(w):
    @tg.compile
    def inside(x):
        with tg.detect_anomaly():
            return tg.log(x)

    with pytest.raises(CompileError, match="put the with block around its call"):
        inside(w)
    around = tg.compile(tg.log)
    around(w)
    with np.errstate(divide="ignore"), pytest.raises(AnomalyError, match="log"), tg.detect_anomaly():
        around(w * 0.0)
    assert mode.watchers == ()


@pytest.mark.parametrize(
    ("do", "how"),
    [
        (lambda net: net.state_dict(), "deepcopy"),
        (lambda net: copy.deepcopy(net), "deepcopy"),
        (lambda net: copy.deepcopy(net.W), "deepcopy"),
        (lambda net: net.W.item(), "item"),
    ],
)
def test_copies_of_leaves_made_inside_a_compiled_function_are_refused(do, how):
    net = nn.Dense(1, 1, seed=0)

    def step(x):
        do(net)
        return net(x)

    with pytest.raises(CompileError, match=rf"{how}.* reads 'W' on the host"):
        tg.compile(step)(tg.tensor([[1.0]]))


def test_manual_seed_inside_a_compiled_function_is_refused_and_the_seed_holds():
    def step(x):
        tg.manual_seed(5)
        return x * tg.bernoulli(0.5, (64,))

    x = tg.tensor(np.ones(64, np.float32))
    tg.bernoulli(0.5, (64,))
    with pytest.raises(CompileError, match="manual_seed inside the compiled function"):
        tg.compile(step)(x)
    drawn = tg.bernoulli(0.5, (64,)).numpy()
    tg.manual_seed(5)
    first, second = (tg.bernoulli(0.5, (64,)).numpy() for _ in range(2))
    assert any((drawn == mask).all() for mask in (first, second))
    assert (first != second).any()


@pytest.mark.compiles
def test_a_gradient_that_stayed_inside_says_so_each_time_and_can_be_pickled(w):
    @tg.compile
    def step(x):
        w.grad = None
        tg.sum(w * x).backward()
        w.assign_(w - w.grad)

    step(tg.tensor([1.0, 2.0]))
    for _ in range(2):
        with pytest.raises(GraphError, match="gradient of 'w' stayed inside a compiled function"):
            _ = w.grad
    inside = pickle.loads(pickle.dumps(w._grad))
    assert (str(inside), inside.cleared) == (str(w._grad), w._grad.cleared)
    step(tg.tensor([1.0, 2.0]))
    w.grad = None
    assert w.grad is None
