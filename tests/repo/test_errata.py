"""docs/errata.md: where the print is wrong, its formula and the right one, both computed.

Each function marked `section` or `care` returns the numbers of one section of the page, or of one row of its table of
what needs care; the marks make it a test that compares these with the numbers the page shows in that place. "printed"
is the printed formula, transcribed; "right" is the corrected one, held against a way of its own: central differences,
fractions, numerical integration, simulation. Only "library" uses tinygraph.
"""

import functools
import math
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, metrics, nn, optim

pytestmark = pytest.mark.host
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errata.md").read_text()
NUMBER = re.compile(r"-?\d+\.\d{4}")
CALCULATED = []


def table(text):
    """The cells of the rows of the table in `text`, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def part(heading):
    """The text from a heading of the page to the next one of its rank."""
    return PAGE.split(f"\n{heading}", 1)[1].split("\n" + heading.split(" ")[0] + " ", 1)[0]


ERRORS = {
    text.split(":", 1)[0]: {row[0]: row[2:] for row in table(text)}
    for text in part("## Errors that change a number").split("\n### ")[1:]
}
CARE = {row[0]: NUMBER.findall(row[2]) for row in table(part("## What needs care"))}


def shown(numbers):
    """Numbers as the page shows them: whole ones as they are, others with four digits."""
    return [f"{x + 0.0:.4f}" if isinstance(x, float) else str(x) for x in numbers]


def compared(where, calculate, compare):
    @functools.wraps(calculate)
    def test():
        compare(calculate())

    CALCULATED.append(where)
    return test


def section(where):
    """Make a function a test: what it returns, by row, is what the section `where` shows."""

    def mark(calculate):
        def compare(rows):
            assert {name: shown(numbers) for name, numbers in rows.items()} == ERRORS[where]

        return compared(where, calculate, compare)

    return mark


def care(where):
    """Make a function a test: what it returns are the numbers of the row `where`, in this order."""

    def mark(calculate):
        def compare(numbers):
            assert shown(numbers) == CARE[where]

        return compared(where, calculate, compare)

    return mark


def test_every_number_of_the_page_is_calculated():
    assert sorted(CALCULATED) == sorted([*ERRORS, *(where for where, numbers in CARE.items() if numbers)])


def difference(f, x, at=0, h=1e-6):
    """The central difference of f(x) with respect to one entry of an array."""
    step = np.zeros_like(x)
    step[at] = h
    return float(f(x + step) - f(x - step)) / (2 * h)


def second_difference(f, x, at=0, h=1e-4):
    step = np.zeros_like(x)
    step[at] = h
    return float(f(x + step) - 2 * f(x) + f(x - step)) / h**2


def integral(f, a, b, n=200_001):
    """The trapezoidal rule."""
    x = np.linspace(a, b, n)
    y = f(x)
    return float((y[1:] + y[:-1]).sum() / 2 * (x[1] - x[0]))


# Activations, initial weights, neighbourhoods


@section("(65.166)")
def test_derivative_of_tanh():
    def printed(x):
        return 1 / math.cosh(x)

    def right(x):
        return 1 / math.cosh(x) ** 2

    x = 0.7
    assert right(x) == pytest.approx((math.tanh(x + 1e-6) - math.tanh(x - 1e-6)) / 2e-6, rel=1e-8)
    t = tg.tensor(np.array(x), requires_grad=True)
    return {"printed": [printed(x)], "right": [right(x)], "library": [tg.grad(tg.tanh(t), [t])[0].item()]}


@section("(65.91), (65.92)")
def test_variance_of_a_first_signal():
    """Outputs that are 0 or 1, equally likely: their mean is not 0."""
    n = 50
    mean, square = Fraction(1, 2), Fraction(1, 2)
    printed = [1 + n * (Fraction(1, n)) * (square - mean**2), 1 + n * (square - mean**2)]
    right = [1 + n * (Fraction(1, n)) * square, 1 + n * square]
    rng = np.random.default_rng(0)
    y, theta = rng.integers(0, 2, size=(100_000, n)), rng.normal(size=100_000)
    sums = (rng.normal(size=y.shape) * y).sum(1)
    for z, expected in zip((sums / math.sqrt(n) - theta, sums - theta), right, strict=True):
        assert z.var() == pytest.approx(float(expected), rel=0.02)
    return {"printed": map(float, printed), "right": map(float, right)}


@section("(65.117), (65.118)")
def test_symmetric_neighbourhoods():
    """Rings of six nodes, each fed by itself and the two beside it; the sensitivity of the first node."""
    rng, n = np.random.default_rng(0), 6
    N = [sorted({(j - 1) % n, j, (j + 1) % n}) for j in range(n)]
    w = {(i, j): float(rng.normal()) for j in range(n) for i in N[j]}
    z, gamma = rng.normal(size=n), rng.normal(size=n)

    def loss(z):
        z_next = [sum(w[i, j] * math.tanh(z[i]) for i in N[j]) for j in range(n)]
        return sum((z_next[j] - gamma[j]) ** 2 for j in range(n))

    delta = [2 * (sum(w[i, j] * math.tanh(z[i]) for i in N[j]) - gamma[j]) for j in range(n)]

    def sensitivity(j, feeds):  # a weight that does not exist counts as 0
        return (1 - math.tanh(z[j]) ** 2) * sum(w.get((j, i), 0.0) * delta[i] for i in feeds)

    assert all((j in N[i]) == (i in N[j]) for i in range(n) for j in range(n))  # symmetric
    assert not all((j in N[(i + 1) % n]) == (i in N[(j + 1) % n]) for i in range(n) for j in range(n))
    right = sensitivity(0, N[0])
    assert right == pytest.approx(difference(loss, z), rel=1e-6)
    graph = tg.Neighborhoods(N)
    x = tg.tensor(z[None], requires_grad=True)
    weights = tg.tensor(np.array([w[i, j] for j in range(n) for i in N[j]]))
    Q = tg.square(tg.neighborhood_matmul(tg.tanh(x), weights, graph) - gamma).sum()
    return {"printed": [sensitivity(0, N[1])], "right": [right], "library": [tg.grad(Q, [x])[0].numpy()[0, 0].item()]}


# Dropout


@section("(65.124), last line")
def test_scaling_the_biases_in_testing():
    """The signal of a node fed by four nodes that sleep, and by a bias, over all 16 masks."""
    rng, p, theta = np.random.default_rng(0), 0.3, 0.8
    w, y = rng.normal(size=4), rng.normal(size=4)
    expected = 0.0
    for bits in range(16):
        a = [(bits >> i) & 1 for i in range(4)]
        likely = math.prod(1 - p if awake else p for awake in a)
        expected += likely * (sum(w[i] * y[i] * a[i] for i in range(4)) - theta)
    printed = sum((1 - p) * w[i] * y[i] for i in range(4)) - (1 - p) * theta
    right = sum((1 - p) * w[i] * y[i] for i in range(4)) - theta
    assert right == pytest.approx(expected)
    net = nn.Sequential(nn.Dropout(p), nn.Dense(4, 1, dtype=np.float64)).eval()
    net[1].W.assign_(w[:, None])
    net[1].theta.assign_(np.array([theta]))
    return {"printed": [printed], "right": [right], "library": [net(y[None]).item()]}


@section("(65.124), weights")
def test_decay_of_sleeping_weights():
    """A weight of 1 from a node that sleeps in all of 100 steps: the listing, and the words around it."""
    mu, rho, steps = 0.1, 0.05, 100
    w = 1.0
    for _ in range(steps):
        w = (1 - 2 * mu * rho) * w - mu * 0.0  # the masked signal of the sleeping node is 0
    library = []
    for options in ({}, {"freeze_sleeping": True}):
        net = nn.Sequential(nn.Dropout(0.5), nn.Dense(40, 1, dtype=np.float64))
        net[1].W.assign_(np.ones((40, 1)))
        tg.manual_seed(0)
        asleep = tg.bernoulli(0.5, (1, 40)).numpy()[0] == 0
        tg.manual_seed(0)
        batch = np.ones((2, 40)), np.zeros((2, 1))
        tg.fit(net, losses.squared_error, [batch], optim.SGD(net.parameters(), mu), 1, l2=rho, **options)
        kept = set(net[1].W.numpy()[asleep, 0].tolist())
        assert len(kept) == 1  # of one step
        library.append(kept.pop() ** steps)
    return {"printed": [w], "right": [1.0], "library": library[:1], "library, `fit(freeze_sleeping=True)`": library[1:]}


# The log loss


@section("(65.139)")
def test_logarithm_in_the_log_loss():
    """One sample whose true class is given the probability P, of three classes."""

    def printed(probabilities, r):
        return -sum((q == r) * P for q, P in enumerate(probabilities))

    def right(probabilities, r):
        return -sum(math.log(P) for q, P in enumerate(probabilities) if q == r)

    cases = [0.7, 0.2, 0.1], [1.0, 0.0, 0.0]
    z, gamma = np.log(cases[0]), [1, 0, 0]  # (65.138), of which (65.139) is to be another form
    entries = [gamma[q] * math.log(math.exp(z[q]) / sum(math.exp(k) for k in z)) for q in range(3)]
    assert right(cases[0], 0) == pytest.approx(-sum(entries))
    assert losses.cross_entropy(z[None], np.array([0])).item() == pytest.approx(right(cases[0], 0))
    return {
        "printed": [printed(case, 0) for case in cases],
        "right": [right(case, 0) for case in cases],
        "library": [metrics.log_loss(np.array([case]), np.array([0])) for case in cases],
    }


# Batch normalisation: tanh layers as lists of (W, a, theta), batches as rows


@section("(65.170b), (65.212b), Prob. 65.20")
def test_two_variances():
    """The variance of 1, 2 and 4, and its derivative with respect to the 4."""
    z = [Fraction(1), Fraction(2), Fraction(4)]

    def variance(z, ddof):
        mean = sum(z) / len(z)
        return sum((x - mean) ** 2 for x in z) / (len(z) - ddof)

    def row(ddof):
        printed = Fraction(2, len(z)) * (z[2] - sum(z) / len(z))
        h = Fraction(1, 1000)  # of a square the central difference is exact
        right = (variance([*z[:2], z[2] + h], ddof) - variance([*z[:2], z[2] - h], ddof)) / (2 * h)
        assert right == Fraction(2, len(z) - ddof) * (z[2] - sum(z) / len(z))
        t = tg.tensor(np.array(z, float)[:, None], requires_grad=True)
        library = tg.grad(tg.var(t, 0, ddof=ddof).sum(), [t])[0].numpy()[2, 0]
        return [float(variance(z, ddof)), float(printed), float(right), float(library)]

    return {"(65.170b)": row(1), "(65.212b)": row(0)}


def test_the_expressions_of_problem_65_19_belong_to_the_variance_of_65_212b():
    """dP/dz_b of one node, for P = sum of c_b z''_b, against central differences with either variance."""
    rng = np.random.default_rng(0)
    z, c, a, eps = rng.normal(size=4), rng.normal(size=4), 1.5, 1e-6
    B = len(z)

    def as_printed(ddof):
        centred, variance = z - z.mean(), z.var(ddof=ddof) + eps
        dz1 = [a * c[b] for b in range(B)]  # with respect to z'_b
        dvariance = -sum(dz1[b] * centred[b] for b in range(B)) / (2 * variance**1.5)
        dmean = -sum(dz1) / variance**0.5 - 2 / B * dvariance * sum(centred)
        return [dz1[b] / variance**0.5 + 2 / B * centred[b] * dvariance + dmean / B for b in range(B)]

    def by_differences(ddof):
        def P(z):
            return a * (c @ (z - z.mean())) / math.sqrt(z.var(ddof=ddof) + eps)

        return [difference(P, z, b) for b in range(B)]

    np.testing.assert_allclose(as_printed(0), by_differences(0), rtol=1e-6, atol=1e-8)
    assert np.abs(np.subtract(as_printed(1), by_differences(1))).max() > 0.1


def normalised(z, ddof):
    """z' of (65.187), and the reciprocal of its divisor, which is xi of (65.220)."""
    centred = z - z.sum(0) / len(z)
    xi = 1 / np.sqrt((centred**2).sum(0) / (len(z) - ddof) + 1e-6)
    return centred * xi, xi


def run(h, layers, ddof):
    """Forward through (65.187): for every layer y_l, z_{l+1}, v_{l+1}; and the output."""
    signals, y = [], h
    for W, a, theta in layers:
        z = y @ W
        v = a * normalised(z, ddof)[0] - theta
        signals.append((y, z, v))
        y = np.tanh(v)
    return signals, y


def risk(h, gamma, layers, ddof):
    return ((gamma - run(h, layers, ddof)[1]) ** 2).sum() / len(h)


def c_as_printed(z, ddof):
    """c_{b,p} of (65.221), for every node."""
    B, d, xi = len(z), z - z.sum(0) / len(z), normalised(z, ddof)[1]
    c = np.zeros((B, B, z.shape[1]))
    for b in range(B):
        for p in range(B):
            if p == b:
                c[b, p] = (1 - 1 / B) * xi * (1 - 1 / (B - 1) * xi**2 * d[b] ** 2)
            else:
                c[b, p] = -1 / B * xi * (1 + xi**2 * d[b] * d[p])
    return c


def c_right(z, ddof):
    B, d, xi = len(z), z - z.sum(0) / len(z), normalised(z, ddof)[1]
    return np.array([[((p == b) - 1 / B) * xi - xi**3 * d[b] * d[p] / (B - ddof) for p in range(B)] for b in range(B)])


def gradients(h, gamma, layers, ddof, c_of, delta_of):
    """Backward through (65.187): dP/dW, dP/da and dP/dtheta of every layer."""
    signals, output = run(h, layers, ddof)
    B = len(h)
    delta = 2 * (output - gamma) * (1 - output**2)
    found = []
    for l in reversed(range(len(layers))):
        (W, a, _), (y, z, _) = layers[l], signals[l]
        c, n = c_of(z, ddof), normalised(z, ddof)[0]
        dW = np.zeros(W.shape)
        for b in range(B):
            for i in range(W.shape[0]):
                for j in range(W.shape[1]):
                    dW[i, j] += delta[b, j] * a[j] * sum(c[b, p, j] * y[p, i] for p in range(B)) / B
        da = sum(delta[b] * n[b] for b in range(B)) / B
        dtheta = -sum(delta[b] for b in range(B)) / B
        found.insert(0, (dW, da, dtheta))
        if l > 0:
            slope = 1 - np.tanh(signals[l - 1][2]) ** 2
            delta = np.array([slope[b] * (W @ delta_of(b, a, c, delta)) for b in range(B)])
    return found


def own_sample(b, a, c, delta):
    """D_{l,b} delta_{l+1,b}, with D of (65.231)."""
    return a * c[b, b] * delta[b]


def all_samples(b, a, c, delta):
    return sum(a * c[p, b] * delta[p] for p in range(len(c)))


def gradients_as_printed(h, gamma, layers, ddof):
    return gradients(h, gamma, layers, ddof, c_as_printed, own_sample)


def gradients_right(h, gamma, layers, ddof):
    found = gradients(h, gamma, layers, ddof, c_right, all_samples)
    for computed, exact in zip(found, gradients_by_differences(h, gamma, layers, ddof), strict=True):
        for slopes, differences in zip(computed, exact, strict=True):
            np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)
    return found


def gradients_by_differences(h, gamma, layers, ddof):
    found = []
    for l, layer in enumerate(layers):
        slopes = []
        for k, parameter in enumerate(layer):

            def at(value, l=l, k=k):
                changed = [list(layer) for layer in layers]
                changed[l][k] = value
                return risk(h, gamma, changed, ddof)

            slopes.append(
                np.array([difference(at, parameter, i) for i in np.ndindex(parameter.shape)]).reshape(parameter.shape)
            )
        found.append(tuple(slopes))
    return found


def gradients_of_the_library(h, gamma, layers, ddof):
    tensors = [[tg.parameter(value) for value in layer] for layer in layers]
    y = tg.tensor(h)
    for W, a, theta in tensors:
        y = tg.tanh(tg.batch_norm(y @ W, a, theta, 1e-6, ddof))
    losses.squared_error(y, gamma).backward()
    return [tuple(t.grad.numpy() for t in layer) for layer in tensors]


WAYS = {
    "printed": gradients_as_printed,
    "right": gradients_right,
    "library": gradients_of_the_library,
}


def normalised_network(*sizes):
    """A batch of four, its labels, and layers of these sizes."""
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(size=(m, n)), rng.uniform(0.5, 1.5, size=n), rng.normal(size=n) / 4) for m, n in pairwise(sizes)
    ]
    return rng.normal(size=(4, sizes[0])), rng.normal(size=(4, sizes[-1])), layers


@section("(65.187), (65.221)")
def test_slopes_of_the_normalisation():
    """A network without hidden layers, so that nothing else of (65.187) is in doubt: dP/dw_11 with either variance."""
    h, gamma, layers = normalised_network(3, 2)
    found = {way: [way_of(h, gamma, layers, ddof)[0] for ddof in (1, 0)] for way, way_of in WAYS.items()}
    for printed, right in zip(found["printed"], found["right"], strict=True):
        np.testing.assert_allclose(printed[1], right[1], rtol=1e-12)  # a and theta are right with both
        np.testing.assert_allclose(printed[2], right[2], rtol=1e-12)
    np.testing.assert_allclose(found["printed"][1][0], found["right"][1][0], rtol=1e-12)
    return {way: [dW[0, 0] for dW, _, _ in layers] for way, layers in found.items()}


@section("(65.203), (65.206), (65.210), (65.227)")
def test_losses_of_the_other_samples():
    """A network with a hidden layer and the variance of (65.212b), to which (65.221) belongs; its first layer."""
    h, gamma, layers = normalised_network(3, 4, 2)
    found = {way: way_of(h, gamma, layers, 0) for way, way_of in WAYS.items()}
    for printed, right in zip(found["printed"][1], found["right"][1], strict=True):
        np.testing.assert_allclose(printed, right, rtol=1e-12)  # the last layer
    return {way: [layers[0][0][0, 0], layers[0][1][0], layers[0][2][0]] for way, layers in found.items()}


def test_own_losses_by_65_232():
    """Held against the derivative of each sample's own loss, (65.200): right for l = L - 1, wrong below."""
    h, gamma, layers = normalised_network(3, 4, 3, 2)
    signals, output = run(h, layers, 0)
    delta = 2 * (output - gamma) * (1 - output**2)
    errors = []
    for l in (2, 1):  # the layers above the signals v_3 and v_2
        v, (W, a, _) = signals[l - 1][2], layers[l]
        c = c_as_printed(signals[l][1], 0)
        delta = np.array([(1 - np.tanh(v[b]) ** 2) * (W @ own_sample(b, a, c, delta)) for b in range(len(h))])
        own = np.zeros_like(v)
        for at in np.ndindex(v.shape):

            def loss(v, l=l, b=at[0]):
                return ((gamma[b] - run(np.tanh(v), layers[l:], 0)[1][b]) ** 2).sum()

            own[at] = difference(loss, v, at)
        errors.append(np.abs(delta - own).max())
    assert errors[0] < 1e-8
    assert errors[1] > 0.1


@section("(65.187), start of a")
def test_scale_that_starts_at_zero():
    """200 steps of (65.187) on one batch: the largest changes, and the risk."""

    def train(layers, way_of):
        layers = [tuple(value.copy() for value in layer) for layer in layers]
        for _ in range(200):
            for layer, slopes in zip(layers, way_of(h, gamma, layers, 1), strict=True):
                for value, slope in zip(layer, slopes, strict=True):
                    value -= 0.1 * slope
        return layers

    h, gamma, layers = normalised_network(3, 4, 2)
    zeros = [(W, np.zeros_like(a), theta) for W, a, theta in layers]
    ones = [(W, nn.BatchNorm(len(a)).a.numpy().astype(float), theta) for W, a, theta in layers]
    rows = {}
    for way, start in (("printed", zeros), ("library", ones)):
        end = train(start, WAYS[way])
        moved = [
            [np.abs(after - before).max() for after, before in zip(*pair, strict=True)]
            for pair in zip(end, start, strict=True)
        ]
        (W1, a1, theta1), (W2, a2, theta2) = moved
        rows[way] = [max(W1, W2), max(a1, a2), theta1, theta2, risk(h, gamma, end, 1)]
    *first, (W2, a2, _) = gradients_by_differences(h, gamma, zeros, 1)
    for slopes in [*first[0], W2, a2]:
        assert np.abs(slopes).max() < 1e-9  # the right gradient as well moves nothing but the last theta
    return rows


@section("(65.187), running variance")
def test_running_variance():
    """400 times the batch 1, 2, 4; then, in testing, what z = 4 is normalised to."""
    z, lam, eps = np.array([1.0, 2.0, 4.0]), 0.95, 1e-6
    mean = 0.0
    printed = right = eps
    for _ in range(400):
        S2 = eps + ((z - z.mean()) ** 2).sum() / 2
        mean = lam * mean + (1 - lam) * z.mean()
        printed = lam * printed + (1 - lam) * printed
        right = lam * right + (1 - lam) * S2
    norm = nn.BatchNorm(1, smoothing=lam, dtype=np.float64)
    for _ in range(400):
        norm(z[:, None])
    library = [norm.variance.item(), norm.eval()(np.array([[4.0]])).item()]
    return {
        "printed": [printed, (4 - mean) / math.sqrt(printed)],
        "right": [right, (4 - mean) / math.sqrt(right)],
        "library": library,
    }


# The Gaussian process


@section("(65.192)")
def test_error_function():
    """At 6; and the mean square for a standard normal argument, which (65.197) gives as (2/pi) arcsin(2/3)."""

    def printed(z):
        return 2 / math.sqrt(math.pi) * integral(lambda x: np.exp(-(x**2) / 2), 0, z, 2001)

    def right(z):
        return 2 / math.sqrt(math.pi) * integral(lambda x: np.exp(-(x**2)), 0, z, 2001)

    def mean_square(f):
        return integral(lambda u: np.array([f(x) ** 2 for x in u]) * np.exp(-(u**2) / 2), -8, 8, 2001) / math.sqrt(
            2 * math.pi
        )

    assert right(0.5) == pytest.approx(math.erf(0.5))
    assert mean_square(right) == pytest.approx(2 / math.pi * math.asin(2 / 3))
    values = {"printed": printed, "right": right, "library": lambda z: tg.erf(np.array(z)).item()}
    return {way: [f(6.0), mean_square(f)] for way, f in values.items()}


# Problems


@section("Probs. 65.12-65.14")
def test_second_derivatives():
    """One hidden layer, tanh throughout, one output, squared error: with respect to w_11 and theta_1(1)."""
    h, gamma = np.array([0.9, -0.4]), 0.4
    W1, theta1 = np.array([[0.3, -0.6], [0.5, 0.7]]), np.array([0.1, -0.2])
    W2, theta2 = np.array([[0.8], [-0.5]]), np.array([0.3])

    def loss(W, theta):
        z2 = h @ W - theta
        return (gamma - math.tanh((np.tanh(z2) @ W2 - theta2)[0])) ** 2

    z2 = h @ W1 - theta1
    z3 = float((np.tanh(z2) @ W2 - theta2)[0])
    y3, f1 = math.tanh(z3), 1 - np.tanh(z2[0]) ** 2  # f' = 1 - f^2, f'' = -2 f f'
    f2 = -2 * np.tanh(z2[0]) * f1
    delta3 = 2 * (y3 - gamma) * (1 - y3**2)
    curvature3 = 2 * (1 - y3**2) ** 2 + 2 * (y3 - gamma) * (-2 * y3 * (1 - y3**2))  # d2Q/dz3^2
    w = W2[0, 0]
    printed = [h[0] ** 2 * f2 * w * delta3, f2 * w * delta3]
    inner = f2 * w * delta3 + f1**2 * w * curvature3 * w
    right = [h[0] ** 2 * inner, inner]
    exact = [
        second_difference(lambda W: loss(W, theta1), W1, (0, 0)),
        second_difference(lambda theta: loss(W1, theta), theta1),
    ]
    assert right == pytest.approx(exact, rel=1e-5)
    W, theta = tg.parameter(W1), tg.parameter(theta1)
    output = tg.tanh(tg.bias(tg.tanh(tg.bias(h[None] @ W, theta)) @ tg.tensor(W2), tg.tensor(theta2)))
    Q = tg.square(output - gamma).sum()
    library = [tg.hessian_diagonal(Q, W).numpy()[0, 0], tg.hessian_diagonal(Q, theta).numpy()[0]]
    return {"printed": printed, "right": right, "library": library}


@section("Prob. 65.22")
def test_cosine_of_sigmoidal_embeddings():
    """Its least value over embeddings of two entries, against the label of a forgery."""
    grid = [-40.0, -4.0, -1.0, 0.0, 1.0, 4.0, 40.0]
    points = [(p, q) for p in grid for q in grid]

    def cosine(u, v):
        return (u[0] * v[0] + u[1] * v[1]) / math.hypot(*u) / math.hypot(*v)

    def least(f):
        return min(cosine((f(z[0]), f(z[1])), (f(x[0]), f(x[1]))) for z in points for x in points if any(z) and any(x))

    library = tg.cosine_similarity(tg.tanh(np.array([40.0, 40.0])), tg.tanh(np.array([-40.0, -40.0]))).item()
    return {"printed": [-1.0], "right": [least(lambda z: 1 / (1 + math.exp(-z)))], "library": [library]}


@section("Prob. 65.23")
def test_threshold_of_a_sigmoid():
    """An argument of 0.3."""
    argument = 0.3
    output = 1 / (1 + math.exp(-argument))
    net = nn.Sequential(nn.Dense(1, 1, dtype=np.float64), output="sigmoid")
    net[0].W.assign_(np.ones((1, 1)))
    library = int(net.decide(np.array([[argument]])).item())
    return {
        "printed": [argument, int(argument > 0.5)],
        "right": [output, int(output > 0.5)],
        "library": [net.predict(np.array([[argument]])).item(), library],
    }


@section("Prob. 65.24")
def test_softmax_of_one_entry():
    """At -5, 0 and 7."""
    z = -5.0, 0.0, 7.0
    return {
        "printed": [math.exp(x) / sum(math.exp(k) for k in [x]) for x in z],
        "right": [1 / (1 + math.exp(-x)) for x in z],
        "library": tg.sigmoid(np.array(z)).numpy().tolist(),
    }


# What needs care


@care("(65.12)")
def test_leaky_relu_at_zero():
    """The slopes on either side, and the library's derivative at 0."""

    def leaky_relu(z):
        return z if z >= 0 else 0.01 * z

    left, right = (leaky_relu(h) / h for h in (-1e-6, 1e-6))
    z = tg.tensor(np.array(0.0), requires_grad=True)
    return [left, right, tg.grad(tg.leaky_relu(z), [z])[0].item()]


def test_the_sign_of_zero_65_37():
    net = nn.Sequential(nn.Dense(2, 1), output="tanh")
    assert np.sign(0.0) == 0
    assert net.decide(np.zeros((1, 2), np.float32)).item() == 1


@care("(65.70)")
def test_sensitivity_of_a_sure_and_wrong_softmax():
    """z = (10, 0) where the second class is the true one: delta_L(1) of squared errors, and of the cross-entropy."""
    z, gamma = np.array([10.0, 0.0]), np.array([0.0, 1.0])

    def softmax(z):
        return np.exp(z) / np.exp(z).sum()

    output = softmax(z)
    squared = 2 * (np.diag(output) - np.outer(output, output)) @ (output - gamma)
    assert squared[0] == pytest.approx(difference(lambda z: ((gamma - softmax(z)) ** 2).sum(), z), rel=1e-4)
    assert (output - gamma)[0] == pytest.approx(difference(lambda z: -gamma @ np.log(softmax(z)), z), rel=1e-6)
    return [float(squared[0]), float((output - gamma)[0])]


@care("(65.107)-(65.109)")
def test_a_decoder_with_a_hidden_layer():
    """Points of a parabola, a code of one number: squared errors a point, by (65.109) and by a decoder with ReLUs."""
    t = np.linspace(-1, 1, 21)
    H = np.stack([t, t**2], axis=1)
    centred = H - H.mean(0)
    U1 = np.linalg.svd(centred)[2][:1].T
    linear = ((centred - centred @ U1 @ U1.T) ** 2).sum() / len(t)
    slopes = np.diff(t**2) / np.diff(t)
    bends = np.diff(slopes, prepend=0.0)
    decoded = t[0] ** 2 + sum(bend * np.maximum(t - corner, 0) for bend, corner in zip(bends, t[:-1], strict=True))
    return [float(linear), float(((decoded - H[:, 1]) ** 2).sum() / len(t))]


@care("(65.132)-(65.137)")
def test_bits():
    """What (65.137) gives for a probability of 1/2, and what (65.128) gives."""
    library = losses.cross_entropy(np.zeros((1, 2)), np.array([0])).item()
    assert library == pytest.approx(-math.log(0.5))
    return [-math.log2(0.5), -math.log(0.5)]


def test_a_batch_of_one_has_no_variance():
    z = [3.0]
    with pytest.raises(ZeroDivisionError):
        sum((x - sum(z) / len(z)) ** 2 for x in z) / (len(z) - 1)
    with pytest.raises(tg.ShapeError, match="a batch of 1"):
        tg.batch_norm(np.array([z]), np.ones(1), np.zeros(1), ddof=1)


@care("(65.169), (65.174)")
def test_normalised_signals_stay_correlated():
    """The correlation of two signals before the normalisation and after."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=50)
    z = np.stack([first, 3 * first + rng.normal(size=50)], axis=1)
    normal = normalised(z, 1)[0]
    covariance = (normal.T @ normal / 49)[0, 1]  # of signals of mean 0 and variance 1
    before = sum((a - z[:, 0].mean()) * (b - z[:, 1].mean()) for a, b in z)
    before /= math.sqrt(((z - z.mean(0)) ** 2).sum(0).prod())
    assert covariance == pytest.approx(before, rel=1e-4)
    return [float(before), float(covariance)]


@care("(65.176b), (65.187)")
def test_running_variance_of_a_few_batches():
    """After 20 batches of variance 1."""
    variance = 1e-6
    for _ in range(20):
        variance = 0.95 * variance + 0.05 * (1.0 + 1e-6)
    assert variance == pytest.approx(1 - 0.95**20, rel=1e-4)
    return [variance]


@care("(65.187), output")
def test_normalised_output():
    """Mean and standard deviation of v_L over the batch, with theta = 0.2 and a = 1.5, for two inputs."""
    h, _, layers = normalised_network(3, 1)
    layers = [(layers[0][0], np.array([1.5]), np.array([0.2]))]
    answers = [run(scale * h + 7.0, layers, 1)[0][0][2] for scale in (1.0, 100.0)]
    for v in answers:
        assert (v.mean(), v.std(ddof=1)) == pytest.approx((-0.2, 1.5), rel=1e-4)
    return [float(v.mean()), float(v.std(ddof=1))]


@care("Prob. 65.3")
def test_which_signs_may_change():
    """An output as it is; with the signs of W_{l-1}, theta_{l-1} and W_l changed; and with that of theta_l as well."""
    rng = np.random.default_rng(0)
    W1, theta1, W2, theta2 = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=4), rng.normal()
    h = rng.normal(size=3)

    def output(W1, theta1, W2, theta2):
        return float(np.tanh(np.tanh(h @ W1 - theta1) @ W2 - theta2))

    return [output(W1, theta1, W2, theta2), output(-W1, -theta1, -W2, theta2), output(-W1, -theta1, -W2, -theta2)]


@care("Prob. 65.16")
def test_which_cross_entropy_for_sigmoidal_outputs():
    """The output that is best for h = 0.3: by the sum of (65.128), and by both terms of (65.131)."""
    h = 0.3
    grid = [k / 1000 for k in range(1, 1000)]
    one = min(grid, key=lambda output: -h * math.log(output))
    both = min(grid, key=lambda output: -h * math.log(output) - (1 - h) * math.log(1 - output))
    return [one, both]


@care("Prob. 65.18")
def test_logistic_risk_of_a_bounded_output():
    """The least risk of a right answer and the largest of a wrong one, when the output lies between -1 and 1."""
    return [math.log(1 + math.exp(-math.tanh(z))) for z in (20.0, -20.0)]


# Slips of notation: what is meant


def test_as_many_slopes_as_the_layer_has_nodes_65_62b():
    """Three nodes below two outputs: Q slopes do not fit W_l, n_l do."""
    rng = np.random.default_rng(0)
    z, W, delta = rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=2)
    slopes = 1 - np.tanh(z) ** 2
    with pytest.raises(ValueError, match="matmul"):
        np.diag(slopes[: len(delta)]) @ W @ delta
    exact = [difference(lambda z: np.tanh(z) @ W @ delta, z, i) for i in range(3)]
    np.testing.assert_allclose(np.diag(slopes) @ W @ delta, exact, rtol=1e-6)


def test_the_fraction_of_nodes_awake_is_one_minus_p_in_section_65_6():
    awake = np.random.default_rng(0).random(100_000) >= 0.1
    assert awake.mean() == pytest.approx(1 - 0.1, abs=0.01)


def test_row_and_column_of_a_sleeping_node_in_figure_65_11():
    """Node 2 of the middle layer asleep: the output depends neither on row 2 of W_{l-1}^T nor on column 2 of W_l^T."""
    rng = np.random.default_rng(0)
    y, asleep = rng.normal(size=3), np.array([1.0, 0.0, 1.0, 1.0])

    def output(below, above):  # the matrices W_{l-1}^T and W_l^T
        return (above @ (np.tanh(below @ y) * asleep)).sum()

    below, above = rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    depends = np.array([difference(lambda m: output(m, above), below, i) != 0 for i in np.ndindex(4, 3)])
    assert [depends.reshape(4, 3).any(1)[1], depends.reshape(4, 3).any(0)[1]] == [False, True]
    depends = np.array([difference(lambda m: output(below, m), above, i) != 0 for i in np.ndindex(2, 4)])
    assert [depends.reshape(2, 4).any(0)[1], depends.reshape(2, 4).any(1)[1]] == [False, True]


def test_the_bias_has_a_square_before_65_194():
    """E theta_2 is 0 in the same sentence; (65.194b) needs E theta_2^2."""
    theta = np.random.default_rng(0).normal(scale=0.5, size=100_000)
    assert theta.mean() == pytest.approx(0, abs=0.01)
    assert (theta**2).mean() == pytest.approx(0.25, abs=0.01)


def test_the_index_of_the_second_slope_in_problem_65_13():
    """theta_l(i) acts on z_{l+1}(i) alone: below a linear layer the printed rule is exact with i, wrong with j."""
    z, w = np.array([0.4, -0.9]), np.array([0.7, -1.1])  # z_2 without its bias, and dQ/dy_2
    curvature = [-2 * math.tanh(x) * (1 - math.tanh(x) ** 2) for x in z]
    exact = second_difference(lambda theta: np.tanh(z - theta) @ w, np.zeros(2), 0)
    assert curvature[0] * w[0] == pytest.approx(exact, rel=1e-5)
    assert abs(curvature[1] * w[0] - exact) > 0.1


def test_the_second_term_has_no_denominator_in_65_217():
    """The product rule for z' with respect to another sample's z."""
    z, b, p, eps = np.array([1.0, 2.0, 4.0]), 0, 2, 1e-6

    def root(z):
        return (z.var() + eps) ** -0.5

    exact = difference(lambda z: (z[b] - z.mean()) * root(z), z, p)
    first, second = root(z) * (-1 / 3), difference(root, z, p)
    assert first + (z[b] - z.mean()) * second == pytest.approx(exact, rel=1e-6)
    assert abs(first + -1 / 3 * second - exact) > 0.1  # with the derivative of (z - mean) in its place


def test_one_term_of_several_in_65_228():
    rng = np.random.default_rng(0)
    v, W = rng.normal(size=3), rng.normal(size=(3, 2))
    z = np.tanh(v) @ W
    assert abs(np.tanh(v[0]) * W[0, 1] - z[1]) > 0.1
    slope = difference(lambda v: (np.tanh(v) @ W)[1], v, 0)
    assert (1 - np.tanh(v[0]) ** 2) * W[0, 1] == pytest.approx(slope, rel=1e-6)  # (65.229) holds all the same
