"""A plan as a graph and as a table: what its nodes say, and that nothing it may hold breaks the text."""

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host
X = np.ones((2, 3), np.float32)


def plan_of(function, *arguments, **options):
    compiled = tg.compile(function, **options)
    compiled(*arguments)
    return compiled.plan


def test_nodes_say_what_comes_in_what_is_learned_and_what_goes_out():
    W = tg.parameter(np.ones((3, 2), np.float32), name="W")
    mean = tg.tensor(np.ones(2, np.float32), name="mean")
    g = plan_of(lambda x: (x @ W - mean) * 0.5, X, passes=()).graph()
    facts = [(n.kind, n.label, n.name, n.inputs, n.is_output) for n in g.nodes]
    assert facts == [
        ("input", "x", "x", (), False),
        ("parameter", "W", "W", (), False),
        ("op", "matmul", "", (0, 1), False),
        ("input", "mean", "mean", (), False),
        ("op", "subtract", "", (2, 3), False),
        ("constant", "0.5", "", (), False),
        ("op", "multiply", "", (4, 5), True),
    ]
    assert [n.parameters for n in g.nodes] == [0, 6, 0, 0, 0, 0, 0]
    assert [n.bytes for n in g.nodes] == [24, 24, 16, 8, 16, 4, 16]


def test_a_gradient_from_before_counts_no_parameters():
    net = fully_connected([3, 2], seed=0)

    def accumulate(x):
        tg.sum(net(x) ** 2.0).backward()

    accumulate(X)
    g = plan_of(accumulate, X).graph()
    assert sum(n.name.startswith("grad of") for n in g.nodes) == 2
    assert sum(n.parameters for n in g.nodes) == sum(p.size for p in net.parameters())


@pytest.mark.parametrize(("assigns", "text"), [(False, "0 instructions"), (True, "leaf    2 x 3  copy         x ")])
def test_what_no_instruction_touches_is_listed_and_drawn(assigns, text):
    leaf = tg.tensor(np.zeros((2, 3), np.float32), name="leaf")

    def step(x):
        return leaf.assign_(x) if assigns else x

    plan = plan_of(step, tg.tensor(X, name="x"))
    nodes = [(n.name, n.is_output) for n in plan.graph().nodes]
    assert nodes == ([("x", True)] if assigns else [])  # an argument returned is that argument, whatever its value
    assert text in str(plan)
    assert "0% of it in products" in str(plan.profile(1))


def test_names_of_any_kind_keep_to_their_row():
    names = ["two\nlines", "n" * 20_000, "\x1b[31m", ""]
    leaves = [tg.tensor(np.zeros((2, 3), np.float32), name=name) for name in names]

    def step(x):
        for leaf in leaves:
            leaf.assign_(leaf + x)
        leaves[0].assign_(x)
        return leaves[1] * 2.0

    plan = plan_of(step, tg.tensor(X, name="x\ty"))
    lines = str(plan).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [str(i + 1) for i in range(len(plan) + 1)]
    assert max(map(len, lines)) < 600
    assert str(plan).replace("\n", "").isprintable()
    assert str(plan.profile(1)).replace("\n", "").isprintable()
    assert re.search(r"copy .* leaf$", str(plan), re.MULTILINE)
