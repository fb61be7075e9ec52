"""The code of docs/custom-architecture.md: a network of one's own in under 40 lines does what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg

pytestmark = pytest.mark.host
PAGE = Path(__file__).resolve().parents[2] / "docs" / "custom-architecture.md"


@pytest.fixture(scope="module")
def code():
    return re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL).group(1)


@pytest.fixture(scope="module")
def names(code):
    found = {"__name__": "page"}
    exec(compile(code, PAGE.name, "exec"), found)
    return found


def test_it_takes_fewer_than_40_lines(code):
    assert len(code.splitlines()) < 40


def test_it_is_trained(names):
    history, digits = names["history"], names["digits"]
    assert history.losses[-1] < 0.2 * history.losses[0]
    assert tg.metrics.error_rate(names["net"].decide(digits.test[0]), digits.test[1]) < 0.05


def test_the_op_and_the_whole_network_pass_the_gradient_check(names, rng):
    tg.gradcheck(names["Squash"](), rng.normal(size=(3, 4)), second=True)
    tg.gradcheck(names["net"], rng.normal(size=(2, 64)), np.eye(10)[[3, 8]], names["loss"])


def test_a_wrong_rule_would_not_pass_it(names, rng):
    class Wrong(names["Squash"]):
        def backward(self, dy, y, z):
            return (dy / (1.0 + z * z),)

    layer = tg.nn.Dense(4, 3, activation=Wrong(), seed=0)
    with pytest.raises(tg.GradientError, match="the backward rule of wrong is wrong"):
        tg.gradcheck(layer, rng.normal(size=(2, 4)), rng.normal(size=(2, 3)), tg.losses.squared_error)


def test_the_mirror_image_makes_no_difference(names):
    net, x = names["net"], names["digits"].test[0]
    mirrored = x.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)
    np.testing.assert_allclose(net(mirrored).numpy(), net(x).numpy(), rtol=1e-3, atol=1e-3)


def test_the_branch_is_shared_and_both_calls_are_named(names):
    net, x = names["net"], names["digits"].test[0][:1]
    assert len(net.parameters()) == 6
    assert {"branch.z2#1", "branch.z2#2", "branch.z3#1", "branch.z3#2"} <= set(net.activations(x))


def test_it_is_drawn_with_the_op_of_its_own_in_both_calls(names):
    assert names["picture"].startswith("digraph")
    graph = tg.graph(names["net"], input_shape=(None, 64))
    assert graph.summary().count("squash") == 4
