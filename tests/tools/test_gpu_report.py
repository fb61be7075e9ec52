"""The report of a GPU: without one it says what is missing; its parts, on a stand-in."""

import shutil
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygraph as tg
from tinygraph import backend as backends
from tinygraph.backend import cupy as cupy_backend
from tinygraph.tools import gpu_report
from tinygraph.tools.bench import measure
from tinygraph.tools.bench.workloads import WORKLOADS

host_cuda = pytest.importorskip("host_cuda")
pytestmark = [pytest.mark.host, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]


def app():
    import typer

    made = typer.Typer()
    made.command()(gpu_report.main)
    return made


def test_without_a_gpu_it_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    backends.register("cupy", cupy_backend.CupyBackend)
    done = CliRunner().invoke(app(), [])
    assert done.exit_code == 2
    assert "CuPy is not installed" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_its_parts_on_the_stand_in(monkeypatch):
    monkeypatch.setattr(gpu_report, "ROWS", 40)
    monkeypatch.setattr(gpu_report, "FEATURES", 6)
    with host_cuda.installed(), tg.using("cupy"):
        run = gpu_report.one_epoch()
        kept = gpu_report.leak(20)
    assert run["microseconds a step"] == pytest.approx(1e6 * run["seconds"] / 40)
    assert kept["before"] == kept["after"]


def test_the_page_has_a_row_for_every_workload():
    blocks = {"tinygraph": [1e-5, 2e-5, 3e-5], "torch": [4e-5] * 3}
    result = measure.Result(WORKLOADS["mlp-1"], "cuda", blocks, {k: list(v) for k, v in blocks.items()})
    facts = {
        "environment": {"device": "a device"},
        "tests": {"summary": "5 passed"},
        "one epoch at B = 1": {"seconds": 2.5, "microseconds a step": 41.7},
        "memory": {"steps": 10_000, "before": {"used": 7}, "after": {"used": 7}},
    }
    text = gpu_report.markdown(facts, [result])
    assert "| 784-512-512-10, B = 1 | 20.0 us | 40.0 us | 0.50 |" in text
    assert "5 passed" in text
    assert "7 and 7 bytes" in text


def test_tests_that_take_too_long_are_told():
    assert "not finished within 0 s" in gpu_report.tests(0.01)["summary"]
    assert np.isfinite(gpu_report.TESTS_SECONDS + gpu_report.BENCH_SECONDS)
    assert gpu_report.TESTS_SECONDS + gpu_report.BENCH_SECONDS < 8 * 60
