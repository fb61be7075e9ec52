"""Jacobians, Jacobian and Hessian products, sensitivities and activations: exactness, edges, names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.autodiff import ancestors
from tinygraph.errors import ArgumentError, BackendError, DTypeError, GraphError, ShapeError
from tinygraph.models import fully_connected

SMOOTH = {
    "products": lambda t: (t @ t.T) * tg.exp(t[:, :1]),
    "quotients": lambda t: t / (2.0 + t * t),
    "softmax": lambda t: tg.softmax(t * t),
    "log softmax": lambda t: tg.log_softmax(tg.sigmoid(t)),
    "reductions": lambda t: tg.norm(t, 1) * tg.mean(t, 1) + tg.var(t, 1),
    "indices": lambda t: tg.take(t, [0, 0, 1])[:, 1:] ** 3.0,
    "joined": lambda t: tg.concatenate([tg.tanh(t), tg.softplus(t)], 1).reshape(-1),
    "broadcast": lambda t: t * tg.sum(t, 0) + tg.erf(t[0]),
    "elu": lambda t: tg.elu(t) + tg.scaled_tanh(t),
}


def central(f, x, v, h=1e-5):
    """The derivative of `f` at `x` along `v`."""
    return (f(tg.tensor(x + h * v)).numpy() - f(tg.tensor(x - h * v)).numpy()) / (2 * h)


@pytest.mark.parametrize("name", SMOOTH)
@given(seed=st.integers(0, 2**32 - 1))
def test_forward_and_backward_products_agree_with_each_other_and_with_differences(name, seed):
    f, rng = SMOOTH[name], np.random.default_rng(seed)
    x, v = rng.normal(size=(2, 3, 3))
    y, Jv = tg.jvp(f, x, v)
    assert Jv.shape == y.shape
    np.testing.assert_allclose(Jv.numpy(), central(f, x, v), rtol=1e-5, atol=1e-7)
    u, t = rng.normal(size=y.shape), tg.tensor(x)
    (pulled,) = tg.grad(f(t), [t], u)
    np.testing.assert_allclose((u * Jv.numpy()).sum(), (pulled.numpy() * v).sum(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", SMOOTH)
def test_jacobians_and_hessians_are_made_of_products(name, rng):
    x = tg.tensor(rng.normal(size=(3, 3)))
    y = SMOOTH[name](x)
    J, columns = tg.jacobian(y, x).numpy(), tg.jacobian(y, x, mode="forward").numpy()
    assert J.shape == y.shape + x.shape
    np.testing.assert_allclose(J, columns, rtol=1e-9, atol=1e-12)
    value = tg.sum(y * y)
    (gradient,) = tg.grad(value, [x])
    H = tg.jacobian(gradient, x).numpy().reshape(9, 9)
    np.testing.assert_allclose(H, H.T, rtol=1e-9, atol=1e-10)
    products = [tg.hvp(value, x, e.reshape(3, 3)).numpy().ravel() for e in np.eye(9)]
    np.testing.assert_allclose(H, np.stack(products, 1), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(tg.hessian_diagonal(value, x).numpy().ravel(), np.diag(H), rtol=1e-9, atol=1e-10)


def test_many_elements_are_taken_some_at_a_time(rng):
    x = tg.tensor(rng.normal(size=(5, 27)))
    y = tg.sin(x).reshape(27, 5) * 2.0
    expected = np.diag(2 * np.cos(x.numpy().ravel())).reshape(27, 5, 5, 27)
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(tg.jacobian(y, x, mode).numpy(), expected, rtol=1e-12, atol=1e-15)
    diagonal = tg.hessian_diagonal(tg.sum(y), x).numpy()
    np.testing.assert_allclose(diagonal, -2 * np.sin(x.numpy()), rtol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_vjp_is_the_gradient_along_any_cotangent_of_every_order(name, rng):
    f, x = SMOOTH[name], tg.tensor(rng.normal(size=(3, 3)))
    y, pull_back = tg.vjp(f, x)
    J = tg.jacobian(f(x), x).numpy().reshape(y.size, 9)
    for u in (rng.normal(size=y.shape), np.zeros(y.shape)):
        (dx,) = pull_back(u)
        np.testing.assert_allclose(dx.numpy().ravel(), u.ravel() @ J, rtol=1e-9, atol=1e-10)
    u, v = tg.tensor(rng.normal(size=y.shape)), rng.normal(size=(3, 3))
    (dx,) = pull_back(u)
    with_respect_to_u, with_respect_to_x = tg.grad(tg.sum(dx * v), [u, x])
    np.testing.assert_allclose(with_respect_to_u.numpy(), tg.jvp(f, x, v)[1].numpy(), rtol=1e-9, atol=1e-10)
    expected = tg.hvp(tg.sum(f(x) * u), x, v)
    np.testing.assert_allclose(with_respect_to_x.numpy(), expected.numpy(), rtol=1e-9, atol=1e-10)


def test_vjp_of_several_inputs_and_results(rng):
    a, b = (tg.tensor(rng.normal(size=(2, 3))) for _ in range(2))

    def f(a, b, unused):
        return a * b, tg.sum(a)

    with tg.no_grad():
        (product, total), pull_back = tg.vjp(f, a, b, a)
        da, db, unused = pull_back((np.ones((2, 3)), 10.0))
    assert all(t.is_leaf for t in (product, total, da))
    np.testing.assert_allclose(product.numpy(), a.numpy() * b.numpy())
    np.testing.assert_allclose(da.numpy(), b.numpy() + 10)
    np.testing.assert_allclose(db.numpy(), a.numpy())
    np.testing.assert_array_equal(unused.numpy(), np.zeros((2, 3)))
    assert isinstance(tg.vjp(lambda t: [t], a)[0], list)


def test_vjp_says_what_does_not_fit():
    x = np.ones(2)
    _, pull_back = tg.vjp(tg.exp, x)
    with pytest.raises(ShapeError, match=r"vjp: dy must have the shape of the result of exp, \(2,\), got \(3,\)"):
        pull_back(np.ones(3))
    _, pull_back = tg.vjp(lambda t: (t, t), x)
    with pytest.raises(ArgumentError, match="vjp: expected a tuple of 2 gradients, one a result, got 1.0"):
        pull_back(1.0)
    with pytest.raises(ArgumentError, match="vjp: fn must return tensors, one or a tuple of them, got float"):
        tg.vjp(lambda t: 1.0, x)
    with pytest.raises(ArgumentError, match="got an empty tuple"):
        tg.vjp(lambda t: (), x)
    with pytest.raises(DTypeError, match="vjp: only floating tensors have gradients, an input is int64"):
        tg.vjp(lambda t: t * 1.0, np.array([1, 2]))
    with pytest.raises(DTypeError, match="a result is bool"):
        tg.vjp(lambda t: t > 0, x)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # PyTorch's own, at its first jvp
def test_a_network_against_torch_func(rng):
    torch = pytest.importorskip("torch")
    net = fully_connected([3, 5, 4, 2], "tanh", seed=4, init_bias="normal", dtype=np.float64)
    X, V, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)), np.eye(2)[rng.integers(0, 2, 6)]
    layers = [net.layer1, net.layer2, net.layer3]
    W, theta = [torch.tensor(l.W.numpy()) for l in layers], [torch.tensor(l.theta.numpy()) for l in layers]

    def output(t, W0=W[0]):
        for l, (weights, bias) in enumerate(zip([W0, *W[1:]], theta, strict=True)):
            t = t @ weights - bias
            t = torch.tanh(t) if l < 2 else t
        return t

    def risk(W0):
        return -(torch.tensor(Y) * torch.log_softmax(output(torch.tensor(X), W0), 1)).sum(1).mean()

    x = tg.tensor(X)
    J = torch.func.jacrev(output)(torch.tensor(X)).numpy()
    np.testing.assert_allclose(tg.jacobian(net(x), x).numpy(), J, rtol=1e-9, atol=1e-13)
    _, theirs = torch.func.jvp(output, (torch.tensor(X),), (torch.tensor(V),))
    np.testing.assert_allclose(tg.jvp(net, X, V)[1].numpy(), theirs.numpy(), rtol=1e-9, atol=1e-13)
    direction = rng.normal(size=(3, 5))
    _, theirs = torch.func.jvp(torch.func.grad(risk), (W[0],), (torch.tensor(direction),))
    loss = losses.cross_entropy(net(X), Y)
    np.testing.assert_allclose(tg.hvp(loss, net.layer1.W, direction).numpy(), theirs.numpy(), rtol=1e-9, atol=1e-13)
    H = torch.func.hessian(risk)(W[0]).numpy().reshape(15, 15)
    diagonal = tg.hessian_diagonal(loss, net.layer1.W).numpy().ravel()
    np.testing.assert_allclose(diagonal, np.diag(H), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_jacobian_can_be_differentiated_again(mode):
    x = tg.tensor(np.array([0.5, 2.0]))
    (g,) = tg.grad(tg.jacobian(x**3.0, x, mode).sum(), [x])
    np.testing.assert_allclose(g.numpy(), 6 * x.numpy())


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_the_result_is_zero_where_nothing_flows(mode):
    x = tg.tensor(np.array([0.5, 2.0]))
    np.testing.assert_array_equal(tg.jacobian(tg.sign(x), x, mode).numpy(), np.zeros((2, 2)))
    assert tg.jacobian(x[:0] * 2.0, x, mode).shape == (0, 2)


def test_within_no_grad_derivatives_come_out_without_a_graph():
    x = tg.tensor(np.array([0.5, 2.0]), requires_grad=True)
    y = x**3.0
    total = y.sum()
    with tg.no_grad():
        out, Jv = tg.jvp(lambda t: t**3.0, x, np.ones(2))
        found = [tg.jacobian(y, x), tg.jacobian(y, x, mode="forward"), tg.hvp(total, x, np.ones(2))]
    assert all(t.is_leaf for t in [out, Jv, found[2]])
    expected = 3 * x.numpy() ** 2
    np.testing.assert_allclose(Jv.numpy(), expected)
    for J in found[:2]:
        np.testing.assert_allclose(J.numpy(), np.diag(expected))


def test_a_loss_made_within_no_grad_has_no_second_derivative():
    x = tg.tensor(np.ones(2))
    with tg.no_grad():
        y = (x * x).sum()
    with pytest.raises(GraphError, match="does not depend on input 0"):
        tg.hvp(y, x, np.ones(2))


def test_one_tensor_given_as_two_inputs_counts_as_two():
    x = tg.tensor(np.array([2.0]))
    _, Jv = tg.jvp(lambda a, b: a * a * b, (x, x), (np.array([1.0]), np.array([0.0])))
    assert Jv.item() == 8  # 2 a b, not 3 x**2


def test_an_input_that_is_not_used_contributes_nothing():
    _, Jv = tg.jvp(lambda a, b: a * 3.0, (np.ones(2), np.ones(1)), (np.ones(2), np.ones(1)))
    np.testing.assert_array_equal(Jv.numpy(), [3, 3])


def test_a_jvp_of_a_product_is_differentiable_with_respect_to_the_direction_and_the_point():
    x, v = tg.tensor(np.array([2.0, 3.0])), tg.tensor(np.array([1.0, -1.0]))
    _, Jv = tg.jvp(lambda t: t * t, x, v)
    gx, gv = tg.grad(Jv.sum(), [x, v])
    np.testing.assert_array_equal(gx.numpy(), 2 * v.numpy())
    np.testing.assert_array_equal(gv.numpy(), 2 * x.numpy())


def test_float32_stays_float32(rng):
    x = tg.tensor(rng.normal(size=(2, 3)).astype(np.float32))
    y = tg.tanh(x)
    found = [
        tg.jacobian(y, x), tg.jacobian(y, x, mode="forward"), tg.jvp(tg.tanh, x, x)[1],
        tg.hvp(y.sum(), x, x), tg.hessian_diagonal(y.sum(), x),
    ]  # fmt: skip
    assert {t.dtype for t in found} == {np.dtype(np.float32)}
    assert {t.backend.name for t in found} == {x.backend.name}


def test_hvp_takes_a_list_of_the_parameters_of_a_network(rng):
    net = fully_connected([2, 3, 2], "sigmoid", seed=0, init_bias="normal", dtype=np.float64)
    X, Y = rng.normal(size=(4, 2)), np.array([0, 1, 1, 0])
    params = net.parameters()
    directions = [rng.normal(size=p.shape) for p in params]
    start, h, ends = [p.numpy() for p in params], 1e-5, []
    ours = tg.hvp(losses.cross_entropy(net(X), Y), params, directions)
    for sign in (1, -1):
        for p, value, d in zip(params, start, directions, strict=True):
            p.assign_(value + sign * h * d)
        ends.append(tg.grad(losses.cross_entropy(net(X), Y), params))
    for Hv, up, down in zip(ours, *ends, strict=True):
        np.testing.assert_allclose(Hv.numpy(), (up.numpy() - down.numpy()) / (2 * h), rtol=1e-6, atol=1e-9)


def test_wrong_directions_and_functions_are_named():
    x = tg.tensor(np.ones(2), name="x")
    for call, error, text in (
        (lambda: tg.jvp(tg.exp, x, np.ones(2, np.float32)), DTypeError, "jvp: v must be float64, as 'x' is, got"),
        (lambda: tg.hvp((x * x).sum(), x, np.ones(3)), ShapeError, r"hvp: v must have the shape of 'x', .*got \(3,\)"),
        (lambda: tg.hvp((x * x).sum(), [x], []), ArgumentError, "a direction for each of the 1 inputs, got 0"),
        (lambda: tg.hvp(x * x, x, np.ones(2)), ShapeError, "expected a tensor with one element"),
        (lambda: tg.jvp(lambda t: (t, t), x, x), ArgumentError, "jvp: fn must return one tensor, got tuple"),
        (lambda: tg.jvp(lambda t: tg.tensor(np.ones(2)), x, x), GraphError, "does not depend on input 0"),
        (lambda: tg.jacobian(tg.tensor([1, 2]), x), DTypeError, "only floating tensors"),
        (lambda: tg.jacobian(tg.exp(x), tg.tensor(1.0)), GraphError, "does not depend on input 0"),
    ):
        with pytest.raises(error, match=text):
            call()
    with tg.using("strict" if x.backend.name == "numpy" else "numpy"):
        v = tg.tensor(np.ones(2))
    with pytest.raises(BackendError, match="jvp: operands live on two backends"):
        tg.jvp(tg.exp, x, v)


# -- names of signals ---------------------------------------------------------------------------------------


class Pair(nn.Module):
    """A branch applied to two inputs, and a head on both embeddings."""

    def __init__(self):
        self.branch = fully_connected([3, 4, 2], "tanh", seed=0, dtype=np.float64)
        self.head = nn.Dense(4, 1, seed=1, dtype=np.float64)

    def forward(self, a, b):
        return self.head(tg.concatenate([self.branch(a), self.branch(b)], 1))


class Heads(nn.Module):
    """A trunk with two heads."""

    def __init__(self):
        self.trunk = nn.Dense(3, 4, activation="tanh", seed=0, dtype=np.float64)
        self.heads = [nn.Dense(4, 2, seed=i, dtype=np.float64) for i in (1, 2)]

    def forward(self, x):
        y = self.trunk(x)
        return tg.concatenate([head(y) for head in self.heads], 1)


def test_what_follows_a_shared_branch_continues_its_numbers(rng):
    net = Pair()
    a, b = rng.normal(size=(2, 5, 3))
    assert list(tg.sensitivities((net(a, b) ** 2.0).mean(), net)) == [
        "branch.z2#1", "branch.z3#1", "branch.z2#2", "branch.z3#2", "z4",
    ]  # fmt: skip
    assert list(net.activations(a, b)) == [
        "y1#1", "y1#2", "branch.z2#1", "branch.y2#1", "branch.z3#1", "branch.z2#2", "branch.y2#2", "branch.z3#2", "z4",
    ]  # fmt: skip


def test_parallel_heads_belong_to_one_layer(rng):
    net = Heads()
    x = rng.normal(size=(5, 3))
    assert list(tg.sensitivities((net(x) ** 2.0).mean(), net)) == ["z2", "heads.0.z3", "heads.1.z3"]


def test_a_layer_applied_to_its_own_output_counts_its_calls(rng):
    layer = nn.Dense(3, 3, activation="tanh", seed=0, dtype=np.float64)
    net = nn.Sequential(layer, layer, nn.Dense(3, 1, seed=1, dtype=np.float64))
    assert list(tg.sensitivities((net(rng.normal(size=(5, 3))) ** 2.0).mean(), net)) == ["0.z2#1", "0.z2#2", "z4"]


def test_a_network_called_twice_counts_its_calls(rng):
    net = fully_connected([3, 4, 2], seed=0, dtype=np.float64)
    a, b = rng.normal(size=(2, 5, 3))
    loss = losses.squared_error(net(a), net(b))
    found = tg.sensitivities(loss, net)
    assert list(found) == ["z2#1", "z3#1", "z2#2", "z3#2"]
    np.testing.assert_allclose(found["z3#1"].numpy(), 2 * (net(a).numpy() - net(b).numpy()))


def test_a_part_of_a_network_has_layers_of_its_own_numbering(rng):
    net = Pair()
    a, b = rng.normal(size=(2, 5, 3))
    found = tg.sensitivities((net(a, b) ** 2.0).mean(), net.branch)
    assert list(found) == ["z2#1", "z3#1", "z2#2", "z3#2"]


def test_the_sensitivity_of_a_normalised_signal_is_taken_at_the_activation(rng):
    class Normalise(tg.Op):
        name = "batch_norm"
        rule = "dz = 3 dy"

        def forward(self, xp, z, out=None):
            return z * 3.0

        def backward(self, dy, y, z):
            return (dy * 3.0,)

    def activation(v):
        y = tg.tanh(v)
        y.name = "y"
        return y

    layer = nn.Dense(3, 2, bias=False, seed=0, dtype=np.float64)
    net = nn.Sequential(layer, Normalise(), activation, nn.Dense(2, 1, seed=1, dtype=np.float64))
    x = rng.normal(size=(5, 3))
    loss = (net(x) ** 2.0).mean()
    (v,) = [t for t in ancestors([loss]) if t.op is not None and t.op.name == "batch_norm"]
    found = tg.sensitivities(loss, net)
    assert list(found) == ["z2", "z3"]
    np.testing.assert_allclose(found["z2"].numpy(), 5 * tg.grad(loss, [v])[0].numpy())
    assert list(net.activations(x)) == ["y1", "z2", "v2", "y2", "z3"]


def test_the_input_of_an_activation_is_found_in_testing_too(rng):
    class Normalise(nn.Module):
        def forward(self, z):
            v = (z - 1.0) * 3.0
            v.name = "v"
            return v

    x = rng.normal(size=(5, 3))
    first, last = (nn.Dense(3, 3, bias=False, seed=i, dtype=np.float64) for i in (0, 1))
    before = nn.Sequential(first, Normalise(), tg.tanh, last)
    after = nn.Sequential(first, tg.tanh, Normalise(), last)
    for net, expected in ((before, ["y1", "z2", "v2", "z3"]), (after, ["y1", "z2", "z3"])):
        assert list(net.activations(x)) == expected
    found = tg.sensitivities((before(x) ** 2.0).sum() * 0.2, before)
    z2 = (x @ first.W.numpy() - 1) * 3
    z3 = np.tanh(z2) @ last.W.numpy()
    np.testing.assert_allclose(found["z2"].numpy(), (2 * z3 @ last.W.numpy().T) * (1 - np.tanh(z2) ** 2))


def test_the_name_z_outside_of_the_network_is_no_signal(rng):
    net = fully_connected([3, 2], seed=0, dtype=np.float64)
    x = tg.tensor(rng.normal(size=(5, 3))) * 2.0
    x.name = "z"
    assert list(tg.sensitivities((net(x) ** 2.0).mean(), net)) == ["z2"]


# -- activations --------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """A layer that counts its calls in a tensor, as running averages do, and minds the mode."""

    def __init__(self):
        self.layer = nn.Dense(3, 2, activation="relu", seed=0, dtype=np.float64)
        self.calls = tg.tensor(np.zeros(1))
        self.seen = []

    def forward(self, x):
        self.calls.assign_(self.calls.numpy() + 1)
        self.seen.append(self.training)
        return self.layer(x)


@pytest.mark.parametrize("training", [True, False])
def test_activations_leave_mode_and_state_as_they_were(training, rng):
    net = Counting().train(training)
    loss = (net(rng.normal(size=(4, 3))) * net.calls).sum()
    net.activations(rng.normal(size=(4, 3)))
    assert net.training is training
    assert net.seen == [training, training]
    assert net.calls.item() == 1
    loss.backward()  # nothing that it uses counts as assigned


def test_activations_are_recorded_unless_within_no_grad(rng):
    net = fully_connected([3, 4, 2], seed=0, dtype=np.float64)
    x = rng.normal(size=(4, 3))
    found = net.activations(x)
    assert list(found) == ["y1", "z2", "y2", "z3", "y3"]
    (g,) = tg.grad(found["z3"].sum(), [found["y2"]])
    np.testing.assert_allclose(g.numpy(), np.ones((4, 2)) @ net.layer2.W.numpy().T)
    with tg.no_grad():
        plain = net.activations(x)
    assert all(t.is_leaf for t in plain.values())
    np.testing.assert_array_equal(plain["y3"].numpy(), net.predict(x).numpy())


def test_a_single_sample_has_sensitivities_too(rng):
    net = fully_connected([3, 4, 2], "tanh", "linear", seed=0, dtype=np.float64)
    h, y = rng.normal(size=3), rng.normal(size=2)
    one = tg.sensitivities(((net(h) - y) ** 2.0).sum(), net)
    batch = tg.sensitivities(losses.squared_error(net(h[None]), y[None]), net)
    for name in ("z2", "z3"):
        np.testing.assert_allclose(one[name].numpy(), batch[name].numpy()[0], rtol=1e-12)


def test_a_loss_with_several_elements_or_no_graph_is_refused(rng):
    net = fully_connected([3, 2], seed=0, dtype=np.float64)
    with pytest.raises(ShapeError, match="one element"):
        tg.sensitivities(net(rng.normal(size=(4, 3))), net)
    with tg.no_grad():
        loss = net(rng.normal(size=(4, 3))).sum()
    with pytest.raises(GraphError, match="not computed with this network, or within no_grad"):
        tg.sensitivities(loss, net)


# -- a sample's own sensitivities -----------------------------------------------------------------------------


def own_losses(output, Y):
    return [losses.squared_error(output[b : b + 1], Y[b : b + 1]) for b in range(len(Y))]


@pytest.mark.parametrize(("batch_norm", "alike"), [(None, True), ("all", False)])
def test_own_sensitivities_differ_where_samples_meet(batch_norm, alike, rng):
    net = fully_connected([3, 4, 2], "tanh", batch_norm=batch_norm, seed=0, dtype=np.float64)
    X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    output = net.predict(X, train=True)
    own, of_all = (
        tg.own_sensitivities(own_losses(output, Y), net),
        tg.sensitivities(losses.squared_error(output, Y), net),
    )
    assert list(own) == ["z2", "z3"]
    assert np.allclose(own["z2"].numpy(), of_all["z2"].numpy(), rtol=1e-12) == alike
    np.testing.assert_allclose(own["z3"].numpy(), of_all["z3"].numpy(), rtol=1e-12)
    as_tensor = tg.own_sensitivities(tg.square(output - tg.tensor(Y)).sum(1), net)
    np.testing.assert_allclose(as_tensor["z2"].numpy(), own["z2"].numpy(), rtol=1e-12)


def test_own_sensitivities_can_be_differentiated_again(rng):
    net = fully_connected([3, 4, 2], "tanh", batch_norm="all", seed=0, dtype=np.float64)
    output = net.predict(rng.normal(size=(4, 3)), train=True)
    Y = rng.normal(size=(4, 2))
    (second,) = tg.grad(tg.own_sensitivities(own_losses(output, Y), net)["z2"].sum(), [net.layer2.W])
    assert (second.numpy() != 0).any()
    each = tg.square(output).sum(1)
    with tg.no_grad():
        assert tg.own_sensitivities(each, net)["z2"].is_leaf


def test_own_sensitivities_of_a_single_sample_without_a_batch(rng):
    net = fully_connected([3, 4, 2], "tanh", seed=0, dtype=np.float64)
    loss = tg.square(net(rng.normal(size=3))).sum()
    np.testing.assert_allclose(
        tg.own_sensitivities([loss], net)["z2"].numpy(), tg.sensitivities(loss, net)["z2"].numpy(), rtol=1e-12
    )


def test_own_sensitivities_need_a_loss_for_every_sample(rng):
    net = fully_connected([3, 2], seed=0, dtype=np.float64)
    z = net(rng.normal(size=(4, 3)))
    for wrong, text in ((tg.square(z).sum(1)[:3], r"each of the 4 rows of z2, got shape \(3,\)"), (z, "got shape")):
        with pytest.raises(ShapeError, match=text):
            tg.own_sensitivities(wrong, net)
    with pytest.raises(ShapeError, match="one element"):
        tg.own_sensitivities([z] * 4, net)
    with pytest.raises(GraphError, match="own_sensitivities: the loss was not computed with this network"):
        tg.own_sensitivities([tg.tensor(1.0)], net)
    for nothing in (None, [], [1.0], 2.0):
        with pytest.raises(ArgumentError, match="own_sensitivities: expected a tensor of shape .*, got ") as caught:
            tg.own_sensitivities(nothing, net)
        assert "\n" not in str(caught.value)


def test_own_sensitivities_need_losses_of_one_call(rng):
    net = fully_connected([3, 2], seed=0, dtype=np.float64)
    X, one_call = rng.normal(size=(4, 3)), "all losses must come from one call of the network on the whole batch$"
    for separate in (
        [tg.square(net(x[None])).sum() for x in X],
        [tg.square(net(X)[b]).sum() for b in range(4)],
    ):
        with pytest.raises(GraphError, match=one_call):
            tg.own_sensitivities(separate, net)
    with pytest.raises(ShapeError, match=one_call):
        tg.own_sensitivities(tg.concatenate([tg.square(net(x[None])).sum(1) for x in X]), net)
