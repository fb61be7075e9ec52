"""Tensors made of a shape or a range: values and dtypes as NumPy's, in plans, and what is refused."""

import numpy as np
import pytest

import tinygraph as tg


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: tg.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (lambda: tg.zeros(4, "int64"), np.zeros(4, np.int64)),
        (lambda: tg.ones((), "float64"), np.ones(())),
        (lambda: tg.ones((0, 2), bool), np.ones((0, 2), bool)),
        (lambda: tg.full((2,), 3), np.full(2, 3)),
        (lambda: tg.full((2,), 0.5), np.full(2, 0.5, np.float32)),
        (lambda: tg.full(2, True), np.full(2, True)),
        (lambda: tg.full(2, np.float64(0.1)), np.full(2, 0.1)),
        (lambda: tg.full(2, 3, "float16"), np.full(2, 3, np.float16)),
        (lambda: tg.arange(5), np.arange(5)),
        (lambda: tg.arange(2, 9, 3), np.arange(2, 9, 3)),
        (lambda: tg.arange(5, 0, -2), np.arange(5, 0, -2)),
        (lambda: tg.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (lambda: tg.arange(3, dtype="float64"), np.arange(3.0)),
        (lambda: tg.linspace(-1, 1, 5), np.linspace(-1, 1, 5, dtype=np.float32)),
        (lambda: tg.linspace(0, 1, 0), np.zeros(0, np.float32)),
        (lambda: tg.eye(3), np.eye(3, dtype=np.float32)),
        (lambda: tg.eye(2, 4, 1, "int8"), np.eye(2, 4, 1, np.int8)),
        (lambda: tg.zeros_like(np.ones((2, 2), np.int8)), np.zeros((2, 2), np.int8)),
        (lambda: tg.ones_like(tg.zeros(3, "float16")), np.ones(3, np.float16)),
        (lambda: tg.full_like(tg.zeros(3), 2, "int64"), np.full(3, 2)),
        (lambda: tg.one_hot([2, 0], 3), np.eye(3, dtype=np.float32)[[2, 0]]),
        (lambda: tg.one_hot(tg.tensor([[1], [0]]), 2, "float64"), np.eye(2)[[[1], [0]]]),
    ],
)
def test_values_and_dtypes(made, expected):
    y = made()
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    assert y.backend is tg.zeros(1).backend
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


def test_leaves_are_of_ones_own():
    w = tg.zeros(3, requires_grad=True)
    (w * 2.0).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2, 2])
    w.assign_([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(tg.zeros(3).numpy(), [0, 0, 0])


def test_inside_a_compiled_function_they_are_constants():
    def f(x):
        mask = tg.tril(tg.ones((3, 3)))
        return x @ mask + tg.eye(3) + tg.arange(3) * tg.ones_like(x) + tg.one_hot(tg.argmax(x), 3), tg.zeros(2)

    compiled = tg.compile(f)
    for n in range(3):
        x = tg.tensor(np.random.default_rng(n).normal(size=(3, 3)).astype(np.float32))
        for a, b in zip(compiled(x), f(x), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    with pytest.raises(tg.CompileError, match="a leaf that requires a gradient would be the same in every call"):
        tg.compile(lambda x: x + tg.zeros(3, requires_grad=True))(x)
    with pytest.raises(tg.GraphError, match="cannot assign to a constant"):
        tg.compile(lambda x: tg.zeros((3, 3)).assign_(x))(x)


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: tg.zeros((2, -1)), tg.ShapeError, "zeros: a shape is whole numbers from 0 on"),
        (lambda: tg.ones(2.5), tg.ShapeError, "ones: a shape is whole numbers"),
        (
            lambda: tg.zeros(2, "int64", requires_grad=True),
            tg.DTypeError,
            "zeros: only floating tensors have gradients",
        ),
        (lambda: tg.zeros(2, "nothing"), tg.DTypeError, "dtype 'nothing' is not known"),
        (lambda: tg.full(2, "a"), tg.ArgumentError, "full: expected a number, got 'a'"),
        (lambda: tg.full(2, 300, "int8"), tg.DTypeError, "full: the number 300 is beyond int8"),
        (lambda: tg.full_like(tg.zeros(2), None), tg.ArgumentError, "full_like: expected a number, got None"),
        (lambda: tg.arange(0, 5, 0), tg.ArgumentError, "arange: the step is not 0"),
        (lambda: tg.arange("5"), tg.ArgumentError, "arange: expected a number"),
        (lambda: tg.linspace(0, 1, -1), tg.ArgumentError, "linspace: num is a whole number from 0 on; got -1"),
        (lambda: tg.eye(2.5), tg.ArgumentError, "eye: n is a whole number"),
        (lambda: tg.eye(2, k=0.5), tg.ArgumentError, "eye: the diagonal k is a whole number"),
        (lambda: tg.arange(np.inf), tg.ArgumentError, "arange: expected a finite number, got inf"),
        (lambda: tg.arange(0, 1, np.nan), tg.ArgumentError, "arange: expected a finite number, got nan"),
        (lambda: tg.arange(2**70), tg.ArgumentError, "arange: from 0 to .* by 1 are too many numbers"),
        (lambda: tg.linspace(0, np.inf, 3), tg.ArgumentError, "linspace: expected a finite number, got inf"),
        (lambda: tg.one_hot([0.5], 2), tg.DTypeError, "one_hot: expected whole numbers, got float32"),
        (lambda: tg.one_hot([0], 0), tg.ArgumentError, "one_hot: classes is a whole number from 1 on"),
        (lambda: tg.one_hot([0], 2, "int64"), tg.DTypeError, "one_hot: expected a floating dtype"),
    ],
)
def test_what_is_refused(wrong, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        wrong()


@pytest.mark.host
@pytest.mark.parametrize("index", [3, -1])
def test_classes_out_of_range_are_named(index):
    with pytest.raises(tg.IndexRangeError, match=f"one_hot: index {index} is outside 0 to 2"):
        tg.one_hot([0, index], 3)
    with pytest.raises(tg.IndexRangeError, match=f"one_hot: index {index} is outside 0 to 2"):
        tg.compile(lambda t: tg.one_hot(t, 3))(tg.tensor([0, index]))
