"""Groups of parameters with settings of their own, and weights that decay."""

import copy
import pickle
from typing import ClassVar

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import fully_connected
from tinygraph.optim import Optimizer
from tinygraph.train.identity import check_same

RNG = np.random.default_rng(0)
W, THETA, V = RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=(3, 2))
X, Y = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 2))


def leaves(dtype=np.float64):
    return (
        tg.parameter(W, "W", dtype=dtype),
        tg.parameter(THETA, "theta", role="bias", dtype=dtype),
        tg.parameter(V, "V", dtype=dtype),
    )


def walk(make, schedule=None, compiled=False, steps=50, dtype=np.float64):
    """The parameters after some steps, and what made them."""
    w, theta, v = parameters = leaves(dtype)
    optimizer = make(w, theta, v)
    follow = None if schedule is None else schedule(optimizer)

    def step(x, y):
        optimizer.zero_grad()
        tg.square(tg.tanh(x @ w - theta) @ v - y).mean().backward()
        optimizer.step()

    run = tg.compile(step) if compiled else step
    x, y = tg.tensor(X, dtype), tg.tensor(Y, dtype)
    for _ in range(steps):
        run(x, y)
        if follow is not None:
            follow.step()
    return [p.numpy() for p in parameters], optimizer, run


def torch_walk(make, schedule=None, steps=50):
    torch = pytest.importorskip("torch")
    w, theta, v = parameters = [torch.tensor(a, requires_grad=True) for a in (W, THETA, V)]
    optimizer = make(torch.optim, w, theta, v)
    follow = None if schedule is None else schedule(torch.optim.lr_scheduler, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        ((torch.tanh(torch.tensor(X) @ w - theta) @ v - torch.tensor(Y)) ** 2).mean().backward()
        optimizer.step()
        if follow is not None:
            follow.step()
    return [p.detach().numpy() for p in parameters]


# Biases never decay here, so they are in a group of their own there. eps stands elsewhere in PyTorch's Adam.
SAME = {
    "Adam, weight_decay": (
        lambda w, b, v: optim.Adam([w, b, v], 0.01, eps=1e-16, weight_decay=0.1),
        lambda o, w, b, v: o.Adam([{"params": [w, v], "weight_decay": 0.1}, {"params": [b]}], 0.01, eps=1e-16),
    ),
    "Adam, groups": (
        lambda w, b, v: optim.Adam(
            [{"params": [w], "lr": 0.03, "betas": (0.8, 0.9)}, {"params": [b, v], "weight_decay": 0.2}], eps=1e-16
        ),
        lambda o, w, b, v: o.Adam(
            [{"params": w, "lr": 0.03, "betas": (0.8, 0.9)}, {"params": v, "weight_decay": 0.2}, {"params": b}],
            eps=1e-16,
        ),
    ),
    "AdamW, groups": (
        lambda w, b, v: optim.AdamW(
            [{"params": [w, b]}, {"params": v, "weight_decay": 0.5, "lr": 0.003}], 0.01, eps=1e-16, weight_decay=0.1
        ),
        lambda o, w, b, v: o.AdamW(
            [{"params": w}, {"params": b, "weight_decay": 0}, {"params": v, "weight_decay": 0.5, "lr": 0.003}],
            0.01,
            eps=1e-16,
            weight_decay=0.1,
        ),
    ),
    "SGD, groups": (
        lambda w, b, v: optim.SGD(
            [{"params": w, "momentum": 0.9, "nesterov": True}, {"params": [b, v], "lr": 0.3, "weight_decay": 0.05}], 0.1
        ),
        lambda o, w, b, v: o.SGD(
            [
                {"params": w, "momentum": 0.9, "nesterov": True},
                {"params": v, "lr": 0.3, "weight_decay": 0.05},
                {"params": b, "lr": 0.3},
            ],
            0.1,
        ),
    ),
    "RMSProp, groups": (
        lambda w, b, v: optim.RMSProp(
            [{"params": [w, b], "smoothing": 0.5}, {"params": v, "lr": 0.003, "weight_decay": 0.1}], 0.01, eps=1e-6
        ),
        lambda o, w, b, v: o.RMSprop(
            [{"params": [w, b], "alpha": 0.5}, {"params": v, "lr": 0.003, "weight_decay": 0.1}], 0.01, 0.99, eps=1e-6
        ),
    ),
}
SCHEDULES = [
    (None, None),
    (lambda o: optim.StepDecay(o, 7, 0.5), lambda schedules, o: schedules.StepLR(o, 7, 0.5)),
    (lambda o: optim.ExponentialDecay(o, 0.97), lambda schedules, o: schedules.ExponentialLR(o, 0.97)),
]


@pytest.mark.parametrize(("ours", "theirs"), SCHEDULES, ids=["constant", "steps", "exponential"])
@pytest.mark.parametrize("name", SAME)
def test_fifty_steps_are_pytorchs_under_every_schedule(name, ours, theirs):
    here, there = SAME[name]
    for a, b in zip(walk(here, ours)[0], torch_walk(there, theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("name", SAME)
def test_compiled_steps_are_the_eager_ones(name):
    for schedule, _ in SCHEDULES:
        eager, compiled = (walk(SAME[name][0], schedule, compiled=c)[0] for c in (False, True))
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_groups_without_settings_are_one_group_to_the_bit():
    for make in (
        lambda p: optim.Adam(p, 0.01),
        lambda p: optim.AdamW(p, 0.01),
        lambda p: optim.SGD(p, 0.1, 0.9),
        lambda p: optim.RMSProp(p, 0.01),
    ):
        whole = walk(lambda w, b, v, make=make: make([w, b, v]))[0]
        parted = walk(lambda w, b, v, make=make: make([{"params": [w, b]}, {"params": v}]))[0]
        for a, b in zip(whole, parted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("change", ["lr", "momentum", "weight_decay", "group"])
def test_a_compiled_step_takes_settings_that_change(change):
    def run(compiled):
        def make(w, b, v):
            return optim.SGD([{"params": [w, b], "lr": 0.3}, {"params": v, "momentum": 0.5}], 0.1, 0.9)

        values, optimizer, step = walk(make, compiled=compiled, steps=3)
        if change == "group":
            optimizer.groups[1].settings["momentum"] = 0.1
        else:
            setattr(optimizer, change, 0.01)
        for _ in range(3):
            step(tg.tensor(X), tg.tensor(Y))
        return [p.numpy() for p in optimizer.params], values

    for eager, compiled in zip(run(False), run(True), strict=True):
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rates_of_groups_keep_their_proportion_to_the_optimisers():
    w, b, v = leaves()
    optimizer = optim.SGD([{"params": [w, b]}, {"params": v, "lr": 0.5}], 0.1)
    assert [optimizer.lr_of(i) for i in range(3)] == [0.1, 0.1, 0.5]
    optimizer.lr = 0.02
    assert [optimizer.lr_of(i) for i in range(3)] == [0.02, 0.02, pytest.approx(0.1)]
    optimizer.lr = 0.0
    assert [optimizer.lr_of(i) for i in range(3)] == [0, 0, 0]
    optimizer.lr = 0.1
    assert [optimizer.lr_of(i) for i in range(3)] == [0.1, 0.1, 0.5]
    with pytest.raises(ArgumentError, match=r"SGD: lr 1e\+308 takes the rate 0.5 of a group beyond the largest number"):
        optimizer.lr = 1e308
    assert optimizer.lr == 0.1


def test_weights_decay_and_biases_and_scales_do_not():
    for make in (optim.SGD, optim.RMSProp, optim.Adam, optim.AdamW):
        tensors = [tg.parameter([1.0], role=role) for role in ("weight", "bias", "scale")]
        optimizer = make(tensors, 0.1, weight_decay=0.5)
        for p in tensors:
            p.grad = tg.tensor([0.0])
        optimizer.step()
        assert tensors[0].item() < 1, make
        assert [p.item() for p in tensors[1:]] == [1, 1], make


def test_a_decay_is_the_l2_regularisation_with_half_the_factor():
    def train(weight_decay, l2):
        net = fully_connected([4, 3, 2], seed=0, dtype=np.float64)
        tg.fit(
            net,
            losses.squared_error,
            (X, Y),
            optim.SGD(net.parameters(), 0.1, weight_decay=weight_decay),
            epochs=5,
            l2=l2,
        )
        return net.layer1.W.numpy()

    np.testing.assert_allclose(train(0.2, 0.0), train(0.0, 0.1), rtol=1e-12)
    assert not np.allclose(train(0.2, 0.0), train(0.0, 0.0))


def grouped_adam(net):
    return optim.Adam(
        [
            {"params": net.layer1.parameters(), "lr": 1e-4, "betas": (0.8, 0.99)},
            {"params": net.layer2.parameters(), "weight_decay": 0.1},
        ],
        1e-2,
    )


@pytest.mark.host
def test_a_run_with_groups_is_continued_to_the_bit_and_refused_where_they_differ(tmp_path):
    def run(path, epochs, make=grouped_adam, **options):
        net = fully_connected([4, 3, 2], seed=0)
        optimizer = make(net)
        options |= {"schedule": optim.ExponentialDecay(optimizer, 0.9), "checkpoint": path}
        tg.fit(net, losses.squared_error, (X, Y), optimizer, epochs=epochs, batch_size=4, **options)
        return net, optimizer

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    expected, optimizer = run(whole, 6)
    run(stopped, 3)
    net, continued = run(stopped, 6)
    for a, b in zip(expected.parameters(), net.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert [continued.lr_of(i) for i in range(4)] == [optimizer.lr_of(i) for i in range(4)]

    def other(net):
        optimizer = grouped_adam(net)
        optimizer.groups[0].settings["betas"] = (0.9, 0.99)
        return optimizer

    with pytest.raises(DataError, match=r"optimizer.groups.0.betas was \[0.8, 0.99\] and is \[0.9, 0.99\]"):
        run(stopped, 7, other)
    with pytest.raises(DataError, match=r"optimizer.groups.0.params was 2 and is absent"):
        run(stopped, 7, lambda net: optim.Adam(net.parameters(), 1e-2))
    with pytest.raises(
        DataError, match=r"optimizer.groups.0.params was 2 and is 4; optimizer.groups.0.lr was 0.0001 and"
    ):
        run(stopped, 7, lambda net: optim.Adam([{"params": net.parameters(), "lr": 0.5}], 1e-2))


def test_checkpoints_of_0_1_0_are_continued_though_they_say_less():
    old = {"optimizer": "AdamW", "optimizer.lr": 0.01, "optimizer.decay": 0.1}
    new = {"optimizer": "AdamW", "optimizer.lr": 0.01, "optimizer.weight_decay": 0.1}
    check_same("old", old, new, ())
    check_same("old", {"optimizer": "SGD"}, {"optimizer": "SGD", "optimizer.weight_decay": 0.0}, ())
    with pytest.raises(DataError, match="optimizer.weight_decay was 0.1 and is 0.2"):
        check_same("old", old, new | {"optimizer.weight_decay": 0.2}, ())
    with pytest.raises(DataError, match="optimizer.weight_decay was 0.0 and is 0.2"):
        check_same("old", {"optimizer": "SGD"}, {"optimizer": "SGD", "optimizer.weight_decay": 0.2}, ())


def test_a_state_is_taken_over_by_an_optimiser_that_starts_with_another_rate():
    def make(lr):
        def with_lr(w, b, v):
            return optim.SGD([{"params": [w, b], "momentum": 0.9}, {"params": v, "lr": 0.2}], lr)

        return with_lr

    _, first, _ = walk(make(0.1), lambda o: optim.StepDecay(o, 2, 0.5), steps=5)
    second = make(0.7)(*leaves())
    second.load_state_dict(first.state_dict())
    assert [second.lr_of(i) for i in range(3)] == [first.lr_of(i) for i in range(3)]
    with pytest.raises(ArgumentError, match="SGD: lr_start must be a finite number above 0, got 0"):
        second.load_state_dict(first.state_dict() | {"lr_start": 0})
    assert "lr_start" not in optim.SGD(leaves(), 0.1).state_dict()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_the_groups(duplicate):
    net = fully_connected([4, 3, 2], seed=0)
    other, optimizer = duplicate((net, grouped_adam(net)))
    assert [p is q for p, q in zip(other.parameters(), optimizer.params, strict=True)] == [True] * 4
    assert [optimizer.lr_of(i) for i in range(4)] == [1e-4, 1e-4, 1e-2, 1e-2]
    assert [optimizer.setting("weight_decay", i, 0.0) for i in range(4)] == [0, 0, 0.1, 0.1]


def test_half_precision_has_the_settings_of_its_group():
    exact, _, _ = walk(SAME["SGD, groups"][0], steps=5)
    half, _, _ = walk(SAME["SGD, groups"][0], steps=5, dtype=np.float16)
    for a, b in zip(exact, half, strict=True):
        assert b.dtype == np.float16
        np.testing.assert_allclose(a, b, atol=5e-3)


def test_an_optimiser_of_ones_own_has_groups_with_the_settings_that_it_names():
    class Sign(Optimizer):
        checks: ClassVar = {**Optimizer.checks, "scale": lambda name, value: float(value)}

        def __init__(self, params, lr, scale=1.0):
            super().__init__(params, lr)
            self.scale = scale

        def update(self, i, p, g):
            p.assign_(p - self.rate(p, i) * self.setting("scale", i, self.scale) * tg.sign(g))

    a, b = tg.parameter([1.0]), tg.parameter([1.0])
    optimizer = Sign([{"params": a, "lr": 0.5}, {"params": b, "scale": 2}], 0.1)
    a.grad = b.grad = tg.tensor([3.0])
    optimizer.step()
    assert (a.item(), b.item()) == (pytest.approx(0.5), pytest.approx(0.8))
    with pytest.raises(ArgumentError, match=r"groups have rates of their own; write self.rate\(p, i\)"):
        optimizer.rate(a)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda p: optim.Adam([{"params": p}, {"params": p}]),
            "group 1: parameter 'W' of shape .* is in group 0",
        ),
        (lambda p: optim.Adam([{"params": p, "lrr": 1}]), "group 0: setting 'lrr' is not known; .*; did you mean 'lr'"),
        (lambda p: optim.SGD([{"params": p, "betas": 1}], 0.1), "SGD: group 0: setting 'betas' is not known"),
        (lambda p: optim.Adam([{"params": p, "lr": 0}]), "Adam: group 0: lr must be a finite number above 0, got 0"),
        (lambda p: optim.Adam([{"params": p, "betas": (1, 0)}]), r"group 0: betas\[0\] must be at least 0 and below 1"),
        (lambda p: optim.SGD([{"params": p, "nesterov": "no"}], 0.1), "nesterov must be True or False, got 'no'"),
        (lambda p: optim.Adam([{"params": []}]), "Adam: group 0: expected parameters, got none"),
        (lambda p: optim.Adam([{"lr": 1}]), "Adam: group 0: expected parameters, got none"),
        (lambda p: optim.Adam([{"params": [3]}]), "Adam: group 0: expected floating leaves, got 3"),
        (
            lambda p: optim.Adam([p, {"params": p}]),
            "group 0: expected a dict as the other groups are, got",
        ),
        (lambda p: optim.SGD([{"params": p, "momentum": 0}], 0.1, 0.9, nesterov=True), "nesterov needs a momentum"),
        (
            lambda p: optim.Adam([p], weight_decay=-1),
            "weight_decay must be a finite number of at least 0, got -1",
        ),
    ],
)
def test_groups_are_checked(make, text):
    with pytest.raises(ArgumentError, match=text):
        make(leaves()[0])


def test_an_optimiser_shows_its_groups():
    net = fully_connected([4, 3, 2], seed=0)
    optimizer = grouped_adam(net)
    assert repr(optimizer).endswith("eps=1e-08, groups=2)")
    html = optimizer._repr_mimebundle_()["text/html"]
    assert "Group(2 parameters, lr=0.0001, betas=(0.8, 0.99), bias_betas=(0.8, 0.99))" in html
    assert "Group(2 parameters, weight_decay=0.1)" in html
    assert repr(optim.Adam(net.parameters(), weight_decay=0.5)).startswith("Adam(4 parameters, lr=0.001, betas")
