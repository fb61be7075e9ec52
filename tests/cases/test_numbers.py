"""Numbers at the edges of what a dtype holds, against exact references."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

import tinygraph as tg
from tinygraph import losses, nn, optim

FLOATS = [np.float16, np.float32, np.float64]


def run_both(function, *arrays):
    """Return what a function gives, operation by operation and compiled."""
    tensors = [tg.tensor(a) for a in arrays]
    with np.errstate(all="ignore"):
        results = function(*tensors), tg.compile(function)(*tensors)
    return [[t.numpy() for t in (r if isinstance(r, list | tuple) else [r])] for r in results]


# -- powers ------------------------------------------------------------------------------------------------


def power_derivatives(a, b, up_to_two=True):
    """Return all first and second derivatives of ``a ** b``, each mixed one in both orders."""
    a, b = tg.tensor(np.float64(a), requires_grad=True), tg.tensor(np.float64(b), requires_grad=True)
    with np.errstate(all="ignore"):
        da, db = tg.grad(a**b, [a, b])
        if not up_to_two:
            return [da.item(), db.item()]
        return [t.item() for t in (da, db, *tg.grad(da, [a, b]), *tg.grad(db, [a, b]))]


@pytest.mark.parametrize("b", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("a", [1e-3, 0.7, 1.0, 2.5, 23.0, 1e4])
@pytest.mark.host
def test_derivatives_of_powers(a, b):
    log, y = math.log(a), a**b
    mixed = a ** (b - 1) * (1 + b * log)
    right = [b * a ** (b - 1), y * log, b * (b - 1) * a ** (b - 2), mixed, mixed, y * log * log]
    np.testing.assert_allclose(power_derivatives(a, b), right, rtol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_derivatives_where_a_base_is_zero(dtype):
    """0**b is 0 for b > 0; at 0**0 all derivatives are 0; for b < 0 it is infinite, with the slopes it tends to."""
    b = np.array([3.0, 2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -2.0], dtype)

    def derivatives(a, b):
        return tg.grad(tg.sum(a**b), [a, b])

    x = torch.zeros(len(b), dtype=torch.float64, requires_grad=True)
    e = torch.tensor(b.astype(np.float64), requires_grad=True)
    expected = [g.numpy() for g in torch.autograd.grad((x**e).sum(), [x, e])]
    for results in run_both(derivatives, np.zeros_like(b), b):
        for result, right in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, right)
    assert power_derivatives(0.0, 0.0) == [0.0] * 6
    assert power_derivatives(0.0, -1.0, up_to_two=False) == [-math.inf, -math.inf]


@pytest.mark.parametrize("dtype", FLOATS)
def test_derivatives_at_exponent_zero_stay_finite(dtype):
    """Of tiny bases ``1 / a`` is infinite; times 0 it would be NaN."""
    limits = np.finfo(dtype)
    a = np.array([limits.smallest_subnormal, limits.tiny, -limits.tiny, 1, -1, limits.max], dtype)
    for (da,) in run_both(lambda a: tg.grad(tg.sum(a ** (a * 0.0)), [a])[0], np.abs(a)):
        assert np.isfinite(da).all()
    for (da,) in run_both(lambda a, b: tg.grad(tg.sum(a**b), [a])[0], a, np.zeros_like(a)):
        np.testing.assert_array_equal(da, np.zeros_like(a))


# -- quotients and norms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_divide_or_zero_divides(dtype):
    limits = np.finfo(dtype)
    edge = [limits.smallest_subnormal, limits.tiny, limits.max, 3, 7, 1e3, 0, -limits.tiny, -0.0]
    a, b = (x.reshape(-1) for x in np.meshgrid(np.array(edge, dtype), np.array(edge, dtype)))
    with np.errstate(all="ignore"):
        right = np.where(b == 0, dtype(0), a / np.where(b == 0, dtype(1), b))
    for (y,) in run_both(tg.divide_or_zero, a, b):
        np.testing.assert_array_equal(y, right)
        assert y.dtype == dtype


@pytest.mark.parametrize("counts", [np.uint8, np.int32, np.int64, bool])
@pytest.mark.parametrize("dtype", FLOATS)
def test_divide_or_zero_by_counts(counts, dtype):
    sums, n = np.array([3.0, 5.0, -7.0, 9.0], dtype), np.array([1, 0, 3, 1]).astype(counts)
    right = [float(Fraction(float(s)) / int(k)) if k else 0.0 for s, k in zip(sums, n, strict=True)]
    for (y,) in run_both(tg.divide_or_zero, sums, n):
        np.testing.assert_array_equal(y, np.array(right, dtype))
        assert y.dtype == dtype
    for (y,) in run_both(tg.divide_or_zero, n, sums):
        np.testing.assert_allclose(y, n / sums.astype(np.float64), rtol=1e-3)
        assert y.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_from_the_smallest_number_to_infinity(dtype):
    limits = np.finfo(dtype)
    for scale in (limits.smallest_subnormal * 8, limits.tiny, dtype(1), limits.max / 8):
        x = np.array([3.0, -4.0, 0.0], dtype) * dtype(scale)
        for y, dx in run_both(lambda x: [tg.norm(x), tg.grad(tg.norm(x), [x])[0]], x):
            np.testing.assert_allclose(y, 5.0 * float(scale), rtol=2 * limits.eps)
            np.testing.assert_allclose(dx, [0.6, -0.8, 0.0], rtol=2 * limits.eps)
    for x, right in (
        ([np.inf, 1], np.inf),
        ([-np.inf, np.inf], np.inf),
        ([np.nan, 1], np.nan),
        ([np.inf, np.nan], np.nan),
    ):
        for (y,) in run_both(tg.norm, np.array(x, dtype)):
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, right)
    for (y,) in run_both(lambda x: tg.norm(x, 1), np.array([[np.inf, 1], [3, 4], [0, 0]], dtype)):
        np.testing.assert_array_equal(y, np.array([np.inf, 5, 0], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_cosine_is_from_minus_one_to_one(dtype):
    v = np.random.default_rng(0).normal(size=(1000, 7)).astype(dtype)
    for sign in (1, -1):
        for (c,) in run_both(lambda v, s=sign: tg.cosine_similarity(v, s * v), v):
            assert np.abs(c).max() <= 1
            np.testing.assert_allclose(c, sign, rtol=8 * np.finfo(dtype).eps)
    tiny = np.array([[3.0, 4.0]], dtype) * np.finfo(dtype).smallest_subnormal
    for (c,) in run_both(lambda v: tg.cosine_similarity(v, v * 2.0), tiny):
        np.testing.assert_allclose(c, 1.0, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.host
def test_the_derivatives_of_a_cosine_do_not_depend_on_rounding():
    """At ``u = v`` the Hessian is ``(v v' / |v|**2 - I) / |v|**2``, whether rounding put the cosine above 1 or not."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        v = rng.normal(size=5)
        u = tg.tensor(v, requires_grad=True)
        (du,) = tg.grad(tg.cosine_similarity(u, v), [u])
        np.testing.assert_allclose(du.numpy(), 0.0, atol=1e-15)
        hessian = tg.jacobian(du, u).numpy()
        square = v @ v
        np.testing.assert_allclose(hessian, (np.outer(v, v) / square - np.eye(5)) / square, atol=1e-12)


# -- sums, means, variances --------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("shape", [(100_000, 3), (3, 100_000)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_mean_of_many_elements(dtype, shape, axis, backend):
    x = (np.random.default_rng(0).random(shape) + 1).astype(dtype)
    right = np.mean(x.astype(np.float64), axis)
    for mean, var in run_both(lambda x: [tg.mean(x, axis), tg.var(x, axis)], x):
        assert mean.dtype == var.dtype == dtype
        exact = dtype != np.float32 or backend != "cupy"  # a device adds up in single precision, by halves
        np.testing.assert_allclose(mean, right, rtol=np.finfo(dtype).eps * (1 if exact else 8))
        limits = np.finfo(dtype)
        expected = np.var(x.astype(np.float64), axis)
        np.testing.assert_allclose(var, expected, rtol=8 * limits.eps, atol=8 * float(limits.smallest_subnormal))


@pytest.mark.host
def test_the_mean_is_rounded_once():
    rng = np.random.default_rng(0)
    for n in (3, 10, 1000, 4096):
        x = (rng.normal(size=n) * 10.0 ** rng.integers(-3, 4, n)).astype(np.float32)
        right = np.float32(math.fsum(x.astype(np.float64)) / n)
        for (y,) in run_both(tg.mean, x):
            assert abs(y - right) <= np.spacing(abs(right))


def test_half_precision_is_added_up_in_single():
    ones = np.ones((5000, 3), np.float16)
    for results in run_both(lambda x: [tg.sum(x, 0), tg.mean(x, 0), tg.norm(x, 0), tg.softmax(x, 0)], ones):
        for y, right in zip(results, [5000, 1, math.sqrt(5000), 1 / 5000], strict=True):
            assert y.dtype == np.float16
            np.testing.assert_allclose(y, right, rtol=1e-3)
    large = np.array([[300.0], [-300.0], [200.0]], np.float16)  # whose squares are beyond the largest number
    for norm, deviation in run_both(lambda x: [tg.norm(x), tg.sqrt(tg.var(x / 2.0))], large):
        np.testing.assert_allclose(norm, np.linalg.norm(large.astype(np.float64)), rtol=1e-3)
        np.testing.assert_allclose(deviation, np.std(large.astype(np.float64) / 2), rtol=2e-3)


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        (losses.squared_error, lambda y, t: ((y - t) ** 2).sum() / len(y)),
        (losses.cross_entropy, lambda y, t: -(t * torch.log_softmax(y, 1)).sum() / len(y)),
        (losses.binary_cross_entropy, lambda y, t: (torch.nn.functional.softplus(y) - y * t).sum() / len(y)),
        (losses.huber, None),
        (losses.logistic, None),
    ],
)
def test_a_batch_mean_in_half_precision_has_no_sum_that_overflows(loss, theirs):
    rng = np.random.default_rng(0)
    y = (rng.normal(size=(4000, 2)) * 60).astype(np.float16)
    t = np.eye(2, dtype=np.float16)[rng.integers(0, 2, 4000)]
    if loss is losses.logistic:
        t = 2 * t - 1
    exact = [torch.tensor(a.astype(np.float64)) for a in (y, t)]
    wide = [tg.tensor(a.astype(np.float64)) for a in (y, t)]
    right = float(loss(*wide)) if theirs is None else float(theirs(*exact))
    for (cost,) in run_both(loss, y, t):
        assert cost.dtype == np.float16
        np.testing.assert_allclose(cost, right, rtol=2e-3)


@pytest.mark.parametrize("dtype", FLOATS)
def test_erf_keeps_the_dtype(dtype):
    x = np.linspace(-4, 4, 41).astype(dtype)
    slope = [2 / math.sqrt(math.pi) * math.exp(-(float(v) ** 2)) for v in x]
    for y, dx in run_both(lambda x: [tg.erf(x), tg.grad(tg.sum(tg.erf(x)), [x])[0]], x):
        assert y.dtype == dx.dtype == dtype
        np.testing.assert_allclose(y, [math.erf(v) for v in x], rtol=4 * np.finfo(dtype).eps, atol=1e-7)
        np.testing.assert_allclose(dx, slope, rtol=64 * np.finfo(dtype).eps, atol=1e-6)


# -- batch normalisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 7, 195, 10_001])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_constant_column_is_normalised_to_zero(rows, dtype):
    constants = np.array([1000, 1 / 3, -1e4 / 7, 0, 6e4, np.finfo(dtype).tiny, -0.1], dtype)
    z = np.repeat(constants[None], rows, 0)
    z = np.concatenate([z, np.random.default_rng(0).normal(size=(rows, 1)).astype(dtype)], 1)
    n = z.shape[1]
    a, theta = np.ones(n, dtype), np.zeros(n, dtype)

    def gradients(z, a, theta):
        v = tg.batch_norm(z, a, theta)
        return [v, *tg.grad(tg.sum(v * v * v), [z, a, theta])]

    for v, *others in run_both(gradients, z, a, theta):
        np.testing.assert_array_equal(v[:, :-1], np.zeros((rows, n - 1)))
        for g in others:
            assert g.dtype == dtype
            np.testing.assert_array_equal(g[..., :-1], np.zeros_like(g[..., :-1]))
            assert np.isfinite(g).all()


def test_a_constant_column_in_evaluation():
    layer = nn.BatchNorm(4)
    X = np.repeat(np.array([[1000, 1 / 3, -1e4 / 7, 0.1]], np.float32), 195, 0)
    nn.population_statistics(layer, [X] * 7)
    layer.eval()
    np.testing.assert_array_equal(layer(X).numpy(), np.zeros_like(X))
    np.testing.assert_array_equal(tg.compile(layer)(X).numpy(), np.zeros_like(X))
    layer.train()
    for _ in range(5):
        layer(X)
    np.testing.assert_array_equal(layer.mean.numpy(), X[0])


def test_batch_norm_in_half_precision():
    """Its variances are beyond the largest number, and eps is below the smallest."""
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(50, 3)) * [400, 1, 1e-3] + [1000, 0, 5]).astype(np.float16)
    a, theta = np.array([1, 2, 3], np.float16), np.array([0, 1, 0], np.float16)
    dv = rng.normal(size=z.shape).astype(np.float16)

    def gradients(z, a, theta, dv):
        v = tg.batch_norm(z, a, theta, eps=1e-9)
        return [v, *tg.grad(v, [z, a, theta], dv)]

    exact = [t.numpy() for t in gradients(*[tg.tensor(x.astype(np.float64)) for x in (z, a, theta, dv)])]
    for results in run_both(gradients, z, a, theta, dv):
        for y, right in zip(results, exact, strict=True):
            assert y.dtype == np.float16
            np.testing.assert_allclose(y, right, rtol=4e-3, atol=4e-3 * np.abs(right).max(0).min())


@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (1, 2), (2,), (2, 3, 1), ()])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_refuses_other_columns(shape, training):
    layer = nn.BatchNorm(3)
    layer.train() if training else layer.eval()
    with pytest.raises(tg.ShapeError, match=r"batch_norm: expected z \(B, "):
        layer(np.ones(shape, np.float32))


# -- optimisers --------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
    "RMSProp": lambda p: optim.RMSProp(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("size", [0.0, 6e-8, 1e-4, 1.0, 300.0, 6e4])
def test_optimisers_in_half_precision(name, size):
    """A step is that of single precision, rounded; with gradients whose squares are 0 or infinite in half."""
    half, single, compiled = (tg.parameter(np.array([1.0, -2.0, 5.0], d), name="W") for d in FLOATS[:2] + FLOATS[:1])
    steps = [OPTIMIZERS[name]([p]) for p in (half, single, compiled)]

    @tg.compile
    def step(g):
        compiled.grad = g
        steps[2].step()

    for n in range(3):
        g = np.array([size, -size / 2, 0.0], np.float16) * np.float16(1 if n % 2 else 0.5)
        single.assign_(half.numpy().astype(np.float32))
        half.grad, single.grad = tg.tensor(g), tg.tensor(g.astype(np.float32))
        with np.errstate(over="ignore"):
            steps[0].step()
            steps[1].step()
            step(tg.tensor(g))
        assert half.dtype == np.float16
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(half.numpy(), single.numpy().astype(np.float16))
        np.testing.assert_allclose(compiled.numpy(), half.numpy(), rtol=1e-3)
    for ours, theirs in zip(steps[0].named_state().values(), steps[1].named_state().values(), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_an_optimizer_of_ones_own_gets_single_precision_for_half():
    seen = []

    class Plain(optim.Optimizer):
        def update(self, i, p, g):
            seen.append((p.dtype, g.dtype, p.name, p.role))
            p.assign_(p - self.rate(p) * g)

    b = tg.parameter(np.ones(2, np.float16), name="b", role="bias")
    b.grad = tg.tensor(np.ones(2, np.float16))
    Plain([b], 0.5).step()
    assert b.numpy().tolist() == [0.5, 0.5]
    assert seen == [(np.float32, np.float32, "b", "bias")]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "gradients",
    [
        [[3.0, 4.0], [0.0]],
        [[np.inf, 1.0], [-7.0]],
        [[-np.inf, np.inf], [0.5, -np.inf, 0.0]],
        [[6e4, 6e4], [6e4]],
        [[6e-8], [6e-8, 0.0]],
        [[0.0], [0.0]],
    ],
)
def test_clipped_gradients_have_at_most_the_norm(gradients, dtype):
    params = [tg.parameter(np.zeros(len(g), dtype)) for g in gradients]
    given = [tg.tensor(np.array(g, dtype)) for g in gradients]

    @tg.compile
    def compiled(*gs):
        for p, g in zip(params, gs, strict=True):
            p.grad = g
        return optim.clip_grad_norm(params, 2.0), [p.grad for p in params]

    flat = np.concatenate([g.numpy() for g in given]).astype(np.float64)
    for p, g in zip(params, given, strict=True):
        p.grad = g
    plain = optim.clip_grad_norm(params, 2.0), [p.grad for p in params]
    for size, clipped in (plain, compiled(*given)):
        np.testing.assert_allclose(size.numpy(), np.linalg.norm(flat), rtol=1e-3)
        result = np.concatenate([g.numpy() for g in clipped]).astype(np.float64)
        assert all(g.dtype == dtype for g in clipped)
        assert np.linalg.norm(result) <= 2.0 * (1 + 2 * np.finfo(dtype).eps)
        if np.isinf(flat).any():
            assert np.array_equal(np.sign(result[np.isinf(flat)]), np.sign(flat[np.isinf(flat)]))
            np.testing.assert_allclose(result[~np.isinf(flat)], 0.0, atol=1e-6)
        else:
            np.testing.assert_allclose(result, flat * min(1.0, 2.0 / max(np.linalg.norm(flat), 1e-300)), rtol=2e-3)


def test_a_nan_among_gradients_is_not_hidden():
    p = tg.parameter([1.0, 2.0])
    p.grad = tg.tensor([np.nan, 1.0])
    assert math.isnan(optim.clip_grad_norm([p], 1.0).item())
    assert np.isnan(p.grad.numpy()).all()


SHRINKING = [
    lambda o: optim.ExponentialDecay(o, 0.5),
    lambda o: optim.ExponentialDecay(o, 1e-300),
    lambda o: optim.StepDecay(o, 1, 1e-3),
    lambda o: optim.InverseTimeDecay(o, 1e-320),
    lambda o: optim.CosineDecay(o, 10, 1e-320),
]


@pytest.mark.parametrize("make", SHRINKING)
@pytest.mark.host
def test_a_rate_that_shrinks_comes_down_to_zero(make):
    """As PyTorch's do; then nothing moves any more."""
    p = tg.parameter([1.0])
    o = optim.SGD([p], lr=1e-5)
    schedule = make(o)
    rates = []
    for _ in range(1200):
        schedule.step()
        rates.append(o.lr)
    assert all(0 <= b <= a for a, b in pairwise(rates))
    assert rates[-1] < 1e-300
    p.grad = tg.tensor([1.0])
    o.step()
    assert p.item() == 1.0
    assert o.state_dict()["lr"] == rates[-1]
    o.load_state_dict(o.state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda o: optim.ExponentialDecay(o, 1.1),
        lambda o: optim.ExponentialDecay(o, 1e200),
        lambda o: optim.StepDecay(o, 2, 7.0),
    ],
)
@pytest.mark.host
def test_a_rate_that_grows_beyond_all_numbers_is_told(make):
    o = optim.SGD([tg.parameter([1.0])], lr=1e150)
    schedule = make(o)
    with pytest.raises(tg.ArgumentError, match=r"Decay: step \d+ from the rate 1e\+150 is beyond the largest number"):
        for _ in range(10_000):
            before = o.lr
            schedule.step()
    assert o.lr == before


# -- labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.host
def test_a_label_out_of_range_is_told(dtype, compiled, as_tensor):
    z = tg.parameter(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))

    def step(y):
        loss = losses.cross_entropy(z, y)
        (dz,) = tg.grad(loss, [z])
        z.assign_(z - 0.1 * dz)
        return loss

    run = tg.compile(step) if compiled else step
    good = np.array([0, 1, 2, 1], dtype)
    assert run(tg.tensor(good) if as_tensor else good).item() > 0
    before = z.numpy()
    for place, label in ((0, 3), (3, 100), (2, -1), (1, -128)):
        if label < 0 and dtype is np.uint8:
            continue
        y = good.copy()
        y[place] = label
        with pytest.raises(tg.DataError, match=f"cross_entropy: class {label} in row {place} is outside 0 to 2"):
            run(tg.tensor(y) if as_tensor else y)
        np.testing.assert_array_equal(z.numpy(), before)
    assert run(good[::-1]).item() > 0
