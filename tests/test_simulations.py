"""The Gaussian-process limit and universal approximation, as the programs in tools/ show them."""

import math

import numpy as np
import pytest

from tinygraph.tools import gaussian_process, universal_approximation

pytestmark = pytest.mark.host


def test_the_kernel_65_197_by_numerical_integration():
    X = np.array([[0.3], [-1.2]])
    s = gaussian_process.BIAS_VARIANCE
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    total = 0.0
    for a, wa in zip(nodes, weights, strict=True):  # the weight w1 and the bias theta1, both Gaussian
        for b, wb in zip(nodes, weights, strict=True):
            z = X[:, 0] * a - b * np.sqrt(s)
            erf = [math.erf(v) for v in z]
            total += wa * wb * erf[0] * erf[1]
    assert gaussian_process.kernel(X)[0, 1] == pytest.approx(s + total, abs=1e-6)


def test_the_simulated_covariance_is_the_kernel_and_the_outputs_become_gaussian():
    results = gaussian_process.simulate((1, 16), draws=8000)
    for r in results:
        assert r.covariance_error < 4 * r.standard_error
    assert results[0].kurtosis > 0.5
    assert abs(results[1].kurtosis) < 0.2


def test_more_hidden_nodes_fit_a_curve_better_65_190():
    errors = [universal_approximation.fit_curve(K)[1] for K in (3, 50)]
    assert errors[1] < 0.06 < 0.5 < errors[0]


def test_both_programs_draw(tmp_path):
    gaussian_process.main(str(tmp_path / "gp.svg"))
    universal_approximation.main(str(tmp_path / "ua.svg"))
    for name in ("gp.svg", "ua.svg"):
        assert "<svg" in (tmp_path / name).read_text()
