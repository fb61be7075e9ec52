"""(65.165)-(65.166): in a deep network of sigmoids, sensitivities fade from layer to layer."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses
from tinygraph.models import fully_connected


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


@pytest.mark.host
def test_they_can_be_plotted(rng):
    from tinygraph.tools.plot import norms_by_layer

    found, _, _ = norms("sigmoid", "normal", rng)
    assert b"<svg" in norms_by_layer(found)
