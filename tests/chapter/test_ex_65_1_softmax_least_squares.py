"""Example 65.1, (65.65)-(65.70): a softmax with least squares, delta_L = 2 J (gamma-hat - gamma).

(65.65) chain rule, (65.66) derivatives of the softmax, (65.67) delta_L by entries, (65.68)-(65.69) the Jacobian
J = diag(gamma-hat) - gamma-hat gamma-hat^T, which the library never builds, (65.70) the product.
"""

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected
from tinygraph.watchers import Watcher, watching


def test_the_derivatives_of_the_softmax(rng):
    """(65.66), (65.68): the derivative of gamma-hat(k) by z(j) is -y(j) y(k) for k != j, (1 - y(k)) y(k) for k = j."""
    z = tg.tensor(rng.normal(size=3))
    y = listings.softmax(z.numpy().tolist())
    J = tg.jacobian(tg.softmax(z), z).numpy()
    for j in range(3):
        for k in range(3):
            assert J[k, j] == pytest.approx((1 - y[k]) * y[k] if k == j else -y[j] * y[k], rel=1e-13)


def test_the_jacobian_is_symmetric_with_rows_that_add_up_to_zero(rng):
    """(65.69): J = diag(gamma-hat) - gamma-hat gamma-hat^T."""
    z = tg.tensor(rng.normal(size=3))
    J = tg.jacobian(tg.softmax(z), z).numpy()
    np.testing.assert_allclose(J, listings.jacobian(listings.softmax(z.numpy().tolist())), rtol=1e-13)
    np.testing.assert_allclose(J, J.T, rtol=1e-13)
    np.testing.assert_allclose(J.sum(0), np.zeros(3), atol=1e-16)


def test_the_boundary_value_by_sums_and_as_a_product(rng):
    """(65.65), (65.67) and (65.70) agree with the sensitivity that the library finds."""
    net = fully_connected([3, 4, 5], "tanh", "softmax", init_bias="normal", seed=0, dtype=np.float64)
    H, gamma = rng.normal(size=(4, 3)), np.eye(5)[[0, 3, 3, 1]]
    found = tg.sensitivities(losses.squared_error(net.predict(H), gamma), net)["z3"].numpy()
    z, Q = net(H).numpy().tolist(), range(5)
    for b in range(4):
        y = listings.softmax(z[b])
        J = listings.jacobian(y)
        by_chain_rule = [sum(2 * (y[k] - gamma[b, k]) * J[j][k] for k in Q) for j in Q]
        weighted = sum(2 * (y[k] - gamma[b, k]) * y[k] for k in Q)
        by_entries = [2 * (y[j] - gamma[b, j]) * y[j] - weighted * y[j] for j in Q]
        as_product = listings.boundary(y, gamma[b].tolist(), z[b], "softmax", "least squares")
        for delta in (by_chain_rule, by_entries, as_product):
            assert listings.largest_difference(found[b].tolist(), delta) < 1e-14


def test_no_array_of_the_size_of_the_jacobian_is_made():
    sizes = []

    class Sizes(Watcher):
        def made(self, op, inputs, y):
            sizes.append(y.size)

    x = tg.tensor(np.zeros((1, 1000)), requires_grad=True)
    with watching(Sizes()):
        losses.squared_error(tg.softmax(x), np.eye(1, 1000)).backward()
    assert max(sizes) == 1000
