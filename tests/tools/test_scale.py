"""The model of training on many machines: sums are right, and its formulas count what a simulation sends."""

import numpy as np
import pytest

from tinygraph.tools.scale.collectives import ALGORITHMS, simulate
from tinygraph.tools.scale.model import (
    ADDED,
    Link,
    Processor,
    Work,
    allreduce_seconds,
    fit_link,
    fit_processor,
    scaling,
)

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 7, 8, 12, 31, 64, 100])
def test_every_process_has_the_sum(name, processes):
    vectors = np.random.default_rng(processes).integers(-99, 99, (processes, 257))
    wanted = vectors.sum(axis=0)
    simulate(ALGORITHMS[name], vectors)
    assert (vectors == wanted).all()


@pytest.mark.parametrize("name", ["recursive doubling", "Rabenseifner"])
def test_the_largest_number_of_processes(name):
    vectors = np.random.default_rng(0).integers(-99, 99, (4096, 4096), dtype=np.int32)
    wanted = vectors.sum(axis=0)
    traffic = simulate(ALGORITHMS[name], vectors)
    assert (vectors == wanted).all()
    assert traffic.rounds == (12 if name == "recursive doubling" else 24)


@pytest.mark.parametrize("processes", [2, 3, 4, 6, 8, 16, 24, 64, 256])
def test_the_formula_takes_as_long_as_the_messages(processes):
    length = 3 * 1024  # parts of which are even
    link, memory = Link(3e-6, 2e9), 5e9
    taken = []
    for name in ("recursive doubling", "Rabenseifner"):
        t = simulate(ALGORITHMS[name], np.ones((processes, length), np.float32))
        taken.append(t.rounds * link.latency + 4 * t.sent / link.bandwidth + ADDED * 4 * t.added / memory)
    assert allreduce_seconds(processes, length, link, memory) == pytest.approx(min(taken), rel=1e-12)


def test_fits_find_what_measurements_were_made_of():
    processor, link = Processor(2e-5, 80e9, 20e9, 9e9), Link(1.5e-6, 6e9)
    flops, nbytes = np.array([1e6, 1e8, 1e9, 5e9]), np.array([1e6, 3e6, 1e7, 2e7])
    found = fit_processor(flops, nbytes, processor.seconds_a_step + flops / processor.flops + nbytes / 20e9, 9e9)
    np.testing.assert_allclose([found.seconds_a_step, found.flops, found.bandwidth], [2e-5, 80e9, 20e9], rtol=1e-6)
    sizes = [4 * n for n in (256, 4096, 65536)]
    whole = [link.latency + s / link.bandwidth + ADDED * s / 20e9 for s in sizes]
    again = fit_link(sizes, whole, 20e9)
    np.testing.assert_allclose([again.latency, again.bandwidth], [1.5e-6, 6e9], rtol=1e-6)


def test_predictions():
    work = Work.of([8, 16], [1e6 + 8e4, 1e6 + 16e4], [5e5 + 8, 5e5 + 16], 1000)
    assert work.flops == pytest.approx(1e6)
    assert work.flops_a_sample == pytest.approx(1e4)
    processor, link = Processor(0.0, 1e9, 1e9, 2e9), Link(1e-6, 1e9)
    one, two, thousand = scaling(work, (1, 2, 1000), 100, processor, link)
    assert one.communicating == 0
    assert one.seconds == pytest.approx(2e-3 + 5e-4, rel=1e-2)
    assert two.computing == pytest.approx(1.5e-3 + 5e-4 + 5 * 4 * 1000 / 2e9, rel=1e-2)
    assert thousand.computing > (1e6 + 1e4) / 1e9  # one sample at least
    weak = scaling(work, (4,), 100, processor, link, weak=True)[0]
    assert weak.batch == 400
    assert weak.computing == pytest.approx(one.computing + 5 * 4 * 1000 / 2e9)
