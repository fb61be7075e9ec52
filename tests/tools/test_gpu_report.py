"""The report of a GPU: without one it says what is missing; its parts, on a stand-in."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygraph as tg
from tinygraph import backend as backends
from tinygraph.backend import cupy as cupy_backend
from tinygraph.tools import gpu_report, gpu_steps
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


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in as CuPy, and steps that are small."""
    monkeypatch.setattr(gpu_steps, "SIZES", [6, 5, 4, 3])
    monkeypatch.setattr(gpu_steps, "ROWS", 40)
    monkeypatch.setattr(gpu_steps, "LONG", 20)
    with host_cuda.installed():
        yield


@pytest.mark.parametrize("name", ["backend", "capture", "training", "beta", "small step", "long runs"])
def test_a_step_finds_what_it_must_show_on_the_stand_in(cupy, name, monkeypatch):
    monkeypatch.setattr(gpu_steps, "LONGEST_STEP", 1e9)
    ended = gpu_steps.outcome(name)
    assert ended.ok is True, ended.found
    assert ended.shows == gpu_steps.STEPS[name][1]
    assert ended.seconds > 0


WRONG = {
    "capture": ("tinygraph.backend.captured.Captured._record", lambda self: None, "graph NoneType"),
    "training": ("tinygraph.backend.captured.Captured._record", lambda self: None, "no graph"),
    "beta": ("tinygraph.backend.cublas.Cublas.gemm", lambda self, a, b, out, *more: None, "nan"),
    "backend": ("tinygraph.backend.nvidia.library", None, "the library cuBLAS, for products, is missing"),
    "small step": ("tinygraph.tools.gpu_steps.LONGEST_STEP", 0.0, "us a step"),
    "long runs": ("tinygraph.tools.gpu_steps.leak", lambda steps: [{"used": 1}, {"used": 2}], "{'used': 2}"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_step_that_does_not_show_it_says_what_it_found(cupy, name, monkeypatch):
    place, what, said = WRONG[name]
    monkeypatch.setattr(place, what)
    backends.register("cupy", cupy_backend.CupyBackend)  # made anew
    ended = gpu_steps.outcome(name)
    assert ended.ok is False
    assert said in ended.found


def test_times_of_products_on_the_host_and_on_the_device_are_compared(cupy, monkeypatch):
    monkeypatch.setattr(gpu_steps, "_milliseconds", lambda run, count: run() is None or 2.0)
    monkeypatch.setattr("numpy.ones", lambda shape, dtype: np.zeros(tuple(min(n, 8) for n in shape), dtype))
    ok, found = gpu_steps.products()
    assert ok
    assert "1024: 2.000 and 2.000 ms, 1.1 TFLOP/s" in found
    times = iter([1.0, 1.2, 1.0, 1.0])
    monkeypatch.setattr(gpu_steps, "_milliseconds", lambda run, count: next(times))
    assert gpu_steps.products()[0] is False


@pytest.mark.parametrize(("number", "ok"), [("470.10.01", False), ("535.1", True)])
def test_the_driver_must_be_new_enough(monkeypatch, number, ok):
    monkeypatch.setattr("shutil.which", lambda name: name)
    said = f"NVIDIA H200, {number}, 143771 MiB\n"
    monkeypatch.setattr("subprocess.run", lambda *a, **k: SimpleNamespace(stdout=said))
    assert gpu_steps.driver()[0] is ok
    assert f"NVIDIA H200, {number}" in gpu_steps.driver()[1]


def test_what_is_not_installed_is_not_run(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    for name in ("driver", "sanitizer"):
        ended = gpu_steps.STEPS[name][0]()
        assert ended[0] is None
        assert "is not on the path" in ended[1]


def test_the_sanitizer_runs_two_steps_in_two_ways(monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        wrong = "racecheck" in command and "training" in command
        last = "========= ERROR SUMMARY: 3 errors" if wrong else "========= ERROR SUMMARY: 0 errors"
        return SimpleNamespace(returncode=9 if wrong else 0, stdout=f"...\n{last}\n")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("subprocess.run", run)
    ok, found = gpu_steps.sanitizer()
    assert not ok
    assert "memcheck of capture: ERROR SUMMARY: 0 errors" in found
    assert "racecheck of training: ERROR SUMMARY: 3 errors" in found
    assert [command[-1] for command in commands] == ["capture", "training"] * 2


def test_a_step_has_a_process_and_a_time_of_its_own(monkeypatch):
    """Here there is no GPU: the first line says so. What a process breaks, or holds up, is told."""
    ended = gpu_steps.in_a_process("backend")
    assert (ended.ok, ended.found) == (False, tg.backends()["cupy"])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert gpu_steps.in_a_process("backend").found.startswith("ended with status 1")
    monkeypatch.undo()
    monkeypatch.setitem(gpu_steps.STEPS, "backend", (gpu_steps.backend, "", 0.01))
    assert gpu_steps.in_a_process("backend").found == "not finished within 0 s"


def test_an_error_is_what_a_step_found(cupy, monkeypatch):
    monkeypatch.setitem(gpu_steps.STEPS, "beta", (lambda: 1 / 0, "a number", 1))
    assert gpu_steps.outcome("beta").found == "ZeroDivisionError: division by zero"


# -- the report -----------------------------------------------------------------------------------------


def result():
    blocks = {"tinygraph": [1e-5, 2e-5, 3e-5], "torch": [4e-5] * 3}
    return measure.Result(WORKLOADS["mlp-1"], "cuda", blocks, {k: list(v) for k, v in blocks.items()})


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """A report whose parts are quick; what it ran."""
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_report, "get_backend", lambda name: None)
    monkeypatch.setattr(gpu_report.report, "environment", lambda *a: {"device": "a device"})

    def step(name):
        ran.append(name)
        return gpu_steps.Outcome(name, "a | b", "c", name != "beta")

    def tests(seconds):
        ran.append("tests")
        return {"status": 1, "summary": "5 passed, 1 failed", "failed": ["FAILED tests/one.py::two"], "output": "..."}

    monkeypatch.setattr(gpu_steps, "in_a_process", step)
    monkeypatch.setattr(gpu_report, "run_tests", tests)
    monkeypatch.setattr(gpu_report, "benchmark", lambda seconds, say: ran.append("benchmark") or iter([result()]))
    monkeypatch.setattr(gpu_report.report, "table", lambda r: ["a table"])
    return ran


def written():
    facts = json.loads(Path("gpu_report/gpu_report.json").read_text())
    return facts, Path("gpu_report/gpu_report.md").read_text()


def test_the_report_has_the_steps_the_tests_and_a_row_for_every_workload(pretended):
    done = CliRunner().invoke(app(), [])
    assert done.exit_code == 0, done.output
    assert pretended == [*gpu_steps.STEPS, "tests", "benchmark"]
    facts, page = written()
    assert [step["name"] for step in facts["steps"]] == list(gpu_steps.STEPS)
    assert "| capture | a / b | c | ok |" in page
    assert "| beta | a / b | c | NOT |" in page
    assert "Tests marked `gpu`: 5 passed, 1 failed.\n\n- `FAILED tests/one.py::two`" in page
    assert "| 784-512-512-10, B = 1 | 20.0 us | 40.0 us | 0.50 |" in page
    assert "beta: c; expected: a | b" in done.output


def test_the_tests_can_be_left_out_or_run_alone(pretended):
    assert CliRunner().invoke(app(), ["--no-tests"]).exit_code == 0
    assert "tests" not in pretended
    assert "quick tests" not in pretended
    assert "Tests marked" not in written()[1]
    pretended.clear()
    assert CliRunner().invoke(app(), ["--tests-only"]).exit_code == 0
    assert pretended == ["tests"]
    assert "5 passed" in written()[1]
    done = CliRunner().invoke(app(), ["--tests-only", "--no-tests"])
    assert done.exit_code == 2
    assert "give one of them" in done.output


def test_what_there_is_is_kept_when_a_part_fails(pretended, monkeypatch):
    def breaks(seconds, say):
        yield result()
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_report, "benchmark", breaks)
    CliRunner().invoke(app(), [])
    facts, page = written()
    assert len(facts["steps"]) == len(gpu_steps.STEPS)
    assert len(facts["workloads"]) == 1
    assert "5 passed" in page


SLOW_TESTS = """
import time
import pytest

def test_first(): pass

def test_second(): assert False

def test_third(): time.sleep(60)
"""


@pytest.mark.slow
def test_tests_that_take_too_long_say_how_far_they_came(tmp_path):
    path = tmp_path / "test_slow.py"
    path.write_text(SLOW_TESTS)
    found = gpu_report.run_tests(20.0, ("-m", "", "-o", "addopts=", "--rootdir", str(tmp_path), str(path)))
    assert found["status"] is None
    assert found["summary"] == "not finished within 20 s: 1 passed, 1 failed"
    assert len(found["failed"]) == 1
    assert "test_second" in found["failed"][0]


def test_tests_that_end_are_summed_up(tmp_path):
    path = tmp_path / "test_quick.py"
    path.write_text(SLOW_TESTS.replace("time.sleep(60)", "pass"))
    found = gpu_report.run_tests(60.0, ("-m", "", "-o", "addopts=", "--rootdir", str(tmp_path), str(path)))
    assert found["status"] == 1
    assert "1 failed, 2 passed" in found["summary"]
    assert len(found["failed"]) == 1
    assert "slowest 5 durations" in found["output"]
