"""Losses, regularisers and optimisers against formulas in plain NumPy."""

import copy
import inspect
import pickle
import pydoc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.errors import ArgumentError, DataError, GraphError, ShapeError
from tinygraph.models import fully_connected


def test_squared_error_is_the_batch_mean_of_squared_distances(rng):
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    expected = sum(sum((a[i, j] - b[i, j]) ** 2 for j in range(3)) for i in range(5)) / 5
    assert losses.squared_error(tg.tensor(a), b).item() == pytest.approx(expected)


def test_cross_entropy_is_the_batch_mean_of_minus_log_softmax(rng):
    z, target = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), 5)
    y = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert losses.cross_entropy(tg.tensor(z), target).item() == pytest.approx(-(target * np.log(y)).sum(1).mean())


def test_cross_entropy_takes_class_indices(rng):
    z, labels = rng.normal(size=(4, 3)), np.array([2, 0, 1, 2])
    ours = losses.cross_entropy(tg.tensor(z), labels)
    assert ours.item() == pytest.approx(losses.cross_entropy(tg.tensor(z), np.eye(3)[labels]).item())
    assert ours.item() == losses.cross_entropy(tg.tensor(z), tg.tensor(labels)).item()
    with pytest.raises(DataError, match="class 3 in row 2 is outside 0 to 2"):
        losses.cross_entropy(tg.tensor(z), [0, 1, 3, 0])
    with pytest.raises(ShapeError, match=r"expected 4 class indices, got shape \(2,\)"):
        losses.cross_entropy(tg.tensor(z), [0, 1])


def test_cross_entropy_is_finite_where_the_softmax_underflows():
    z = tg.tensor(np.array([[1e4, -1e4]], np.float32), requires_grad=True)
    loss = losses.cross_entropy(z, np.array([[0.0, 1.0]], np.float32))
    loss.backward()
    assert loss.item() == 2e4
    np.testing.assert_array_equal(z.grad.numpy(), [[1, -1]])


def test_an_impossible_class_that_is_not_the_target_costs_nothing():
    z = tg.tensor(np.array([[0.0, -np.inf]]))
    assert losses.cross_entropy(z, np.array([[1.0, 0.0]])).item() == 0


def test_losses_refuse_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"one shape, got \(2, 3\) and \(2, 2\)"):
        losses.squared_error(tg.tensor(np.zeros((2, 3))), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="the batch is empty"):
        losses.cross_entropy(tg.tensor(np.zeros((0, 3))), np.zeros((0, 3)))
    with pytest.raises(ShapeError, match=r"logits of shape \(B, classes\)"):
        losses.cross_entropy(tg.tensor(np.zeros(3)), np.zeros(3))


def test_a_loss_is_a_value_that_is_known_by_its_name():
    assert losses.huber.__name__ == "huber"
    assert repr(losses.huber) == "<loss huber of prediction>"
    assert list(inspect.signature(losses.huber).parameters) == ["output", "target", "delta", "weights"]
    assert "(Prob. 65.17)" in pydoc.render_doc(losses.huber)
    assert pickle.loads(pickle.dumps(losses.huber)) is copy.deepcopy(losses.huber) is losses.huber
    assert [losses.takes_logits(f) for f in (losses.huber, losses.cross_entropy, losses.l2)] == [False, True, None]


def test_whole_numbers_are_rows_of_probabilities_too(rng):
    z, rows = rng.normal(size=(3, 3)), np.eye(3, dtype=int)
    expected = losses.cross_entropy(tg.tensor(z), rows.astype(float)).item()
    for target in (rows, rows.tolist(), rows.astype(bool)):
        assert losses.cross_entropy(tg.tensor(z), target).item() == expected


def test_regularisers_count_weights_once_and_biases_never():
    net = fully_connected([3, 4, 2], init_bias="normal", seed=0, dtype=np.float64)
    W = [net.layer1.W.numpy(), net.layer2.W.numpy()]
    assert losses.l2(net, 0.5).item() == pytest.approx(0.5 * sum((w**2).sum() for w in W))
    assert losses.l1(net, 0.5).item() == pytest.approx(0.5 * sum(np.abs(w).sum() for w in W))
    losses.l2(net, 0.5).backward()
    np.testing.assert_allclose(net.layer1.W.grad.numpy(), W[0])
    assert net.layer1.theta.grad is None
    with pytest.raises(ArgumentError, match="rho must be a finite number of at least 0, got -1"):
        losses.l2(net, -1)
    with pytest.raises(GraphError, match="no parameters of role 'weight'"):
        losses.l2(tg.nn.Sequential(), 1.0)


def quadratic(x):
    return (x * x * np.array([1.0, 10.0])).sum()


def walk(make, steps=20):
    x = tg.parameter(np.array([1.0, -2.0]))
    optimizer = make([x])
    for _ in range(steps):
        optimizer.zero_grad()
        quadratic(x).backward()
        optimizer.step()
    return x.numpy(), optimizer


def test_sgd_and_momentum_follow_their_formulas():
    for momentum in (0.0, 0.9):
        x, v = np.array([1.0, -2.0]), np.zeros(2)
        for _ in range(20):
            v = momentum * v + 2 * np.array([1.0, 10.0]) * x
            x = x - 0.01 * v
        np.testing.assert_allclose(walk(lambda p, m=momentum: optim.SGD(p, 0.01, m))[0], x, rtol=1e-12)


def test_the_learning_rate_can_be_changed_on_the_way():
    x = tg.parameter(np.array([1.0]))
    optimizer = optim.SGD([x], lr=0.5)
    for lr, expected in ((0.5, 0.0), (0.25, -0.25)):
        optimizer.lr = lr
        x.grad = tg.tensor(np.array([2.0 if lr == 0.5 else 1.0]))
        optimizer.step()
        assert x.item() == expected


def test_state_of_an_optimiser_survives_a_round_trip():
    whole, _ = walk(lambda p: optim.SGD(p, 0.01, 0.9), steps=20)
    x, first = walk(lambda p: optim.SGD(p, 0.01, 0.9), steps=10)
    y = tg.parameter(x)
    second = optim.SGD([y], 0.5, 0.9)
    second.load_state_dict(first.state_dict())
    for _ in range(10):
        second.zero_grad()
        quadratic(y).backward()
        second.step()
    np.testing.assert_array_equal(y.numpy(), whole)
    with pytest.raises(ArgumentError, match=r"another optimiser's; names that differ: velocity\.0"):
        optim.SGD([y], 0.1).load_state_dict(first.state_dict())


def test_parameters_without_gradients_and_frozen_ones_stay():
    a, b = tg.parameter([1.0]), tg.parameter([1.0])
    optimizer = optim.SGD([a, b], lr=1.0)
    b.grad, b.requires_grad = tg.tensor([1.0]), False
    optimizer.step()
    assert (a.item(), b.item()) == (1, 1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.SGD([], 0.1), "expected parameters, got none"),
        (lambda: optim.SGD([tg.parameter([1.0])], -1), "lr must be a finite number above 0, got -1"),
        (lambda: optim.SGD([tg.parameter([1.0])], float("nan")), "lr must be a finite number above 0, got nan"),
        (lambda: optim.SGD([tg.parameter([1.0])], 0.1, 1.0), "momentum must be at least 0 and below 1"),
        (lambda: optim.SGD([np.zeros(2)], 0.1), "expected floating leaves"),
    ],
)
def test_optimisers_check_their_arguments(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def torch_walk(make, steps=30):
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = make(torch.optim, [x])
    for _ in range(steps):
        optimizer.zero_grad()
        (x * x * torch.tensor([1.0, 10.0], dtype=torch.float64)).sum().backward()
        optimizer.step()
    return x.detach().numpy()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: optim.SGD(p, 0.01), lambda o, p: o.SGD(p, 0.01)),
        (lambda p: optim.SGD(p, 0.01, 0.8), lambda o, p: o.SGD(p, 0.01, 0.8)),
        (
            lambda p: optim.SGD(p, 0.01, 0.8, nesterov=True),
            lambda o, p: o.SGD(p, 0.01, 0.8, nesterov=True),
        ),
        (lambda p: optim.Adam(p, 0.1, eps=1e-16), lambda o, p: o.Adam(p, 0.1, eps=1e-16)),
        (
            lambda p: optim.AdamW(p, 0.1, eps=1e-16, weight_decay=0.3),
            lambda o, p: o.AdamW(p, 0.1, eps=1e-16, weight_decay=0.3),
        ),
        (
            lambda p: optim.RMSProp(p, 0.05, 0.9, eps=1e-6),
            lambda o, p: o.RMSprop(p, 0.05, alpha=0.9, eps=1e-6),
        ),
    ],
)
def test_trajectories_are_pytorchs_where_the_rule_is_the_same(ours, theirs):
    np.testing.assert_allclose(walk(ours, 30)[0], torch_walk(theirs), rtol=1e-10)


MAKERS = [
    lambda p: optim.SGD(p, 0.01, 0.9, nesterov=True),
    lambda p: optim.Adam(p, 0.1),
    lambda p: optim.AdamW(p, 0.1),
    lambda p: optim.RMSProp(p, 0.01),
]


@pytest.mark.parametrize("make", MAKERS)
def test_resuming_any_optimiser_is_bit_for_bit(make):
    whole, _ = walk(make, 20)
    x, first = walk(make, 10)
    y = tg.parameter(x)
    second = make([y])
    second.load_state_dict(first.state_dict())
    for _ in range(10):
        second.zero_grad()
        quadratic(y).backward()
        second.step()
    np.testing.assert_array_equal(y.numpy(), whole)


@pytest.mark.parametrize("make", MAKERS)
def test_float32_stays_float32(make):
    x = tg.parameter(np.array([1.0, 2.0], np.float32))
    optimizer = make([x])
    (x * x).sum().backward()
    optimizer.step()
    assert x.dtype == np.float32
    assert {t.dtype for ts in optimizer.state().values() for t in ts} == {np.dtype(np.float32)}


def test_adamw_decays_weights_and_not_biases():
    w, b = tg.parameter([1.0]), tg.parameter([1.0], role="bias")
    optimizer = optim.AdamW([w, b], 0.1, decay=0.5)
    assert optimizer.weight_decay == optimizer.decay == 0.5
    w.grad = b.grad = tg.tensor([0.0])
    optimizer.step()
    assert (w.item(), b.item()) == (pytest.approx(0.95), 1)


def test_schedules_follow_their_formulas():
    for make, formula in (
        (lambda o: optim.StepDecay(o, 3, 0.5), lambda n: 0.5 ** (n // 3)),
        (lambda o: optim.ExponentialDecay(o, 0.9), lambda n: 0.9**n),
        (lambda o: optim.InverseTimeDecay(o, 4.0), lambda n: 1 / (1 + n / 4)),
        (lambda o: optim.CosineDecay(o, 8, 0.1), lambda n: 0.1 + 0.9 * (1 + np.cos(np.pi * min(n, 8) / 8)) / 2),
    ):
        optimizer = optim.SGD([tg.parameter([0.0])], 0.2)
        schedule = make(optimizer)
        for n in range(1, 11):
            schedule.step()
            assert optimizer.lr == pytest.approx(0.2 * formula(n))


def test_clipping():
    a, b, c = tg.parameter([3.0, 0.0]), tg.parameter([4.0]), tg.parameter([1.0])
    a.grad, b.grad = tg.tensor([3.0, 0.0]), tg.tensor([4.0])
    assert optim.clip_grad_norm([a, b, c], 10.0) == pytest.approx(5)
    assert a.grad.numpy().tolist() == [3, 0]
    assert optim.clip_grad_norm([a, b, c], 1.0) == pytest.approx(5)
    np.testing.assert_allclose([*a.grad.numpy(), *b.grad.numpy()], [0.6, 0, 0.8], rtol=1e-6)
    optim.clip_grad_value([a, b, c], 0.7)
    np.testing.assert_allclose([*a.grad.numpy(), *b.grad.numpy()], [0.6, 0, 0.7], rtol=1e-6)
    assert c.grad is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: optim.Adam(p, 0.1, betas=(0.9, 1.0)), r"betas\[1\] must be at least 0 and below 1"),
        (lambda p: optim.Adam(p, 0.1, betas=0.9), "betas must be a pair"),
        (lambda p: optim.Adam(p, 0.1, eps=0), "eps must be a finite number above 0"),
        (lambda p: optim.SGD(p, 0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda p: optim.StepDecay(optim.SGD(p, 0.1), 0), "every must be a whole number of at least 1"),
        (lambda p: optim.clip_grad_norm(p, 0), "max_norm must be a finite number above 0"),
    ],
)
def test_settings_are_checked(make, text):
    with pytest.raises(ArgumentError, match=text):
        make([tg.parameter([1.0])])
