"""The benchmark: every contender trains, the arithmetic of ratios, a small run."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tinygraph.tools import cli
from tinygraph.tools.bench import measure, report, worker
from tinygraph.tools.bench.contenders import CONTENDERS, Events, Training, Unsuitable
from tinygraph.tools.bench.workloads import WORKLOADS, Workload

pytestmark = pytest.mark.host
MODULES = {"torch": "torch", "jax": "jax", "autograd": "autograd", "mygrad": "mygrad", "scikit-learn": "sklearn"}
SMALL = {
    "sgd": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, lr=0.05),
    "adam": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, optimizer="adam", lr=1e-2),
    "batch norm": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, batch_norm=True, lr=0.05),
    "tanh": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, activation="tanh", lr=0.05),
}
SAME_START = ("autograd", "jax", "mygrad")  # as the step by hand


def training_of(name, workload):
    contender = CONTENDERS[name]
    if contender.package in MODULES:
        pytest.importorskip(MODULES[contender.package])
    try:
        return contender.load()(workload)
    except Unsuitable as reason:
        pytest.skip(str(reason))


def losses(training, steps):
    return [training.value(training.step(*training.batches[i % 3])) for i in range(steps)]


@pytest.mark.filterwarnings("ignore")  # the libraries' own
@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "torch-compile"])  # compiles for a minute
def test_the_loss_falls_over_the_warm_up(name):
    first, last = worker.warm_up(training_of(name, WORKLOADS["overhead"]))["losses"]
    assert last < first


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "torch-compile"])
@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_of_step_learns_a_batch(name, kind):
    training = training_of(name, SMALL[kind])
    x, y = training.batches[0]
    seen = [training.value(training.step(x, y)) for _ in range(60)]
    assert np.mean(seen[-5:]) < 0.9 * np.mean(seen[:5])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*SAME_START])
@pytest.mark.parametrize("kind", SMALL)
def test_peers_that_start_alike_train_alike(name, kind):
    theirs = losses(training_of(name, SMALL[kind]), 12)
    np.testing.assert_allclose(theirs, losses(training_of("numpy", SMALL[kind]), 12), rtol=1e-3)


@pytest.mark.parametrize("kind", SMALL)
def test_the_compiled_step_trains_as_the_eager_one(kind):
    compiled, eager = (losses(training_of(name, SMALL[kind]), 12) for name in ("tinygraph", "eager"))
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)


def canned():
    blocks = {"tinygraph": [1.0, 2.0, 9.0], "eager": [0.5] * 3, "jax": [4.0, 3.0, 5.0], "numpy": [8.0, 8.0, 1.0]}
    return measure.Result(WORKLOADS["overhead"], blocks=blocks, left_out={"mygrad": "not installed"})


def test_ratios_are_of_medians_and_the_best_peer_is_not_ours():
    result = canned()
    assert result.medians == {"tinygraph": 2, "eager": 0.5, "jax": 4, "numpy": 8}
    assert result.ratios == {"eager": 4, "jax": 0.5, "numpy": 0.25}
    assert result.spreads["jax"] == 0.25
    assert result.best_peer == "jax"


def test_events_count_only_if_every_contender_has_them():
    result = canned()
    result.events = {name: [seconds / 2 for seconds in blocks] for name, blocks in result.blocks.items()}
    assert (result.clock, result.medians["jax"]) == ("events", 2)
    del result.events["jax"]
    assert (result.clock, result.medians["jax"]) == ("wall clock", 4)


def test_on_a_gpu_who_computes_on_the_cpu_only_is_left_out(monkeypatch):
    monkeypatch.setattr(measure.sys, "executable", "false")
    peers = ["tinygraph", "numpy"]
    result = measure.run(WORKLOADS["overhead"], peers, rounds=1, seconds=0.01, threads=None, say=str, device="cuda")
    assert "CPU only" in result.left_out["numpy"]
    assert "status 1" in result.left_out["tinygraph"]


def test_events_of_the_device_are_reported_beside_the_wall_clock():
    marks = iter([1.0, 3.0])
    events = Events(lambda: next(marks), lambda first, last: last - first)
    training = Training(lambda x, y: x + y, [(1, 2)], events=events)
    said = worker.timed(training, 2, 0)
    assert said["events"] == 2.0
    assert 0 < said["seconds"] < 1.0


def test_a_contender_that_takes_too_long_is_left_out(monkeypatch, tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(measure.sys, "executable", str(sleeper))
    result = measure.run(WORKLOADS["overhead"], ["numpy"], rounds=1, seconds=0.01, threads=None, say=str, patience=0.2)
    assert result.left_out["numpy"] == "no answer within 0.2 s"


def test_without_tinygraph_there_are_no_ratios_and_no_failure():
    result = canned()
    del result.blocks["tinygraph"]
    assert result.ratios == {}
    assert any("NumPy" in line for line in report.table(result, first_calls=True))
    ElementTree.fromstring(report.picture([result]))


def test_the_table_names_the_best_peer_and_who_was_left_out():
    said = list(report.table(canned(), first_calls=True))
    assert [line for line in said if "best peer" in line] == [line for line in said if "JAX" in line]
    assert any("MyGrad" in line and "not installed" in line for line in said)


@pytest.mark.parametrize(("seconds", "text"), [(2.5e-5, "25.0 us"), (4.2e-3, "4.20 ms"), (1.5, "1.50 s")])
def test_durations(seconds, text):
    assert report.duration(seconds) == text


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; return its exit status, output and error output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.main(["bench", *[str(a) for a in arguments]])
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


def test_a_small_run_writes_numbers_and_a_picture(bench, tmp_path):
    for _ in range(2):  # the second replaces the files of the first
        status, out, err = bench("--workload", "overhead", "--peer", "numpy", "--rounds", 2, "--seconds", 0.02)
        assert (status, err) == (0, "")
    assert "tinygraph / it" in out
    facts = json.loads((tmp_path / "bench" / "bench.json").read_text())
    (measured,) = facts["workloads"]
    assert {name: len(blocks) for name, blocks in measured["blocks"].items()} == {"tinygraph": 2, "numpy": 2}
    assert measured["best_peer"] == "numpy"
    assert measured["warm_up"]["tinygraph"]["first_call"] > 0
    assert facts["settings"] == {"rounds": 2, "seconds": 0.02, "threads": None, "device": "cpu"}
    assert measured["clock"] == "wall clock"
    versions = facts["environment"]["versions"]
    assert {"tinygraph", "numpy", "python"} <= set(versions)
    assert all(versions)
    ElementTree.parse(tmp_path / "bench" / "bench.svg")
    assert sorted(path.name for path in (tmp_path / "bench").iterdir()) == ["bench.json", "bench.svg"]


def test_a_worker_that_dies_is_left_out_with_its_last_words(monkeypatch):
    monkeypatch.setattr(measure.sys, "executable", "false")
    result = measure.run(WORKLOADS["overhead"], ["numpy"], rounds=1, seconds=0.01, threads=None, say=str)
    assert "status 1" in result.left_out["numpy"]
    assert result.blocks == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--workload", "overhed"), "did you mean 'overhead'?"),
        (("--peer", "troch"), "did you mean 'torch'?"),
        (("--rounds", 0), "rounds"),
        (("--seconds", "nan"), "seconds"),
        (("--threads", 0), "threads"),
        (("--device", "gpu"), "device 'gpu' is not known; known: cpu, cuda"),
        (("--out", "file"), "another with --out"),
    ],
)
def test_mistakes_end_in_one_line(bench, tmp_path, arguments, text):
    (tmp_path / "file").write_text("")
    status, out, err = bench(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert text in err
