"""Recording and planning take work in proportion to the operations: calls are counted, not seconds."""

import cProfile
import pstats

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.models import fully_connected
from tinygraph.plan import memory
from tinygraph.plan.passes import fusion


def calls_of_the_first_step(layers, make_optimizer):
    """How many functions are called when a training step is recorded, planned and run."""
    net = fully_connected([4] * layers + [2], seed=0)
    optimizer = make_optimizer(net.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = losses.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    profile = cProfile.Profile()
    profile.runcall(tg.compile(step), np.ones((3, 4), np.float32), np.eye(3, 2, dtype=np.float32))
    return pstats.Stats(profile).total_calls


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    "make_optimizer", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1)], ids=["sgd", "adam"]
)
def test_twice_the_layers_are_twice_the_calls(make_optimizer, grouped, monkeypatch):
    if grouped:  # as if all arrays were large
        monkeypatch.setattr(fusion, "SMALLEST", 2)
    calls_of_the_first_step(2, make_optimizer)  # imports and caches
    few, many, most = (calls_of_the_first_step(n, make_optimizer) for n in (20, 40, 80))
    assert many - few < most - many < 2.2 * (many - few)
    assert most < 2.2 * many


def test_memory_is_taken_and_given_back_where_it_fits_best():
    arena = memory._Arena()
    starts = [arena.take(n) for n in (100, 30, 50, 40, 10)]
    assert starts == [0, 100, 130, 180, 220]
    arena.give_back(0, 100)
    arena.give_back(130, 180)
    assert arena.take(40) == 130  # the shortest gap that is long enough, not the first
    assert arena.take(10) == 170
    arena.give_back(100, 130)  # beside the first gap: one gap of 130
    assert arena.take(120) == 0
    arena.give_back(220, 230)
    arena.give_back(180, 220)  # what is free on top is no gap
    assert arena.take(70) == 180
    assert arena.size == 250
