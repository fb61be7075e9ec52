"""Every operation's backward rule against central differences in float64, first and second derivatives."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import tinygraph as tg
from tinygraph.tools.check import cases
from tinygraph.watchers import Watcher, watching

SMOOTH = [tg.negative, tg.exp, tg.square, tg.erf, tg.sigmoid, tg.softplus, tg.tanh, tg.scaled_tanh, tg.identity]
SMOOTH += [tg.expm1, tg.sin, tg.cos, tg.gelu, tg.silu]
KINKED = [tg.abs, tg.sign, tg.relu, tg.leaky_relu, tg.elu, lambda z: tg.two_sided_relu(z, 2.0)]
KINKED += [tg.selu, tg.softsign]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)


def away_from_zero(rng, shape):
    return rng.uniform(0.25, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


@pytest.mark.parametrize("name", cases())
def test_the_cases_of_the_check_command(name):
    function, inputs = cases()[name]
    tg.gradcheck(function, *inputs, second=True)


def test_the_check_command_covers_every_differentiable_op():
    used = set()

    class Kinds(Watcher):
        def made(self, op, inputs, y):
            used.add(type(op))

    with watching(Kinds()):
        for function, inputs in cases().values():
            function(*[tg.tensor(x, requires_grad=True) for x in inputs])

    def ops_below(kind):
        for sub in kind.__subclasses__():
            apart = ("tinygraph.tools.", "tinygraph.parallel.")  # the latter need several processes
            ours = sub.__module__.startswith("tinygraph.") and not sub.__module__.startswith(apart)
            if sub.backward is not tg.Op.backward and sub.rule and ours and sub.differentiable:  # no mere base
                yield sub
            yield from ops_below(sub)

    # Applied by rules, optimisers and recordings only:
    inner = {"SoftmaxCrossEntropySlope", "IndexAdd", "Cast", "SubtractScaled", "EdgeProduct", "Copied", "AddAlongAxis"}
    inner |= {"GridSum", "ScaledSum", "CorrectedRate", "OverRoot"}
    assert {op.__name__ for op in ops_below(tg.Op)} - {op.__name__ for op in used} == inner


@given(shape=shapes, seed=st.integers(0, 1000), function=st.sampled_from(SMOOTH))
def test_smooth_functions(shape, seed, function):
    tg.gradcheck(function, np.random.default_rng(seed).normal(size=shape), second=True)


@given(shape=shapes, seed=st.integers(0, 1000), function=st.sampled_from(KINKED))
def test_functions_with_a_kink_away_from_it(shape, seed, function):
    tg.gradcheck(function, away_from_zero(np.random.default_rng(seed), shape), second=True)


@given(
    pair=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3),
    seed=st.integers(0, 1000),
    function=st.sampled_from([tg.add, tg.subtract, tg.multiply, tg.divide, tg.divide_or_zero]),
)
def test_arithmetic_broadcast(pair, seed, function):
    rng = np.random.default_rng(seed)
    a, b = (away_from_zero(rng, shape) for shape in pair.input_shapes)
    tg.gradcheck(function, a, b, second=True)


@given(pair=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3), seed=st.integers(0, 1000))
def test_power_broadcast(pair, seed):
    rng = np.random.default_rng(seed)
    tg.gradcheck(
        tg.power, rng.uniform(0.5, 2, pair.input_shapes[0]), rng.normal(size=pair.input_shapes[1]), second=True
    )


@given(
    triple=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=2, max_side=3),
    seed=st.integers(0, 1000),
)
def test_where_broadcast(triple, seed):
    rng = np.random.default_rng(seed)
    condition, a, b = (rng.normal(size=shape) for shape in triple.input_shapes)
    tg.gradcheck(lambda x, y: tg.where(condition > 0, x, y), a, b)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=3),
    seed=st.integers(0, 1000),
    name=st.sampled_from(["sum", "prod", "mean", "max", "min", "norm", "var"]),
    data=st.data(),
)
def test_reductions(shape, seed, name, data):
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape)), tuple(range(len(shape)))]))
    keepdims = data.draw(st.booleans())
    x = np.random.default_rng(seed).permutation(np.prod(shape)).reshape(shape) * 0.3 - 0.5
    tg.gradcheck(lambda t: getattr(tg, name)(t, axis, keepdims), x, second=True)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    zeros=st.integers(0, 3),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_products_with_zeros_among_their_factors(shape, zeros, seed, data):
    axis = data.draw(st.sampled_from([None, *range(len(shape)), tuple(range(len(shape)))[::-1]]))
    rng = np.random.default_rng(seed)
    x = away_from_zero(rng, shape)
    x.reshape(-1)[rng.integers(0, x.size, zeros)] = 0.0
    tg.gradcheck(lambda t: tg.prod(t, axis), x, second=True)


def test_the_slope_of_a_product_is_that_of_the_others():
    x = tg.tensor([[2.0, 0.0, 3.0, 5.0, 7.0], [0.0, 1.0, 0.0, 4.0, 2.0]], requires_grad=True)
    (dx,) = tg.grad(tg.prod(x, 1), [x], [1.0, 1.0])
    np.testing.assert_array_equal(dx.numpy(), [[0, 210, 0, 0, 0], [0, 0, 0, 0, 0]])
    (ddx,) = tg.grad(dx[1, 0], [x])
    np.testing.assert_array_equal(ddx.numpy(), [[0, 0, 0, 0, 0], [0, 0, 8, 0, 0]])


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), seed=st.integers(0, 1000), data=st.data())
def test_running_sums(shape, seed, data):
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    tg.gradcheck(lambda t: tg.square(tg.cumsum(t, axis)), np.random.default_rng(seed).normal(size=shape), second=True)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    lead=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=2),
    seed=st.integers(0, 1000),
)
def test_matmul_of_stacks(sizes, lead, seed):
    rng, (m, k, n) = np.random.default_rng(seed), sizes
    a, b = rng.normal(size=(*lead.input_shapes[0], m, k)), rng.normal(size=(*lead.input_shapes[1], k, n))
    tg.gradcheck(tg.matmul, a, b, second=True)


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), seed=st.integers(0, 1000), data=st.data())
def test_indexing(shape, seed, data):
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True) | hnp.integer_array_indices(shape))
    tg.gradcheck(lambda t: tg.square(t[key]), np.random.default_rng(seed).normal(size=shape), second=True)


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=3), seed=st.integers(0, 1000), data=st.data())
def test_softmax_along_any_axis(shape, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(seed).normal(size=shape)
    tg.gradcheck(lambda z: tg.softmax(z, axis), x, second=True)
    tg.gradcheck(lambda z: tg.log_softmax(z, axis), x, second=True)


@given(batch=st.integers(1, 4), classes=st.integers(1, 4), seed=st.integers(0, 1000))
def test_losses(batch, classes, seed):
    rng = np.random.default_rng(seed)
    z, target = rng.normal(size=(batch, classes)), rng.uniform(0.1, 1, (batch, classes))
    tg.gradcheck(tg.softmax_cross_entropy, z, target, second=True)
    tg.gradcheck(tg.squared_error, z, target, second=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", cases())
def test_gradients_keep_the_dtype(name, dtype):
    function, inputs = cases()[name]
    leaves = [tg.tensor(x.astype(dtype), requires_grad=True) for x in inputs]
    y = function(*leaves)
    assert y.dtype == dtype
    y.backward(np.ones(y.shape, dtype))
    for leaf in leaves:
        if leaf.grad is not None:
            assert leaf.grad.dtype == dtype
            assert leaf.grad.shape == leaf.shape


def test_conventions_where_mathematics_leaves_the_derivative_open():
    zero = np.zeros(3, np.float32)
    for function, slope in (
        (tg.relu, 0), (tg.leaky_relu, 0), (lambda z: tg.two_sided_relu(z, 3.0), 0), (tg.abs, 0), (tg.sqrt, 0),
        (lambda z: tg.norm(z), 0), (lambda z: z**0, 0), (lambda z: z**1, 1), (lambda z: z**2, 0), (tg.elu, 1),
        (lambda z: tg.divide_or_zero(z, tg.tensor(zero)), 0),
    ):  # fmt: skip
        x = tg.tensor(zero, requires_grad=True)
        y = function(x)
        (first,) = tg.grad(y, [x], np.ones(y.shape, np.float32))
        np.testing.assert_array_equal(first.numpy(), np.full(3, slope, np.float32))
        (second,) = tg.grad(tg.sum(first * first) + tg.sum(x), [x])
        assert np.isfinite(second.numpy()).all()


def test_equal_maxima_share_the_gradient():
    x = tg.tensor(np.array([2.0, 1.0, 2.0]), requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, 0, 0.5])
    a, b = (tg.tensor(np.array([1.0]), requires_grad=True) for _ in range(2))
    tg.maximum(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)
