"""Table 65.5: NAND, which one Perceptron unit computes; and XOR out of four of them (Sec. 65.10)."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn

TABLE = {(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 0}
W, THETA = [-2.0, -2.0], -3.0  # z = 3 - 2 a - 2 b is negative where a = b = 1 only; the chapter prints no weights


def perceptron():
    """A combiner and a sign function (65.16)."""
    unit = nn.Dense(2, 1, activation=tg.sign, dtype=np.float64)
    unit.W.assign_(np.array(W)[:, None])
    unit.theta.assign_(np.array([THETA]))
    return unit


def nand(unit, a, b):
    """The unit's answer, -1 or 1, as 0 or 1."""
    return (unit(np.array([[a, b]], np.float64)).item() + 1) / 2


@pytest.mark.parametrize(("a", "b"), TABLE)
def test_one_perceptron_computes_the_table(a, b):
    z = W[0] * a + W[1] * b - THETA
    assert (z > 0) == TABLE[a, b]
    assert nand(perceptron(), a, b) == TABLE[a, b]


def test_the_decisions_of_one_sigmoid_node_are_the_table():
    net = nn.Sequential(nn.Dense(2, 1, dtype=np.float64), output="sigmoid")
    net[0].W.assign_(np.array(W)[:, None])
    net[0].theta.assign_(np.array([THETA]))
    assert net.decide(np.array(list(TABLE), np.float64)).numpy().ravel().tolist() == list(TABLE.values())


@pytest.mark.parametrize(("a", "b"), TABLE)
def test_four_of_them_compute_xor_which_one_cannot(a, b):
    unit = perceptron()
    inner = nand(unit, a, b)
    assert nand(unit, nand(unit, a, inner), nand(unit, inner, b)) == (a != b)
