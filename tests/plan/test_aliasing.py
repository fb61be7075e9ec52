"""One memory under several names: arguments given twice, given and reached, overlapping; results that share it."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import CompileError

pytestmark = pytest.mark.host


def leaf(*numbers, **options):
    return tg.tensor(np.array(numbers, np.float32), requires_grad=True, **options)


def both(make, calls=3):
    """Return what a function and its compiled twin give in several calls, each on a world of its own."""
    outcomes = []
    for compiled in (False, True):
        function, arguments, look = make()
        run = tg.compile(function, check=True) if compiled else function
        outcomes.append([[np.array(x) for x in (run(*arguments(n)), *look())] for n in range(calls)])
    return outcomes


def assert_as_itself(make, calls=3):
    for itself, compiled in zip(*both(make, calls), strict=True):
        for a, b in zip(itself, compiled, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6)


def given_twice():
    a = leaf(1, 2)

    def f(u, v):
        loss = (u * v * 3.0 + u).sum()
        loss.backward()
        return loss

    return f, lambda n: (a, a), lambda: [a.grad]


def given_twice_then_not():
    a, b = leaf(1, 2), leaf(3, 4)

    def f(u, v):
        loss = (u * v).sum()
        (gradient,) = tg.grad(loss, [u])
        return gradient

    return f, lambda n: (a, a) if n % 2 else (a, b), lambda: []


def given_twice_inside_containers():
    a = leaf(1, 2)

    def f(parts):
        loss = (parts["u"] * parts["v"][0]).sum()
        loss.backward()
        return loss

    return f, lambda n: ({"u": a, "v": [a]},), lambda: [a.grad]


def given_and_reached():
    a = leaf(1, 2)

    def f(u):
        loss = (u * a).sum()
        loss.backward()
        return loss

    return f, lambda n: (a,), lambda: [a.grad]


def reached_at_the_second_call_only():
    a, b = leaf(1, 2), leaf(5, 6)

    def f(u):
        loss = (u * a).sum()
        loss.backward()
        return loss

    return f, lambda n: (b if n == 0 else a,), lambda: [a.grad, *([b.grad] if b.grad is not None else [])]


def assigned_through_another_name():
    W = tg.parameter([1.0, 2.0])

    def f(w):
        W.assign_(W * 2.0)
        return w * 1.0

    return f, lambda n: (W,), lambda: [W]


def assigned_through_a_detached_twin():
    W = tg.parameter([1.0, 2.0])
    twin = W.detach()

    def f(w):
        W.assign_(W * 2.0)
        return w * 1.0

    return f, lambda n: (twin,), lambda: [W, twin]


def assigned_itself():
    a = tg.tensor([1.0, 2.0])

    def f(u):
        u.assign_(u * 2.0)
        return u + 1.0

    return f, lambda n: (a,), lambda: [a]


def two_are_swapped():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])

    def f(u, v):
        u.assign_(v)
        v.assign_(u * 2.0)
        return u + v

    return f, lambda n: (a, b) if n != 1 else (b, a), lambda: [a, b]


def a_leaf_takes_a_view():
    p, q = tg.parameter(np.zeros((2, 2))), tg.tensor(np.full((2, 2), 9.0))

    def f(x):
        p.assign_(x.T)
        v = p[:, 1:] * 1.0
        p.assign_(q)
        return v

    return f, lambda n: (tg.tensor(np.arange(4.0).reshape(2, 2) + n),), lambda: [p]


def an_array_given_twice():
    a = np.ones(3, np.float32)
    W = tg.parameter([1.0, 2.0, 3.0])

    def f(u, v):
        return W * u + v

    return f, lambda n: (a, a), lambda: []


def views_of_one_array():
    a = np.arange(6, dtype=np.float32)
    W = tg.parameter([1.0, 2.0, 3.0])

    def f(u, v):
        return W * u + v

    return f, lambda n: (a[n : n + 3], a[:3]), lambda: []


WORLDS = [
    given_twice,
    given_twice_then_not,
    given_twice_inside_containers,
    given_and_reached,
    reached_at_the_second_call_only,
    assigned_through_another_name,
    assigned_through_a_detached_twin,
    assigned_itself,
    two_are_swapped,
    a_leaf_takes_a_view,
    an_array_given_twice,
    views_of_one_array,
]


@pytest.mark.parametrize("make", WORLDS)
def test_a_tensor_under_two_names_is_one_tensor(make):
    assert_as_itself(make)


def test_a_tensor_assigned_that_is_another_at_each_call_is_assigned():
    fast = tg.compile(lambda u: u.assign_(u + 1.0))
    for n in range(3):
        t = tg.tensor([float(n)])
        assert fast(t) is t
        assert float(t) == n + 1


@pytest.mark.parametrize("recorded_with_it", [True, False])
def test_an_argument_that_shares_memory_with_what_is_assigned(recorded_with_it):
    """A view keeps its value; of an array of the host's, nobody knows that it is one, and it is refused."""
    W = tg.parameter(np.ones((4, 2)), name="W")
    with tg.no_grad():
        rows = W[1:3]

    def f(x):
        W.assign_(W * 2.0)
        return x.sum() if isinstance(x, tg.Tensor) else x

    fast = tg.compile(f)
    if not recorded_with_it:
        fast(tg.tensor(np.ones((2, 2))))
    assert float(fast(rows)) == 4.0
    assert float(fast(rows)) == 4.0
    before = W.numpy()
    with pytest.raises(CompileError, match="shares memory with 'W', which the function assigns; use a copy") as error:
        fast(W.data[1:3])
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(W.numpy(), before)


@pytest.mark.parametrize("first", [True, False])
def test_a_view_that_is_reached_keeps_its_value(first):
    W = tg.parameter(np.ones((4, 2)), name="W")
    seen = [W[1:3], W.T[:, 1:3].T]
    with tg.no_grad():
        seen.append(W[1:3])
    seen.append(tg.identity(W))

    def f(x):
        early = seen[0] * 1.0 if first else x
        W.assign_(W * 2.0)
        return [x[0] * rows for rows in seen], early

    fast = tg.compile(f)
    for _ in range(3):
        for y in fast(tg.tensor(np.ones((2, 2))))[0]:
            np.testing.assert_array_equal(y.numpy(), np.ones(y.shape))
    np.testing.assert_array_equal(W.numpy(), np.full((4, 2), 8.0))


def test_an_array_that_is_reached_and_shares_memory_with_what_is_assigned_is_refused():
    W = tg.parameter(np.ones((4, 2)), name="W")
    rows = W.data[1:3]

    def f(x):
        W.assign_(W * 2.0)
        return x * rows

    with pytest.raises(CompileError, match="shares memory with 'W', which the function assigns; use a copy"):
        tg.compile(f)(tg.tensor(np.ones((2, 2))))
    np.testing.assert_array_equal(W.numpy(), np.ones((4, 2)))
    last = tg.tensor(np.ones((4, 2)))
    with tg.no_grad():
        apart = [last[:2], last[2:]]

    def g(x):
        apart[0].assign_(apart[0] + x)
        return apart[1] * x

    assert_as_itself(lambda: (g, lambda n: (tg.tensor(np.ones((2, 2))),), lambda: [last[2:]]))


def test_leaves_that_come_to_share_memory():
    a, b = tg.parameter([1.0, 2.0]), tg.parameter([5.0, 5.0])

    def f():
        a.assign_(a + 1.0)
        return b * 1.0

    fast, own = tg.compile(f), b.data
    for n in range(6):
        b.data = a.data if n % 2 else own
        np.testing.assert_array_equal(fast().numpy(), a.numpy() if n % 2 else [5.0, 5.0])


def test_an_argument_that_is_no_leaf_says_so():
    W = tg.parameter([1.0])
    fast = tg.compile(lambda x: x * 2.0 if x.is_leaf else x * 3.0)
    for x in (W, W * 1.0, W, W * 1.0):
        assert fast(x).item() == (2.0 if x.is_leaf else 3.0)


def test_assigning_an_array_among_the_arguments_is_refused():
    with pytest.raises(CompileError, match="an argument, would change a copy"):
        tg.compile(lambda x: x.assign_(x + 1.0))(np.ones(3, np.float32))


def test_a_result_of_an_operation_is_not_assigned():
    W = tg.parameter([1.0])
    for f in (lambda x: x.assign_(2.0), tg.compile(lambda x: x.assign_(2.0))):
        with pytest.raises(tg.GraphError, match="only leaves can be assigned; this tensor was made by multiply"):
            f(W * 2.0)


def test_a_gradient_that_would_flow_out_of_the_compiled_function_is_refused():
    W, V = tg.parameter([1.0, 2.0]), tg.parameter([1.0, 1.0])

    @tg.compile
    def f(x):
        loss = (x * x * V).sum()
        loss.backward()
        return loss

    with pytest.raises(CompileError, match=r"goes through the result of multiply, an argument.*detach"):
        f(W * 3.0)
    assert W.grad is None
    np.testing.assert_array_equal(f((W * 3.0).detach()).numpy(), 45.0)


def test_results_share_memory_as_those_of_the_function_do():
    W = tg.parameter(np.arange(6.0).reshape(2, 3))
    b = tg.tensor([1.0, 2.0])

    def f(x):
        y = x * 2.0
        return {
            "leaf": W,
            "of a leaf": W.T[1:],
            "x": x,
            "of x": x.T,
            "y": y,
            "of y": y.T,
            "twice": (y, y),
            "more": y[0],
        }

    def pairs(results, x):
        named = {**results, "W": W, "given": x, "b": b}
        flat = {k: t.data for k, t in named.items() if isinstance(t, tg.Tensor)}
        return {(m, n) for m in flat for n in flat if np.shares_memory(flat[m], flat[n])}

    fast = tg.compile(f)
    for _ in range(2):
        x = tg.tensor(np.ones((2, 3)))
        itself, compiled = f(x), fast(x)
        assert pairs(itself, x) == pairs(compiled, x)
        assert compiled["leaf"] is W
        assert compiled["x"] is x
        assert compiled["twice"][0] is compiled["twice"][1] is compiled["y"]
        for key in ("of a leaf", "of x", "of y", "more"):
            np.testing.assert_array_equal(compiled[key].numpy(), itself[key].numpy())
    seen, before = compiled["of a leaf"], W.numpy().T[1:].copy()
    W.assign_(W * 10.0)
    np.testing.assert_array_equal(seen.numpy(), before)


def test_an_array_that_is_returned_is_that_array():
    fast, a = tg.compile(lambda x: (x, x * 2.0)), np.ones(3)
    assert fast(a)[0] is a


def test_results_of_one_call_do_not_share_memory_with_those_of_the_next():
    fast = tg.compile(lambda x: (x * 2.0, (x * 3.0).T))
    first = fast(tg.tensor([[1.0, 2.0]]))
    fast(tg.tensor([[5.0, 6.0]]))
    np.testing.assert_array_equal(first[0].numpy(), [[2.0, 4.0]])
    np.testing.assert_array_equal(first[1].numpy(), [[3.0], [6.0]])
