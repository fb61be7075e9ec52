"""Sorting, the largest elements, and picking along an axis: against plain Python, with their gradients."""

import functools
import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

SHAPES = [(5,), (3, 4), (2, 3, 4), (1, 1), (3, 0), (0, 3), (2, 40)]
DTYPES = [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, bool]


def compare(a, b):
    """Whether a stands before b (-1), behind it (1), or they are equal; NaN behind all."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) - math.isnan(b)
    return (a > b) - (a < b)


def order(row, descending):
    sign = -1 if descending else 1
    return sorted(range(len(row)), key=functools.cmp_to_key(lambda i, j: sign * compare(row[i], row[j])))


def numbers(shape, dtype, seed=0):
    """Numbers of which many are equal, some infinite and some NaN."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[rng.random(shape) < 0.2] = np.nan
        x[rng.random(shape) < 0.1] = -np.inf
    return x


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_orders_are_those_of_plain_python(shape, dtype, descending):
    x = numbers(shape, dtype)
    t = tg.tensor(x)
    for axis in (None, *range(-len(shape), len(shape))):
        rows = np.moveaxis(x.reshape(-1) if axis is None else x, -1 if axis is None else axis, -1)
        places = np.zeros(rows.shape, np.int64)
        for at in np.ndindex(rows.shape[:-1]):
            places[at] = order(rows[at].tolist(), descending)
        values = np.take_along_axis(rows, places, -1)
        if axis is not None:
            places, values = (np.moveaxis(a, -1, axis) for a in (places, values))
        indices, ordered = tg.argsort(t, axis, descending), tg.sort(t, axis, descending)
        assert (indices.dtype, ordered.dtype) == (np.int64, dtype)
        np.testing.assert_array_equal(indices.numpy(), places)
        np.testing.assert_array_equal(ordered.numpy(), values)
        if axis is not None:
            k = min(2, shape[axis])
            for got, expected in zip(tg.topk(t, k, axis, largest=descending), (values, places), strict=True):
                np.testing.assert_array_equal(got.numpy(), np.take(expected, range(k), axis))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 7)])
def test_plans_sort_as_functions_do(shape):
    def fn(x):
        values, indices = tg.topk(x, 2, 1)
        return tg.sort(x, 0, descending=True), tg.sort(x * 2.0, None), values, indices, tg.argsort(x, -1)

    compiled = tg.compile(fn)
    for seed in range(3):
        t = tg.tensor(numbers(shape, np.float32, seed))
        for got, expected in zip(compiled(t), fn(t), strict=True):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tg.square(tg.sort(x, 0)),
        lambda x: tg.exp(tg.sort(x, None, descending=True)[1::3]),
        lambda x: tg.square(tg.topk(x, 2, 0, largest=False)[0]),
        lambda x: tg.sum(tg.topk(tg.tanh(x), 3)[0], 1) ** 2,
        lambda x: tg.square(tg.take_along_axis(x, [[0, 0, -1], [3, 2, 3], [1, 1, 1]], 1)),
    ],
)
def test_gradients_go_where_elements_were_taken_from(function):
    x = np.random.default_rng(3).permutation(12).reshape(3, 4) * 0.2 - 1.0
    tg.gradcheck(function, x, second=True)
    compiled = tg.compile(lambda t: tg.grad(tg.sum(function(t)), [t])[0])
    t = tg.tensor(x, requires_grad=True)
    np.testing.assert_allclose(compiled(t).numpy(), tg.grad(tg.sum(function(t)), [t])[0].numpy(), rtol=1e-12)


def test_methods_are_the_functions():
    x = numbers((3, 4), np.float32)
    t = tg.tensor(x)
    pairs = [
        *[(t.sort(0), tg.sort(t, 0)), (t.sort(descending=True), tg.sort(t, -1, True))],
        *[(t.argsort(0, descending=True), tg.argsort(t, 0, True)), (np.argsort(t, kind="stable"), tg.argsort(t))],
        *[(t.cumsum(), tg.cumsum(t)), (np.cumsum(t, 1), tg.cumsum(t, 1))],
        *zip(t.topk(2, 0, largest=False), tg.topk(t, 2, 0, False), strict=True),
    ]
    for method, function in pairs:
        assert isinstance(method, tg.Tensor)
        np.testing.assert_array_equal(method.numpy(), function.numpy())
    with pytest.raises(ArgumentError, match="argsort takes no kind="):
        np.argsort(t, kind="quicksort")


def test_of_equals_the_first_gets_the_gradient():
    x = tg.tensor([2.0, 5.0, 5.0, 1.0], requires_grad=True)
    values, indices = tg.topk(x, 1)
    values.backward([1.0])
    assert indices.numpy().tolist() == [1]
    assert x.grad.numpy().tolist() == [0, 1, 0, 0]


def test_elements_are_picked_as_by_numpy(rng):
    x = rng.normal(size=(3, 4, 2))
    for axis in (0, 1, -1):
        n = x.shape[axis]
        at = rng.integers(-n, n, np.where(np.arange(3) == axis % 3, 5, x.shape))
        for indices in (at, tg.tensor(at), at.tolist(), at.astype(np.int8)):
            y = tg.take_along_axis(tg.tensor(x), indices, axis)
            np.testing.assert_array_equal(y.numpy(), np.take_along_axis(x, at, axis))


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda x: tg.sort(x, 2), ShapeError, r"sort: axis 2 is not an axis of shape \(2, 3\); allowed: -2 to 1"),
        (lambda x: tg.argsort(1.0), ShapeError, r"argsort: axis -1 is not an axis of shape \(\), which has none"),
        (lambda x: tg.argsort(x, True), ShapeError, "argsort: axis True is not an axis"),
        (lambda x: tg.topk(x, 1, None), ShapeError, "topk: axis None is not an axis"),
        (lambda x: tg.topk(x, 4), ArgumentError, r"topk: k along axis 1 of shape \(2, 3\) must be .* 0 to 3, got 4"),
        (lambda x: tg.topk(x, 1.5), ArgumentError, r"must be a whole number from 0 to 3, got 1\.5"),
        (lambda x: tg.sort("ab"), DTypeError, "expected numbers"),
        (
            lambda x: tg.take_along_axis(x, [[0], [1], [2]]),
            ShapeError,
            r"take_along_axis: x of shape \(2, 3\) and indices of \(3, 1\) may differ along axis 1 only",
        ),
        (lambda x: tg.take_along_axis(x, [0, 1]), ShapeError, r"indices of \(2,\) may differ along axis 1 only"),
        (
            lambda x: tg.take_along_axis(x, [[True], [False]]),
            DTypeError,
            "expected whole numbers as indices, got truth",
        ),
        (lambda x: tg.take_along_axis(x, [[0.5], [1.0]]), DTypeError, "index: expected whole numbers"),
    ],
)
def test_what_cannot_be_ordered_is_said(function, error, text):
    with pytest.raises(error, match=text):
        function(tg.tensor(np.zeros((2, 3))))


@pytest.mark.host
def test_an_index_outside_the_axis_is_refused():
    x = tg.tensor(np.zeros((2, 3)))
    for at in ([[3], [0]], [[0], [-4]]):
        with pytest.raises(IndexRangeError, match=r"is outside axis 1 of shape \(2, 3\)"):
            tg.take_along_axis(x, at)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tg.sort(x, descending="no"),
        lambda x: tg.argsort(x, descending=2),
        lambda x: tg.topk(x, 1, largest="no"),
    ],
)
def test_a_word_is_no_truth_value(function):
    with pytest.raises(tg.ArgumentError, match="must be True or False, got"):
        function(tg.tensor([1.0, 2.0]))
