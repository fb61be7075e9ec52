"""Dtypes and types that people have: each test is one kind, with many examples, against NumPy and PyTorch."""

import itertools
import warnings

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.operators import Operators

WHOLE = ["bool", "uint8", "int8", "int32", "int64", "uint64"]
DTYPES = [*WHOLE, "float16", "float32", "float64"]
BINARY = {
    "add": (tg.add, np.add),
    "subtract": (tg.subtract, np.subtract),
    "multiply": (tg.multiply, np.multiply),
    "divide": (tg.divide, np.divide),
    "power": (tg.power, np.power),
    "maximum": (tg.maximum, np.maximum),
    "minimum": (tg.minimum, np.minimum),
    "less": (tg.less, np.less),
    "greater_equal": (tg.greater_equal, np.greater_equal),
    "equal": (tg.equal, np.equal),
    "where": (lambda a, b: tg.where(tg.less(a, 1), a, b), lambda a, b: np.where(a < 1, a, b)),
    "concatenate": (lambda a, b: tg.concatenate([a, b]), lambda a, b: np.concatenate([a, b])),
    "stack": (lambda a, b: tg.stack([a, b], 1), lambda a, b: np.stack([a, b], 1)),
    "matmul": (tg.matmul, np.matmul),
    "squared_error": (tg.squared_error, lambda a, b: (((a - b) ** 2).sum() / 2).astype(a.dtype)),
    "sigmoid_cross_entropy": (
        tg.sigmoid_cross_entropy,
        lambda a, b: (np.maximum(a, 0) - a * b + np.log1p(np.exp(-np.abs(a)))).astype(a.dtype),
    ),
}
FOR_FLOATING = {"divide", "power", "squared_error", "sigmoid_cross_entropy"}


def meeting(*dtypes):
    """The dtype in which operands meet: the one floating dtype, else NumPy's if that is whole; or None."""
    floating = [d for d in set(dtypes) if d.startswith("float")]
    if floating:
        return np.dtype(floating[0]) if len(floating) == 1 else None
    common = np.result_type(*dtypes)
    return None if common.kind == "f" else common


def of_dtype(dtype, numbers):
    array = np.array(numbers)
    return (array % 2 if dtype == "bool" else array).astype(dtype)


def assert_same(y, expected, rtol):
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.numpy().astype(float), np.asarray(expected, float), rtol=rtol, atol=rtol)


def outcome(f, *operands):
    """What a function returns, or the error it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return f(*operands)
    except tg.TinygraphError as error:
        return error


@pytest.mark.parametrize("name", BINARY)
def test_operands_of_any_two_dtypes_meet_by_one_rule(name):
    f, oracle = BINARY[name]
    for a, b in itertools.product(DTYPES, DTYPES):
        x, y = of_dtype(a, [[0, 1], [3, 2]]), of_dtype(b, [[1, 2], [4, 3]])
        dtype, got = meeting(a, b), outcome(f, tg.tensor(x), tg.tensor(y))
        if dtype is None or (dtype.kind != "f" and name in FOR_FLOATING) or (dtype.kind == "b" and name == "subtract"):
            assert isinstance(got, tg.DTypeError), (a, b)
            assert "\n" not in str(got)
            assert "astype" in str(got)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert_same(got, oracle(x.astype(dtype), y.astype(dtype)), 1e-2 if dtype == "float16" else 1e-6)


@pytest.mark.compiles
@pytest.mark.parametrize("name", BINARY)
def test_plans_and_eager_agree_in_dtype_and_value(name):
    f, _ = BINARY[name]
    for a, b in itertools.product(DTYPES, DTYPES):
        x, y = tg.tensor(of_dtype(a, [[0, 1], [3, 2]])), tg.tensor(of_dtype(b, [[1, 2], [4, 3]]))
        got, expected = outcome(tg.compile(f), x, y), outcome(f, x, y)
        if isinstance(expected, tg.TinygraphError):
            assert type(got) is type(expected)
            assert str(got) == str(expected)
        else:
            assert_same(got, expected.numpy(), 1e-2 if expected.dtype == "float16" else 1e-6)


@pytest.mark.host
def test_whole_numbers_and_truth_values_meet_as_in_torch():
    torch = pytest.importorskip("torch")
    dtypes = [d for d in DTYPES if d != "uint64"]
    for a, b in itertools.product(dtypes, dtypes):
        if meeting(a, b) is not None:
            theirs = torch.from_numpy(np.ones(2, a)) + torch.from_numpy(np.ones(2, b))
            assert tg.add(np.ones(2, a), np.ones(2, b)).dtype == theirs.numpy().dtype
    for a, number in itertools.product(dtypes, [True, 2, 0.5]):
        theirs = torch.from_numpy(np.ones(2, a)) * number
        assert (tg.tensor(np.ones(2, a)) * number).dtype == theirs.numpy().dtype


NUMBERS = [True, 2, -1, 0.5, np.float64(0.5), np.float32(2), np.int64(2), np.int8(1), np.bool_(True)]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "less", "equal"])
def test_a_number_adapts_to_the_tensor_beside_it(name):
    f, oracle = BINARY[name]
    for dtype, number, swapped in itertools.product(DTYPES, NUMBERS, (False, True)):
        x, plain = of_dtype(dtype, [0, 3]), getattr(number, "item", lambda number=number: number)()
        alone = {bool: "bool", int: "int64", float: "float32"}[type(plain)]
        fits = x.dtype.kind == "f" or type(plain) is bool or (type(plain) is int and dtype != "bool")
        target = x.dtype if fits else np.dtype(alone)
        got = outcome(f, *((number, tg.tensor(x)) if swapped else (tg.tensor(x), number)))
        if target.kind == "b" and name == "subtract":
            assert isinstance(got, tg.DTypeError)
            assert "truth values" in str(got)
        elif plain == -1 and dtype.startswith("uint") and name not in ("less", "equal"):
            assert isinstance(got, tg.DTypeError)
            assert f"-1 is beyond {dtype}" in str(got)
        else:
            exact = np.float64 if name in ("less", "equal") else target
            a, b = x.astype(exact), np.array(plain, exact)
            assert_same(got, oracle(b, a) if swapped else oracle(a, b), 1e-3)


def test_arithmetic_with_masks_gives_numbers():
    mask = tg.tensor([1.0, 2.0]) > 1.5
    for got, expected in [
        (1 - mask, [1, 0]),
        (mask + 2, [2, 3]),
        (mask * 3, [0, 3]),
        (mask**2, [0, 1]),
        (mask * 0.5, [0.0, 0.5]),
        (np.array([5, 6]) * mask, [0, 6]),
        (mask.sum(), 1),
    ]:
        assert got.dtype == ("float32" if isinstance(expected, list) and 0.5 in expected else "int64")
        assert got.numpy().tolist() == expected
    for f in (lambda: -mask, lambda: mask - mask, lambda: tg.sign(mask)):
        with pytest.raises(tg.DTypeError, match="expected numbers, got truth values; convert them with"):
            f()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64"])
@pytest.mark.parametrize("number", [-1, 256, -129, 2**63, 2**64, -(10**400), 10**400, np.int64(-300)])
def test_a_comparison_is_right_for_numbers_beyond_the_dtype(dtype, number):
    ends = np.iinfo(dtype)
    x = [int(ends.min), 0, int(ends.max)]
    t = tg.tensor(np.array(x, dtype))
    for f in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
        assert getattr(t, f)(number).numpy().tolist() == [getattr(n, f)(int(number)) for n in x]


def test_a_number_beyond_the_dtype_is_refused_in_one_line():
    x, small = tg.tensor([1.0]), tg.tensor(np.array([1], np.int8))
    for f, text in [
        (lambda: x * 10**400, "multiply: a number of 1329 bits is beyond float32"),
        (lambda: -(10**5000) + x, "add: a number of 16610 bits is beyond float32"),
        (lambda: small + 300, "add: the number 300 is beyond int8, which holds -128 to 127; convert"),
        (lambda: tg.clip(small, -1000, 2), "clip: the number -1000 is beyond int8"),
        (lambda: tg.clip(x, 0, 10**400), "clip: a number of 1329 bits is beyond float32"),
        (lambda: tg.pad(small, 1, 300), "pad: the number 300 is beyond int8"),
        (lambda: small.assign_(300), "the number 300 is beyond int8"),
    ]:
        with pytest.raises(tg.DTypeError, match=text) as caught:
            f()
        assert len(str(caught.value)) < 200
    for make in (lambda: optim.SGD([tg.parameter([1.0])], lr=10**400), lambda: tg.tensor(10**400)):
        with pytest.raises(tg.TinygraphError):
            make()


def test_gradients_flow_through_what_is_converted():
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    whole, mask = tg.tensor([2, 3]), tg.tensor([True, False])
    for f, expected in [
        (lambda: (x**whole).sum(), [4.0, 27.0]),
        (lambda: (whole * x * 2).sum(), [4.0, 6.0]),
        (lambda: (x / whole).sum(), [0.5, 1 / 3]),
        (lambda: (whole / x).sum(), [-0.5, -1 / 3]),
        (lambda: tg.divide_or_zero(x, tg.tensor(np.array([2, 0], np.uint8))).sum(), [0.5, 0.0]),
        (lambda: tg.where(mask, x, whole).sum(), [1.0, 0.0]),
        (lambda: tg.maximum(x, tg.tensor([5, 1])).sum(), [0.0, 1.0]),
        (lambda: tg.concatenate([whole, x]).sum(), [1.0, 1.0]),
        (lambda: whole @ x, [2.0, 3.0]),
        (lambda: x @ whole, [2.0, 3.0]),
        (lambda: (mask * x).sum(), [1.0, 0.0]),
    ]:
        (g,) = tg.grad(f(), [x])
        assert g.dtype == x.dtype
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64", "float64", ">f4", ">i2"])
def test_batches_of_any_dtype_enter_a_network(dtype):
    X = np.arange(8).reshape(2, 4) % 2
    net = nn.Sequential(nn.Dense(4, 3, seed=0, activation="tanh"), nn.BatchNorm(3), nn.Dense(3, 2, seed=1))
    expected = net(X.astype(np.float32)).numpy()
    for batch in (X.astype(dtype), tg.tensor(X.astype(dtype), dtype="float32" if dtype == "float64" else None)):
        y = net(batch)
        assert y.dtype == "float32"
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


@pytest.mark.host
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", ">i4", ">f8"])
def test_fit_takes_features_of_any_dtype(dtype, compiled):
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 2, (12, 4)), np.arange(12) % 3

    def losses_of(features):
        net = nn.Sequential(nn.Dense(4, 3, seed=0))
        opt = optim.SGD(net.parameters(), lr=0.1)
        run = tg.fit(net, losses.cross_entropy, (features, Y), opt, epochs=2, progress=False, compiled=compiled)
        return run.losses

    np.testing.assert_allclose(losses_of(X.astype(dtype)), losses_of(X.astype(np.float32)), rtol=1e-6)


def test_what_is_assigned_or_given_as_a_gradient_is_converted_where_that_loses_nothing():
    leaf = tg.tensor([1.0, 2.0], requires_grad=True)
    for value in ([3, 4], np.array([3, 4]), np.array([3, 4], ">i2"), tg.tensor([3, 4])):
        leaf.assign_(0.0).assign_(value)
        assert leaf.numpy().tolist() == [3.0, 4.0]
        assert leaf.dtype == "float32"
    (leaf * 1.0).backward(np.array([1, 2]))
    assert leaf.grad.numpy().tolist() == [1.0, 2.0]
    small = tg.tensor(np.array([1, 2], np.int16))
    assert small.assign_(np.array([5, 6], np.uint8)).numpy().tolist() == [5, 6]
    for t, value in [(leaf, np.zeros(2)), (small, [0.5, 1.5]), (small, np.array([1, 2], np.int64)), (small, 0.5)]:
        with pytest.raises(tg.DTypeError, match=f"assign_: the value must be {t.dtype}"):
            t.assign_(value)


def test_lists_of_python_floats_adapt_as_numbers_do():
    for dtype in ("float16", "float32", "float64"):
        x = tg.tensor(np.ones(2, dtype))
        for y in (tg.add(x, [0.1, 0.2]), [0.1, 0.2] * x, tg.maximum([0.1, 0.2], x), tg.stack([x, [0.1, 0.2]])):
            assert y.dtype == dtype
    precise = tg.tensor(np.ones(1)) * [0.1]
    assert precise.item() == 0.1  # never rounded to float32 on the way


# -- arrays of other kinds --------------------------------------------------------------------------------

NO_NUMBERS = {
    "texts": np.array(["a", "b"]),
    "bytes": np.array([b"a"]),
    "objects": np.array([1, None], object),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "durations": np.array([1], "m8[s]"),
    "complex": np.array([1 + 2j]),
    "records": np.array([(1, 2.0)], [("a", int), ("b", float)]),
    "masked": np.ma.array([1.0, 2.0], mask=[0, 1]),
    "a text": "a",
    "None": None,
    "a complex number": 1j,
    "a date": np.datetime64("2020"),
    "a complex scalar": np.complex64(1),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_holds_no_numbers_is_refused_at_the_door(kind):
    value, x = NO_NUMBERS[kind], tg.tensor([1.0, 2.0])
    entries = [lambda: tg.tensor(value), lambda: tg.parameter(value), lambda: x + value, lambda: tg.maximum(value, x)]
    entries += [lambda: tg.concatenate([x, value]), lambda: x.assign_(value), lambda: tg.matmul(x, value)]
    entries += [lambda: tg.where(x > 1.0, x, value), lambda: tg.exp(value)]
    if isinstance(value, np.ndarray):
        entries += [lambda: nn.Dense(2, 2, seed=0)(value), lambda: x[value]]
    for enter in entries:
        with pytest.raises(tg.DTypeError) as caught:
            enter()
        assert "\n" not in str(caught.value)


@pytest.mark.compiles
@pytest.mark.parametrize("kind", ["texts", "objects", "dates", "complex"])
def test_a_compiled_function_refuses_the_same_arguments(kind):
    with pytest.raises(tg.DTypeError, match="the argument 'a': expected a dtype of real numbers"):
        tg.compile(lambda a: a * 2.0)(NO_NUMBERS[kind])


@pytest.mark.parametrize("dtype", ["complex64", "U3", "O", "M8[s]", None, "nonsense", "V4"])
def test_a_dtype_of_no_numbers_is_refused(dtype):
    x = tg.tensor([1.0])
    for make in (lambda: x.astype(dtype), lambda: tg.tensor([1.0], dtype=dtype or "O")):
        with pytest.raises(tg.DTypeError, match="float32"):
            make()


ARRAYS = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "matrix": np.asmatrix,
    "a subclass": lambda a: a.view(type("Signal", (np.ndarray,), {})),
    "masked nowhere": np.ma.array,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "every other": lambda a: np.repeat(a, 2, axis=0)[::2],
    "Fortran": np.asfortranarray,
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_arrays_of_any_class_and_layout_are_plain_inside(kind, dtype):
    plain = np.array([[1, 2], [3, 4]], dtype)
    array = ARRAYS[kind](plain)
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for t in (tg.tensor(array), tg.reshape(array, (2, 2)), tg.tensor([1.0], dtype=array.dtype)):
        assert t.dtype == dtype
        assert t.dtype.isnative
    assert tg.tensor(array)[0].shape == tg.tensor(array).sum(0).shape == (2,)
    net = nn.Dense(2, 1, seed=0)
    for f in (lambda a: x * a, lambda a: a * x, lambda a: x @ a, lambda a: tg.concatenate([x, a]), net):
        np.testing.assert_array_equal(f(array).numpy(), f(plain).numpy())


@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_class_and_layout_as_arguments_of_a_plan(kind):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    fast = tg.compile(lambda a: (a * x, a @ x, a[0], a))
    for numbers in ([[1, 2], [3, 4]], [[5, 6], [7, 9]]):
        plain = np.array(numbers, np.float32)
        *made, given = fast(ARRAYS[kind](plain))
        for got, expected in zip(made, (plain * x.numpy(), plain @ x.numpy(), plain[0]), strict=True):
            np.testing.assert_array_equal(got.numpy(), expected)
        np.testing.assert_array_equal(np.asarray(given), plain)


@pytest.mark.host
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ["big-endian", "matrix", "a subclass", "every other"])
def test_a_plan_reads_such_an_array_anew_where_it_is_refilled(kind):
    array, x = ARRAYS[kind](np.array([[1, 2], [3, 4]], np.float32)), tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    fast = tg.compile(lambda: x * array)
    for _ in range(2):
        np.testing.assert_array_equal(fast().numpy(), x.numpy() * np.asarray(array, np.float32))
        array *= 2.0


# -- NumPy's numbers where Python's are expected ---------------------------------------------------------------

SCALARS = [np.int8, np.int64, np.uint16, np.array]
x23 = np.arange(6.0, dtype=np.float32).reshape(2, 3)
PLACES = {
    "axis of sum": lambda n: tg.sum(tg.tensor(x23), n(1)),
    "axes of sum": lambda n: tg.sum(tg.tensor(x23), (n(0), n(1))),
    "axes of norm": lambda n: tg.norm(tg.tensor(x23), [n(0), n(1)]),
    "axis and ddof of var": lambda n: tg.var(tg.tensor(x23), n(1), ddof=n(1)),
    "axis of softmax": lambda n: tg.softmax(tg.tensor(x23), n(0)),
    "axis of log_softmax": lambda n: tg.log_softmax(tg.tensor(x23), n(0)),
    "axis of argmax": lambda n: tg.argmax(tg.tensor(x23), n(0)),
    "axis of argmin": lambda n: tg.argmin(tg.tensor(x23), n(0)),
    "axis of sort": lambda n: tg.sort(tg.tensor(x23), n(0)),
    "k and axis of topk": lambda n: tg.topk(tg.tensor(x23), n(2), n(1))[1],
    "axis of take_along_axis": lambda n: tg.take_along_axis(tg.tensor(x23), [[0, 2], [1, 1]], n(1)),
    "axis of cumsum": lambda n: tg.cumsum(tg.tensor(x23), n(0)),
    "axis of concatenate": lambda n: tg.concatenate([tg.tensor(x23)] * 2, n(1)),
    "axis of stack": lambda n: tg.stack([tg.tensor(x23)] * 2, n(1)),
    "axis of take": lambda n: tg.take(tg.tensor(x23), [0, 2], n(1)),
    "axis of cosine_similarity": lambda n: tg.cosine_similarity(tg.tensor(x23), tg.tensor(x23), n(1)),
    "index": lambda n: tg.tensor(x23)[n(1), n(2)],
    "index of take": lambda n: tg.take(tg.tensor(x23), n(1)),
    "sections": lambda n: tg.split(tg.tensor(x23), n(3), n(1))[2],
    "places of split": lambda n: tg.split(tg.tensor(x23), [n(1)], n(1))[1],
    "length": lambda n: tg.reshape(tg.tensor(x23), n(6)),
    "lengths": lambda n: tg.tensor(x23).reshape(n(3), n(2)),
    "shape": lambda n: tg.broadcast_to(tg.tensor(x23), (n(2), n(2), n(3))),
    "order of axes": lambda n: tg.tensor(x23).transpose((n(1), n(0))),
    "width": lambda n: tg.pad(tg.tensor(x23), n(1)),
    "widths": lambda n: tg.pad(tg.tensor(x23), [n(1), (n(0), n(2))], n(7)),
    "exponent": lambda n: tg.tensor(x23) ** n(2),
    "factor": lambda n: n(2) * tg.tensor(x23),
    "limits": lambda n: tg.clip(tg.tensor(x23), n(1), n(3)),
    "slope": lambda n: tg.leaky_relu(tg.tensor(x23) - 3.0, n(2)),
    "two slopes": lambda n: tg.two_sided_relu(tg.tensor(x23) - 3.0, n(2)),
    "alpha": lambda n: tg.elu(tg.tensor(x23) - 3.0, n(2)),
    "a and b": lambda n: tg.scaled_tanh(tg.tensor(x23), n(1), n(2)),
    "sizes of a layer": lambda n: nn.Dense(n(3), n(2), seed=0)(tg.tensor(x23)),
    "divisor": lambda n: tg.divide_or_zero(tg.tensor(x23), n(2)),
    "shape of a mask": lambda n: 0.0 * tg.bernoulli(0.5, (n(2), n(3))),
}


@pytest.mark.parametrize("place", PLACES)
def test_whole_numbers_of_numpy_are_taken_as_pythons(place):
    expected = PLACES[place](int)
    for kind in SCALARS:
        y = PLACES[place](kind)
        assert y.dtype == expected.dtype
        assert y.op.label == expected.op.label or place == "exponent"
        np.testing.assert_array_equal(y.numpy(), expected.numpy())


SETTINGS = {
    "factor": lambda a: a * tg.tensor(x23),
    "sum": lambda a: tg.tensor(x23) - a,
    "exponent": lambda a: tg.tensor(x23) ** a,
    "base": lambda a: a ** tg.tensor(x23),
    "choice": lambda a: tg.where(tg.tensor(x23) > 2.0, a, tg.tensor(x23)),
    "choice of two": lambda a: tg.where(tg.tensor(x23) > 2.0, tg.tensor(x23), a),
    "limits": lambda a: tg.clip(tg.tensor(x23), a, a + 1),
    "border": lambda a: tg.pad(tg.tensor(x23), 1, a),
    "leaky_relu": lambda a: tg.leaky_relu(tg.tensor(x23) - 3.0, a),
    "two_sided_relu": lambda a: tg.two_sided_relu(tg.tensor(x23) - 3.0, a),
    "elu": lambda a: tg.elu(tg.tensor(x23) - 3.0, a),
    "scaled_tanh": lambda a: tg.scaled_tanh(tg.tensor(x23), a, a),
    "batch_norm": lambda a: tg.batch_norm(tg.tensor(x23), np.ones(3, np.float32), np.zeros(3, np.float32), a),
    "huber": lambda a: losses.huber(tg.tensor(x23), np.zeros((2, 3), np.float32), a),
    "dropped": lambda a: 0.0 * tg.bernoulli(a, (2, 3)),
}


@pytest.mark.parametrize("place", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "an array"])
def test_settings_that_are_numpys_numbers_leave_the_dtype_alone(place, dtype):
    make = np.array if dtype == "an array" else dtype
    y, expected = SETTINGS[place](make(0.25)), SETTINGS[place](0.25)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), expected.numpy())


@pytest.mark.compiles
def test_an_operation_of_ones_own_may_have_numpys_numbers_as_fields():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Scale(tg.Op):
        factor: float

        def forward(self, xp, x, out=None):
            return xp.multiply(x, self.factor, out=out)

        def backward(self, dy, y, x):
            return (dy * self.factor,)

    x = tg.tensor([1.0, 2.0])
    for f in (Scale(np.float64(0.5)), tg.compile(Scale(np.float64(0.5)))):
        assert f(x).dtype == np.float32
        assert f(x).numpy().tolist() == [0.5, 1.0]
    assert Scale(np.float64(0.5)) == Scale(0.5)
    assert Scale(np.float64(0.5)).label == "scale(factor=0.5)"


@pytest.mark.parametrize("name", ["leaky_relu", "two_sided_relu", "elu", "scaled_tanh"])
@pytest.mark.parametrize("value", ["0.1", None, [0.1], np.array([0.1, 0.2]), 1j])
def test_a_setting_that_is_no_number_is_refused(name, value):
    with pytest.raises(tg.ArgumentError, match=f"{name}: .* must be a number, got"):
        getattr(tg, name)(tg.tensor([1.0]), value)


def test_limits_of_a_clip_may_be_arrays_and_tensors():
    torch_like = np.array([-1.0, 0.5, 3.0], np.float32)
    low, high = np.array([0.0, 0.5, 1.0], np.float32), np.array([1.0, 2.0, 2.0], np.float32)
    for lo, hi in [(low, high), (tg.tensor(low), high), (low, None), (None, high), (0.25, high), (low.tolist(), 2.0)]:
        x = tg.tensor(torch_like, requires_grad=True)
        y = tg.clip(x, lo, hi)
        host = [None if b is None else b.numpy() if isinstance(b, tg.Tensor) else b for b in (lo, hi)]
        expected = np.clip(torch_like, *host)
        np.testing.assert_array_equal(y.numpy(), expected)
        assert y.dtype == np.float32
        assert repr(y)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), expected == torch_like)
    lo = tg.tensor(low, requires_grad=True)
    tg.clip(tg.tensor(torch_like), lo, high).sum().backward()
    np.testing.assert_array_equal(lo.grad.numpy(), [1.0, 0.0, 0.0])


# -- axes, shapes, indices ---------------------------------------------------------------------------------------

REDUCTIONS = [tg.sum, tg.prod, tg.mean, tg.max, tg.min, tg.norm, tg.var]


@pytest.mark.parametrize(
    "f",
    [*REDUCTIONS, tg.softmax, tg.log_softmax, tg.argmax, tg.argmin, tg.cumsum, tg.sort, tg.argsort],
    ids=lambda f: f.__name__,
)
def test_a_wrong_axis_leaves_the_right_one_usable(f):
    t = tg.tensor(x23)
    wrong = [False, (False,), [True, False], 0.0, "0", (0.0,), 2, -3, (0, 5), np.False_]
    for right in (0, 1):
        for axis in wrong:
            with pytest.raises(tg.ShapeError, match="is not an axis of shape"):
                f(t, axis)
        f(t, right)
    if f in REDUCTIONS:
        f(t, (0,)), f(t, (1, 0))
        for axis in wrong:
            with pytest.raises(tg.ShapeError, match="is not an axis of shape"):
                f(t, axis)


@pytest.mark.parametrize("f", REDUCTIONS, ids=lambda f: f.__name__)
def test_axes_are_given_as_numpy_takes_them(f):
    array = np.random.default_rng(0).normal(size=(2, 3, 4))
    oracle = {"norm": lambda a, axis, keepdims: np.sqrt((a**2).sum(axis, keepdims=keepdims))}.get(
        f.__name__, getattr(np, f.__name__, None)
    )
    for axis in (None, 0, -1, (0, 2), (2, 0), (-1,), (), (0, 1, 2)):
        for keepdims in (False, True):
            if axis == () and f in (tg.max, tg.min):
                continue
            expected = oracle(array, axis=axis, keepdims=keepdims)
            forms = [axis, list(axis), np.array(axis, int)] if isinstance(axis, tuple) else [axis]
            for form in forms:
                np.testing.assert_allclose(
                    f(tg.tensor(array), form, keepdims).numpy(), expected, rtol=1e-12, atol=1e-15
                )


def test_orders_of_axes_are_given_as_numpy_takes_them():
    array = np.arange(24.0).reshape(2, 3, 4)
    t = tg.tensor(array)
    for axes in [(), (None,), (2, 0, 1), ((2, 0, 1),), ([2, 0, 1],), (np.array([2, 0, 1]),), (-1, 0, 1)]:
        expected = array.transpose(*[tuple(a) if isinstance(a, list | np.ndarray) else a for a in axes])
        np.testing.assert_array_equal(t.transpose(*axes).numpy(), expected)
    for axes in [(1,), (0, 0, 1), (0, 1), (True, False, 2), (0, 1, 3), ((0, 1), 2), (0.0, 1, 2)]:
        with pytest.raises(tg.ShapeError, match="transpose: ax"):
            t.transpose(*axes)
    assert t.transpose(1, 0, 2).shape == (3, 2, 4)


@pytest.mark.parametrize("shape", [(-2, -3), (2, -3), (6.0,), (2.0, 3), ("a",), (None,), (True, 6), (-1, -1), (4,)])
def test_a_shape_that_is_none_is_refused(shape):
    t = tg.tensor(x23)
    for f in (lambda: t.reshape(*shape), lambda: tg.reshape(t, shape), lambda: tg.broadcast_to(t, shape)):
        with pytest.raises(tg.ShapeError, match=r"(reshape|broadcast_to): "):
            f()
    assert t.reshape(2, 3).shape == tg.broadcast_to(t, (2, 3)).shape == (2, 3)


def test_widths_of_a_border_that_are_none_are_refused():
    for widths in (1.5, [1.5, 1], [(1, 2, 3), 1], -1, [1], "a", None, [(1, -1), 0], True):
        with pytest.raises(tg.ShapeError, match="pad: expected two widths"):
            tg.pad(tg.tensor(x23), widths)
    for sections in (2.5, [1.5], "a", None, [None], True):
        with pytest.raises(tg.ArgumentError, match="split: expected a number of sections or the positions"):
            tg.split(tg.tensor(x23), sections)
    assert tg.pad(tg.tensor([1]), 1, 0.0).dtype == "int64"
    assert tg.pad(tg.tensor([1]), 1, 0.5).numpy().tolist() == [0.5, 1.0, 0.5]


@pytest.mark.host
def test_one_number_is_an_index():
    t = tg.tensor(x23)
    for n in (1, np.int64(1), np.array(1), -1):
        np.testing.assert_array_equal(tg.take(t, n).numpy(), np.take(x23, n, 0))
        np.testing.assert_array_equal(tg.take(t, n, 1).numpy(), np.take(x23, n, 1))
        np.testing.assert_array_equal(t[n].numpy(), x23[n])
    np.testing.assert_array_equal(t[tg.tensor(1)].numpy(), x23[1])
    for index in (2, -3, [2], np.array([0, 5]), tg.tensor([7]), (0, 3), (slice(None), [3])):
        with pytest.raises(tg.IndexRangeError, match="index"):
            t[index]
    for index in (2, -3, [2], np.array([0, 5])):
        with pytest.raises(tg.IndexRangeError, match=r"index|take"):
            tg.take(t, index)
    for index in (1.0, np.float32(1), [0.0], "a"):
        with pytest.raises(tg.DTypeError, match="expected"):
            t[index]
        with pytest.raises(tg.DTypeError, match="expected"):
            tg.take(t, index)
    for index in (True, np.True_, np.array(True)):
        with pytest.raises(tg.ArgumentError, match="a single truth value is not an index"):
            t[index]


def test_a_mask_of_another_shape_is_refused():
    t = tg.tensor(np.zeros((2, 3, 4)))
    for key in ([True], (slice(None), [True, False]), np.ones((2, 4), bool), (0, np.ones(4, bool)), (..., [True] * 3)):
        with pytest.raises(tg.IndexRangeError, match="index: a mask of shape .* does not fit a tensor of shape"):
            t[key]
    for key in ([True, False], np.ones((2, 3), bool), (..., np.ones(4, bool)), (0, np.ones((3, 4), bool))):
        host = tuple(np.asarray(k) if isinstance(k, list) else k for k in (key if isinstance(key, tuple) else (key,)))
        assert t[key].shape == np.zeros((2, 3, 4))[host].shape


# -- what NumPy's functions and Python's own ask of a tensor ------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "min", "var", "argmax", "argmin"])
def test_reductions_of_numpy_take_a_tensor(name):
    t, f = tg.tensor(x23, requires_grad=True), getattr(np, name)
    for options in ({}, {"axis": 0}, {"axis": 1}):
        y = f(t, **options)
        assert isinstance(y, tg.Tensor)
        np.testing.assert_allclose(y.numpy(), f(x23, **options), rtol=1e-6)
    if name not in ("argmax", "argmin"):
        assert f(t, axis=(0, 1), keepdims=True).shape == (1, 1)
        f(t).backward()
        assert t.grad.shape == (2, 3)
    if name in ("sum", "prod", "mean", "var"):
        with pytest.raises(tg.ArgumentError, match=f"{name} takes no dtype=; convert with .astype"):
            f(t, dtype=np.float64)
    with pytest.raises(tg.ArgumentError, match=f"{name} takes no out="):
        f(t, out=np.zeros(()))


METHODS = [name for name, method in vars(Operators).items() if method.__class__.__name__ == "_Method"]
ARGUMENTS = {"expand_dims": (1,), "swapaxes": (0, 1), "flatten": (0, 1)}


@pytest.mark.parametrize("name", METHODS)
def test_functions_of_one_tensor_are_methods(name):
    t = tg.tensor(abs(x23) + 0.5)
    arguments = (tg.tensor(x23.T),) if name == "matmul" else ARGUMENTS.get(name, ())
    y, expected = getattr(t, name)(*arguments), getattr(tg, name)(t, *arguments)
    assert y.op == expected.op
    np.testing.assert_array_equal(y.numpy(), expected.numpy())
    compiled = tg.compile(lambda t: getattr(t, name)(*arguments))
    np.testing.assert_allclose(compiled(t).numpy(), expected.numpy(), rtol=1e-6)
    assert getattr(tg.Tensor, name) is getattr(tg, name)


def test_methods_in_a_row():
    t = tg.tensor(x23, requires_grad=True)
    y = tg.compile(lambda t: t.exp().log1p().softmax(0).view(-1).tanh().squeeze())(t)
    np.testing.assert_allclose(y.numpy(), np.tanh(tg.softmax(tg.log1p(tg.exp(t)), 0).numpy().reshape(-1)), rtol=1e-6)
    assert t.view(3, -1).shape == t.view((3, 2)).shape == (3, 2)
    np.testing.assert_array_equal(np.clip(t, 0.0, 1.0).numpy(), np.clip(x23, 0.0, 1.0))
    np.testing.assert_array_equal(np.swapaxes(t, 0, 1).numpy(), x23.T)
    assert np.squeeze(t[:, :1], axis=1).shape == (2,)
    with pytest.raises(tg.ArgumentError, match="clip takes no out="):
        np.clip(t, 0.0, 1.0, out=x23)


def test_other_options_of_numpy_are_refused_in_words():
    t = tg.tensor(x23)
    for f, option in [
        (lambda: np.sum(t, where=x23 > 1.0), "where"),
        (lambda: np.sum(t, initial=1.0), "initial"),
        (lambda: np.reshape(t, (3, 2), order="F"), "order"),
        (lambda: t.sum(dim=0), "dim"),
    ]:
        with pytest.raises(tg.ArgumentError, match=f"takes no {option}="):
            f()
    assert np.reshape(t, (3, 2)).shape == np.transpose(t).shape == np.transpose(t, (1, 0)).shape == (3, 2)


def test_the_truth_of_several_elements_is_refused_as_such():
    for t in (tg.tensor([1.0, 2.0]) > 0.0, tg.tensor([[1.0], [2.0]]), tg.tensor(np.zeros(0))):
        for f in (bool, lambda t: not t, lambda t: 1 if t else 0, lambda t: t and t):
            with pytest.raises(tg.ShapeError, match=r"the truth of \d elements is ambiguous"):
                f(t)
    assert bool(tg.tensor([[1.0]]))
    assert not tg.tensor(0.0)


def test_operands_without_a_tensor_meet_as_well():
    for y, dtype in [
        (tg.add(1, 2), "int64"),
        (tg.add(1, 2.5), "float32"),
        (tg.add(np.float64(1), 2), "float64"),
        (tg.add(np.ones(2), 2.0), "float64"),
        (tg.add(2.0, np.ones(2, np.int8)), "float32"),
        (tg.add([1, 2], [0.5, 0.5]), "float32"),
        (tg.add([1.0, 2.0], np.ones(2)), "float64"),
        (tg.where(tg.tensor([True]), 1, 0), "int64"),
        (tg.where([True, False], 1, 0.5), "float32"),
        (tg.where(True, tg.tensor([1.0]), 0), "float32"),
    ]:
        assert y.dtype == dtype


def test_two_floating_dtypes_are_refused_by_name_and_place():
    single, double = tg.tensor([1.0], name="w"), tg.tensor(np.ones(1))
    for f in (tg.add, tg.matmul, tg.maximum, lambda a, b: tg.concatenate([a, b]), lambda a, b: tg.stack([a, b])):
        with pytest.raises(tg.DTypeError, match=r"two floating dtypes: .*'w' is float32.*convert one with .astype"):
            f(double, single)
    with pytest.raises(tg.DTypeError, match="uint64 and signed whole numbers have no dtype in common"):
        tg.add(np.ones(1, np.uint64), np.ones(1, np.int64))
