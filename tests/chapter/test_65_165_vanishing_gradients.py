"""(65.165)-(65.166): in a deep network of sigmoids, sensitivities fade from layer to layer.

(65.165) delta_l is proportional to the product of the slopes from layer l to the last, (65.166) the bounds of the
slopes of sigmoid and tanh; the slope of tanh there lacks a square, which (65.7) has.
"""

import math

import numpy as np
import pytest
from chapter import listings

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_a_sensitivity_is_proportional_to_the_slopes_of_all_later_layers(activation, rng):
    """(65.165), exact with one node a layer: delta_l = 2 (gamma-hat - gamma) w_l ... w_{L-1} f'(z_l) ... f'(z_L)."""
    L = 9
    net = fully_connected([1] * L, activation, activation, init_bias="normal", seed=4, dtype=np.float64)
    H, gamma = rng.normal(size=(1, 1)), np.array([[0.3]])
    deltas = tg.sensitivities(losses.squared_error(net.predict(H), gamma), net)
    W, theta = listings.parameters(net)
    gamma_hat, _, _, z = listings.forward(H[0].tolist(), W, theta, listings.activations(L, activation, activation))
    for l in range(2, L + 1):
        slopes = math.prod(listings.slope(activation, z[k])[0] for k in range(l, L + 1))
        weights = math.prod(W[k][0][0] for k in range(l, L))
        expected = 2 * (gamma_hat[0] - 0.3) * weights * slopes
        assert deltas[f"z{l}"].numpy().item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("f", "largest"), [(tg.sigmoid, 1 / 4), (tg.tanh, 1.0)])
def test_the_slopes_are_bounded(f, largest):
    """(65.166): 0 <= f' <= 1/4 for the sigmoid and 0 <= f' <= 1 for tanh; both bounds are met."""
    x = tg.tensor(np.linspace(-50, 50, 1001))
    (slope,) = tg.grad(f(x).sum(), [x])
    values = slope.numpy()
    assert values.max() == largest == values[500]
    assert 0 <= values.min() < 1e-15


def test_the_slope_of_tanh_has_a_square():
    """(65.166) prints 1 / cosh(x), which is 0.7967 at 0.7; the slope is 1 / cosh(x)^2, as in (65.7), 0.6347."""
    x = tg.tensor(np.array(0.7))
    (slope,) = tg.grad(tg.tanh(x), [x])
    assert slope.item() == pytest.approx(1 / math.cosh(0.7) ** 2, rel=1e-13)
    assert slope.item() == pytest.approx(0.6347, abs=5e-5)
    assert 1 / math.cosh(0.7) == pytest.approx(0.7967, abs=5e-5)


def norms(activation, init, rng):
    net = fully_connected([10, *[10] * 8, 2], activation, seed=0, init=init, dtype=np.float64)
    loss = losses.cross_entropy(net(rng.normal(size=(20, 10))), rng.integers(0, 2, 20))
    return tg.gradient_norms(loss, net), loss, net


def test_sensitivities_shrink_by_the_slope_of_the_sigmoid(rng):
    found, _, _ = norms("sigmoid", "normal", rng)
    deltas = [found[f"z{l}"].sensitivity for l in range(2, 11)]
    ratios = [deltas[l] / deltas[l + 1] for l in range(7)]
    assert max(ratios) < 0.5  # the slope is at most 1/4, and the weights keep norms about as they are
    assert found["z2"].gradient < 1e-3 * found["z10"].gradient


def test_each_layer_takes_at_most_a_quarter_times_the_norm_of_its_weights_65_165(rng):
    _, loss, net = norms("sigmoid", "normal", rng)
    deltas = tg.sensitivities(loss, net)
    for l in range(2, 10):
        bound = 0.25 * np.linalg.norm(getattr(net, f"layer{l}").W.numpy(), 2)
        before, after = (np.linalg.norm(deltas[f"z{k}"].numpy(), axis=1) for k in (l, l + 1))
        assert (before <= bound * after * (1 + 1e-12)).all()
        assert (before > 0).all()


def test_they_fade_geometrically_with_depth(rng):
    found, _, _ = norms("sigmoid", "normal", rng)
    logs = np.log([found[f"z{l}"].sensitivity for l in range(2, 10)])
    slope, intercept = np.polyfit(range(8), logs, 1)
    assert slope > np.log(2)
    np.testing.assert_allclose(logs, intercept + slope * np.arange(8), atol=0.6)  # a straight line, over e**10


def test_rectifiers_do_not_fade_so(rng):
    sigmoid, _, _ = norms("sigmoid", "he_normal", rng)
    relu, _, _ = norms("relu", "he_normal", rng)
    assert relu["z2"].sensitivity > 100 * sigmoid["z2"].sensitivity


def test_the_norms_are_those_of_gradients_and_sensitivities(rng):
    found, loss, net = norms("tanh", "normal", rng)
    loss.backward()
    assert found["z2"].gradient == pytest.approx(np.linalg.norm(net.layer1.W.grad.numpy()))
    delta = tg.sensitivities(loss, net)["z5"].numpy()
    assert found["z5"].sensitivity == pytest.approx(np.sqrt((delta**2).sum(1).mean()))
