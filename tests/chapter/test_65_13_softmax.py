"""(65.13)-(65.15), (65.39), (65.40): the softmax, and that centring on its largest entry (65.14) changes nothing."""

import math

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph.models import fully_connected


def test_the_formula(rng):
    """(65.13), (65.39): y(q) = e^z(q) over the sum of all e^z(q')."""
    z = rng.normal(size=(4, 5))
    y = tg.softmax(tg.tensor(z)).numpy()
    for b in range(4):
        for q in range(5):
            assert y[b, q] == pytest.approx(math.exp(z[b, q]) / sum(math.exp(z_q) for z_q in z[b]), rel=1e-13)


def test_centred_on_the_largest_entry(rng):
    """(65.14), (65.15): s(q) = z(q) - max z gives the same y, nonnegative and with the sum 1."""
    z = rng.normal(size=(4, 5)) * 100
    y = tg.softmax(tg.tensor(z)).numpy()
    np.testing.assert_allclose(y, [listings.softmax(row) for row in z.tolist()], rtol=1e-12)
    assert (y >= 0).all()
    np.testing.assert_allclose(y.sum(1), np.ones(4), rtol=1e-14)


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


def test_every_entry_depends_on_every_signal():
    """Said after (65.13): each y(q) is influenced by all z(q')."""
    z = tg.tensor(np.array([0.3, -1.0, 2.0]))
    assert (tg.jacobian(tg.softmax(z), z).numpy() != 0).all()


def test_the_output_of_a_network(rng):
    """(65.40): gamma-hat = softmax(z)."""
    net = fully_connected([3, 4, 5], "tanh", "softmax", seed=0, dtype=np.float64)
    H = rng.normal(size=(6, 3))
    z = net(H).numpy().tolist()
    np.testing.assert_allclose(net.predict(H).numpy(), [listings.softmax(row) for row in z], rtol=1e-13)
