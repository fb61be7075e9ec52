"""(65.191)-(65.197): the covariance of the outputs of random erf networks, and the Gaussian they tend to.

The arcsine of (65.197) is held against an integral over Gaussians and against networks drawn in plain loops, the
network of (65.191a)-(65.193) and Fig. 65.19, for a general Sigma; its limits are exact.
"""

import math
import random

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.tools.gaussian_process import angle_kernel, draw_outputs, excess_kurtosis, kernel, sample_covariance

pytestmark = pytest.mark.host

SIGMA_W, SIGMA_THETA = 1.5, 0.4
SIGMA = [[0.6, 0.2, -0.1], [0.2, 1.0, 0.3], [-0.1, 0.3, 0.5]]  # of (-alpha, r)
MOMENTS = {"sigma_w": SIGMA_W, "sigma_theta": SIGMA_THETA, "Sigma": SIGMA}
H = [[0.5, -1.0], [2.0, 0.3], [-0.7, 0.8]]


def quadratic(h, k):
    """h^e' Sigma k^e with the extended vectors of (65.196), in loops."""
    he, ke = [1.0, *h], [1.0, *k]
    return sum(he[i] * SIGMA[i][j] * ke[j] for i in range(3) for j in range(3))


def expectation(f, h, k, nodes=150):
    """E f(u) f(v) of the Gaussians u and v, r^e' h^e and r^e' k^e (65.195), by Gauss and Hermite's rule."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    a = math.sqrt(quadratic(h, h))
    b = quadratic(h, k) / a
    c = math.sqrt(max(quadratic(k, k) - b * b, 0.0))
    total = 0.0
    for s, p in zip(points, weights, strict=True):
        for t, q in zip(points, weights, strict=True):
            total += p * q * f(a * s) * f(b * s + c * t)
    return total


def cholesky(S):
    """L with L L' = S, in loops."""
    n = len(S)
    L = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = S[i][j] - sum(L[i][k] * L[j][k] for k in range(j))
            L[i][j] = math.sqrt(rest) if i == j else rest / L[j][j]
    return L


def network(rng, K, L):
    """The outputs at all of H of one random network, as (65.191a)-(65.191b) say."""
    hidden = []
    for _ in range(K):
        s = [rng.gauss(0, 1) for _ in range(3)]
        hidden.append([sum(L[i][k] * s[k] for k in range(i + 1)) for i in range(3)])
    w = [rng.gauss(0, SIGMA_W / math.sqrt(K)) for _ in range(K)]
    theta2 = rng.gauss(0, SIGMA_THETA)
    outputs = []
    for h in H:
        y2 = []
        for minus_alpha, *r in hidden:
            y2.append(math.erf(sum(rm * hm for rm, hm in zip(r, h, strict=True)) + minus_alpha))
        outputs.append(sum(wj * yj for wj, yj in zip(w, y2, strict=True)) - theta2)
    return outputs


def test_the_arcsine_is_the_expectation_of_65_195():
    found = kernel(H, **MOMENTS)
    for i, h in enumerate(H):
        for j, k in enumerate(H):
            expected = SIGMA_THETA**2 + SIGMA_W**2 * expectation(math.erf, h, k)
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_the_arcsine_of_65_197_written_out():
    found = kernel(H, **MOMENTS)
    for i, h in enumerate(H):
        for j, k in enumerate(H):
            root = math.sqrt((1 + 2 * quadratic(h, h)) * (1 + 2 * quadratic(k, k)))
            expected = SIGMA_THETA**2 + 2 * SIGMA_W**2 / math.pi * math.asin(2 * quadratic(h, k) / root)
            assert found[i, j] == pytest.approx(expected, abs=1e-14)


def test_it_is_the_true_error_function_and_not_the_printed_exponent_of_65_192():
    h, k = H[:2]

    def printed(z):  # 2 / sqrt(pi) times the integral of exp(-x**2 / 2)
        return math.sqrt(2) * math.erf(z / math.sqrt(2))

    assert tg.erf(tg.tensor(np.array([50.0]))).numpy()[0] == 1.0
    assert printed(50.0) == pytest.approx(math.sqrt(2))
    found = (kernel([h], [k], **MOMENTS)[0, 0] - SIGMA_THETA**2) / SIGMA_W**2
    assert abs(expectation(math.erf, h, k) - found) < 1e-6
    assert abs(expectation(printed, h, k) - found) > 0.02


def test_networks_drawn_in_plain_loops_have_this_covariance():
    rng, L, draws = random.Random(65), cholesky(SIGMA), 4000
    outputs = [network(rng, 3, L) for _ in range(draws)]
    found = kernel(H, **MOMENTS)
    for i in range(3):
        mean = sum(g[i] for g in outputs) / draws
        assert abs(mean) < 4 * math.sqrt(found[i, i] / draws)  # (65.194a)
        for j in range(3):
            products = [g[i] * g[j] for g in outputs]
            mean = sum(products) / draws
            error = math.sqrt(sum((p - mean) ** 2 for p in products)) / draws
            assert abs(mean - found[i, j]) < 4 * error


@pytest.mark.parametrize("K", [1, 16])
def test_networks_drawn_by_the_library_have_it_for_every_number_of_nodes_65_194(K):
    outputs = draw_outputs(H, K, 6000, **MOMENTS)
    found, error = sample_covariance(outputs)
    expected = kernel(H, **MOMENTS)
    assert (np.abs(found - expected) < 4 * error).all()
    assert (np.abs(outputs.mean(axis=0)) < 4 * np.sqrt(expected.diagonal() / 6000)).all()


def test_the_fourth_cumulant_falls_like_one_over_the_number_of_nodes():
    moments = {"sigma_w": 1.0, "sigma_theta": 0.0, "Sigma": [[0.2, 0.0], [0.0, 0.2]]}
    one, eight = (excess_kurtosis(draw_outputs([[1.0]], K, 10_000, **moments))[0] for K in (1, 8))
    assert one > 2
    assert eight == pytest.approx(one / 8, abs=0.25)


def test_limits():
    def value(h, k, scale=1.0, w=1.0, theta=0.0, bias=1.0):
        Sigma = scale * np.diag([bias, 1.0, 1.0])
        return kernel([h], [k], sigma_w=w, sigma_theta=theta, Sigma=Sigma)[0, 0]

    assert value(H[0], H[1], scale=0.0, theta=0.3) == pytest.approx(0.09)  # nothing varies but theta_2
    assert value(H[0], H[1], w=0.0, theta=0.3) == pytest.approx(0.09)
    assert value(H[0], H[0], scale=1e12, w=2.0, theta=0.3) == pytest.approx(4.09, abs=1e-5)  # erf becomes a sign
    assert value([1.0, 0.0], [0.0, 5.0], bias=0.0, theta=0.3) == pytest.approx(0.09)  # nothing in common
    assert value([1.0, 2.0], [-1.0, -2.0], bias=0.0) == pytest.approx(-value([1.0, 2.0], [1.0, 2.0], bias=0.0))
    assert value([1e200, 0.0], [1e200, 1.0], w=2.0) == pytest.approx(4.0)
    small = 1e-5  # erf(z) is 2 z / sqrt(pi) for small z
    assert value(H[0], H[1], scale=small**2) == pytest.approx(
        4 / math.pi * small**2 * (1 + sum(a * b for a, b in zip(*H[:2], strict=True))), rel=1e-4
    )


def test_two_sets_of_inputs():
    X, Z = np.array(H), np.array([[0.0, 0.0], [1.0, -4.0]])
    both = kernel(np.vstack([X, Z]), **MOMENTS)
    np.testing.assert_allclose(kernel(X, Z, **MOMENTS), both[:3, 3:], atol=1e-15)
    np.testing.assert_allclose(both, both.T, atol=1e-15)
    assert np.linalg.eigvalsh(both).min() > -1e-12


def test_a_seed_decides_the_networks():
    a, b, c = (draw_outputs(H, 2, 3, seed=s, **MOMENTS) for s in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).all()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"H": [1.0, 2.0]}, tg.ShapeError, r"H: expected one input a row, shape \(n, M\), got shape \(2,\)"),
        ({"H2": [[1.0]]}, tg.ShapeError, "H2: expected 2 numbers a row, as H has, got 1"),
        ({"H": [[math.nan, 1.0]]}, tg.DataError, "H: nan"),
        ({"Sigma": np.eye(2)}, tg.ShapeError, r"Sigma: expected shape \(3, 3\)"),
        ({"Sigma": -np.eye(3)}, tg.ArgumentError, "Sigma: a covariance matrix has no negative eigenvalue, got -1"),
        ({"Sigma": np.triu(np.ones((3, 3)))}, tg.ArgumentError, "Sigma: a covariance matrix is symmetric"),
        ({"H": [[1, 2], [3]]}, tg.DataError, "H: expected one array, got a list of unequal parts"),
        ({"H2": [[1, 2], [3]]}, tg.DataError, "H2: expected one array, got a list of unequal parts"),
        ({"Sigma": [[1, 2], [3]]}, tg.DataError, "Sigma: expected one array, got a list of unequal parts"),
        ({"sigma_w": -1.0}, tg.ArgumentError, "sigma_w must be a finite number of at least 0, got -1.0"),
    ],
)
def test_mistakes_are_told(changes, error, text):
    with pytest.raises(error, match=text):
        kernel(**({"H": H} | MOMENTS | changes))


def test_ragged_inputs_have_no_angles():
    with pytest.raises(tg.DataError, match="H: expected one array, got a list of unequal parts"):
        angle_kernel([[1, 2], [3]], sigma_w=1.0, sigma_theta=1.0)
