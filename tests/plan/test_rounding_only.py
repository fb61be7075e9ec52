"""Passes change rounding only: programs by kind, every pass alone and all together, against the function itself.

Numbers are ordinary, or one of them is at the edge: zeros of both signs, infinities, NaN, the largest and the smallest
of the dtype. Results agree to rounding, and are infinite, NaN and negative at the same places.
"""

from functools import cache

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.backend import current
from tinygraph.plan import NAMES

FLOATS = ("float16", "float32", "float64")
PASSES = [(), *((name,) for name in NAMES), ("lowering", "constant folding"), ("lowering", "products"), NAMES]
HUGE = {"float16": 2.0e4, "float32": 1e38, "float64": 1e308}  # three times it is infinite or nearly so
SHARES = {"float16": 300.0, "float32": 1e25, "float64": 1e200}  # its square is infinite


def edges(dtype):
    limits = np.finfo(dtype)
    return (
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        HUGE[dtype],
        -HUGE[dtype],
        float(limits.max),
        float(limits.smallest_subnormal),
    )


def sets_of_passes(backend):
    return PASSES if backend == "numpy" else [NAMES]


def agree(compiled, plain, exact):
    """Whether two arrays are the same but for rounding; if `exact`, zeros have the same sign as well."""
    if compiled.dtype != plain.dtype or compiled.shape != plain.shape:
        return False
    if plain.dtype.kind != "f":
        return bool(np.array_equal(compiled, plain))
    finite = np.isfinite(plain)
    if not np.array_equal(compiled[~finite], plain[~finite], equal_nan=True):
        return False
    a, b = compiled[finite].astype("longdouble"), plain[finite].astype("longdouble")
    limits = np.finfo(plain.dtype)
    largest = np.abs(b).max(initial=0)
    near = np.abs(a - b) <= 16 * float(limits.eps) * (np.abs(b) if exact else largest) + 8 * float(
        limits.smallest_subnormal
    )
    return bool(np.isfinite(a).all() and near.all() and (not exact or (np.signbit(a) == np.signbit(b))[b == 0].all()))


ELEMENTWISE = {
    "plus 0": lambda a, b, c: a + 0.0,
    "plus -0": lambda a, b, c: a + -0.0,
    "minus 0": lambda a, b, c: a - 0.0,
    "minus -0": lambda a, b, c: a - -0.0,
    "0 plus": lambda a, b, c: 0.0 + a,
    "0 minus": lambda a, b, c: 0.0 - a,
    "sum of a list": lambda a, b, c: sum([a, b, a]),
    "times 1": lambda a, b, c: 1.0 * a * 1.0,
    "times -1": lambda a, b, c: -1.0 * a,
    "times 0": lambda a, b, c: a * 0.0,
    "times -0": lambda a, b, c: a * -0.0,
    "times inf": lambda a, b, c: a * float("inf"),
    "plus inf": lambda a, b, c: a + float("inf"),
    "minus inf": lambda a, b, c: a - float("inf"),
    "times nan": lambda a, b, c: a * float("nan"),
    "larger than nan": lambda a, b, c: tg.maximum(a, float("nan")),
    "larger than -inf": lambda a, b, c: tg.maximum(a, float("-inf")),
    "over 1": lambda a, b, c: a / 1.0,
    "over 0": lambda a, b, c: a / 0.0,
    "over -0": lambda a, b, c: a / -0.0,
    "over inf": lambda a, b, c: a / float("inf"),
    "large factors": lambda a, b, c: (a * c) * c,
    "small factors": lambda a, b, c: (a / c) * (1 / c),
    "large, then small": lambda a, b, c: (a * c) * (1 / c),
    "small, then large": lambda a, b, c: (a * (1 / c)) * c,
    "three factors": lambda a, b, c: ((a * c) * 0.5) * c,
    "factors that are 0 together": lambda a, b, c: (a * 1e-5) * 1e-5 * 1e5 * 1e5,
    "half, doubled": lambda a, b, c: (a * 2.0) * 0.5,
    "minus minus": lambda a, b, c: -tg.negative(a) - (-b),
    "plus minus": lambda a, b, c: a + (-b),
    "minus of a sum": lambda a, b, c: -(a + b) + a,
    "minus times": lambda a, b, c: -(a * 3.0) * -2.0,
    "itself away": lambda a, b, c: a - a,
    "over itself": lambda a, b, c: a / a,
    "square": lambda a, b, c: a**2,
    "square root": lambda a, b, c: a**0.5,
    "inverse square root": lambda a, b, c: a**-0.5,
    "inverse": lambda a, b, c: a**-1.0,
    "to the 0": lambda a, b, c: a**0.0,
    "to the 1": lambda a, b, c: a**1.0,
    "to the 3": lambda a, b, c: a**3.0,
    "to a tensor": lambda a, b, c: tg.power(a, tg.maximum(b, b)),
    "roots": lambda a, b, c: (tg.sqrt(a), tg.log(a), tg.exp(b), tg.abs(a), tg.sign(a)),
    "comparisons": lambda a, b, c: (a > b, a < 0.0, tg.equal(a, b), tg.not_equal(a, a), a >= -0.0),
    "logic": lambda a, b, c: ((a > b) & (a < 1.0), (a > b) | ~(b > 0.0), (a > b) ^ (b > 0.0), (a > b) & True),
    "clip": lambda a, b, c: tg.clip(a, -1.0, 0.5),
    "where": lambda a, b, c: tg.where(a > b, a * 1.0, 0.0),
    "gate": lambda a, b, c: tg.gate(a, b),
    "divide or zero": lambda a, b, c: tg.divide_or_zero(a, b),
    "sigmoid": lambda a, b, c: tg.sigmoid(a),
    "softplus": lambda a, b, c: tg.softplus(a),
    "sines": lambda a, b, c: (tg.sin(a), tg.cos(b), tg.expm1(a), tg.log1p(tg.square(b))),
    "activations without a number": lambda a, b, c: (tg.selu(a), tg.gelu(a), tg.silu(b), tg.softsign(b)),
    "leaky relus that differ in a sign": lambda a, b, c: (tg.leaky_relu(a, 0.0), tg.leaky_relu(a, 0.5)),
    "twice the same": lambda a, b, c: (a * b) + (a * b),
}
JOINED = {
    "sum": lambda a, b, c: (tg.sum(a), tg.sum(a, 0), tg.sum(a, 1, keepdims=True)),
    "sum over all axes by name": lambda a, b, c: tg.sum(a, (0, 1)),
    "sum over an axis of length 1": lambda a, b, c: tg.sum(a[:1], 0),
    "mean": lambda a, b, c: (tg.mean(a), tg.mean(a, 0), tg.mean(a, 1, keepdims=True)),
    "variance": lambda a, b, c: (tg.var(a, 0), tg.std(a, 1, keepdims=True)),
    "logarithm of a sum of exponentials": lambda a, b, c: (tg.logsumexp(a), tg.logsumexp(a, 1, keepdims=True)),
    "products": lambda a, b, c: (tg.prod(a), tg.prod(a, 0), tg.prod(a, 1, keepdims=True), tg.prod(a[:1], 0)),
    "orders": lambda a, b, c: (tg.sort(a), tg.argsort(b, 0), *tg.topk(a * b, 2, 0), tg.sort(a, None, True)),
    "running sums": lambda a, b, c: (tg.cumsum(a), tg.cumsum(a, 0), tg.cumsum(a * b, 1) * 2.0),
    "smallest": lambda a, b, c: (tg.argmin(a), tg.argmin(a, 0), tg.argmin(a, None)),
    "largest": lambda a, b, c: (tg.max(a), tg.min(a, 0), tg.max(a, 1)),
    "norm": lambda a, b, c: tg.norm(a, 1),
    "sum of products": lambda a, b, c: tg.sum(a * b),
    "sum of squares, scaled": lambda a, b, c: tg.sum(tg.square(a)) * 0.5 + 1.0,
    "sum of products times 0": lambda a, b, c: tg.sum(a * b) * 0.0,
    "sum of rows, scaled": lambda a, b, c: tg.sum(a, 0) * 0.5 + b[0],
    "sum of rows times 0": lambda a, b, c: tg.sum(a, 0) * 0.0,
    "sum of rows and 0 times": lambda a, b, c: tg.sum(a, 0) + b[0] * 0.0,
    "softmax": lambda a, b, c: (tg.softmax(a), tg.log_softmax(a)),
    "product": lambda a, b, c: a @ b.T,
    "contractions": lambda a, b, c: (
        tg.einsum("ij,kj->ik", a, b),
        tg.einsum("ij,ij->i", a, b),
        tg.einsum("ij,kj->k", a, b),
        tg.einsum("ij,ik->ijk", a, b),
    ),
    "triangles": lambda a, b, c: (tg.tril(a), tg.triu(a * b, 1) * 2.0, tg.tril(a > b)),
    "shares": lambda a, b, c: (tg.mean(a > b), tg.mean((a > b) & (a > 0.0), 0)),
    "product plus": lambda a, b, c: a @ b.T + a[:, :3],
    "product minus": lambda a, b, c: a[:, :3] - a @ b.T,
    "product times 0": lambda a, b, c: (a @ b.T) * 0.0,
    "product and 0 times": lambda a, b, c: a @ b.T + a[:, :3] * 0.0,
    "product times inf": lambda a, b, c: (a @ b.T) * float("inf"),
    "product times nan": lambda a, b, c: (a @ b.T) * float("nan"),
    "product by large factors": lambda a, b, c: ((a @ b.T) * c) * c,
    "product by small factors": lambda a, b, c: ((a @ b.T) * (1 / c)) * (1 / c),
    "product, large, then small": lambda a, b, c: ((a @ b.T) * c) * (1 / c),
    "product, small, then large": lambda a, b, c: ((a @ b.T) * (1 / c)) * c,
    "product plus the same twice": lambda a, b, c: (a @ b.T + b[:, :3]) - b[:, :3],
    "product plus something, scaled": lambda a, b, c: (a @ b.T + b[:, :3]) * 3.0,
    "product plus a row, halved": lambda a, b, c: (a @ b.T + b[0, :3]) * 0.5,
    "a large difference, scaled": lambda a, b, c: (a @ b.T - a @ b.T) * 4.0,
    "one row times a matrix": lambda a, b, c: a[:1] @ b.T * 2.0 - b[:1, :3],
    "column times row": lambda a, b, c: a[:, :1] @ b[:1] + a,
}


@cache
def operands(dtype):
    """Ordinary matrices, and the same with one element at an edge."""
    rng = np.random.default_rng(5)
    plain = [rng.normal(size=(3, 4)).astype(dtype) for _ in range(2)]
    pairs = [tuple(plain), (np.abs(plain[0]), np.abs(plain[1]))]
    for edge in edges(dtype):
        for place in range(2):
            a, b = (x.copy() for x in plain)
            a[0, 1] = edge
            if place:
                b[0, 1] = edge
            pairs.append((a, b))
    return pairs


def differences(fn, arguments, exact, passes):
    """Yield what differs between a function and its plan, for all arguments."""
    fast = tg.compile(fn, passes=passes)
    with np.errstate(all="ignore"):
        for arrays in arguments:
            plain = fn(*map(tg.tensor, arrays))
            made = fast(*map(tg.tensor, arrays))
            for x, y in zip(*[r if isinstance(r, tuple) else (r,) for r in (made, plain)], strict=True):
                if not agree(x.numpy(), y.numpy(), exact):
                    yield passes, "compiled", x, "plain", y, arrays


# On the stand-in for CuPy these differ at infinities, NaN and powers of 1/2, and products of many numbers, which a
# kernel multiplies in another order, at the largest number; to be judged on a GPU.
OPEN_ON_CUPY = {"column times row", "square root", "inverse square root", "roots", "scaled product", "products"}


@pytest.fixture
def judged_on_cupy_later(request, name, backend):
    if backend == "cupy" and name in OPEN_ON_CUPY:
        request.applymarker(pytest.mark.xfail(reason="differs on the stand-in for CuPy", strict=False))


@pytest.mark.compiles
@pytest.mark.usefixtures("judged_on_cupy_later")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*ELEMENTWISE, *JOINED])
def test_floating(name, dtype, backend):
    exact = name in ELEMENTWISE
    fn = ELEMENTWISE[name] if exact else JOINED[name]
    for passes in sets_of_passes(backend):
        assert not next(differences(lambda a, b: fn(a, b, SHARES[dtype]), operands(dtype), exact, passes), None)


def scaled_operands(dtype):
    """A product, an addend and two numbers, one of them at an edge."""
    rng = np.random.default_rng(6)
    plain = [rng.normal(size=shape).astype(dtype) for shape in [(3, 4), (4, 2), (3, 2), (), ()]]
    lists = [plain, [*plain[:3], np.array(2.5, dtype), np.array(-3.5, dtype)]]
    for edge in edges(dtype):
        for which in range(5):
            arrays = [x.copy() for x in plain]
            arrays[which].reshape(-1)[-1] = edge
            lists.append(arrays)
    for which in range(3 * (current().name != "cupy")):  # 0 times infinity is NaN; cuBLAS does not read the infinity
        for edge in (np.inf, np.nan):
            arrays = [x.copy() for x in plain]
            arrays[which].reshape(-1)[-1] = edge
            arrays[3][()] = arrays[4][()] = 0
            lists.append(arrays)
    return lists


SCALED = {
    "scaled product": lambda a, b, d, s, t: (a @ b) * s,
    "scaled product plus": lambda a, b, d, s, t: (a @ b) * s + d,
    "product plus scaled": lambda a, b, d, s, t: a @ b + d * t,
    "product minus scaled": lambda a, b, d, s, t: d * t - (a @ b) * s,
    "all scaled": lambda a, b, d, s, t: ((a @ b) * s + d) * t,
    "scaled twice": lambda a, b, d, s, t: ((a @ b) * s) * t,
    "scaled by numbers": lambda a, b, d, s, t: ((a @ b) * 0.5) * s * 3.0,
    "difference of a sum": lambda a, b, d, s, t: (a @ b + d) - d,
    "one row": lambda a, b, d, s, t: (a[:1] @ b) * s + d[:1] * t,
    "one column": lambda a, b, d, s, t: (a @ b[:, :1]) * s + d[:, :1] * t,
    "column times row": lambda a, b, d, s, t: (a[:, :1] @ b[:1]) * s + d * t,
    "column times row, added": lambda a, b, d, s, t: d - (a[:, :1] @ b[:1]) * s,
    "sums of rows": lambda a, b, d, s, t: tg.sum(d, 0) * s + b[0] * t,
    "sum of products": lambda a, b, d, s, t: tg.sum(d * d) * s + t,
    "transposed": lambda a, b, d, s, t: (b.T @ a.T) * s - d.T * t,
    "broadcast": lambda a, b, d, s, t: (a @ b) * s + d[0] * t,
    "broadcast the other way": lambda a, b, d, s, t: (a[:1] @ b) * s + d,
    "times a number that is a matrix": lambda a, b, d, s, t: (a @ b) * tg.reshape(s, (1, 1)) + d,
}


@pytest.mark.compiles
@pytest.mark.usefixtures("judged_on_cupy_later")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", SCALED)
def test_scales_that_are_known_when_it_runs(name, dtype, backend):
    for passes in sets_of_passes(backend):
        assert not next(differences(SCALED[name], scaled_operands(dtype), False, passes), None)


UPDATES = {
    "step": lambda W, x, d, s: W - s * (x.T @ d),
    "step by a fixed number": lambda W, x, d, s: W - 0.1 * (x.T @ d),
    "step and decay": lambda W, x, d, s: W - s * (x.T @ d + 0.01 * W),
    "decay first": lambda W, x, d, s: W * (1 - s) - s * (x.T @ d),
    "decay to nothing": lambda W, x, d, s: (W - W) - s * (x.T @ d),
    "large step": lambda W, x, d, s: W - 3.0 * (x.T @ d + W),
    "two products": lambda W, x, d, s: W - s * (x.T @ d) - s * (x.T @ (d * 2.0)),
    "sums of rows, broadcast": lambda W, x, d, s: W - s * tg.sum(d, 0),
    "one product of rows, broadcast": lambda W, x, d, s: W - s * (tg.sum(x, 0).reshape(1, 4) @ W),
    "a number, broadcast": lambda W, x, d, s: W - s * tg.sum(d * d),
    "a column, broadcast": lambda W, x, d, s: W - s * (x.T @ d[:, :1]),
    "a matrix of one row, broadcast": lambda W, x, d, s: W + (x[:1, :2] @ W[:2]) * s,
    "a sum and a product": lambda W, x, d, s: W - (tg.sum(d, 0) + x.T @ d) * s,
    "itself transposed": lambda W, x, d, s: W + ((W @ W.T) @ W) * s,
    "a row of itself": lambda W, x, d, s: W * s + W[:1] - (x.T @ d),
}


@pytest.mark.compiles
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UPDATES)
def test_updates(name, dtype, backend):
    """Also with a step of 0, infinity or NaN, and where what the step multiplies is infinite."""
    rng = np.random.default_rng(7)
    W0, x0, d0 = (rng.normal(size=shape).astype(dtype) for shape in [(4, 2), (3, 4), (3, 2)])
    for passes in sets_of_passes(backend):
        W = tg.parameter(W0)
        step = tg.tensor(np.array(0.1, dtype))

        def fn(x, d, W=W, step=step):
            W.assign_(UPDATES[name](W, x, d, step))
            return tg.sum(W)

        fast = tg.compile(fn, passes=passes)
        joins = name == "step and decay"  # W and 0.01 s W become one term: infinities do not cancel out to NaN
        for number in (
            0.1,
            *(() if backend == "cupy" else (0.0, -0.0)),
            -0.0,
            -1.5,
            *(() if joins else (np.inf, np.nan)),
        ):
            for edge in (0.5, np.inf, np.nan):
                for place in range(joins, 3):
                    start, x, d = W0.copy(), x0.copy(), d0.copy()
                    (start, x, d)[place].reshape(-1)[0] = edge
                    step.assign_(number)
                    made = []
                    for run in (fn, fast):
                        W.assign_(start)
                        with np.errstate(all="ignore"):
                            run(tg.tensor(x), tg.tensor(d))
                        made.append(W.numpy())
                    assert agree(made[1], made[0], False), (passes, number, edge, place, made)


WHOLE = [
    *("a + b", "a + 1", "1 + a", "a + 0", "a - b", "a - (-b)", "a + (-b)", "a - 0", "0 - a", "-(-a)"),
    *("a * b", "a * 1", "a * 2 * 3", "a * -1", "(a + b) * 2", "-(a * 3) * -2", "a * b + a * b", "a ** 2", "a / b"),
    *("a < b", "a >= 0", "tg.equal(a, b)", "tg.not_equal(a, 1)", "tg.equal(m, m)", "tg.not_equal(m, a > b)"),
    *("tg.sum(a)", "tg.sum(a, 0)", "tg.sum(a, 1, keepdims=True)", "tg.sum(a, (0, 1))", "tg.sum(a, np.int64(1))"),
    *("tg.sum(a * b)", "tg.sum(tg.square(a))", "tg.sum(a * b) * 2 + 1", "tg.sum(a, 0) * 2 - b[0]", "tg.sum(a[:1], 0)"),
    *("tg.sum(a[:1, :1])", "tg.max(a)", "tg.min(a, 0)", "tg.maximum(a, b)", "tg.minimum(a, 1)", "tg.abs(a)"),
    *("tg.sign(a)", "tg.clip(a, 1, 3)", "tg.relu(a)", "tg.mean(a)", "tg.exp(a)", "a.T", "a.reshape(4, 3) * 2"),
    *("a @ b.T", "a @ b.T + a[:, :3]", "(a @ b.T) * 3 - b[0, :3]", "a[:1] @ b.T", "a[:, :1] @ b[:1] + a"),
    *("tg.sum(m)", "tg.sum(m, 0)", "tg.sum(m, 1, keepdims=True)", "tg.sum(a > b, 0)", "tg.max(m, 0)", "m + m", "m * m"),
    *("tg.where(m, a, b)", "tg.where(m, 1, b)", "tg.where(m, m, a > b)", "tg.where(a, a, b)", "m.astype(a.dtype) + a"),
    *("a.astype('float32') * 0.5", "a.astype('float16') / 3.0", "(a > b).astype('float64')", "a.astype('int8')"),
    *("a * a.astype('float32')", "m * a.astype('float64')", "m.astype('float32') + m", "a.astype('float32') * 1.5 - b"),
    *(
        "a.astype('float64') / b",
        "m * 0.5",
        "a * 0.5",
        "a + 1.0",
        "a.astype('float32') @ b.T.astype('float32') + a[:, :3]",
    ),
    *(
        "tg.divide_or_zero(a.astype('float32'), m)",
        "tg.gate(a.astype('float32'), b)",
        "tg.where(m, a.astype('float32'), b)",
    ),
    *("a[np.int64(1)]", "a[:, np.int32(0)]", "tg.softmax(a.astype('float32'))", "tg.concatenate([a, b], np.int64(0))"),
    *(
        "tg.max(a, np.int8(1))",
        "tg.sum(a, (np.int64(0), 1))",
        "tg.argmax(a, np.int64(0))",
        "tg.transpose(a, (1, 0)) * 2",
    ),
]


def outcome(fn, *arrays):
    """What a function gives as an array, or the error it raises."""
    try:
        with np.errstate(all="ignore"):
            return fn(*map(tg.tensor, arrays)).numpy()
    except (tg.TinygraphError, TypeError, ValueError, OverflowError) as error:
        return error


@pytest.mark.compiles
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("text", WHOLE)
def test_whole_numbers_and_truth_values(text, dtype, backend):
    rng = np.random.default_rng(8)
    lowest, highest = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    small = rng.integers(0, 2 if dtype == "bool" else 5, (2, 3, 4)).astype(dtype)
    wild = small.copy()
    wild[0, 0, 1], wild[1, 0, 1], wild[:, 1, 2] = lowest, highest, highest
    mask = rng.integers(0, 2, (3, 4)).astype(bool)
    fn = eval(f"lambda a, b, m: {text}", {"tg": tg, "np": np})
    for passes in sets_of_passes(backend):
        fast = tg.compile(fn, passes=passes)
        for arrays in ((*small, mask), (*wild, mask)):
            plain, made = outcome(fn, *arrays), outcome(fast, *arrays)
            if isinstance(plain, Exception):
                assert isinstance(made, Exception), made
            else:
                assert not isinstance(made, Exception), made
                assert agree(made, plain, True), (passes, made, made.dtype, plain, plain.dtype)
