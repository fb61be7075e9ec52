"""Values under a graph: what changes between a forward pass and its backward pass is kept as it was, or refused."""

import copy

import numpy as np
import pytest
import torch

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.models import fully_connected

S = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)  # what a leaf holds at first
VIEWS = {
    "reshape": lambda s: s.reshape(3, 2),
    "new axis": lambda s: s[None],
    "row": lambda s: s[1],
    "columns, backwards": lambda s: s[:, ::-1],
    "element": lambda s: s[1, 2],
    "transpose": lambda s: s.T,
    "repeated": lambda s: tg.broadcast_to(s, (4, 2, 3)),
    "identity": tg.identity,
    "of a view": lambda s: s.T[1:].reshape(-1),
    "of a view of a view": lambda s: tg.broadcast_to(s[:1].T, (3, 5))[::2],
    "detached": lambda s: s.T.detach(),
    "of a twin": lambda s: s.detach()[0],
    "parts": lambda s: tg.concatenate(tg.split(s, 2)),
}


def assigned(s, x):
    s.assign_(9.0)


def assigned_through_a_twin(s, x):
    s.detach().assign_(np.full((2, 3), 9, np.float32))


def assigned_in_a_compiled_function(s, x):
    tg.compile(lambda: s.assign_(s * 0.0 + 9.0))()


def stepped(s, x):
    s.grad = tg.tensor((s.numpy() - 9) / np.float32(0.5))
    s.requires_grad = True
    optim.SGD([s], lr=0.5).step()


def loaded(s, x):
    holder = nn.Module()
    holder.s = s
    holder.load_state_dict({"s": np.full((2, 3), 9, np.float32)})


CHANGES = [assigned, assigned_through_a_twin, assigned_in_a_compiled_function, stepped, loaded]


def leaf(by_parameter):
    return tg.parameter(S) if by_parameter else tg.tensor(S)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("view", VIEWS)
def test_a_result_keeps_its_value_when_a_leaf_is_assigned(view, change):
    s = leaf(change is loaded)
    recorded = VIEWS[view](s)
    with tg.no_grad():
        plain = VIEWS[view](s)
    x = tg.parameter(np.ones(recorded.shape, np.float32))
    loss = tg.sum(x * recorded)
    before = recorded.numpy()
    change(s, x)
    np.testing.assert_allclose(s.numpy(), 9.0)
    np.testing.assert_array_equal(recorded.numpy(), before)
    np.testing.assert_array_equal(plain.numpy(), before)
    np.testing.assert_array_equal((recorded * 1.0).numpy(), before)
    np.testing.assert_array_equal(tg.grad(loss, [x])[0].numpy(), before)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("use", [lambda s: s, lambda s: s.detach(), copy.copy, lambda s: s.detach().detach()])
def test_a_graph_whose_leaf_has_changed_is_refused(use, change):
    s = leaf(change is loaded)
    used = use(s)
    x = tg.parameter(np.ones((2, 3), np.float32))
    (x * x).sum().backward()
    loss = (x * used).sum()
    change(s, x)
    np.testing.assert_array_equal(used.numpy(), s.numpy())  # twins stay twins
    with pytest.raises(tg.GraphError, match="was assigned after multiply had used it"):
        loss.backward()
    with pytest.raises(tg.GraphError, match="was assigned after multiply had used it"):
        tg.grad(loss, [x])
    again = (x * used).sum()
    again.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2.0 + 9.0)


def test_parameters_of_a_network_that_are_stepped_or_loaded_are_noticed():
    net = fully_connected([3, 4, 2], seed=0)
    state = net.state_dict()
    X = np.ones((5, 3), np.float32)
    for change in (
        lambda: optim.Adam(net.parameters(), lr=0.1).step(),
        lambda: net.load_state_dict(state),
        lambda: net.layer1.W.detach().assign_(0.0),
    ):
        net(X).sum().backward()
        loss = net(X).sum()
        change()
        with pytest.raises(tg.GraphError, match="was assigned after"):
            loss.backward()


def test_a_shared_parameter_and_its_transpose():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = tg.parameter(S)

        def forward(self, x):
            return (x @ self.W) @ self.W.T

    net = Tied()
    x = tg.parameter(np.ones((1, 2), np.float32))
    loss = net(x).sum()
    net.W.assign_(0.0)
    with pytest.raises(tg.GraphError, match="'W' in Tied was assigned|was assigned after"):
        loss.backward()
    W = tg.tensor(S)  # only its transpose enters
    y = (x @ (W.T).T).sum()
    W.assign_(0.0)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), S.sum(1)[None])


ARRAYS = {
    "product": lambda W, a: W * a,
    "array on the left": lambda W, a: a * W,
    "quotient": lambda W, a: W / a,
    "matrix product": lambda W, a: W @ a.T,
    "chosen": lambda W, a: W * tg.where(W > 0, a, 0.0),
    "condition": lambda W, a: tg.where(a > 2, W, W * 3.0),
    "mask": lambda W, a: tg.where(tg.tensor(S) > 2, W, 0.0) * a,
    "reshaped": lambda W, a: W * tg.reshape(a, (2, 3)),
    "through a view": lambda W, a: W.T * tg.transpose(a),
    "part of an array": lambda W, a: W[:, :2] * a[:, ::2],
    "in a module": lambda W, a: W * nn.Dense(3, 3, seed=0)(a),
    "joined": lambda W, a: tg.concatenate([W, a]) * tg.concatenate([a, W]),
    "picked": lambda W, a: tg.take(W, a[0].astype(int) % 2) * 2.0,
    "picked by the array": lambda W, a: W[INDICES],
    "as a subclass of ndarray": lambda W, a: W * a.view(Mine),
    "of torch": lambda W, a: W * torch.from_numpy(a),
}
INDICES = np.array([0, 1, 1])


class Mine(np.ndarray):
    pass


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.host
def test_an_array_that_is_filled_anew_changes_no_graph(name):
    gradients = []
    for filled in (False, True):
        W, a = tg.parameter(S * 2), S.copy()
        INDICES[:] = [0, 1, 1]
        y = ARRAYS[name](W, a)
        value = y.numpy()
        if filled:
            a[:] = -5.0
            INDICES[:] = 0
        np.testing.assert_array_equal(y.numpy(), value)
        tg.sum(y * y).backward()
        gradients.append(W.grad.numpy())
    np.testing.assert_array_equal(*gradients)


def test_an_array_of_the_backend_that_is_filled_anew_changes_no_graph(backend):
    W, a = tg.parameter(S), tg.tensor(S).data
    y = (W * a).sum() + (W * tg.reshape(a, (2, 3))).sum()
    tg.tensor(0).backend.xp.copyto(a, a * 0)
    y.backward()
    np.testing.assert_array_equal(W.grad.numpy(), 2 * S)


@pytest.mark.host
def test_results_of_a_compiled_function_keep_their_values():
    W = tg.parameter(S)

    @tg.compile
    def f(x):
        y = x * 2.0
        return {"leaf": W, "of it": W.T[1:], "of x": tg.transpose(x), "y": y, "of y": y.T, "twin": W.detach()}

    x = np.ones((2, 3), np.float32)
    results = f(x)
    before = {name: t.numpy() for name, t in results.items()}
    x[:] = 5.0
    W.assign_(7.0)
    results["y"].assign_(-1.0)
    f(x)
    for name in ("of it", "of x", "of y"):
        np.testing.assert_array_equal(results[name].numpy(), before[name])
    for name in ("of it", "of x", "of y"):
        results[name].assign_(3.0)
    np.testing.assert_array_equal(W.numpy(), 7.0)
    np.testing.assert_array_equal(x, 5.0)
    np.testing.assert_array_equal(results["y"].numpy(), -1.0)


def test_results_made_in_no_grad_are_leaves_of_their_own():
    def f(x):
        with tg.no_grad():
            y = x * 2.0
            z = y.T
            w = y.detach()
        y.assign_(y + 1.0)
        w.assign_(w * 10.0)
        y.assign_(y + 1.0)
        z.assign_(z - 5.0)
        return y, z, w, x

    for run in (f, tg.compile(f), tg.compile(f, check=True)):
        for x in (S, S + 1):
            y, z, w, _ = run(tg.tensor(x))
            np.testing.assert_array_equal(y.numpy(), 2 * x + 2)
            np.testing.assert_array_equal(z.numpy(), 2 * x.T - 5)
            np.testing.assert_array_equal(w.numpy(), 20 * x)


def test_state_made_in_no_grad_that_a_compiled_function_assigns():
    with tg.no_grad():
        state = tg.tensor(S) * 0.0
        seen, twin = state[:1], state.detach()

    @tg.compile
    def f(x):
        state.assign_(state + x)
        return state * 1.0

    for n in range(1, 4):
        np.testing.assert_array_equal(f(tg.tensor(S)).numpy(), n * S)
        np.testing.assert_array_equal(state.numpy(), n * S)
    np.testing.assert_array_equal(seen.numpy(), 0 * S[:1])
    np.testing.assert_array_equal(twin.numpy(), 0 * S)


def test_a_detached_constant_is_not_written_to():
    y = tg.parameter([1.0]) * 3.0
    with pytest.raises(tg.GraphError, match="cannot assign to a constant"):
        y.inputs[1].detach().assign_(5.0)
    assert (tg.tensor([1.0]) * 3.0).item() == 3.0


# -- gradients ---------------------------------------------------------------------------------------------

LOSSES = {
    "sum of one": lambda a, b: a.sum() + b.sum(),
    "sum of both": lambda a, b: (a + b).sum(),
    "both as they are": lambda a, b: a + b,
    "differences": lambda a, b: a - b,
    "views": lambda a, b: a.T + b.reshape(3, 2) * 1.0,
    "reshaped": lambda a, b: a.reshape(6) + b.reshape(6),
    "parts": lambda a, b: tg.concatenate([a, b]),
    "stacked": lambda a, b: tg.stack([a, b]),
    "identity": lambda a, b: a.reshape(2, 3) + b.reshape(2, 3),
    "mean": lambda a, b: tg.mean(a, 0) + tg.mean(b, 0),
    "repeated": lambda a, b: tg.broadcast_to(a, (2, 2, 3)) + b,
    "bias": lambda a, b: tg.bias(a, a[0]) + b,
    "product": lambda a, b: a * b,
    "twice": lambda a, b: a + a + b,
    "a leaf alone": lambda a, b: a,
}


def shares(t, other):
    arrays = [x.backend.to_host(x.data) if x.backend.name == "numpy" else x.data for x in (t, other)]
    arrays = [getattr(a, "_host", getattr(a, "host", a)) for a in arrays]
    return not all(isinstance(a, np.ndarray) for a in arrays) or np.shares_memory(*arrays)


@pytest.mark.parametrize("how", ["backward", "grad"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_memory_of_their_own(name, how, backend):
    if tg.tensor(0).backend.name == "cupy" and not hasattr(tg.tensor(0.0).data, "host"):
        pytest.skip("on a device, memory is told by other means")
    a, b = tg.parameter(S), tg.parameter(S * 2)
    y = LOSSES[name](a, b)
    leaves = [a] if name == "a leaf alone" else [a, b]
    dy = tg.tensor(np.random.default_rng(0).normal(size=y.shape).astype(np.float32))
    start = dy.numpy()
    if how == "backward":
        y.backward(dy)
        gradients = [t.grad for t in leaves]
        for g in gradients:
            assert g.is_leaf
    else:
        gradients = tg.grad(y, leaves, dy)
    others = [dy, *leaves, *gradients]
    for n, g in enumerate(gradients):
        assert g.data.__class__ is not np.ndarray or g.data.flags.writeable
        for other in others[: len(leaves) + 1 + n]:
            assert other is not g
            assert not shares(other, g)
    values = [g.numpy() for g in gradients]
    if how == "backward":
        gradients[0].assign_(0.5)
        np.testing.assert_array_equal(gradients[0].numpy(), np.full((2, 3), 0.5, np.float32))
        for g, value in list(zip(gradients, values, strict=True))[1:]:
            np.testing.assert_array_equal(g.numpy(), value)
    np.testing.assert_array_equal(dy.numpy(), start)


def test_a_rule_may_give_what_is_not_its_own():
    class Scaled(tg.Op):
        rule = "dx = w, whatever dy; dw = 1"

        def forward(self, xp, x, w, out=None):
            return xp.multiply(x, w, out=out)

        def backward(self, dy, y, x, w):
            return w, y

    x, w = tg.parameter([1.0, 2.0]), tg.parameter([3.0, 4.0])
    y = Scaled()(x, w)
    tg.sum(y).backward()
    x.grad.assign_(0.0)
    w.grad.assign_(0.0)
    assert w.numpy().tolist() == [3.0, 4.0]
    assert y.numpy().tolist() == [3.0, 8.0]
    assert not shares(x.grad, w)
    assert not shares(w.grad, y)


def test_gradients_that_add_up_are_new_each_time():
    p = tg.parameter([1.0, 2.0])
    seen = []
    for n in range(3):
        p.sum().backward()
        assert p.grad.numpy().tolist() == [n + 1.0] * 2
        for g, value in seen:
            np.testing.assert_array_equal(g.numpy(), value)
        seen.append((p.grad, p.grad.numpy()))


def test_gradients_of_a_compiled_function_are_memory_of_their_own():
    a, b = tg.parameter(S), tg.parameter(S * 2)

    @tg.compile
    def f(x):
        loss = ((a + b) * x).sum()
        loss.backward()
        return loss, tg.grad(((a + b) * x).sum(), [a, b])

    for n in range(1, 3):
        _, (da, db) = f(tg.tensor(S))
        da.assign_(0.0)
        np.testing.assert_array_equal(db.numpy(), S)
        np.testing.assert_array_equal(a.grad.numpy(), n * S)
        assert not shares(a.grad, b.grad)
        assert not shares(da, db)
        b.grad.assign_(b.grad * 1.0)


def test_nothing_is_kept_for_views_that_are_gone():
    s = tg.tensor(S)
    for _ in range(100):
        v = s.T
        d = s.detach()
    assert len(s._sharing.views) == 1
    assert len(s._sharing.twins) == 2
    del v, d
    assert len(s._sharing.views) == 0
    assert len(s._sharing.twins) == 1
