"""Problem 65.25: for long inputs the covariance (65.197) depends on the angle between them alone."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.tools.gaussian_process import angle_kernel, kernel

pytestmark = pytest.mark.host

SIGMA_W, SIGMA_THETA = 1.3, 0.6
ALPHA, A = 0.8, 1.7  # standard deviations of alpha and of the entries of r
H = [[1.0, 2.0, -2.0], [0.5, 0.1, 0.3], [-1.0, -2.0, 2.0], [2.0, 0.0, 1.0]]


def angle(h, k):
    product = sum(a * b for a, b in zip(h, k, strict=True))
    return math.acos(product / math.sqrt(sum(a * a for a in h) * sum(b * b for b in k)))


def printed(h, k):
    return SIGMA_THETA**2 + SIGMA_W**2 * (1 - 2 * angle(h, k) / math.pi)


def full(scale):
    Sigma = np.diag([ALPHA**2, *[A**2] * 3])  # as many entries as inputs
    return kernel(scale * np.array(H), sigma_w=SIGMA_W, sigma_theta=SIGMA_THETA, Sigma=Sigma)


def test_the_form_is_the_printed_one():
    found = angle_kernel(H, sigma_w=SIGMA_W, sigma_theta=SIGMA_THETA)
    for i, h in enumerate(H):
        for j, k in enumerate(H):
            if abs(i - j) % 2:  # the others are parallel or opposite, or nearly so; see the exact values
                assert found[i, j] == pytest.approx(printed(h, k), abs=1e-12)


def test_exact_values():
    h = np.array([[3.0, 4.0]])
    others = np.array([[6.0, 8.0], [-3.0, -4.0], [-4.0, 3.0], [1e-9, 0.0]])
    found = angle_kernel(h, others, sigma_w=2.0, sigma_theta=0.5)[0]
    expected = [4.25, -3.75, 0.25, 0.25 + 4 * (1 - 2 * math.acos(0.6) / math.pi)]
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_the_covariance_tends_to_it_like_one_over_the_length():
    limit = angle_kernel(H, sigma_w=SIGMA_W, sigma_theta=SIGMA_THETA)
    errors = [np.abs(full(scale) - limit).max() for scale in (10, 100, 1000, 1e6)]
    assert errors[0] < 0.2
    for before, after in pairwise(errors[:3]):
        assert after == pytest.approx(before / 10, rel=0.1)
    assert errors[-1] < 1e-5


def test_short_inputs_are_another_matter():
    threshold = (1 + 2 * ALPHA**2) / (2 * A**2)
    short = math.sqrt(0.1 * threshold / 9)  # the first input then has a tenth of the squared norm
    limit = angle_kernel(H, sigma_w=SIGMA_W, sigma_theta=SIGMA_THETA)
    assert np.abs(full(short) - limit).max() > 0.5


def test_networks_drawn_in_plain_loops():
    rng, draws, K, scale = random.Random(25), 3000, 2, 300.0
    products = {(i, j): [] for i in range(4) for j in range(i, 4)}
    for _ in range(draws):
        nodes = [(rng.gauss(0, ALPHA), [rng.gauss(0, A) for _ in range(3)]) for _ in range(K)]
        w = [rng.gauss(0, SIGMA_W / math.sqrt(K)) for _ in range(K)]
        theta2 = rng.gauss(0, SIGMA_THETA)
        g = []
        for h in H:
            total = -theta2
            for (alpha, r), wj in zip(nodes, w, strict=True):
                total += wj * math.erf(scale * sum(a * b for a, b in zip(r, h, strict=True)) - alpha)
            g.append(total)
        for i, j in products:
            products[i, j].append(g[i] * g[j])
    found = angle_kernel(scale * np.array(H), sigma_w=SIGMA_W, sigma_theta=SIGMA_THETA)
    for (i, j), values in products.items():
        mean = sum(values) / draws
        error = math.sqrt(sum((v - mean) ** 2 for v in values)) / draws
        assert abs(mean - found[i, j]) < 4 * error


def test_an_input_of_zero_has_no_angle():
    with pytest.raises(tg.DataError, match="the input in row 1 is zero, which has no angle"):
        angle_kernel([[1.0, 0.0], [0.0, 0.0]], sigma_w=1.0, sigma_theta=0.0)
