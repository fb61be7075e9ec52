"""What the training steps of the benchmark cost a GPU by the model: computed from their plans, nothing is run."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import host_cuda
import numpy as np
import pytest

import tinygraph as tg
from tinygraph.plan.arguments import Arguments
from tinygraph.plan.device_model import H200, Cost, Node
from tinygraph.tools.bench.contenders import tinygraph as ours
from tinygraph.tools.bench.workloads import WORKLOADS

pytestmark = pytest.mark.host
DOCS = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
ONE_SAMPLE_ADAM = replace(WORKLOADS["mlp-1"], name="adam-1", title="784-512-512-10, Adam, B = 1", optimizer="adam")
STEPS = {w.name: w for w in (*WORKLOADS.values(), ONE_SAMPLE_ADAM)}


@pytest.fixture(scope="module")
def plans():
    """The plan of every step, on a stand-in for CuPy."""
    with host_cuda.installed(), tg.using("cupy"):
        found = {}
        for name, workload in STEPS.items():
            training = ours.compiled(workload)
            found[name] = training.step._record(Arguments.of(training.batches[0], {})).plan
        return found


def cost(plan):
    return Cost.of(plan.replay.nodes)


@pytest.mark.parametrize("name", ["mlp-1", "adam-1", "large-1"])
def test_a_step_with_one_sample_is_few_nodes_and_little_traffic(plans, name):
    workload = STEPS[name]
    weights = 4 * sum(math.prod(layer) for layer in workload.layers)
    state = 4 * weights if workload.optimizer == "adam" else 0  # two averages, read and written
    done = cost(plans[name])
    assert done.nodes <= 12
    assert done.bytes <= 1.3 * (3 * weights + state)  # read forward and backward, and written
    assert done.trips <= 30


def test_a_step_of_a_batch_is_its_products_and_a_kernel_between_two(plans):
    """Eight products; ReLU twice, the loss once, and twice the gradient of ReLU with the update of a bias."""
    names = [node.name for node in plans["mlp-128"].replay.nodes]
    assert names.count("gemm") == 8
    assert len(names) == 8 + 2 + 1 + 2
    assert not any(a != "gemm" and b != "gemm" for a, b in pairwise(names))


def test_a_small_network_is_one_kernel(plans):
    assert len(plans["overhead"].replay.nodes) == 1


def test_every_line_is_a_node(plans):
    for plan in plans.values():
        assert len(plan.replay.nodes) == len(plan.source.splitlines())
        assert all(node.bytes > 0 and node.trips >= 0 for node in plan.replay.nodes)


def test_the_model_counts_what_a_plain_count_gives():
    """A sum of a scaled matrix over its columns, written to a row: by hand."""
    with host_cuda.installed(), tg.using("cupy"):
        compiled = tg.compile(lambda x, row: tg.sum(x * row, 0) + 1.0)
        arrays = np.ones((256, 300), np.float32), np.ones(300, np.float32)
        (node,) = compiled._record(Arguments.of(tuple(map(tg.tensor, arrays)), {})).plan.replay.nodes
    assert node.bytes == 4 * (256 * 300 + 300 + 300)
    assert node.flops >= 2 * 256 * 300


def test_the_roofline_is_the_slower_of_memory_and_arithmetic():
    assert Node("copy", bytes=4_800_000_000_000).seconds(H200) == pytest.approx(1.0)
    assert Node("product", bytes=1, flops=67_000_000_000_000).seconds(H200) == pytest.approx(1.0)
    both = [Node("a", 100, 2, 5), Node("b", 10, 1, 7)]
    assert Cost.of(both) == Cost(2, 110, 3, sum(n.seconds(H200) for n in both))


def rows(plans):
    """The rows of the table in docs/gpu.md."""
    yield "| step | nodes | moved | trips | roofline of an H200, computed |"
    yield "|---|---|---|---|---|"
    for name, plan in plans.items():
        c = cost(plan)
        yield f"| {STEPS[name].title} | {c.nodes} | {c.bytes / 1e6:.3g} MB | {c.trips} | {c.seconds * 1e6:.2g} us |"


def test_the_page_shows_the_table(plans):
    wanted = list(rows(plans))
    shown = [line for line in DOCS.read_text().splitlines() if line in set(wanted)]
    assert shown == wanted, "the table of docs/gpu.md should be:\n" + "\n".join(wanted)
