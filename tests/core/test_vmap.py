"""`vmap` against loops over samples: every operation, gradients inside and outside, nesting, plans, what is refused."""

import functools

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.autodiff import ancestors
from tinygraph.batching import RULES
from tinygraph.errors import ArgumentError, DataError, DTypeError, GraphError, IndexRangeError, ShapeError
from tinygraph.tools.check import cases

B = 4
CASES = cases()
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def loop(fn, *args, in_axes=0):
    """What `vmap` stands for: `fn` of every sample, side by side."""
    args = [np.asarray(x) for x in args]
    axes = [in_axes] * len(args) if isinstance(in_axes, int) else in_axes
    size = next(np.shape(x)[a] for x, a in zip(args, axes, strict=True) if a is not None)
    samples = [[x if a is None else np.take(x, i, a) for x, a in zip(args, axes, strict=True)] for i in range(size)]
    return np.stack([np.asarray(fn(*[tg.tensor(x) for x in sample])) for sample in samples])


def operations(y):
    """The names of the operations in the graph of `y`."""
    return [t.op.name for t in ancestors([y]) if t.op is not None]


@pytest.mark.parametrize("name", CASES)
def test_every_operation_its_gradient_and_the_gradient_of_that_equal_a_loop(name, rng):
    fn, inputs = CASES[name]
    several = [np.stack([x * rng.uniform(0.8, 1.2) for _ in range(B)]) for x in inputs]

    def slopes(*xs):
        y = fn(*xs)
        return tg.grad(tg.sum(tg.cos(y)), list(xs), None)

    def curvature(*xs):
        terms = [tg.sum(tg.sin(g)) for g in slopes(*xs)]
        return functools.reduce(tg.add, terms)

    for in_axes in ({0}, set(range(len(inputs))), {len(inputs) - 1}):
        args = [tg.tensor(several[i] if i in in_axes else x) for i, x in enumerate(inputs)]
        axes = tuple(0 if i in in_axes else None for i in range(len(inputs)))
        mapped = tg.vmap(fn, axes)(*args)
        np.testing.assert_allclose(mapped.numpy(), loop(fn, *args, in_axes=axes), **CLOSE)
        np.testing.assert_allclose(
            tg.vmap(curvature, axes)(*args).numpy(), loop(curvature, *args, in_axes=axes), **CLOSE
        )
        for i, g in enumerate(tg.vmap(slopes, axes)(*args)):  # per sample, and that of their sum from outside
            expected = loop(lambda *xs, i=i: slopes(*xs)[i], *args, in_axes=axes)
            np.testing.assert_allclose(g.numpy(), expected, **CLOSE)
            (outside,) = tg.grad(tg.sum(tg.cos(tg.vmap(fn, axes)(*args))), [args[i]])
            expected = expected if axes[i] == 0 else expected.sum(0)
            np.testing.assert_allclose(outside.numpy(), expected, **CLOSE)


ARRAY, MASK = np.array([[2, 0, 1], [1, 1, 0]]), np.array([True, False, True])
SHARED_INDICES = {
    "slices": lambda x: x[1:, ::2],
    "an integer": lambda x: x[1],
    "integer and slice": lambda x: x[:, -1],
    "a new axis": lambda x: x[None, :, 1:2, None],
    "an ellipsis": lambda x: x[..., 0],
    "an array": lambda x: x[ARRAY],
    "an array behind": lambda x: x[:, ARRAY],
    "arrays": lambda x: x[ARRAY, ARRAY],
    "arrays with a slice between": lambda x: x[ARRAY, :, ARRAY],
    "arrays that broadcast": lambda x: x[ARRAY[0], :, ARRAY],
    "an integer among arrays": lambda x: x[1, :, ARRAY],
    "an array at the end": lambda x: x[..., ARRAY],
    "a new axis between": lambda x: x[ARRAY, None, ARRAY],
    "a mask": lambda x: x[MASK],
    "a mask behind": lambda x: x[:, MASK],
    "a mask and an array": lambda x: x[MASK, :, ARRAY[:, :2]],
    "take": lambda x: tg.take(x, ARRAY, 2),
}
INDICES_OF_SAMPLES = {
    "in front": lambda x, i: x[i],
    "behind": lambda x, i: x[:, i],
    "twice": lambda x, i: x[i, i],
    "with a slice between": lambda x, i: x[i, :, i],
    "at the end": lambda x, i: x[..., i],
    "behind a new axis": lambda x, i: x[None, :, i],
    "with a new axis between": lambda x, i: x[i, None, i],
    "with one they share": lambda x, i: x[i, ARRAY],
    "behind one they share": lambda x, i: x[:, ARRAY, i],
    "with an integer": lambda x, i: x[1, i],
    "with an integer apart": lambda x, i: x[1, :, i],
    "with a mask": lambda x, i: x[MASK, :, i[0, :2]],
    "of one row": lambda x, i: x[:, i[0], ARRAY],
    "take": lambda x, i: tg.take(x, i, 1),
}


@pytest.mark.parametrize("name", SHARED_INDICES)
def test_indices_that_samples_share(name, rng):
    pick, X = SHARED_INDICES[name], rng.normal(size=(B, 3, 3, 3))

    def slope(x):
        return tg.grad(tg.sum(tg.exp(pick(x))), [x])[0]

    np.testing.assert_array_equal(tg.vmap(pick)(X).numpy(), loop(pick, X))
    np.testing.assert_allclose(tg.vmap(slope)(X).numpy(), loop(slope, X), **CLOSE)


@pytest.mark.parametrize("name", INDICES_OF_SAMPLES)
def test_indices_of_each_sample(name, rng):
    pick, X, I = INDICES_OF_SAMPLES[name], rng.normal(size=(B, 3, 3, 3)), rng.integers(-3, 3, (B, 2, 3))

    def slope(x, i):
        return tg.grad(tg.sum(tg.exp(pick(x, i))), [x])[0]

    for axes in ((0, 0), (None, 0)):
        x = X if axes[0] == 0 else X[0]
        np.testing.assert_array_equal(tg.vmap(pick, axes)(x, I).numpy(), loop(pick, x, I, in_axes=axes))
        np.testing.assert_allclose(tg.vmap(slope, axes)(x, I).numpy(), loop(slope, x, I, in_axes=axes), **CLOSE)


def test_indices_and_classes_are_checked_for_every_sample(rng):
    X = rng.normal(size=(3, 5))
    with tg.using("numpy"):  # elsewhere content is not read on the host
        with pytest.raises(IndexRangeError, match=r"index: 7 is outside axis 0 of shape \(5,\)"):
            tg.vmap(lambda x, i: x[i])(X, np.array([[0], [1], [7]]))
        with pytest.raises(DataError, match="class 5 is outside 0 to 4"):
            tg.vmap(lambda x, y: losses.cross_entropy(x.reshape(1, 5), y.reshape(1)))(X, np.array([0, 1, 5]))
        deep = tg.vmap(tg.vmap(lambda x, i: x[i], (None, 0)))
        with pytest.raises(IndexRangeError, match=r"index: 7 is outside axis 0 of shape \(5,\)"):
            deep(X, np.array([[0, 1], [1, 7], [2, 2]]))


@pytest.mark.parametrize("in_axis", [0, 1, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_axes_of_arguments_and_results(in_axis, out_axis, rng):
    X, w = rng.normal(size=(3, 4, 5)), rng.normal(size=2)

    def fn(x, w):
        return tg.tanh(x) * tg.sum(x, 0), w

    mapped, shared = tg.vmap(fn, (in_axis, None), out_axis)(X, w)
    samples = np.moveaxis(X, in_axis, 0)
    expected = np.tanh(samples) * samples.sum(1, keepdims=True)
    np.testing.assert_allclose(mapped.numpy(), np.moveaxis(expected, 0, out_axis))
    np.testing.assert_array_equal(shared.numpy(), np.moveaxis(np.stack([w] * len(samples)), 0, out_axis))


def test_arguments_and_results_that_are_made_of_several(rng):
    X, Y, w = rng.normal(size=(3, 2)), rng.normal(size=(2, 3)), rng.normal(size=2)

    def fn(pair, by_name, scale=1.0):
        (x, y), w = pair, by_name["w"]
        return {"sum": (x + y) * scale, "parts": [x, (w, y @ w)]}

    result = tg.vmap(fn, ((0, 1), None))((X, Y), {"w": tg.tensor(w)}, scale=2.0)
    np.testing.assert_allclose(result["sum"].numpy(), 2 * (X + Y.T))
    x, (shared, product) = result["parts"]
    assert isinstance(result["parts"], list)
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(shared.numpy(), [w] * 3)
    np.testing.assert_allclose(product.numpy(), Y.T @ w)
    by_name = tg.vmap(lambda d: d["a"] * d["b"], ({"a": 0, "b": None},))({"a": X, "b": w})
    np.testing.assert_allclose(by_name.numpy(), X * w)
    assert tg.vmap(lambda x: tg.tensor(2.0), out_axes=None)(X).item() == 2.0


def test_what_is_returned_as_it_was_given_is_another_tensor(rng):
    X = tg.tensor(rng.normal(size=(3, 2)))
    Y = tg.vmap(lambda x: x)(X)
    before = Y.numpy()
    X.assign_(0.0)
    np.testing.assert_array_equal(Y.numpy(), before)


def test_vmap_of_vmap_with_gradients_between(rng):
    X, Y = rng.normal(size=(3, 2)), rng.normal(size=(4, 2))

    def inner(x, y):
        return tg.grad(tg.exp(tg.sum(x * y)) * tg.max(x), [x])[0]

    table = tg.vmap(tg.vmap(inner, (None, 0)), (0, None))(X, Y)
    expected = np.stack([[inner(tg.tensor(x), tg.tensor(y)).numpy() for y in Y] for x in X])
    np.testing.assert_allclose(table.numpy(), expected, **CLOSE)
    other = tg.vmap(tg.vmap(inner, (0, None)), (None, 0), out_axes=1)(X, Y)
    np.testing.assert_allclose(other.numpy(), expected, **CLOSE)
    indices = np.array([[0, 1], [1, 1], [1, 0]])
    picked = tg.vmap(lambda x, row: tg.vmap(lambda i: x[i])(row))(X, indices)
    np.testing.assert_array_equal(picked.numpy(), np.take_along_axis(X, indices, 1))


def test_derivatives_inside(rng):
    X, V = rng.normal(size=(2, B, 3))

    def fn(x):
        return tg.tanh(x) * tg.sum(x * x)

    for inside in (
        lambda x, v: tg.jvp(fn, x, v)[1],
        lambda x, v: tg.vjp(fn, x)[1](v)[0],
        lambda x, v: tg.hvp(tg.sum(fn(x)), x, v),
        lambda x, v: tg.jacobian(fn(x), x),
        lambda x, v: tg.jacobian(fn(x), x, "forward") @ v,
        lambda x, v: tg.hessian_diagonal(tg.sum(fn(x)), x) * v,
    ):
        np.testing.assert_allclose(tg.vmap(inside)(X, V).numpy(), loop(inside, X, V), **CLOSE)


def test_modules_share_their_weights(rng):
    net = nn.Sequential(nn.Dense(3, 5, activation="tanh", seed=0), nn.LayerNorm(5), nn.Dense(5, 2, seed=1))
    X = rng.normal(size=(B, 3))  # float64, which a module converts to the dtype of its weights
    Y = tg.vmap(net)(X)
    assert Y.dtype == np.float32
    np.testing.assert_allclose(Y.numpy(), net(X).numpy(), rtol=1e-6, atol=1e-7)
    (gradient,) = tg.grad(tg.sum(Y * Y), [net.parameters()[0]])
    expected = tg.grad(tg.sum(net(X) * net(X)), [net.parameters()[0]])[0]
    np.testing.assert_allclose(gradient.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert [name for name in operations(Y) if name == "matmul"] == ["matmul"] * 2  # one product a layer


def test_the_graph_of_a_batch_is_drawn_with_its_modules(rng):
    net = nn.Sequential(nn.Dense(3, 5, activation="tanh", seed=0), nn.Dense(5, 2, seed=1))
    X = tg.tensor(rng.normal(size=(B, 3)).astype(np.float32), name="X")
    Y = tg.vmap(net)(X)
    assert {t.scope.path for t in ancestors([Y]) if t.scope is not None} == {"0", "1"}
    assert {t.name for t in ancestors([Y]) if t.name} >= {"X", "z", "y"}
    pictured = tg.graph(Y).to_dot()
    assert "matmul" in pictured
    assert "index" not in pictured  # nothing of the sample on which the function ran


def test_random_numbers_differ_from_sample_to_sample(rng):
    def fn(x):
        return x * tg.bernoulli(0.5, 50, x.dtype) + tg.normal(50, dtype=x.dtype) * tg.uniform(50, dtype=x.dtype)

    X = np.ones((B, 50))
    tg.manual_seed(3)
    first = tg.vmap(fn)(X).numpy()
    tg.manual_seed(3)
    np.testing.assert_array_equal(tg.vmap(fn)(X).numpy(), first)
    again = tg.vmap(fn)(X).numpy()
    rows = [*first, *again]
    assert all(not np.array_equal(a, b) for i, a in enumerate(rows) for b in rows[:i])
    shared = tg.vmap(lambda x: tg.normal(5), out_axes=0)(X).numpy()  # what depends on no argument as well
    assert len(np.unique(shared)) == 5 * B
    deep = tg.vmap(tg.vmap(lambda x: tg.uniform(())))(X).numpy()
    assert len(np.unique(deep)) == deep.size
    dropout = nn.Dropout(0.5, shared=False)
    masks = tg.vmap(dropout)(X).numpy()
    assert len({row.tobytes() for row in masks}) == B
    tg.manual_seed(3)
    same = tg.vmap(fn, randomness="same")(X).numpy()
    tg.manual_seed(3)
    np.testing.assert_array_equal(same, [fn(tg.tensor(X[0])).numpy()] * B)
    with pytest.raises(ArgumentError, match="vmap: randomness"):
        tg.vmap(fn, randomness="error")


class Cube(tg.Op):
    rule = "dx = 3 dy x**2"

    def forward(self, xp, x, out=None):
        return xp.multiply(x * x, x, out=out)

    def backward(self, dy, y, x):
        return (3.0 * dy * x * x,)


class Nonzero(tg.Op):
    """The elements that are not 0."""

    differentiable = False

    def forward(self, xp, x, out=None):
        return x[x != 0]


class Chance(tg.Op):
    random = True
    generator = np.random.default_rng(0)

    def forward(self, xp, x, out=None):
        return x + xp.full(x.shape, self.generator.uniform(), x.dtype)

    def backward(self, dy, y, x):
        return (dy,)


def test_operations_of_ones_own_need_no_rule(rng):
    X = rng.normal(size=(B, 3))

    def slope(x):
        return tg.grad(tg.sum(Cube()(tg.sin(x))), [x])[0]

    np.testing.assert_allclose(tg.vmap(Cube())(X).numpy(), X**3, **CLOSE)
    np.testing.assert_allclose(tg.vmap(slope)(X).numpy(), 3 * np.sin(X) ** 2 * np.cos(X), **CLOSE)
    noise = tg.vmap(Chance())(X).numpy() - X
    assert len(np.unique(noise.round(9))) == B
    with pytest.raises(ArgumentError, match=r"vmap: nonzero gives results of different shapes: \(3,\), \(2,\)"):
        tg.vmap(Nonzero())(np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]))


def test_operations_of_the_library_have_rules():
    known = set(RULES)
    without = set()
    for fn, inputs in CASES.values():
        y = fn(*[tg.tensor(x) for x in inputs])
        points = [t for t in ancestors([y]) if t.op is None]
        slopes = tg.grad(tg.sum(y), [t for t in points if t.requires_grad or t.dtype.kind == "f"][:1])
        for t in ancestors([y, *slopes]):
            if t.op is not None and known.isdisjoint(type(t.op).__mro__):
                without.add(t.op.name)
    assert without <= {"batch_norm"}  # which treats a sample's rows together, and is applied to one after the other


@pytest.mark.parametrize("in_half", [False, True])
def test_losses_of_one_row(in_half, rng):
    dtype = np.float16 if in_half else np.float64
    Z, T = rng.normal(size=(B, 2, 3)).astype(dtype), rng.dirichlet(np.ones(3), (B, 2)).astype(dtype)
    Z[0, 0, 0] = -np.inf
    T[0, 0] = [0, 1, 0]
    close = {"rtol": 2e-3, "atol": 1e-3} if in_half else CLOSE
    for loss in (tg.softmax_cross_entropy, lambda a, b: tg.squared_error(tg.tanh(a), b)):
        np.testing.assert_allclose(tg.vmap(loss)(Z, T).numpy(), loop(loss, Z, T), **close)
        assert tg.vmap(loss)(Z, T).dtype == dtype

        def slope(z, t, loss=loss):
            return tg.grad(loss(z, t), [z])[0]

        np.testing.assert_allclose(tg.vmap(slope)(Z, T).numpy(), loop(slope, Z, T), **close)


def test_compiled_and_of_a_compiled_function(rng):
    net = nn.Sequential(nn.Dense(3, 5, activation="tanh", seed=0), nn.Dropout(0.2), nn.Dense(5, 2, seed=1)).eval()
    X, Y = rng.normal(size=(B, 3)).astype(np.float32), rng.integers(0, 2, B)

    def gradients(x, y):
        return tg.grad(losses.cross_entropy(net(x.reshape(1, 3)), y.reshape(1)), net.parameters())

    mapped = tg.vmap(gradients)
    step = tg.compile(mapped)
    for _ in range(3):
        for a, b in zip(step(X, Y), mapped(X, Y), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)
        X, Y = X[::-1] * 2, Y[::-1].copy()
        net.parameters()[0].assign_(net.parameters()[0] * 0.9)
    inner = tg.compile(lambda x: tg.tanh(x) * tg.sum(x))
    np.testing.assert_allclose(tg.vmap(inner)(X).numpy(), np.tanh(X) * X.sum(1, keepdims=True), rtol=1e-5)
    assert len(tg.compile(tg.vmap(inner))(X).numpy()) == B


def test_without_recording_and_under_a_watcher(rng):
    X = rng.normal(size=(B, 3))
    with tg.no_grad():
        y = tg.vmap(lambda x: tg.exp(x) + x)(X)
    assert y.is_leaf
    np.testing.assert_allclose(y.numpy(), np.exp(X) + X)
    with np.errstate(all="ignore"), tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match=r"log .*\(4, 3\)"):
        tg.vmap(tg.log)(np.concatenate([np.ones((B - 1, 3)), np.zeros((1, 3))]))


def test_printing_shows_the_first_sample(rng):
    shown = []
    tg.vmap(lambda x: shown.append(repr(x)) or x)(np.array([[1.5], [2.5]]))
    assert "1.5" in shown[0]


def test_what_is_refused_is_said_in_one_line(rng):
    X = rng.normal(size=(B, 3))
    W = tg.parameter(np.ones(3), name="W")
    norm = nn.BatchNorm(3, ddof=0, dtype="float64")

    def adds_to_grad(x):
        tg.sum(x * W).backward()
        return x

    def assigns(x):
        W.assign_(x)
        return x

    refused = [
        (
            lambda x: x if tg.sum(x).item() > 0 else -x,
            GraphError,
            r"vmap: item\(\) reads the result of sum on the host",
        ),
        (lambda x: x if x[0] > 0 else -x, GraphError, "which has another value for each sample.*tg.where"),
        (adds_to_grad, GraphError, "vmap: backward .* use tg.grad inside"),
        (assigns, GraphError, "vmap: assign_ to 'W' of what has another value for each sample"),
        (lambda x: norm(x.reshape(1, 3)), GraphError, "vmap: assign_ to .* in evaluation mode"),
        (
            lambda x: x[x > 0],
            ArgumentError,
            r"vmap: index\[array\] picks as many elements as a mask has ones.*tg.where",
        ),
        (lambda x: 1.0, ArgumentError, "vmap: the function must return tensors, got float"),
        (lambda x: x + np.ones(4), ShapeError, r"add: shapes do not broadcast: \(3,\) and \(4,\)"),
        (lambda x: x + tg.tensor(np.ones(3, np.float32)), DTypeError, "add"),
    ]
    for fn, error, words in refused:
        with pytest.raises(error, match=words) as caught:
            tg.vmap(fn)(X)
        assert "\n" not in str(caught.value)
    assert W.grad is None
    for call, error, words in [
        (
            lambda: tg.vmap(tg.add)(X, np.ones((3, 3))),
            ShapeError,
            r"argument 1 of shape \(3, 3\) has 3 samples along axis 0, argument 0 has 4",
        ),
        (lambda: tg.vmap(tg.exp, 2)(X), ShapeError, r"vmap: argument 0: axis 2 is not an axis of shape \(4, 3\)"),
        (lambda: tg.vmap(tg.exp, out_axes=3)(X), ShapeError, r"vmap: out_axes: axis 3 is not an axis"),
        (
            lambda: tg.vmap(tg.exp)(np.ones((0, 3))),
            ShapeError,
            r"argument 0 of shape \(0, 3\) has no samples along axis 0",
        ),
        (lambda: tg.vmap(tg.add)(X, 2.0), ArgumentError, "argument 1 is a float, which has no axis; give None"),
        (
            lambda: tg.vmap(lambda net, x: net(x))(norm, X),
            ArgumentError,
            "argument 0 is a BatchNorm, which has no axis",
        ),
        (lambda: tg.vmap(3), ArgumentError, "vmap: expected a function of one sample, got int"),
        (lambda: tg.vmap(tg.exp, None)(X), ArgumentError, "vmap: nothing to map over"),
        (lambda: tg.vmap(tg.exp, (0, 0))(X), ArgumentError, "in_axes has 2 entries for 1 arguments"),
        (lambda: tg.vmap(tg.exp, out_axes=None)(X), ArgumentError, "out_axes is None for a result that differs"),
        (lambda: tg.vmap(lambda p: p[0], ((0, 0, 0),))((X, X)), ArgumentError, "3 entries for an argument of 2 parts"),
        (lambda: tg.vmap(lambda d: d["a"], ({"b": 0},))({"a": X}), ArgumentError, r"in_axes has entries for \['b'\]"),
    ]:
        with pytest.raises(error, match=words):
            call()


def test_attention_and_orders(rng):
    X = rng.normal(size=(B, 3, 4))
    attend = nn.MultiHeadAttention(4, 2, causal=True, seed=0)
    one = tg.vmap(lambda x: attend(x[None])[0])(X.astype(np.float32)).numpy()
    np.testing.assert_allclose(one, attend(X).numpy(), rtol=1e-5, atol=1e-6)
    for fn in (
        lambda x: tg.sort(x, 0),
        lambda x: tg.sort(x, None, descending=True),
        lambda x: tg.topk(x, 2)[0],
        lambda x: tg.topk(x, 2)[1],
        lambda x: tg.argsort(x, 0),
        lambda x: tg.take_along_axis(x, np.array([[0, 3], [1, 1], [2, 0]]), 1),
        lambda x: tg.argmin(x, 0),
        lambda x: tg.where(tg.causal_mask(x), x, 0.0),
    ):
        np.testing.assert_array_equal(tg.vmap(fn)(X).numpy(), loop(fn, X))
    picked = tg.vmap(lambda i: tg.take_along_axis(tg.tensor(X[0]), i, 1))(np.array([[[0], [1], [2]], [[3], [3], [0]]]))
    np.testing.assert_array_equal(picked.numpy()[:, :, 0], [X[0, [0, 1, 2], [0, 1, 2]], X[0, [0, 1, 2], [3, 3, 0]]])


@pytest.mark.parametrize("copied", [tg.tensor, tg.parameter])
def test_a_copy_of_a_sample_that_would_stand_for_all_is_refused(copied):
    with pytest.raises(tg.GraphError):
        tg.vmap(lambda v: copied(v) * v)(tg.tensor([1.0, 2.0]))


@pytest.mark.host
def test_classes_are_checked_for_every_sample():
    with pytest.raises(tg.IndexRangeError, match="one_hot: index 7 is outside 0 to 2"):
        tg.vmap(lambda i: tg.one_hot(i, 3))(tg.tensor([0, 7]))
