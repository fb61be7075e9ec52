"""Normal and uniform random numbers: their values, their gradients, and that draws are fresh and can be repeated."""

import math

import numpy as np
import pytest
from scipy import stats

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError, BackendError, DTypeError, ShapeError

TOLERANCE = {np.float32: 4e-6, np.float64: 1e-14}  # of logarithm, root and cosine in a backend's library
FLOATS = list(TOLERANCE)


def fractions(seed, draw, n, dtype):
    """Return the first numbers of a draw as whole numbers over a power of two, taken from Philox's words."""
    words = [int(word) for word in np.random.Philox(key=np.array([seed, draw], np.uint64)).random_raw(n)]
    if dtype is np.float64:
        return [(word >> 11) / 2**53 for word in words]
    return [(half >> 8) / 2**24 for word in words for half in (word % 2**32, word >> 32)][:n]


def scale_and_shift(x):
    return tg.normal(x.shape, backend=x.backend) * x + tg.uniform(x.shape, backend=x.backend)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 5, 7), (0, 4), (1030,)])
def test_uniform_numbers_are_those_of_philox_to_the_bit(shape, dtype):
    tg.manual_seed(7)
    compiled = tg.compile(lambda: tg.uniform(shape, dtype=dtype))
    drawn = [tg.uniform(shape, dtype=dtype), compiled(), tg.uniform(shape, dtype=dtype), compiled(), compiled()]
    for draw, u in enumerate(drawn):
        expected = np.reshape(fractions(7, draw, math.prod(shape), dtype), shape)
        assert (u.shape, u.dtype) == (shape, dtype)
        np.testing.assert_array_equal(u.numpy(), expected.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 5, 7), (0, 4), (1030,)])
def test_normal_numbers_are_those_of_box_and_muller(shape, dtype):
    tg.manual_seed(7)
    compiled = tg.compile(lambda: tg.normal(shape, dtype=dtype))
    drawn = [tg.normal(shape, dtype=dtype), compiled(), compiled(), tg.normal(shape, dtype=dtype), compiled()]
    n = math.prod(shape)
    for draw, z in enumerate(drawn):
        u = fractions(7, draw, 2 * n, dtype)
        expected = [
            math.sqrt(-2 * math.log(1 - a)) * math.cos(2 * math.pi * b) for a, b in zip(u[:n], u[n:], strict=True)
        ]
        assert (z.shape, z.dtype) == (shape, dtype)
        np.testing.assert_allclose(z.numpy(), np.reshape(expected, shape), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda n, dtype: tg.normal(n, dtype=dtype), stats.norm()),
        (lambda n, dtype: tg.normal(n, -1.0, 0.5, dtype=dtype), stats.norm(-1, 0.5)),
        (lambda n, dtype: tg.uniform(n, dtype=dtype), stats.uniform()),
        (lambda n, dtype: tg.uniform(n, -3, 1, dtype=dtype), stats.uniform(-3, 4)),
    ],
)
def test_numbers_are_distributed_as_they_should(draw, distribution, dtype):
    tg.manual_seed(3)
    drawn = draw(20_000, dtype).numpy().astype(np.float64)
    step = 2.0**-9 if dtype is np.float16 else 0  # which many numbers of half precision share
    assert stats.kstest(drawn, distribution.cdf).statistic < 1.63 / 20_000**0.5 + step  # passed by chance in 99 of 100
    halves = drawn.reshape(2, -1)
    assert abs(np.corrcoef(halves)[0, 1]) < 0.04
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_uniform_numbers_reach_low_and_not_one(dtype):
    def draw():
        return tg.uniform(200_000, dtype=dtype), tg.normal(100, dtype=dtype)

    tg.manual_seed(0)
    u, z = draw()
    assert 0 <= u.numpy().min() < 1e-3
    assert 0.999 < u.numpy().max() < 1
    tg.manual_seed(0)
    for compiled, plain in zip(tg.compile(draw)(), (u, z), strict=True):
        np.testing.assert_allclose(compiled.numpy(), plain.numpy(), rtol=2 * np.finfo(dtype).eps, atol=1e-6)


def test_draws_are_fresh_in_each_replay_and_never_one():
    fn = tg.compile(lambda x: [draw(x.shape, backend=x.backend) for draw in (tg.normal, tg.uniform) for _ in range(2)])
    x = tg.tensor(np.ones(64))
    tg.manual_seed(1)
    drawn = [t.numpy() for _ in range(3) for t in fn(x)]
    assert len({a.tobytes() for a in drawn}) == len(drawn)
    tg.manual_seed(1)
    for got, expected in zip(fn(x), drawn[:4], strict=True):
        np.testing.assert_array_equal(got.numpy(), expected)


def test_the_plan_draws_what_the_function_draws_whatever_the_batch():
    compiled = tg.compile(scale_and_shift)
    batches = [tg.tensor(np.full((n, 3), 2.0, np.float32)) for n in (4, 4, 7, 4, 1, 7)]
    tg.manual_seed(11)
    got = [compiled(x).numpy() for x in batches]
    tg.manual_seed(11)
    for y, x in zip(got, batches, strict=True):
        np.testing.assert_allclose(y, scale_and_shift(x).numpy(), rtol=1e-5, atol=1e-5)


def test_mean_and_std_get_gradients():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(5, 1)), rng.uniform(0.5, 2, (1, 3))
    c = rng.normal(size=(5, 3))

    def drawn(mean, std):
        tg.manual_seed(4)  # the same z at each call
        return tg.sum(tg.square(tg.normal((5, 3), mean, std)) * c)

    tg.gradcheck(drawn, mean, std, second=True)
    m, s = (tg.tensor(a, requires_grad=True) for a in (mean, std))
    assert drawn(m, s).dtype == np.float64
    tg.manual_seed(4)
    z = tg.normal((5, 3), dtype=np.float64).numpy()
    drawn(m, s).backward()
    np.testing.assert_allclose(m.grad.numpy(), (2 * c * (mean + std * z)).sum(1, keepdims=True), rtol=1e-10)
    np.testing.assert_allclose(s.grad.numpy(), (2 * c * (mean + std * z) * z).sum(0, keepdims=True), rtol=1e-10)


def test_low_and_high_get_gradients():
    tg.manual_seed(4)
    low, high = tg.tensor([[0.5]], requires_grad=True), tg.tensor([1.0, 2.0, 4.0], requires_grad=True)
    y = tg.uniform((5, 3), low, high)
    tg.sum(y).backward()
    u = (y.numpy() - 0.5) / (np.array([1.0, 2.0, 4.0]) - 0.5)
    np.testing.assert_allclose(high.grad.numpy(), u.sum(0), rtol=1e-5)
    np.testing.assert_allclose(low.grad.numpy(), (1 - u).sum().reshape(1, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("draw", "error", "text"),
    [
        (lambda: tg.normal((2, 3), std=-1), ArgumentError, "normal: std must be a finite number of at least 0, got -1"),
        (lambda: tg.normal(3, mean=math.inf), ArgumentError, "normal: mean must be a finite number, got inf"),
        (lambda: tg.uniform(3, 2, 1), ArgumentError, r"uniform: low must not be above high, got 2\.0 and 1\.0"),
        (lambda: tg.uniform(3, 0, math.nan), ArgumentError, "uniform: high must be a finite number, got nan"),
        (lambda: tg.normal(3, dtype=int), DTypeError, "normal: expected float16, float32 or float64, got int64"),
        (lambda: tg.uniform(3, dtype="x"), DTypeError, "dtype 'x' is not known"),
        (lambda: tg.normal((2, -3)), ShapeError, "normal: a shape is whole numbers from 0 on; got"),
        (lambda: tg.uniform("ab"), ShapeError, "uniform: a shape is whole numbers from 0 on; got 'ab'"),
        (
            lambda: tg.normal((3, 2), tg.tensor([1.0, 2.0, 3.0])),
            ShapeError,
            r"normal: mean of shape \(3,\) does not broadcast to the shape \(3, 2\) drawn",
        ),
        (lambda: tg.uniform((), high=np.ones(1)), ShapeError, r"uniform: high of shape \(1,\) does not broadcast to"),
        (lambda: tg.normal(2, np.ones(2), dtype="float32"), DTypeError, "operands of two floating dtypes"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, error, text):
    with pytest.raises(error, match=text):
        draw()


@pytest.mark.host
def test_numbers_are_drawn_where_mean_or_std_is():
    with tg.using("strict"):
        mean = tg.tensor([1.0, 2.0])
    assert tg.normal(2, mean).backend.name == tg.normal(2, std=mean).backend.name == "strict"
    with pytest.raises(BackendError, match="two backends"):
        tg.normal(2, mean, tg.tensor([1.0, 1.0]))


class Noisy(nn.Module):
    """A network whose signals get noise in training."""

    def __init__(self):
        self.first, self.last = nn.Dense(4, 8, "tanh", seed=0), nn.Dense(8, 2, seed=1)

    def forward(self, x):
        y = self.first(x)
        return self.last(y + tg.normal(y.shape, std=0.3, backend=y.backend) if self.training else y)


def test_a_run_that_is_continued_draws_what_it_would_have_drawn(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(12, 4)).astype(np.float32), rng.normal(size=(12, 2)).astype(np.float32)

    def run(epochs, **options):
        tg.manual_seed(2)
        net = Noisy()
        tg.fit(net, losses.squared_error, (X, Y), optim.SGD(net.parameters(), 0.05), epochs, 4, seed=0, **options)
        return net.last.W.numpy()

    whole = run(4)
    run(2, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(run(4, checkpoint=tmp_path / "run"), whole)


@pytest.mark.host
def test_a_drawing_shows_where_chance_comes_in():
    graph = tg.graph(lambda x: x * tg.normal(x.shape), input_shape=(None, 3))
    assert [(n.op, n.shape) for n in graph.nodes if n.op] == [("normal", ("B", 3)), ("multiply", ("B", 3))]
