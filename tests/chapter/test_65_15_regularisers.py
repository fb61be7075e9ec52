"""(65.47), Problem 65.15: L2 and L1 on the weights, together the elastic net."""

import numpy as np
import pytest

from tinygraph import losses
from tinygraph.models import fully_connected


def test_both_count_every_weight_and_no_bias():
    net = fully_connected([3, 4, 2], init_bias="normal", seed=0, dtype=np.float64)
    weights = [w for layer in (net.layer1, net.layer2) for row in layer.W.numpy().tolist() for w in row]
    assert losses.l2(net, 0.3).item() == pytest.approx(0.3 * sum(w * w for w in weights))
    assert losses.l1(net, 0.2).item() == pytest.approx(0.2 * sum(abs(w) for w in weights))
    assert losses.elastic(net, 0.3, 0.2).item() == pytest.approx(sum(0.3 * w * w + 0.2 * abs(w) for w in weights))


def test_the_subgradient_of_l1_is_the_sign_and_0_at_0():
    net = fully_connected([2, 2], seed=0, dtype=np.float64)
    net.layer1.W.assign_(np.array([[1.5, 0.0], [-2.0, 0.5]]))
    losses.l1(net, 0.1).backward()
    np.testing.assert_allclose(net.layer1.W.grad.numpy(), [[0.1, 0], [-0.1, 0.1]])
