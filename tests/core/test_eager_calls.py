"""What a step of a small network costs operation by operation, in calls: they are its time, and can be counted."""

import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host


def calls(function):
    """Return how many functions of tinygraph are called, and how many C functions by them."""
    counts = {"call": 0, "c_call": 0}

    def count(frame, event, argument):
        if event in counts and frame.f_globals.get("__name__", "").startswith("tinygraph."):
            counts[event] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"]


def test_a_step_of_a_small_network_takes_few_calls():
    net = fully_connected([4, 8, 8, 2], seed=0)
    optimizer = tg.optim.SGD(net.parameters(), 0.01)
    x = np.ones((1, 4), np.float32)

    def step(y):
        optimizer.zero_grad()
        tg.losses.cross_entropy(net(x), y).backward()
        optimizer.step()

    for y, python, c in ((np.array([1]), 380, 400), (tg.tensor([[0.0, 1.0]]), 280, 300)):
        step(y)
        found = calls(lambda y=y: step(y))
        assert 100 < found[0] <= python
        assert 100 < found[1] <= c


def test_the_walk_to_the_first_parameter_does_not_grow_with_the_network():
    x = np.ones((1, 2), np.float32)

    def walk(layers):
        net = fully_connected([2] * (layers + 1), seed=0)
        return calls(lambda: net._as_tensors((x,)))[0]

    assert walk(40) <= walk(2) + 2
