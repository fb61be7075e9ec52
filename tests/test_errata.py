"""Where the printed text needs care: each point of docs/errata.md by a calculation of its own.

Nothing of the library is used, except where a test says what the library does instead; the numbers that the
page quotes are asserted here.
"""

import math
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg

pytestmark = pytest.mark.host
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "errata.md").read_text()


def quoted(number, digits=4):
    """Assert that the page quotes a number, rounded; return it."""
    assert f"{number:.{digits}f}" in PAGE, f"{number:.{digits}f} is not on the page"
    return number


def slope(f, x, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h)


def test_leaky_relu_at_zero():
    """Two statements of one derivative cannot both hold at 0; the library takes 0, with (65.12)."""
    z = tg.tensor(np.zeros(1), requires_grad=True)
    tg.leaky_relu(z, slope=0.1).sum().backward()
    assert z.grad.item() == 0
    right, left = (tg.leaky_relu(tg.tensor(np.array([h]))).item() / h for h in (1e-9, -1e-9))
    assert (right, left) == (pytest.approx(1), pytest.approx(0.01))  # no derivative exists


def test_the_derivative_of_tanh_65_166():
    x = 0.7
    exact = 1 - math.tanh(x) ** 2
    assert slope(math.tanh, x) == pytest.approx(exact, rel=1e-8)
    quoted(exact)


def test_erf_65_192():
    """Without the factor 2 / sqrt(pi) the integral ends at sqrt(pi) / 2, not at 1."""
    t = np.linspace(0, 6, 600_001)
    values = np.exp(-(t**2))
    integral = float(((values[1:] + values[:-1]) / 2).sum() * (t[1] - t[0]))
    assert quoted(integral) == pytest.approx(math.sqrt(math.pi) / 2)
    assert tg.erf(tg.tensor(np.array([6.0]))).item() == pytest.approx(1)


def test_scaling_the_biases_in_testing_65_124():
    """The expected signal over all masks, against both ways to scale."""
    rng = np.random.default_rng(0)
    w, y, theta, p = rng.normal(size=4), rng.normal(size=4), 0.8, 0.3
    expected = 0.0
    for bits in range(16):
        mask = [(bits >> k) & 1 for k in range(4)]
        probability = math.prod((1 - p) if m else p for m in mask)
        expected += probability * (sum(m * a * b for m, a, b in zip(mask, w, y, strict=True)) - theta)
    weights_only = (1 - p) * float(w @ y) - theta
    both = (1 - p) * (float(w @ y) - theta)
    assert quoted(expected) == pytest.approx(quoted(weights_only))
    assert abs(quoted(both) - expected) == pytest.approx(p * theta)


def test_decay_of_sleeping_weights_65_124():
    """The factor 1 - 2 mu rho acts on every weight, awake or not."""
    mu, rho, p, steps = 0.1, 0.05, 0.5, 100
    awake = np.random.default_rng(0).random(steps) >= p
    by_the_listing = (1 - 2 * mu * rho) ** steps
    frozen = (1 - 2 * mu * rho) ** int(awake.sum())
    quoted(by_the_listing)
    assert quoted(frozen) > by_the_listing


def test_the_two_variances_65_170b_and_65_212b():
    z = np.array([1.0, 2.0, 4.0])
    centred = z - z.mean()
    assert quoted((centred**2).sum() / 2) == pytest.approx(z.var(ddof=1))
    assert quoted((centred**2).sum() / 3) == pytest.approx(z.var(ddof=0))


def batch_norm(z, a, theta, eps, ddof):
    return a * (z - z.mean(0)) / np.sqrt(z.var(0, ddof=ddof) + eps) - theta


def test_batch_normalisation_without_the_other_samples_65_229():
    """delta with and without the terms p != b, next to central differences of the batch's risk."""
    z = np.array([[0.5], [-1.0], [2.0], [0.3]])
    target = np.array([[1.0], [0.0], [0.5], [-1.0]])
    a, theta, eps, ddof, B = 1.5, 0.2, 1e-6, 1, 4

    def risk(at):
        return ((batch_norm(at, a, theta, eps, ddof) - target) ** 2).sum() / B

    differences = np.zeros(B)
    for b in range(B):
        step = np.zeros_like(z)
        step[b] = 1e-6
        differences[b] = B * (risk(z + step) - risk(z - step)) / 2e-6
    s = 1 / np.sqrt(z.var(ddof=ddof) + eps)
    c = (z - z.mean())[:, 0]
    dv = 2 * (batch_norm(z, a, theta, eps, ddof) - target)[:, 0]

    def dv_dz(p, b):
        return a * (((p == b) - 1 / B) * s - c[p] * s**3 * c[b] / (B - ddof))

    complete = np.array([sum(dv[p] * dv_dz(p, b) for p in range(B)) for b in range(B)])
    without = np.array([dv[b] * dv_dz(b, b) for b in range(B)])
    t = tg.tensor(z, requires_grad=True)
    v = tg.batch_norm(t, np.array([a]), np.array([theta]), eps, ddof)
    tg.losses.squared_error(v, target).backward()
    ours = B * t.grad.numpy()[:, 0]
    np.testing.assert_allclose(complete, differences, rtol=1e-6)
    np.testing.assert_allclose(ours, differences, rtol=1e-6)
    assert np.abs(without - differences).max() > 0.5
    for values in (differences, without, ours):
        quoted(values[0])


def test_a_scale_that_starts_at_zero_65_187():
    z = np.random.default_rng(0).normal(size=(5, 2))
    v = batch_norm(z, np.zeros(2), np.zeros(2), 1e-6, 1)
    assert not v.any()
    assert tg.nn.BatchNorm(2).a.numpy().tolist() == [1, 1]


def test_second_derivatives_of_a_two_layer_network():
    """The recursion for d2Q/dz2 with and without the term from the change of the next layer's sensitivity."""
    w, u, gamma = np.array([0.8, -0.5]), 0.9, 0.4  # z2 -> y2 = tanh(z2) -> z3 = w'y2 -> y3 = tanh(u z3)
    z2 = np.array([0.3, -0.7])

    def Q(z):
        return (math.tanh(u * float(w @ np.tanh(z))) - gamma) ** 2

    h = 1e-4
    e = np.array([h, 0.0])
    numeric = (Q(z2 + e) - 2 * Q(z2) + Q(z2 - e)) / h**2
    y2, z3 = np.tanh(z2), float(w @ np.tanh(z2))
    y3 = math.tanh(u * z3)
    delta3 = 2 * (y3 - gamma) * u * (1 - y3**2)
    second3 = 2 * (u * (1 - y3**2)) ** 2 + 2 * (y3 - gamma) * u * u * (-2 * y3 * (1 - y3**2))
    f1, f2 = 1 - y2[0] ** 2, -2 * y2[0] * (1 - y2[0] ** 2)
    without = f2 * w[0] * delta3
    complete = without + (f1 * w[0]) ** 2 * second3
    assert quoted(complete) == pytest.approx(numeric, rel=1e-5)
    assert abs(quoted(without) - numeric) > 0.1
    x = tg.tensor(z2)
    y = tg.square(tg.tanh(u * (tg.tensor(w) * tg.tanh(x)).sum()) - gamma)
    assert tg.hessian_diagonal(y, x).numpy()[0] == pytest.approx(complete)


def test_the_cosine_of_sigmoid_embeddings_problem_65_22():
    rng = np.random.default_rng(0)
    u, v = (1 / (1 + np.exp(-rng.normal(size=(10_000, 4)) * 3)) for _ in range(2))
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert quoted(cosine.min()) > 0


def test_a_softmax_of_one_entry_is_constant_problem_65_24():
    z = tg.tensor(np.array([[-5.0], [0.0], [7.0]]))
    assert tg.softmax(z).numpy().ravel().tolist() == [1, 1, 1]


def test_the_threshold_belongs_to_the_sigmoids_output_problem_65_23():
    z = 0.3  # sigmoid(0.3) is above 1/2 while 0.3 itself is below
    assert quoted(1 / (1 + math.exp(-z))) > 0.5 > z


@pytest.mark.parametrize("activation", [math.tanh])
def test_which_signs_may_flip_problem_65_3(activation):
    """With an odd activation W_{l-1}, theta_{l-1} and W_l may change sign together, theta_l not."""
    rng = np.random.default_rng(0)
    W1, t1, W2, t2, x = (
        rng.normal(size=(3, 4)),
        rng.normal(size=4),
        rng.normal(size=(4, 2)),
        rng.normal(size=2),
        rng.normal(size=3),
    )

    def net(W1, t1, W2, t2):
        return np.tanh(x @ W1 - t1) @ W2 - t2

    np.testing.assert_allclose(net(-W1, -t1, -W2, t2), net(W1, t1, W2, t2), rtol=1e-12)
    assert not np.allclose(net(-W1, -t1, -W2, -t2), net(W1, t1, W2, t2))


def test_the_logarithm_in_the_logistic_risk_65_139():
    """Without it, the risk of confident right answers is 1, not 0."""
    z = 20.0
    assert math.log(1 + math.exp(-z)) < 1e-8 < 1 + math.exp(-z)
