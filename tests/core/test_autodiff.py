"""Reverse mode: accumulation, higher orders, modes, errors, size."""

import gc
import re
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import AnomalyError, ArgumentError, DTypeError, GradientError, GraphError, ShapeError


def leaf(value, **options):
    return tg.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


def test_a_tensor_used_several_times_gets_the_sum():
    x = leaf([1.0, 2.0, 3.0])
    (x * x + x + tg.exp(x) / tg.exp(x)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() + 1)


def test_backward_adds_to_leaves_only_and_twice_is_defined():
    x = leaf(3.0)
    inner = x * x
    y = inner * 2.0
    y.backward()
    y.backward()
    assert x.grad.item() == 24
    assert inner.grad is None


def test_the_derivatives_of_x_to_the_fourth():
    x = leaf(1.5)
    y = x * x * x * x
    for expected in (4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24):
        (y,) = tg.grad(y, [x])
        assert y.item() == pytest.approx(expected)


def test_grad_leaves_the_grad_attribute_alone_and_needs_no_flag():
    x = tg.tensor(np.array([1.0, 2.0]))
    (g,) = tg.grad((x * x).sum(), [x])
    np.testing.assert_array_equal(g.numpy(), [2, 4])
    assert x.grad is None


def test_grad_with_respect_to_an_inner_tensor():
    x = leaf(2.0)
    z = x * x
    y = z * z
    gz, gx = tg.grad(y, [z, x])
    assert (gz.item(), gx.item()) == (8, 32)


def test_grad_of_independent_tensors_says_so():
    x, b = leaf(1.0, name="x"), leaf([1.0, 2.0], name="b")
    with pytest.raises(GraphError, match=r"does not depend on input 1, 'b' of shape \(2,\)"):
        tg.grad(x * x, [x, b])
    with pytest.raises(ArgumentError, match="at least one"):
        tg.grad(x * x, [])


def test_the_gradient_of_something_constant_is_zero():
    x = leaf([1.0, -2.0])
    (g,) = tg.grad(tg.sign(x).sum(), [x])
    np.testing.assert_array_equal(g.numpy(), [0, 0])


def test_enable_grad_records_inside_no_grad():
    w = leaf([1.0, 2.0])
    with tg.no_grad():
        with tg.enable_grad():
            y = (w * w).sum()
        assert (w * w).op is None
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2, 4])


def test_a_number_cannot_be_assigned_and_is_a_tensor_of_its_own_at_every_use():
    w = leaf([1.0, 2.0])
    first, second = (w * 3.0).inputs[1], (w * 3.0).inputs[1]
    assert first is not second
    with pytest.raises(GraphError, match="cannot assign to a constant"):
        first.assign_(4.0)
    assert (w * 3.0).inputs[1].item() == 3.0


def test_no_grad_records_nothing_even_after_an_error():
    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        assert (x * x).op is None
        assert not (x * x).requires_grad
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_detach_cuts_the_graph():
    x = leaf(2.0)
    y = (x * x).detach()
    assert y.is_leaf
    (x * y).backward()
    assert x.grad.item() == 4


def test_only_what_is_wanted_is_computed():
    calls = []

    class Watched(tg.Op):
        rule = "da = dy, db = dy, each noted"

        def forward(self, xp, a, b, out=None):
            return xp.add(a, b, out=out)

        def backward(self, dy, y, a, b):
            return (lambda: calls.append("a") or dy), (lambda: calls.append("b") or dy)

    Watched()(leaf(1.0), tg.tensor(np.float64(1.0))).backward()
    assert calls == ["a"]


def test_backward_asks_for_what_it_needs():
    with pytest.raises(ShapeError, match=r"one element, got shape \(2,\)"):
        leaf([1.0, 2.0]).sum(0, keepdims=True).reshape(1).backward(np.ones(1)) or (leaf([1.0, 2.0]) * 2.0).backward()
    with pytest.raises(ShapeError, match=r"dy must have the shape of the result of multiply, \(2,\), got \(3,\)"):
        (leaf([1.0, 2.0]) * 2.0).backward(np.ones(3))
    with pytest.raises(DTypeError, match="dy must be float64, as the result of multiply is, got float32"):
        (leaf([1.0, 2.0]) * 2.0).backward(np.ones(2, np.float32))
    with pytest.raises(GraphError, match="requires a gradient"):
        tg.tensor(1.0).backward()
    with pytest.raises(DTypeError, match="only floating"):
        tg.tensor([1]).sum().backward()
    with pytest.raises(DTypeError, match="only floating"):
        tg.tensor([1], requires_grad=True)


def test_a_leaf_assigned_between_forward_and_backward_is_detected():
    w = leaf([1.0, 2.0], name="w")
    y = (w * w).sum()
    w.assign_(np.array([5.0, 6.0]))
    with pytest.raises(GraphError, match="'w' was assigned after multiply had used it"):
        y.backward()
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [10, 12])


def test_assign_checks_before_it_writes():
    w = leaf([1.0, 2.0], name="w")
    for value, error, text in (
        (np.zeros(3), ShapeError, r"the value must have the shape of 'w', \(2,\), got \(3,\)"),
        (np.zeros(2, np.float32), DTypeError, "the value must be float64, as 'w' is, got float32"),
    ):
        with pytest.raises(error, match=text):
            w.assign_(value)
    with pytest.raises(GraphError, match="only leaves"):
        (w * 2.0).assign_(1.0)
    np.testing.assert_array_equal(w.numpy(), [1, 2])


def test_wrong_rules_are_named():
    class Short(tg.Op):
        rule = "nothing"

        def forward(self, xp, a, b, out=None):
            return xp.add(a, b)

        def backward(self, dy, y, a, b):
            return (dy,)

    class Misshapen(tg.Op):
        rule = "dx of the wrong shape"

        def forward(self, xp, x, out=None):
            return xp.exp(x)

        def backward(self, dy, y, x):
            return (tg.concatenate([dy, dy]),)

    with pytest.raises(GradientError, match=r"short: backward must return 2 gradients, one per input, got 1"):
        Short()(leaf([1.0]), leaf([1.0])).backward()
    with pytest.raises(GradientError, match=r"misshapen: backward gave a gradient of shape \(4,\)"):
        Misshapen()(leaf([1.0, 2.0])).sum().backward()


def test_a_forward_that_promotes_is_refused():
    class Promotes(tg.Op):
        rule = "dx = dy"

        def forward(self, xp, x, out=None):
            return x.astype("float64")

    with pytest.raises(DTypeError, match="promotes: float32 went in and float64 came out"):
        Promotes()(tg.tensor([1.0]))


def test_gradcheck_names_the_op_the_entry_and_both_values():
    class Wrong(tg.Op):
        rule = "dx = 2 dy x, which is wrong"

        def forward(self, xp, x, out=None):
            return x * x * x

        def backward(self, dy, y, x):
            return (2.0 * dy * x,)

    with pytest.raises(GradientError) as caught:
        tg.gradcheck(lambda t: tg.tanh(Wrong()(t)), np.array([0.5, 0.25]))
    text = str(caught.value)
    assert "input 0 at [0]" in text
    assert "backward rule of wrong is wrong" in text
    ours, numeric = map(
        float, re.search(r"\(input 0 at \[0\]: the rule gives (\S+), central .* give (\S+)\)", text).groups()
    )
    assert ours / numeric == pytest.approx((2 * 0.5) / (3 * 0.5**2))


def test_gradcheck_of_a_network_names_layer_and_parameter_and_restores_it(rng):
    class Wrong(tg.Op):
        rule = "dx = dy, which is wrong"

        def forward(self, xp, x, out=None):
            return x * 2.0

        def backward(self, dy, y, x):
            return (dy,)

    net = tg.nn.Sequential(tg.nn.Dense(3, 2, activation="tanh", seed=0), tg.nn.Dense(2, 2, activation=Wrong(), seed=1))
    before = {name: t.numpy() for name, t in net.named_parameters()}
    with pytest.raises(GradientError, match=r"0\.W at \[0, 0\].*backward rule of wrong in 1 is wrong"):
        tg.gradcheck(net, rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), tg.losses.squared_error)
    for name, t in net.named_parameters():
        assert t.dtype == np.float32
        np.testing.assert_array_equal(t.numpy(), before[name])


def test_detect_anomaly_names_the_first_op():
    with np.errstate(all="ignore"):
        with (
            pytest.raises(AnomalyError, match=r"log of inputs \(2,\) gave -inf at \[1\].*from finite inputs"),
            tg.detect_anomaly(),
        ):
            tg.exp(tg.log(tg.tensor(np.array([1.0, 0.0]))))
        x = leaf([0.0])
        y = tg.log(tg.exp(x) - 1.0 + 1e-300)
        with pytest.raises(AnomalyError), tg.detect_anomaly():
            (y * 1e300).sum().backward()
    tg.log(tg.tensor(np.array([1.0])))


def test_errors_name_the_module():
    net = tg.nn.Sequential(tg.nn.Dense(3, 2), tg.nn.Dense(5, 2))
    with pytest.raises(ShapeError, match=r"^1: matmul: inner sizes differ: \(4, 2\) @ \(5, 2\); 2 != 5$"):
        net(np.zeros((4, 3), np.float32))


def test_mixing_backends_names_both():
    with tg.using("numpy"):
        a = tg.tensor(1.0, name="a")
    with tg.using("strict"):
        b = tg.tensor(1.0, name="b")
    with pytest.raises(tg.BackendError, match=r"'a' on 'numpy', 'b' on 'strict'; move one with \.to\(\"numpy\"\)"):
        a + b
    assert (a + b.to("numpy")).item() == 2


def test_equal_ops_compare_equal_and_hash():
    from tinygraph.ops.activation import Elu

    class Undeclared(tg.Op):
        pass

    op = Undeclared()
    assert Elu(2.0) == Elu(2.0) != Elu(1.0)
    assert op == op != Undeclared()  # what may differ is not known
    assert len({Elu(2.0), Elu(2.0), op, op, Undeclared()}) == 3


@pytest.mark.slow
@pytest.mark.host
def test_a_million_operations_forward_backward_and_freed():
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = -y
    y.backward()
    assert x.grad.item() == 1
    del y
    gc.collect()


@pytest.mark.host
def test_time_is_linear_in_the_length_of_a_chain():
    def seconds(n):
        best = np.inf
        for _ in range(3):
            x = tg.tensor(1.0, requires_grad=True)
            start = time.perf_counter()
            y = x
            for _ in range(n):
                y = -y
            y.backward()
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(40_000) < 16 * seconds(5_000)  # 8 times as long; a quadratic engine would take 64 times


def test_a_wide_graph_orders_by_creation():
    x = leaf(1.0)
    parts = [x * float(i) for i in range(1000)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    total.backward()
    assert x.grad.item() == sum(range(1000))


def test_comparing_with_what_is_no_number_is_plain_false():
    x = leaf([1.0])
    assert (x == None) is False  # noqa: E711
    assert x != "x"
    assert (x == 1.0).item() is True


class _Noise(tg.Op):
    """Adds random numbers that tinygraph does not draw; its rule is right."""

    rule = "dx = dy"
    random = True
    generator = np.random.default_rng(0)

    def forward(self, xp, x, out=None):
        return x + xp.full(x.shape, self.generator.uniform(), x.dtype)

    def backward(self, dy, y, x):
        return (dy,)


def test_gradcheck_blames_no_rule_where_two_calls_differ(rng):
    net = tg.nn.Sequential(tg.nn.Dense(3, 2, activation=_Noise(), seed=0))
    calls = iter(range(1000))
    for check in (
        lambda: tg.gradcheck(net, rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), tg.losses.squared_error),
        lambda: tg.gradcheck(lambda x: x * float(next(calls)), rng.normal(size=3)),
    ):
        with pytest.raises(GradientError, match=r"two calls differ: the same input gives .*draws random numbers") as e:
            check()
        assert "rule" not in str(e.value)
    assert all(t.dtype == np.float32 for t in net.parameters())


def test_gradcheck_computes_in_float64_what_a_function_reaches_and_makes(rng):
    weight, scale = tg.parameter(rng.normal(size=(3, 2)).astype(np.float32)), tg.tensor([0.5, 2.0])
    shift, running = rng.normal(size=2).astype(np.float32), tg.tensor([0.0, 0.0])
    seen = []

    def fn(x):
        z = (x @ weight) * scale + shift
        running.assign_(running + 1.0)
        noise = tg.bernoulli(0.5, (4, 2)) + tg.normal((4, 2)) * tg.uniform(2) + tg.normal(())
        y = z * noise + (z > 0).astype("float32") * running
        seen.append(y.dtype)
        return y

    held = [t.numpy() for t in (weight, scale, running)]
    for x in (rng.normal(size=(4, 3)), rng.normal(size=(4, 3)).astype(np.float32), tg.tensor(rng.normal(size=(4, 3)))):
        seen.clear()
        assert tg.gradcheck(fn, x, second=True) < 1e-6
        assert seen[-1] == np.float64
        for t, before in zip((weight, scale, running), held, strict=True):
            assert t.dtype == np.float32
            np.testing.assert_array_equal(t.numpy(), before)

    def fails(x):
        raise KeyError(x.dtype)

    with pytest.raises(KeyError):
        tg.gradcheck(lambda x: fails(fn(x)), rng.normal(size=(4, 3)))
    assert [t.dtype for t in (weight, scale, running)] == [np.float32] * 3


def test_gradcheck_of_a_module_by_itself_and_inside_no_grad(rng):
    norm = tg.nn.BatchNorm(3)
    before = {name: t.numpy() for name, t in norm.named_tensors()}
    with tg.no_grad():
        assert tg.gradcheck(norm, rng.normal(size=(5, 3))) < 1e-6
    for name, t in norm.named_tensors():
        np.testing.assert_array_equal(t.numpy(), before[name])
    with pytest.raises(ArgumentError, match="gradcheck: fn must return one tensor, got list"):
        tg.gradcheck(lambda x: [x], rng.normal(size=3))
