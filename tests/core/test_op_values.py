"""Every operation's value against NumPy or a formula in plain Python, over random shapes and dtypes."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import tinygraph as tg
from tinygraph.errors import ShapeError
from tinygraph.operand_checks import check_broadcast

dtypes = st.sampled_from([np.float32, np.float64])
shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)


def arrays(shape=shapes, low=-5.0, high=5.0):
    def build(dtype):
        width = 32 if dtype is np.float32 else 64
        numbers = st.floats(low, high, width=width, allow_subnormal=False)
        return hnp.arrays(dtype, shape, elements=numbers)

    return dtypes.flatmap(build)


A, B = 2.0 / 3.0, 1.0 / math.tanh(2.0 / 3.0)
UNARY = {
    "negative": (tg.negative, lambda v: -v),
    "exp": (tg.exp, math.exp),
    "abs": (tg.abs, abs),
    "sign": (tg.sign, lambda v: (v > 0) - (v < 0)),
    "square": (tg.square, lambda v: v * v),
    "erf": (tg.erf, math.erf),
    "sigmoid": (tg.sigmoid, lambda v: 1 / (1 + math.exp(-v))),
    "softplus": (tg.softplus, lambda v: math.log(1 + math.exp(v))),
    "tanh": (tg.tanh, lambda v: (math.exp(v) - math.exp(-v)) / (math.exp(v) + math.exp(-v))),
    "scaled_tanh": (tg.scaled_tanh, lambda v: B * math.tanh(A * v)),
    "relu": (tg.relu, lambda v: max(0.0, v)),
    "leaky_relu": (tg.leaky_relu, lambda v: v if v > 0 else 0.01 * v),
    "leaky_relu slope": (lambda x: tg.leaky_relu(x, slope=0.2), lambda v: v if v > 0 else 0.2 * v),
    "two_sided_relu": (lambda x: tg.two_sided_relu(x, -0.5), lambda v: max(0, v) - 0.5 * min(0, v)),
    "elu": (lambda x: tg.elu(x, alpha=1.3), lambda v: v if v > 0 else 1.3 * (math.exp(v) - 1)),
    "expm1": (tg.expm1, math.expm1),
    "sin": (tg.sin, math.sin),
    "cos": (tg.cos, math.cos),
    "selu": (tg.selu, lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1))),
    "gelu": (tg.gelu, lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2),
    "silu": (tg.silu, lambda v: v / (1 + math.exp(-v))),
    "softsign": (tg.softsign, lambda v: v / (1 + abs(v))),
    "identity": (tg.identity, lambda v: v),
    "clip": (lambda x: tg.clip(x, -1, 2), lambda v: min(2, max(-1, v))),
}
POSITIVE = {"log": (tg.log, math.log), "log1p": (tg.log1p, math.log1p), "sqrt": (tg.sqrt, math.sqrt)}


def assert_entries(y, x, formula):
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    expected = np.array([formula(float(v)) for v in x.ravel()]).reshape(x.shape)
    np.testing.assert_allclose(
        y.numpy(),
        expected,
        rtol=2e-6 if x.dtype == np.float32 else 1e-12,
        atol=1e-6 if x.dtype == np.float32 else 1e-14,
    )


@pytest.mark.parametrize("name", UNARY)
@given(x=arrays())
def test_unary(name, x):
    function, formula = UNARY[name]
    before = x.copy()
    assert_entries(function(tg.tensor(x)), x, formula)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", POSITIVE)
@given(x=arrays(low=0.125, high=8.0))
def test_unary_of_positive_numbers(name, x):
    function, formula = POSITIVE[name]
    assert_entries(function(tg.tensor(x)), x, formula)


BINARY = {
    "add": (tg.add, np.add),
    "subtract": (tg.subtract, np.subtract),
    "multiply": (tg.multiply, np.multiply),
    "divide": (tg.divide, np.divide),
    "maximum": (tg.maximum, np.maximum),
    "minimum": (tg.minimum, np.minimum),
    "power": (tg.power, np.power),
    "less": (tg.less, np.less),
    "less_equal": (tg.less_equal, np.less_equal),
    "greater": (tg.greater, np.greater),
    "greater_equal": (tg.greater_equal, np.greater_equal),
    "equal": (tg.equal, np.equal),
    "not_equal": (tg.not_equal, np.not_equal),
}


@pytest.mark.parametrize("name", BINARY)
@given(
    pair=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), seed=st.integers(0, 99), dtype=dtypes
)
def test_binary_broadcasts_as_numpy(name, pair, seed, dtype):
    function, oracle = BINARY[name]
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(1, 9, s).astype(dtype) / 4 for s in pair.input_shapes)
    y = function(tg.tensor(a), tg.tensor(b))
    np.testing.assert_allclose(y.numpy(), oracle(a, b), rtol=1e-6)
    assert y.shape == pair.result_shape
    assert y.dtype == np.asarray(oracle(a, b)).dtype


@given(x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)), data=st.data())
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "norm"])
def test_reductions(name, x, data):
    axes = [None, *range(-x.ndim, x.ndim), tuple(range(x.ndim))]
    axis, keepdims = data.draw(st.sampled_from(axes)), data.draw(st.booleans())
    wide = x.astype(np.float64)
    oracle = {
        "sum": lambda: wide.sum(axis=axis, keepdims=keepdims),
        "mean": lambda: wide.mean(axis=axis, keepdims=keepdims),
        "max": lambda: wide.max(axis=axis, keepdims=keepdims),
        "min": lambda: wide.min(axis=axis, keepdims=keepdims),
        "var": lambda: wide.var(axis=axis, keepdims=keepdims),
        "norm": lambda: np.sqrt((wide**2).sum(axis=axis, keepdims=keepdims)),
    }[name]()
    y = getattr(tg, name)(tg.tensor(x), axis, keepdims)
    assert y.dtype == x.dtype
    assert y.shape == oracle.shape
    np.testing.assert_allclose(y.numpy(), oracle, rtol=1e-5 if x.dtype == np.float32 else 1e-12, atol=1e-5)


@given(x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), low=-50, high=50), data=st.data())
def test_softmax_in_plain_loops(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    rows = np.moveaxis(x.astype(np.float64), axis, -1)
    expected = np.empty_like(rows)
    for at in np.ndindex(rows.shape[:-1]):
        total = sum(math.exp(v) for v in rows[at])
        expected[at] = [math.exp(v) / total for v in rows[at]]
    expected = np.moveaxis(expected, -1, axis)
    y, log_y = tg.softmax(tg.tensor(x), axis), tg.log_softmax(tg.tensor(x), axis)
    assert y.dtype == log_y.dtype == x.dtype
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4 if x.dtype == np.float32 else 1e-10, atol=1e-30)
    np.testing.assert_allclose(
        np.exp(log_y.numpy()), expected, rtol=1e-3 if x.dtype == np.float32 else 1e-9, atol=1e-30
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_at_ten_thousand(dtype):
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    for function in (tg.softmax, tg.log_softmax, tg.sigmoid, tg.softplus, tg.tanh, tg.elu):
        x = tg.tensor(z, requires_grad=True)
        y = function(x)
        (first,) = tg.grad(y, [x], np.ones_like(z))
        (second,) = tg.grad(tg.sum(first * first) + tg.sum(y), [x])
        for t in (y, first, second):
            assert np.isfinite(t.numpy()).all(), function
            assert t.dtype == dtype


@given(
    shapes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    lead=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3),
    dtype=dtypes,
)
def test_matmul(shapes, lead, dtype):
    m, k, n = shapes
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    a = rng.normal(size=(*lead.input_shapes[0], m, k)).astype(dtype)
    b = rng.normal(size=(*lead.input_shapes[1], k, n)).astype(dtype)
    y = tg.tensor(a) @ tg.tensor(b)
    assert y.dtype == dtype
    expected = np.einsum("...ij,...jk->...ik", a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-5)


def test_matmul_of_vectors(rng):
    a, b, c = rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
    ta, tb, tc = tg.tensor(a), tg.tensor(b), tg.tensor(c)
    np.testing.assert_allclose((ta @ tb).numpy(), a @ b)
    np.testing.assert_allclose((tc @ ta).numpy(), c @ a)
    np.testing.assert_allclose((ta @ ta).numpy(), a @ a)


def test_matmul_of_views_is_right_whatever_their_layout(rng):
    base = rng.normal(size=(6, 8))
    for a in (base[::2, ::2], base[:, ::-2].T[::-1].T, base.T[2:6, :].T, base[:, 1:5]):
        b = rng.normal(size=(a.shape[1], 3))
        x = tg.tensor(np.zeros_like(a))
        x.data = x.backend.asarray(a)
        np.testing.assert_allclose((x @ tg.tensor(b)).numpy(), a @ b, rtol=1e-12)


def test_matmul_of_integers_and_empty():
    np.testing.assert_array_equal((tg.tensor([[1, 2]]) @ tg.tensor([[3], [4]])).numpy(), [[11]])
    assert (tg.tensor(np.zeros((0, 3))) @ tg.tensor(np.zeros((3, 2)))).shape == (0, 2)
    np.testing.assert_array_equal((tg.tensor(np.zeros((2, 0))) @ tg.tensor(np.zeros((0, 2)))).numpy(), np.zeros((2, 2)))


def test_bias_is_subtracted():
    np.testing.assert_array_equal(tg.bias(tg.tensor([[1.0, 2.0]]), tg.tensor([0.5, 3.0])).numpy(), [[0.5, -1.0]])


@given(x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)), data=st.data())
def test_indexing_as_numpy(x, data):
    key = data.draw(
        hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True)
        | hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    )
    y = tg.tensor(x)[key]
    np.testing.assert_array_equal(y.numpy(), x[key])


def test_indexing_with_truth_values_and_tensors(rng):
    x = rng.normal(size=(4, 3))
    t = tg.tensor(x)
    np.testing.assert_array_equal(t[x > 0].numpy(), x[x > 0])
    np.testing.assert_array_equal(t[tg.tensor([2, 0, 2])].numpy(), x[[2, 0, 2]])
    np.testing.assert_array_equal(tg.take(t, [[0, 1], [1, 2]], axis=1).numpy(), np.take(x, [[0, 1], [1, 2]], 1))


def test_shapes_as_numpy(rng):
    x = rng.normal(size=(2, 3, 4))
    t = tg.tensor(x)
    np.testing.assert_array_equal(t.T.numpy(), x.T)
    np.testing.assert_array_equal(t.transpose(1, 0, 2).numpy(), x.transpose(1, 0, 2))
    np.testing.assert_array_equal(t.reshape(6, -1).numpy(), x.reshape(6, -1))
    np.testing.assert_array_equal(t.reshape((4, 6)).numpy(), x.reshape(4, 6))
    np.testing.assert_array_equal(tg.concatenate([t, t], 1).numpy(), np.concatenate([x, x], 1))
    np.testing.assert_array_equal(tg.stack([t, t], -1).numpy(), np.stack([x, x], -1))
    for ours, theirs in zip(tg.split(t, [1, 3], 2), np.split(x, [1, 3], 2), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    np.testing.assert_array_equal(
        tg.pad(t, [1, (0, 2), 0], 7).numpy(), np.pad(x, [(1, 1), (0, 2), (0, 0)], constant_values=7)
    )
    np.testing.assert_array_equal(tg.broadcast_to(t, (5, 2, 3, 4)).numpy(), np.broadcast_to(x, (5, 2, 3, 4)))
    np.testing.assert_array_equal(tg.argmax(t, 1).numpy(), x.argmax(1))


def test_axes_exchanged_joined_added_and_dropped_as_numpy(rng):
    x = rng.normal(size=(2, 1, 3, 1))
    t = tg.tensor(x)
    for i in range(-4, 4):
        for j in range(-4, 4):
            np.testing.assert_array_equal(tg.swapaxes(t, i, j).numpy(), np.swapaxes(x, i, j))
    for axis in (None, 1, -1, (1, 3), (-1, 1), ()):
        np.testing.assert_array_equal(tg.squeeze(t, axis).numpy(), np.squeeze(x, axis))
    for axis in (0, -1, 4, (0, 2), (-1, 0), [1, 2], ()):
        np.testing.assert_array_equal(
            tg.expand_dims(t, axis).numpy(), np.expand_dims(x, tuple(np.atleast_1d(axis).astype(int)))
        )
    for axes, shape in {(): (6,), (1,): (2, 3), (1, 2): (2, 3, 1), (-3, -2): (2, 3, 1), (0, 0): (2, 1, 3, 1)}.items():
        np.testing.assert_array_equal(tg.flatten(t, *axes).numpy(), x.reshape(shape))
    assert tg.flatten(2.0).shape == (1,)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (4, 1), (2, 3, 4), (0, 3)])
def test_triangles_as_numpy(shape, dtype, rng):
    x = (rng.normal(size=shape) * 3).astype(dtype)
    for k in (-2, 0, 1, 7):
        for f, g in ((tg.tril, np.tril), (tg.triu, np.triu)):
            compiled = tg.compile(lambda t, f=f, k=k: f(t, k))(tg.tensor(x))
            for y in (f(tg.tensor(x), k), compiled):
                assert y.dtype == dtype
                np.testing.assert_array_equal(y.numpy(), g(x, k))


def test_a_triangle_keeps_nothing_of_what_it_leaves_out():
    x = tg.tensor([[1.0, float("nan")], [2.0, float("inf")]], requires_grad=True)
    np.testing.assert_array_equal(tg.tril(x)[:, 0].numpy(), [1, 2])
    assert tg.tril(x)[0, 1].item() == 0
    (dx,) = tg.grad(tg.sum(tg.tril(x, -1)), [x])
    np.testing.assert_array_equal(dx.numpy(), [[0, 0], [1, 0]])


TRUTH = np.array([[True, True], [False, False]]), np.array([True, False])


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_as_numpy(name):
    expected = getattr(np, name)(*TRUTH)
    a, b = map(tg.tensor, TRUTH)
    operators = {"logical_and": lambda p, q: p & q, "logical_or": lambda p, q: p | q, "logical_xor": lambda p, q: p ^ q}
    f = operators[name]
    for y in (getattr(tg, name)(a, b), f(a, b), f(a, TRUTH[1]), f(TRUTH[0], b), tg.compile(f)(a, b)):
        assert y.dtype == bool
        np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(f(True, a).numpy(), getattr(np, name)(True, TRUTH[0]))
    assert (
        tg.grad(tg.sum(tg.where(f(a, b), c := tg.tensor(2.0, requires_grad=True), 0.0)), [c])[0].item()
        == expected.sum()
    )


def test_the_opposite():
    a = tg.tensor(TRUTH[0])
    for y in (~a, tg.logical_not(a), tg.compile(lambda t: ~t)(a)):
        np.testing.assert_array_equal(y.numpy(), ~TRUTH[0])


@pytest.mark.parametrize("x", [[1, 0], [1.0, 0.0]])
def test_logic_of_numbers_is_refused(x):
    for f in (
        lambda t: ~t,
        lambda t: t & t,
        lambda t: tg.tensor([True]) | t,
        lambda t: t ^ True,
        lambda t: 1 & (t > 0),
    ):
        with pytest.raises(tg.DTypeError, match=r"logical_\w+: expected truth values, got \w+; compare first"):
            f(tg.tensor(x))


def test_the_mean_of_truth_values_is_the_share_of_those_that_hold(rng):
    x = rng.normal(size=(3, 5)) > 0.2
    for axis in (None, 0, 1):
        for y in (
            tg.mean(tg.tensor(x), axis),
            tg.tensor(x).mean(axis),
            tg.compile(lambda t, a=axis: t.mean(a))(tg.tensor(x)),
        ):
            assert y.dtype == np.float32
            np.testing.assert_allclose(y.numpy(), x.mean(axis), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, bool])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (3, 0), (2, 3, 2), (1,)])
def test_products_running_sums_and_places_as_numpy(shape, dtype, rng):
    x = (rng.normal(size=shape) * 2).astype(dtype)
    t = tg.tensor(x)
    for axis in (None, *range(len(shape))):
        for f, g in ((tg.prod, np.prod), (tg.cumsum, np.cumsum), (tg.argmin, np.argmin), (tg.argmax, np.argmax)):
            if f in (tg.argmin, tg.argmax) and not x.shape[axis or 0]:
                continue
            if f in (tg.argmin, tg.argmax) and axis is None and not x.size:
                with pytest.raises(ShapeError, match="no elements"):
                    f(t, axis)
                continue
            expected = g(x, axis)
            y = tg.compile(lambda t, f=f, axis=axis: f(t, axis))(t)
            assert f(t, axis).dtype == y.dtype == expected.dtype
            np.testing.assert_allclose(f(t, axis).numpy(), expected, rtol=2e-2 if dtype is np.float16 else 1e-6)
            np.testing.assert_allclose(y.numpy(), f(t, axis).numpy(), rtol=1e-6)


def test_the_first_of_equals_and_not_a_number_are_the_smallest():
    t = tg.tensor([[2.0, 1.0, 1.0, 3.0], [2.0, float("nan"), 1.0, float("nan")]])
    np.testing.assert_array_equal(tg.argmin(t).numpy(), [1, 1])
    assert tg.argmin(t, None).item() == 5


def test_where_takes_the_dtype_of_its_tensor():
    x = tg.tensor(np.array([1.0, -1.0]))
    y = tg.where(x > 0, x, 0.0)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y.numpy(), [1, 0])


def test_norm_neither_overflows_nor_underflows():
    assert tg.norm(tg.tensor(np.array([3e200, 4e200]))).item() == pytest.approx(5e200)
    assert tg.norm(tg.tensor(np.array([3e-200, 4e-200]))).item() == pytest.approx(5e-200)


def test_operators_take_numbers_and_arrays_on_either_side():
    x, a = tg.tensor(np.array([1.0, 2.0], np.float32)), np.array([3.0, 5.0], np.float32)
    for ours, theirs in (
        (a + x, [4, 7]), (x + a, [4, 7]), (a - x, [2, 3]), (2 - x, [1, 0]), (2 * x, [2, 4]), (x / 2, [0.5, 1]),
        (2 / x, [2, 1]), (x**2, [1, 4]), (2**x, [2, 4]), (-x, [-1, -2]), (abs(-x), [1, 2]), (a * x, [3, 10]),
        (np.float64(2) * x, [2, 4]), (+x, [1, 2]), (np.array(2.0) * x, [2, 4]),
    ):  # fmt: skip
        assert isinstance(ours, tg.Tensor)
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours.numpy(), np.float32(theirs))


@pytest.mark.host
def test_shapes_are_refused_where_numpy_refuses_them_and_the_axis_is_named():
    shapes = [s for rank in range(3) for s in itertools.product((0, 1, 2, 3), repeat=rank)]
    tensors = {s: tg.tensor(np.ones(s, np.float32)) for s in shapes}
    refused = 0
    for three in itertools.product(shapes, repeat=3):
        inputs = tuple(tensors[s] for s in three)
        try:
            np.broadcast_shapes(*three)
        except ValueError:
            refused += 1
            axis, lengths = next(
                (a, sorted(n)) for a in (-1, -2) if len(n := {s[a] for s in three if len(s) >= -a} - {1}) > 1
            )
            told = f"add: shapes do not broadcast: {' and '.join(map(str, three))}; axis {axis} has "
            with pytest.raises(ShapeError) as error:
                check_broadcast(tg.add.op, inputs)
            assert str(error.value) == f"{told}{' and '.join(map(str, lengths))}, but lengths must be equal or 1"
        else:
            check_broadcast(tg.add.op, inputs)
    assert 0 < refused < len(shapes) ** 3


def test_power_two_sided_zero_of_negative_zero_keeps_its_sign():
    x = tg.tensor(np.array([1.0, -1.0]))
    assert np.signbit((x * 0.0).numpy()).tolist() == [False, True]
    assert np.signbit((x * -0.0).numpy()).tolist() == [True, False]
