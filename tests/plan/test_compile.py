"""Compiled functions: the same numbers as eager, in every call; what makes them record anew; what they refuse."""

import collections
import copy
import gc
import random
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError, CompileError, GraphError
from tinygraph.models import autoencoder, fully_connected, graph_neighborhood, multitask, siamese
from tinygraph.ops.random import bernoulli
from tinygraph.plan import NAMES, cache, native
from tinygraph.plan.plan import flops

STEPS = 100


def in_float64(net):
    """The same network with all its numbers in float64."""
    for _, t in net.named_tensors():
        t.data = t.backend.asarray(t.backend.to_host(t.data).astype(np.float64))
    return net


def batches(n_in=6, n_out=3, size=5, count=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(size, n_in)), np.eye(n_out)[rng.integers(0, n_out, size)]) for _ in range(count)]


def trained(make, data, *, compiled, passes=None, seed=3):
    """Train a network that `make` builds with its step; return the losses, and all its tensors and state."""
    tg.manual_seed(seed)
    net, optimizer, step = make()
    run = tg.compile(step, passes=passes) if compiled else step
    values = [float(run(x, y)) for x, y in data]
    state = [t.numpy() for t in net.state_dict().values()]
    state += [t.numpy() for ts in optimizer.state().values() for t in ts]
    return np.array(values), state, run


def classifier(optimizer, l1=0.0, l2=0.0, **options):
    def make():
        net = in_float64(fully_connected([6, 8, 7, 3], seed=0, **options))
        opt = optimizer(net.parameters())

        def step(x, y):
            opt.zero_grad()
            loss = losses.cross_entropy(net(x), y)
            if l2:
                loss = loss + losses.l2(net, l2)
            if l1:
                loss = loss + losses.l1(net, l1)
            loss.backward()
            opt.step()
            return loss

        return net, opt, step

    return make


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.05, 0.9),
    "nesterov": lambda p: optim.SGD(p, 0.05, 0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, 1e-2, bias_betas=(0.8, 0.99)),
    "adamw": lambda p: optim.AdamW(p, 1e-2),
    "rmsprop": lambda p: optim.RMSProp(p, 1e-3),
}
NETWORKS = {
    **{a: {"activation": a} for a in ("relu", "tanh", "sigmoid", "softplus", "elu", "leaky_relu", "scaled_tanh")},
    "dropout": {"dropout": [0.2, 0.5, 0.5]},
    "batch_norm": {"batch_norm": "all"},
    "batch_norm of hidden signals": {"batch_norm": "hidden"},
    "both": {"dropout": [0.1, 0.3, 0.3], "batch_norm": True},
}


def same_training(make, data, tolerance):
    expected, state, _ = trained(make, data, compiled=False)
    got, got_state, run = trained(make, data, compiled=True)
    np.testing.assert_allclose(got, expected, rtol=tolerance)
    for a, b in zip(state, got_state, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    return run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("regularised", [False, True])
def test_every_optimiser_trains_as_eagerly(optimizer, regularised):
    factors = {"l1": 1e-3, "l2": 1e-2} if regularised else {}
    tolerance = 1e-12 if optimizer in ("sgd", "momentum", "nesterov") else 1e-8
    run = same_training(classifier(OPTIMIZERS[optimizer], **factors), batches(), tolerance)
    assert len(run.plans) == 1


@pytest.mark.parametrize("network", NETWORKS)
def test_every_kind_of_layer_trains_as_eagerly(network):
    same_training(classifier(OPTIMIZERS["sgd"], l2=1e-3, **NETWORKS[network]), batches(), 1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_can_be_left_out(name):
    passes = tuple(n for n in NAMES if n != name)
    make = classifier(OPTIMIZERS["adam"], l2=1e-3, batch_norm=True, dropout=[0.1, 0.3, 0.3])
    expected, _, _ = trained(make, batches(count=20), compiled=False)
    got, _, run = trained(make, batches(count=20), compiled=True, passes=passes)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert run.plan.passes == passes


def other_networks():
    def regression(net, loss, targets, inputs=6, **options):
        def make():
            own = in_float64(net())
            opt = optim.SGD(own.parameters(), 0.05)

            def step(x, y):
                opt.zero_grad()
                value = loss(own, x, y)
                value.backward()
                opt.step()
                return value

            return own, opt, step

        rng = np.random.default_rng(1)
        return make, [(rng.normal(size=(4, inputs)), targets(rng)) for _ in range(10)]

    def missing(rng):
        target = rng.integers(0, 2, (4, 5)).astype(np.float64)
        target[rng.random((4, 5)) < 0.4] = np.nan
        return target

    grid = tg.Neighborhoods.grid((3, 3))
    return {
        "tied autoencoder": regression(
            lambda: autoencoder([6, 4, 6], tied=True, seed=0),
            lambda net, x, y: losses.squared_error(net(x), x),
            missing,
        ),
        "multitask": regression(
            lambda: multitask([7], tasks=5, n_in=6, seed=0),
            lambda net, x, y: losses.multitask_cross_entropy(net(x), y),
            missing,
        ),
        "neighbourhoods": regression(
            lambda: graph_neighborhood([grid, None], [9, 9, 3], seed=0),
            lambda net, x, y: losses.cross_entropy(net(x), y),
            lambda rng: np.eye(3)[rng.integers(0, 3, 4)],
            inputs=9,
        ),
        "siamese": regression(
            lambda: siamese([3, 8, 4], head="cosine", seed=0),
            lambda net, x, y: losses.squared_error(net(x[:, :3], x[:, 3:]), y),
            lambda rng: rng.choice([-1.0, 1.0], 4),
        ),
        "relation": regression(
            lambda: siamese([3, 8, 4], head="relation", seed=0),
            lambda net, x, y: losses.binary_cross_entropy(net(x[:, :3], x[:, 3:]), y),
            lambda rng: rng.integers(0, 2, 4).astype(np.float64),
        ),
        "huber": regression(
            lambda: fully_connected([6, 5, 2], output="linear", seed=0),
            lambda net, x, y: losses.huber(net(x), y, 0.7),
            lambda rng: rng.normal(size=(4, 2)),
        ),
        "logistic": regression(
            lambda: fully_connected([6, 5, 2], output="tanh", seed=0),
            lambda net, x, y: losses.logistic(net(x), y),
            lambda rng: rng.choice([-1.0, 1.0], (4, 2)),
        ),
        "class indices": regression(
            lambda: fully_connected([6, 5, 3], seed=0),
            lambda net, x, y: losses.cross_entropy(net(x), y),
            lambda rng: rng.integers(0, 3, 4),
        ),
    }


@pytest.mark.parametrize("name", other_networks())
def test_the_chapters_networks_and_losses(name):
    make, data = other_networks()[name]
    same_training(make, data, 1e-11)


def test_second_derivatives_inside():
    rng = np.random.default_rng(0)

    def make(compiled):
        W = tg.parameter(rng_weights, name="W")

        def step(x):
            loss = tg.sum(tg.tanh(x @ W) ** 2)
            (g,) = tg.grad(loss, [W])
            (h,) = tg.grad(tg.sum(g * g), [W])
            W.assign_(W - 0.05 * g - 0.01 * h)
            return loss, tg.hvp(tg.sum(tg.tanh(x @ W) ** 2), W, g.detach())

        return W, (tg.compile(step) if compiled else step)

    rng_weights = rng.normal(size=(3, 2))
    eager, compiled = make(False), make(True)
    for _ in range(5):
        x = rng.normal(size=(4, 3))
        (a, ha), (b, hb) = eager[1](tg.tensor(x)), compiled[1](tg.tensor(x))
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12)
        np.testing.assert_allclose(hb.numpy(), ha.numpy(), rtol=1e-10)
    np.testing.assert_allclose(compiled[0].numpy(), eager[0].numpy(), rtol=1e-11)


class Cube(tg.Op):
    rule = "dx = 3 dy x**2"

    def forward(self, xp, x, out=None):
        return xp.multiply(x * x, x, out=out)

    def backward(self, dy, y, x):
        return (3.0 * dy * x * x,)


class Doubled(tg.Op):
    rule = "dx = 2 dy"

    def forward(self, xp, x):
        return x + x

    def backward(self, dy, y, x):
        return (dy * 2.0,)


class WritesEarly(tg.Op):
    """Reads its input after it has begun to write to `out`."""

    rule = "dx = dy (exp(x) + 1)"

    def forward(self, xp, x, out=None):
        y = xp.exp(x, out=out)
        return xp.add(y, x, out=out)

    def backward(self, dy, y, x):
        return (dy * (tg.exp(x) + 1.0),)


def test_single_entries_are_read_at_every_replay():
    W = tg.parameter(np.arange(9.0).reshape(3, 3))
    compiled = tg.compile(lambda a: (tg.exp(a)[1, 1] + 1.0, a[0, 0] * 2.0, tg.exp(a)[2, 2], W[1, 1] * 2.0))
    for k in range(3):
        got = [float(t) for t in compiled(tg.tensor(np.full((3, 3), float(k))))]
        np.testing.assert_allclose(got, [np.exp(k) + 1, 2 * k, np.exp(k), W.numpy()[1, 1] * 2])
        W.assign_(W.numpy() + 1)


@pytest.mark.parametrize("op", [Cube(), Doubled(), WritesEarly()], ids=lambda op: op.name)
def test_operations_of_ones_own(op):
    W = tg.parameter(np.linspace(-1, 1, 6).reshape(2, 3))

    def fn(x):
        y = op(x * W)
        loss = tg.sum(op(y * 0.5) + y)
        return loss, tg.grad(loss, [W])[0]

    compiled = tg.compile(fn)
    for k in range(3):
        x = tg.tensor(np.full((2, 3), 0.3 * k + 0.1))
        for a, b in zip(fn(x), compiled(x), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-15)


def test_arguments_and_results_may_be_nested():
    W = tg.parameter(np.ones((2, 2)), name="W")

    def fn(pair, *, options, scale=1.0):
        a, b = pair
        return {"sum": a @ W + options["c"] * scale, "same": a, "nothing": None, "leaf": W, "all": [b.T, (b, 3)]}

    compiled = tg.compile(fn)
    a, b, c = (tg.tensor(np.arange(4.0).reshape(2, 2) + k) for k in range(3))
    for scale in (1.0, 2.0, 1.0):
        expected = fn((a, b), options={"c": c}, scale=scale)
        got = compiled((a, b), options={"c": c}, scale=scale)
        np.testing.assert_array_equal(got["sum"].numpy(), expected["sum"].numpy())
        np.testing.assert_array_equal(got["same"].numpy(), a.numpy())
        np.testing.assert_array_equal(got["all"][0].numpy(), b.numpy().T)
        assert got["nothing"] is None
        assert got["leaf"] is W
        assert got["all"][1][1] == 3
    assert len(compiled.plans) == 2


def test_results_stay_as_they_are_when_the_next_call_comes():
    fn = tg.compile(lambda x: (x * 2.0, x.reshape(-1)))
    first = fn(np.ones((2, 2), np.float32))
    fn(np.zeros((2, 2), np.float32))
    assert first[0].numpy().tolist() == [[2, 2], [2, 2]]
    assert first[1].numpy().tolist() == [1, 1, 1, 1]


def test_plain_arrays_become_what_modules_make_of_them():
    net = fully_connected([4, 3], seed=0)
    fn = tg.compile(lambda x: net(x))
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert x.dtype == np.float64
    np.testing.assert_array_equal(fn(x).numpy(), net(x).numpy())
    np.testing.assert_array_equal(fn(2 * x).numpy(), net(2 * x).numpy())


# -- state --------------------------------------------------------------------------------------------


def test_leaves_that_take_each_others_values():
    def make():
        a, b, best = (tg.tensor(np.full((2, 2), v)) for v in (1.0, 2.0, 0.0))

        def fn(x):
            old = a * 1.0
            best.assign_(a)
            a.assign_(b)
            b.assign_(old + x)
            return a + b

        return (a, b, best), fn

    (eager, fn), (leaves, plain) = make(), make()
    compiled = tg.compile(plain)
    for k in range(4):
        x = tg.tensor(np.full((2, 2), float(k)))
        np.testing.assert_array_equal(compiled(x).numpy(), fn(x).numpy())
        for a, b in zip(eager, leaves, strict=True):
            np.testing.assert_array_equal(b.numpy(), a.numpy())


def test_the_first_call_is_a_replay_too():
    make = classifier(OPTIMIZERS["sgd"], dropout=[0.1, 0.2, 0.2])
    _once, state_once, _ = trained(make, batches(count=6), compiled=True)
    net, _opt, step = make()
    tg.manual_seed(3)
    for x, y in batches(count=6):
        tg.compile(step)(x, y)  # a first call every time
    assert [t.numpy().tobytes() for t in net.state_dict().values()] == [s.tobytes() for s in state_once]


def test_two_runs_give_the_same_bits():
    make = classifier(OPTIMIZERS["adam"], batch_norm=True, dropout=[0.1, 0.2, 0.2])
    (a, state_a, _), (b, state_b, _) = (trained(make, batches(count=12), compiled=True) for _ in range(2))
    assert a.tobytes() == b.tobytes()
    assert [x.tobytes() for x in state_a] == [x.tobytes() for x in state_b]


def test_masks_are_those_of_the_stream():
    fn = tg.compile(lambda x: x * bernoulli(0.5, (64,), np.float64, x.backend))
    x = tg.tensor(np.ones(64))

    def draws():
        return bernoulli(0.5, (64,), np.float64).numpy()

    tg.manual_seed(7)
    expected = [draws() for _ in range(4)]
    tg.manual_seed(7)
    got = [fn(x).numpy(), fn(x).numpy(), draws(), fn(x).numpy()]
    np.testing.assert_array_equal(got, expected)
    tg.manual_seed(7)
    np.testing.assert_array_equal(fn(x).numpy(), expected[0])


def test_what_is_assigned_from_outside_is_seen():
    net, opt, step = classifier(OPTIMIZERS["sgd"])()
    start = {name: t.numpy() for name, t in net.state_dict().items()}
    compiled = tg.compile(step)
    (x, y) = batches(count=1)[0]
    first = float(compiled(x, y))
    assert float(compiled(x, y)) < first
    net.load_state_dict(start)
    assert float(compiled(x, y)) == first
    net.load_state_dict(start)
    opt.lr = 1e-9
    compiled(x, y)
    assert float(compiled(x, y)) == pytest.approx(first, rel=1e-6)
    assert len(compiled.plans) == 1


def test_addresses_stay():
    net, _, step = classifier(OPTIMIZERS["adam"])()
    before = [p.data for p in net.parameters()]
    compiled = tg.compile(step)
    for x, y in batches(count=3):
        compiled(x, y)
    assert all(p.data is d for p, d in zip(net.parameters(), before, strict=True))


# -- when it records anew -------------------------------------------------------------------------------


def follows(compiled, fn, *args):
    np.testing.assert_allclose(compiled(*args).numpy(), fn(*args).numpy(), rtol=1e-5)


def test_new_shapes_and_dtypes():
    net = fully_connected([4, 3], seed=0)
    compiled = tg.compile(lambda x: net(x))
    for size in (2, 3, 2, 3):
        follows(compiled, net, np.ones((size, 4), np.float32))
    assert len(compiled.plans) == 2
    other = tg.compile(lambda x: x * 2.0)
    assert other(tg.tensor(np.ones(3))).dtype == np.float64
    assert other(tg.tensor(np.ones(3, np.float32))).dtype == np.float32


def test_modes_attributes_and_parameter_sets():
    net = fully_connected([4, 8, 3], dropout=[0, 0.5], batch_norm="hidden", seed=0)
    compiled = tg.compile(lambda x: net(x))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    compiled(x)
    net.eval()
    follows(compiled, net, x)
    net.layer1.W = tg.parameter(np.ones((4, 8), np.float32))
    follows(compiled, net, x)
    net.layer2 = nn.Dense(8, 5, seed=1)
    assert compiled(x).shape == (6, 5)
    follows(compiled, net, x)

    class Stack(nn.Module):
        def __init__(self):
            self.layers = [nn.Dense(4, 4, seed=0)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    stack = Stack()
    compiled = tg.compile(lambda x: stack(x))
    follows(compiled, stack, x)
    stack.layers.append(nn.Dense(4, 4, seed=1))
    follows(compiled, stack, x)


def test_frozen_parameters():
    net, _, step = classifier(OPTIMIZERS["sgd"])()
    compiled = tg.compile(step)
    x, y = batches(count=1)[0]
    compiled(x, y)
    net.layer1.freeze()
    before = net.layer1.W.numpy()
    compiled(x, y)
    np.testing.assert_array_equal(net.layer1.W.numpy(), before)
    net.layer1.unfreeze()
    compiled(x, y)
    assert (net.layer1.W.numpy() != before).any()


@pytest.mark.host
def test_a_moved_backend():
    net = fully_connected([4, 3], seed=0)
    compiled = tg.compile(lambda x: net(x))
    x = np.ones((2, 4), np.float32)
    expected = compiled(x).numpy()
    net.to("strict")
    assert compiled(x).backend.name == "strict"
    np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-6)


def test_python_values_around_the_function():
    config = {"tensor": tg.tensor([1.0]), "n": 1}
    factor = 2.0

    class Holder:
        pass

    holder = Holder()
    holder.batch = tg.tensor([10.0])

    def fn(x, kind="plus"):
        y = x + holder.batch if kind == "plus" else x - holder.batch
        return y * factor + config["tensor"]

    compiled = tg.compile(fn)
    x = tg.tensor([1.0])
    follows(compiled, fn, x)
    follows(compiled, fn, x, "minus")
    holder.batch = tg.tensor([20.0])
    follows(compiled, fn, x)
    config["tensor"] = tg.tensor([5.0])
    follows(compiled, fn, x)
    factor = 3.0
    follows(compiled, fn, x)


@pytest.mark.host
def test_an_array_that_is_refilled_in_place_is_read_anew():
    table = np.ones(3, np.float32)
    compiled = tg.compile(lambda x: x * table)
    x = tg.tensor([1.0, 2.0, 3.0])
    compiled(x)
    table[:] = 10
    assert compiled(x).numpy().tolist() == [10, 20, 30]


def test_checking_finds_a_counter_that_is_no_tensor():
    box = [1.0]
    compiled = tg.compile(lambda x: x * float(len(str(box))), check=True)
    compiled(tg.tensor([1.0]))
    box[0] = 100000.0
    fn = tg.compile(lambda x: x * counter.next(), check=True)

    class Counter:
        n = 0

        def next(self):
            self.n += 1
            return float(self.n)

    counter = Counter()
    with pytest.raises(CompileError, match="changes attribute 'n' of a Counter"):
        fn(tg.tensor([1.0]))
    assert counter.n == 0


# -- what it refuses ------------------------------------------------------------------------------------


def mistakes():
    kept = []
    plain = np.ones(3, np.float32)
    rng = np.random.default_rng(0)
    return {
        "float": (lambda x: x * float(tg.sum(x)), "item\\(\\) reads .* on the host"),
        "truth": (lambda x: x if tg.sum(x) > 0 else -x, "item\\(\\) reads"),
        "numpy": (lambda x: x * x.numpy().max(), "numpy\\(\\) reads"),
        "asarray": (lambda x: tg.sum(x) * np.asarray(x)[0], "numpy\\(\\) reads"),
        "tensor": (lambda x: x + tg.tensor([1.0, 2.0, 3.0]), "tg.tensor or tg.parameter inside"),
        "host array": (lambda x: x + (plain + 1), "made on the host inside"),
        "generator": (lambda x: x * rng.random(), "draws from 'rng'"),
        "random": (lambda x: x * random.random(), "draws from random"),
        "numpy.random": (lambda x: x * float(np.random.rand()), "draws from numpy.random"),
        "array": (
            lambda x: x * x.data,
            "while a compiled function was recorded has no content",
        ),
        "moved": (lambda x: x + x.to("numpy" if x.backend.name != "numpy" else "strict"), "to\\(\\) reads"),
        "kept": (lambda x: kept.append(x * 2.0) or x, "changes list 'kept'"),
        "elements by a mask": (lambda x: x[x > 1.5], "picks as many elements as a mask has ones"),
    }


@pytest.mark.parametrize("name", mistakes())
def test_refusals_are_one_line_and_change_nothing(name):
    fn, text = mistakes()[name]
    net, opt, step = classifier(OPTIMIZERS["momentum"], dropout=[0.1, 0.1, 0.1], batch_norm=True)()
    x, y = batches(count=1)[0]
    step(x, y)
    tg.manual_seed(1)
    bernoulli(0.5, (3,))
    before = {k: t.numpy() for k, t in net.state_dict().items()}
    gradients = [p.grad for p in net.parameters()]
    velocity = [t.numpy() for t in opt.state()["velocity"]]

    def wrong(v):
        step(x64, y64)
        return fn(v)

    x64, y64 = tg.tensor(x), tg.tensor(y)
    compiled = tg.compile(wrong)
    with pytest.raises(CompileError, match=text) as error:
        compiled(tg.tensor([1.0, 2.0, 3.0]))
    assert "\n" not in str(error.value)
    for k, t in net.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[k])
    assert all(p.grad is g for p, g in zip(net.parameters(), gradients, strict=True))
    for t, v in zip(opt.state()["velocity"], velocity, strict=True):
        np.testing.assert_array_equal(t.numpy(), v)
    after = bernoulli(0.5, (64,)).numpy()
    tg.manual_seed(1)
    bernoulli(0.5, (3,))
    np.testing.assert_array_equal(bernoulli(0.5, (64,)).numpy(), after)


def test_ones_own_errors_pass_through_and_leave_the_state():
    W = tg.parameter([1.0, 2.0])

    def fn(x):
        W.assign_(W + x)
        raise KeyError("mine")

    compiled = tg.compile(fn)
    with pytest.raises(KeyError, match="mine"):
        compiled(tg.tensor([1.0, 1.0]))
    assert W.numpy().tolist() == [1, 2]
    with pytest.raises(GraphError, match="has not been called yet"):
        _ = compiled.plan


def test_wrong_arguments_of_compile():
    with pytest.raises(ArgumentError, match="expected a function, got int"):
        tg.compile(3)
    with pytest.raises(ArgumentError, match="pass 'loops' is not known; known: dead code"):
        tg.compile(abs, passes=("loops",))


def test_a_view_of_weights_that_change_keeps_its_value():
    W, V = (tg.parameter(np.arange(4.0).reshape(2, 2)) for _ in range(2))

    def fn(x, w):
        turned = w.T
        part = turned[1:]
        w.assign_(w * 2.0)
        return x @ turned, turned, part, w[:1]

    fast = tg.compile(lambda x: fn(x, W), check=True)
    x = tg.tensor(np.ones((1, 2)))
    for _ in range(3):
        for a, b in zip(fast(x), fn(x, V), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


# -- gradients ------------------------------------------------------------------------------------------


def test_gradients_inside_a_function_that_clears_them():
    net, opt, step = classifier(OPTIMIZERS["sgd"])()
    x, y = batches(count=1)[0]
    compiled = tg.compile(step)
    compiled(x, y)
    with pytest.raises(GraphError, match="stayed inside a compiled function"):
        _ = net.layer1.W.grad
    opt.zero_grad()
    assert net.layer1.W.grad is None

    def ends(x, y):
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    compiled = tg.compile(ends)
    values = [float(compiled(x, y)) for _ in range(3)]
    assert values[2] < values[1] < values[0]
    assert len(compiled.plans) == 1
    with pytest.raises(GraphError, match="stayed inside"):
        _ = net.layer1.W.grad


def test_gradients_that_add_up():
    def make():
        W = tg.parameter([1.0, 2.0])

        def fn(x):
            loss = tg.sum(W * W * x)
            loss.backward()
            return loss

        return W, fn

    (a, eager), (b, plain) = make(), make()
    compiled = tg.compile(plain)
    for k in range(4):
        x = tg.tensor([1.0 + k, 2.0])
        eager(x)
        compiled(x)
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-6)
    eager(x), plain(x)
    np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-6)
    assert len(compiled.plans) == 2  # without a gradient at the start, and with one


# -- plans ----------------------------------------------------------------------------------------------


def plan_of(sizes, batch, **options):
    net = fully_connected(sizes, seed=0)
    opt = optim.SGD(net.parameters(), 0.1)

    def step(x, y):
        opt.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    compiled = tg.compile(step, **options)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, sizes[0])).astype(np.float32)
    y = np.eye(sizes[-1], dtype=np.float32)[rng.integers(0, sizes[-1], batch)]
    compiled(x, y)
    return compiled, net, (x, y)


def test_a_plan_lists_what_it_runs():
    compiled, _net, _ = plan_of([5, 4, 3], 7)
    text = str(compiled.plan)
    if compiled.plan.program.backend.fuses:  # a bias in the kernel after its product, a gradient in its update
        assert "subtract" in text
        assert " s a' b + c" in text
    else:
        assert "a b - c" in text
        assert "- s a' b + c" in text
    assert "leaf layer1.W" in text
    lines = text.splitlines()
    assert len(lines) == len(compiled.plan) + 2
    products = 7 * 5 * 4 + 7 * 4 * 3 + 7 * 3 * 4 + 7 * 4 * 3 + 7 * 5 * 4  # forward, delta, updates
    done = [flops(i) for i in compiled.plan.program.instructions if i.op.name in ("gemm", "matmul")]
    assert sum(done) == 2 * products
    assert compiled.plan.flops > 2 * products
    assert repr(compiled.plan).startswith(f"Plan({len(compiled.plan)} instructions")


def test_an_update_is_three_products_a_layer_and_two_for_the_first():
    compiled, _, _ = plan_of([5, 4, 4, 3], 7)
    products = [i for i in compiled.plan.program.instructions if i.op.name in ("gemm", "matmul")]
    assert len(products) == 3 * 3 - 1


def test_a_plan_can_be_drawn(tmp_path):
    compiled, _, _ = plan_of([5, 4, 3], 7)
    path = compiled.plan.render(tmp_path / "plan.dot")
    assert "maximum" in path.read_text()
    assert len(compiled.plan.graph()) > len(compiled.plan)


def test_a_profile_times_every_instruction_and_changes_nothing():
    compiled, net, (_x, _y) = plan_of([5, 4, 3], 7)
    before = [p.numpy() for p in net.parameters()]
    profile = compiled.plan.profile(repeats=3)
    for p, b in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), b)
    assert 0 < profile.in_products < 1
    assert profile.total == pytest.approx(sum(profile.seconds.values()))
    assert "GFLOP/s" in str(profile)
    assert profile.roofline.gflops > 1


@pytest.mark.host
def test_a_replay_allocates_no_arrays():
    compiled, _, (x, y) = plan_of([784, 512, 512, 10], 32)
    if machine := native.machine():
        machine.wait()  # what is imported for it meanwhile is no array of a replay
    for _ in range(cache.OFTEN + 2):
        compiled(x, y)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            compiled(x, y)
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()


@pytest.mark.host
def test_memory_is_shared_by_what_is_not_alive_together():
    compiled, net, (x, y) = plan_of([64] * 11, 256)
    assert compiled.plan.bytes < 0.6 * compiled.plan.bytes_without_sharing
    opt = optim.SGD(net.parameters(), 0.1)
    opt.zero_grad()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        losses.cross_entropy(net(x), y).backward()
        opt.step()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert compiled.plan.bytes < 0.6 * peak


@pytest.mark.compiles
def test_the_oldest_plans_go():
    compiled = tg.compile(lambda x, k: x * float(k))
    x = tg.tensor([1.0])
    for k in range(7):
        assert float(compiled(x, k)) == k
    with pytest.warns(RuntimeWarning, match="recorded anew at each of its last 8 calls"):
        compiled(x, 7)
    for k in range(8, 70):
        assert float(compiled(x, k)) == k
    assert len(compiled.plans) == 64


def test_a_recording_keeps_nothing_of_the_run():
    seen = []

    class Note(tg.Op):
        rule = "dx = dy"

        def forward(self, xp, x, out=None):
            return x + 0.0

        def backward(self, dy, y, x):
            return (dy,)

    compiled = tg.compile(lambda x: Note()(x) * 2.0)
    x = tg.tensor(np.ones(1000))
    seen.append(weakref.ref(x))
    compiled(x)
    del x
    gc.collect()
    assert seen[0]() is None


def test_inside_another_compiled_function_and_under_no_grad():
    W = tg.parameter([2.0])
    inner = tg.compile(lambda x: x * W)
    outer = tg.compile(lambda x: inner(x) + 1.0)
    assert float(outer(tg.tensor([3.0]))) == 7
    with tg.no_grad():
        assert float(outer(tg.tensor([3.0]))) == 7
    assert len(inner.plans) == 0


def test_a_copied_network_has_plans_of_its_own():
    net = fully_connected([4, 3], seed=0)
    twin = copy.deepcopy(net)
    compiled = tg.compile(lambda which, x: which(x))
    x = np.ones((2, 4), np.float32)
    compiled(net, x)
    twin.layer1.W.assign_(0.0)
    np.testing.assert_array_equal(compiled(twin, x).numpy(), twin(x).numpy())


# -- names ----------------------------------------------------------------------------------------------


def test_arguments_have_the_names_that_the_function_gives_them():
    Views = collections.namedtuple("Views", "left right")

    def fn(x, batch, views, /, *more, target, **rest):
        return [x, batch[1] + views.right, batch[0]["a"] * views.left, more[1] + target, rest["w"] - more[0]]

    a, b, c, d, e, f, g, h, i = np.ones((9, 2))
    compiled = tg.compile(fn)
    compiled(a, [{"a": b}, c], Views(d, e), f, g, target=h, w=i)
    names = [v.name for v in compiled.plan.program.arguments]
    assert names == ["x", "batch[0]['a']", "batch[1]", "views.left", "views.right", "more[0]", "more[1]", "target", "w"]
    compiled = tg.compile(max)  # written in C: it does not tell
    assert compiled([a.sum(keepdims=True)]).shape == (1,)
    assert [v.name for v in compiled.plan.program.arguments] == ["argument[0][0]"]


def test_what_an_optimiser_keeps_is_named_after_its_symbol_and_parameter():
    net = fully_connected([3, 2], seed=0)
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    names = [t.name for ts in optimizer.state().values() for t in ts]
    kept = [f"{symbol} of {p}" for symbol in ("m", "s", "b1**n", "b2**n") for p in ("W", "theta")]
    assert names == kept
    assert [t.name for t in optim.SGD(net.parameters(), 0.1, 0.9).state()["velocity"]] == ["v of W", "v of theta"]

    def step(x):
        optimizer.zero_grad()
        (net(x) * net(x)).sum().backward()
        optimizer.step()

    compiled = tg.compile(step)
    compiled(np.ones((4, 3)))
    assert all(name in str(compiled.plan) for name in kept)


@pytest.mark.parametrize("starts", [0, 1, 2])
def test_gradients_add_up_over_calls(starts):
    """Gradients from before the first call are added to at every call, and cleared ones not."""
    nets = [fully_connected([3, 2], seed=0) for _ in range(2)]
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)

    def accumulating(net):
        return lambda x: tg.sum(net(x) ** 2.0).backward()

    plain, fast = accumulating(nets[0]), tg.compile(accumulating(nets[1]))
    for _ in range(starts):
        plain(x)
        accumulating(nets[1])(x)
    for call in range(6):
        if call == 4:
            for p in (*nets[0].parameters(), *nets[1].parameters()):
                p.grad = None
        plain(x)
        fast(x)
        for p, q in zip(*(net.parameters() for net in nets), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("order", ["F", "every second column", "reversed"])
def test_another_shape_of_a_leaf_that_does_not_lie_in_order_is_read_at_each_call(order):
    """NumPy copies for it: the copy is made anew when the leaf is assigned."""
    values = np.arange(12.0).reshape(3, 4)
    array = {"F": np.asfortranarray(values), "every second column": values.repeat(2, axis=1)[:, ::2]}.get(order)
    leaf = tg.Tensor(values[::-1].copy()[::-1] if array is None else array, tg.tensor(values).backend)
    if leaf.backend.name != "numpy":
        pytest.skip("arrays of NumPy in another order")
    compiled = tg.compile(lambda x: (leaf.reshape(-1) * x, tg.sum(tg.reshape(leaf * 1.0, (2, 6)), axis=0)))
    for _ in range(3):
        first, second = compiled(np.ones(12))
        np.testing.assert_array_equal(first.numpy(), leaf.numpy().reshape(-1))
        np.testing.assert_array_equal(second.numpy(), leaf.numpy().reshape(2, 6).sum(axis=0))
        leaf.assign_(leaf * 10.0)
