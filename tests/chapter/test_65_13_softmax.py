"""(65.13)-(65.15), (65.39): the softmax, centred on its largest entry."""

import math

import numpy as np
import pytest

import tinygraph as tg


def test_the_formula_and_that_centring_changes_nothing(rng):
    z = rng.normal(size=(4, 5))
    plain = [[math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in z]
    centred = [[math.exp(v - max(row)) / sum(math.exp(w - max(row)) for w in row) for v in row] for row in z]
    for expected in (plain, centred):
        np.testing.assert_allclose(tg.softmax(tg.tensor(z)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entries_of_ten_thousand_with_first_and_second_derivatives(dtype):
    x = tg.tensor(np.array([[1e4, -1e4, 0, 1e4]], dtype), requires_grad=True)
    y = tg.softmax(x)
    (first,) = tg.grad(y[0, 0], [x])
    (second,) = tg.grad(first[0, 0], [x])
    np.testing.assert_allclose(y.numpy(), [[0.5, 0, 0, 0.5]])
    np.testing.assert_allclose(first.numpy(), [[0.25, 0, 0, -0.25]])
    np.testing.assert_allclose(second.numpy(), [[0, 0, 0, 0]], atol=1e-7)
    assert y.dtype == first.dtype == dtype
