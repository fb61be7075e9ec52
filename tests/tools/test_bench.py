"""The benchmark: every contender trains, all compute the same, the arithmetic of ratios, a small run."""

import io
import json
import mmap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.tools import cli
from tinygraph.tools.bench import measure, processes, report, worker
from tinygraph.tools.bench.contenders import CONTENDERS, Contender, Events, Training, Unsuitable
from tinygraph.tools.bench.workloads import WORKLOADS, Workload, edges, initial_weights, neighbors

pytestmark = pytest.mark.host
MODULES = {"torch": "torch", "jax": "jax", "autograd": "autograd", "mygrad": "mygrad", "scikit-learn": "sklearn"}
SMALL = {
    "sgd": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, lr=0.05),
    "adam": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, optimizer="adam", lr=1e-2),
    "batch norm": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, batch_norm=True, lr=0.05),
    "tanh": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, activation="tanh", lr=0.05),
    "squash": Workload("", "", (6, 8, 8, 3), 5, rho=1e-2, activation="squash", penalty=0.1, lr=0.05),
    "neighbourhoods": Workload("", "", (16, 16, 16, 3), 5, rho=1e-2, radius=1, lr=0.05),
    "two branches": Workload(
        "", "", (16, 8, 8, 3), 5, rho=1e-2, activation="squash", penalty=0.1, two_branches=True, lr=0.05
    ),
}
LARGER = {name: WORKLOADS[name] for name in ("neighborhoods", "two-branches")}
OWN_START = {"sklearn"}  # draws its weights itself, and its loss contains the regulariser


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
@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in OWN_START | {"numpy", "torch-compile"}])
@pytest.mark.parametrize("kind", SMALL | LARGER)
def test_all_train_as_the_step_by_hand_does(name, kind):
    workload = (SMALL | LARGER)[kind]
    theirs = losses(training_of(name, workload), 12)
    np.testing.assert_allclose(theirs, losses(training_of("numpy", workload), 12), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SMALL | LARGER)
def test_what_torch_compiles_trains_as_the_step_by_hand_does(kind):
    torch = pytest.importorskip("torch")
    if " " in torch.__file__:
        pytest.skip("torch.compile gives the linker the path of its libraries unquoted, and this one has a space")
    workload = (SMALL | LARGER)[kind]
    theirs = losses(training_of("torch-compile", workload), 12)
    np.testing.assert_allclose(theirs, losses(training_of("numpy", workload), 12), rtol=1e-4)


@pytest.mark.parametrize("kind", SMALL | LARGER)
def test_the_compiled_step_trains_as_the_eager_one(kind):
    workload = (SMALL | LARGER)[kind]
    compiled, eager = (losses(training_of(name, workload), 12) for name in ("tinygraph", "eager"))
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)


def test_neighbours_are_the_square_around_a_node():
    near = neighbors(SMALL["neighbourhoods"])
    for i in range(16):
        for j in range(16):
            assert near[i, j] == (abs(i // 4 - j // 4) <= 1 and abs(i % 4 - j % 4) <= 1)
    sources, targets = edges(near)
    assert [near[s, t] for s, t in zip(sources, targets, strict=True)] == [True] * near.sum()
    assert (np.diff(targets) >= 0).all()
    weights = initial_weights(SMALL["neighbourhoods"])
    assert [np.array_equal(W != 0, near) for W in weights] == [True, True, False]


def test_the_two_branches_are_those_of_the_documentation():
    page = Path(__file__).resolve().parents[2] / "docs" / "custom-architecture.md"
    names = {"__name__": "page"}
    exec(page.read_text().split("```python\n")[1].split("net, digits =")[0], names)
    net = names["Mirrored"]()
    weights = [p for p in net.parameters() if p.role == "weight"]
    for W, value in zip(weights, initial_weights(LARGER["two-branches"]), strict=True):
        W.assign_(value)
    training = training_of("numpy", LARGER["two-branches"])
    x, t = training.batches[0]
    assert float(names["loss"](net(tg.tensor(x)), tg.tensor(t))) == pytest.approx(training.step(x, t), rel=1e-5)


def canned():
    blocks = {"tinygraph": [1.0, 2.0, 9.0], "eager": [0.5] * 3, "jax": [4.0, 3.0, 5.0], "numpy": [8.0, 8.0, 1.0]}
    warm_up = {name: {"first_call": 0.25} for name in blocks}
    memory = {"tinygraph": 1_230_000, "jax": 45_600}
    left_out = {"mygrad": "not installed"}
    return measure.Result(WORKLOADS["overhead"], blocks=blocks, warm_up=warm_up, memory=memory, left_out=left_out)


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
    monkeypatch.setattr(processes.sys, "executable", "false")
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
    monkeypatch.setattr(processes.sys, "executable", str(sleeper))
    result = measure.run(WORKLOADS["overhead"], ["numpy"], rounds=1, seconds=0.01, threads=None, say=str, patience=0.2)
    assert result.left_out["numpy"] == "no answer within 0.2 s"


def test_without_tinygraph_there_are_no_ratios_and_no_failure():
    result = canned()
    del result.blocks["tinygraph"]
    assert result.ratios == {}
    assert any("NumPy" in line for line in report.table(result))
    ElementTree.fromstring(report.picture([result]))


def test_the_table_names_the_best_peer_and_who_was_left_out():
    said = list(report.table(canned()))
    assert [line for line in said if "best peer" in line] == [line for line in said if "JAX" in line]
    assert any("MyGrad" in line and "not installed" in line for line in said)


def test_the_table_has_first_calls_and_memory():
    said = {line[2:20].strip(): line for line in report.table(canned())}
    assert said["tinygraph compiled"].split()[-4:] == ["250", "ms", "1.23", "MB"]
    assert "250 ms  45.6 kB" in said["JAX jit"]
    assert said["NumPy by hand"].split()[-2:] == ["-", "0.25"]  # not known


@pytest.mark.parametrize(("busy", "text"), [(0, ""), (1, ", beside 1 busy process"), (3, ", beside 3 busy processes")])
def test_table_and_picture_say_beside_how_many_processes(monkeypatch, busy, text):
    monkeypatch.setattr(report, "image", lambda figure: figure)
    result = canned()
    result.busy = busy
    assert next(iter(report.table(result))) == f"overhead: {result.workload.title}{text}"
    assert report.picture([result]).axes[0].get_xlabel().endswith(f"tinygraph compiled = 1{text}")


@pytest.mark.parametrize(("count", "text"), [(0, "0.00 kB"), (12_345, "12.3 kB"), (1e6, "1.00 MB"), (2.5e11, "250 GB")])
def test_sizes(count, text):
    assert report.size(count) == text


def serve(monkeypatch, training, questions, device):
    """The answers of a worker whose contender trains like this."""
    contender = Contender("fake", "a fake", "", "", on_gpu=True)
    monkeypatch.setattr(Contender, "load", lambda self: lambda workload, device: training)
    monkeypatch.setitem(worker.CONTENDERS, "fake", contender)
    answers = io.StringIO()
    worker.serve("overhead", "fake", device, io.StringIO(questions), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_memory_is_what_the_process_takes_at_its_peak(monkeypatch):
    def step(x, y):
        with mmap.mmap(-1, 8_000_000 * len(y)) as taken:  # fresh from the system, where arrays may not be
            taken[:: mmap.PAGESIZE] = bytes(len(range(0, len(taken), mmap.PAGESIZE)))
        return 1.0

    monkeypatch.setattr(worker, "LEAST_SECONDS", 0.0)
    ready, after = serve(monkeypatch, Training(step, [(0, [0]), (0, [0] * 6)]), "2\n", "cpu")
    if ready["memory"] is None:
        pytest.skip("this system does not tell")
    assert 7e6 < ready["memory"] < 30e6
    assert 47e6 < after["memory"] < 70e6  # the larger batch comes later


def test_on_a_gpu_memory_is_what_the_library_counts(monkeypatch):
    counts = iter([5, 7])
    training = Training(lambda x, y: 1.0, [(0, 0)], memory=lambda: next(counts))
    assert [said["memory"] for said in serve(monkeypatch, training, "1\n", "cuda")] == [5, 7]
    uncounted = Training(lambda x, y: 1.0, [(0, 0)])
    assert [said["memory"] for said in serve(monkeypatch, uncounted, "1\n", "cuda")] == [None, None]


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
    assert measured["memory"].keys() == {"tinygraph", "numpy"}
    assert facts["settings"] == {"rounds": 2, "seconds": 0.02, "threads": None, "device": "cpu", "busy": 0}
    assert measured["clock"] == "wall clock"
    versions = facts["environment"]["versions"]
    assert {"tinygraph", "numpy", "python"} <= set(versions)
    assert all(versions)
    ElementTree.parse(tmp_path / "bench" / "bench.svg")
    assert sorted(path.name for path in (tmp_path / "bench").iterdir()) == ["bench.json", "bench.svg"]


def test_a_worker_that_dies_is_left_out_with_its_last_words(monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", "false")
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
        (("--busy", -1), "busy must be a whole number of at least 0, got -1"),
        (("--busy", "1.5"), "valid integer"),
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
