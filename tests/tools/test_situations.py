"""The command line where things go wrong around it: closed streams, full disks, signals, odd files, two at once."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinygraph as tg
from tinygraph.tools import training
from tinygraph.tools.experiments import settings_of

pytestmark = [pytest.mark.host, pytest.mark.skipif(sys.platform == "win32", reason="situations of a POSIX system")]
COMMAND = [sys.executable, "-m", "tinygraph.tools.cli"]
TRAIN = [*COMMAND, "train", "--epochs", "1", "--hidden", "8"]


@pytest.fixture
def started(tmp_path):
    """Start a command in an empty folder; return the process, whose streams are texts."""
    processes = []

    def start(*arguments, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, **options}
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | options.pop("env", {})
        processes.append(subprocess.Popen([str(a) for a in arguments], env=environment, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process):
    """Return exit status, output and error output."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


@pytest.mark.parametrize(
    ("arguments", "options", "status", "text"),
    [
        pytest.param(["--out", "a" * 300], {}, 2, "cannot make the folder aaa", id="a name of 300 letters"),
        pytest.param(["--hidden", str(10**30)], {}, 2, "whole numbers from 1 to 2147483647", id="10**30 nodes"),
        pytest.param(["--hidden", "9" * 5000], {}, 2, "whole numbers from 1 to 2147483647", id="too many digits"),
        pytest.param(["--hidden", "2000000000"], {}, 2, "out of memory", id="2 billion nodes"),
        pytest.param(["--lr", "1e9", "--out", "r"], {}, 2, "the loss became", id="a run that diverges"),
        pytest.param(["--noise", "0.3"], {}, 2, "fully_connected has no --noise", id="an option of others"),
        pytest.param(["--optimizer", "adam", "--momentum", "0.5"], {}, 2, "adam has no --momentum", id="momentum"),
        pytest.param(["--allow-change", "lr"], {}, 2, "for a run that --resume continues", id="a change of no run"),
        pytest.param(["--out", "file/x"], {}, 2, "cannot make the folder file/x", id="a file in the path"),
        pytest.param(["--out", "file"], {}, 2, "a file has its name", id="a file of that name"),
        pytest.param([], {"env": {"MPLBACKEND": "nonsense"}}, 0, "", id="a Matplotlib backend that is none"),
        pytest.param([], {"env": {"HOME": "absent", "TMPDIR": "absent"}}, 0, "", id="no home"),
        pytest.param([], {"env": {"LC_ALL": "C", "PYTHONUTF8": "0"}}, 0, "", id="the C locale"),
        pytest.param([], {"stdin": subprocess.DEVNULL}, 0, "", id="no input"),
    ],
)
def test_situations_of_training(started, tmp_path, arguments, options, status, text):
    (tmp_path / "file").write_text("")
    found, _, err = ended(started(*TRAIN, *arguments, **options))
    assert found == status, err
    assert text in err
    assert err.count("\n") == (status != 0)
    if status:
        assert [p.name for p in tmp_path.iterdir()] == ["file"], "a failed start leaves nothing"


@FULL
def test_an_output_that_is_full(started, tmp_path):
    with open("/dev/full", "w") as full:
        status, _, err = ended(started(*TRAIN, "--out", "r", stdout=full))
    assert (status, err) == (2, "tinygraph: cannot write the output: No space left on device\n")


def test_an_output_nobody_reads(started):
    process = started(*TRAIN, stdout=subprocess.PIPE)
    process.stdout.close()
    process.stdout = None
    assert ended(process)[::2] == (1, "")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams(started, tmp_path, closed):
    process = started("sh", "-c", f'exec "$@" {closed}>&-', "sh", *TRAIN, "--out", "r")
    status, _, err = ended(process)
    assert (status, err) == (0, "")
    assert (tmp_path / "r" / "run.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(started, tmp_path, number):
    process = started(*COMMAND, "train", "--epochs", "100000", "--hidden", "8", "--out", "a run")
    wait_for(tmp_path / "a run" / "checkpoint.safetensors", process)
    process.send_signal(number)
    status, _, err = ended(process)
    assert status == 128 + number
    assert err == "tinygraph: stopped; go on with: tinygraph train --resume --out 'a run'\n"
    np.save(tmp_path / "x.npy", np.zeros((1, 64)))
    status, _, err = ended(started(*COMMAND, "predict", "a run", "x.npy"))
    assert (status, "holds a run that has not ended" in err) == (2, True)
    done = len(json_of_checkpoint(tmp_path / "a run")["rows"]) + 1
    resumed = started(*COMMAND, "train", "--epochs", done, "--hidden", "8", "--resume", "--out", "a run")
    assert ended(resumed)[0] == 0


WHILE_IMPORTING = """
import os, sys
class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Stops())
import tinygraph_command
sys.argv = ["tinygraph", "--version"]
tinygraph_command.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["tinygraph", "numpy", "tinygraph.optim", "typer", "tinygraph.tools.cli"])
def test_a_signal_while_the_command_imports_ends_it_in_one_line(started, name, number):
    code = WHILE_IMPORTING.format(name=name, number=int(number))
    assert ended(started(sys.executable, "-c", code)) == (128 + number, "", "tinygraph: stopped\n")
    without_stderr = started("sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code)
    assert ended(without_stderr)[0] == 128 + number


def test_the_command_begins_where_signals_are_taken(started):
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"tinygraph": "tinygraph_command:main"}
    said = started(sys.executable, "-c", WHILE_IMPORTING.format(name="absent", number=2))
    assert ended(said) == (0, f"tinygraph {tg.__version__}\n", "")
    loaded = "import sys, tinygraph_command; print([m for m in ('numpy', 'tinygraph') if m in sys.modules])"
    assert ended(started(sys.executable, "-c", loaded))[1] == "[]\n"


def test_a_signal_before_the_first_epoch_leaves_the_name_free(started, tmp_path):
    process = started(*COMMAND, "train", "graph_neighborhood", "--epochs", "9", "--batch-size", "1", "--out", "r")
    wait_for(tmp_path / "r" / "settings.json", process)
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    if not (tmp_path / "r").exists():
        assert (status, err) == (130, "tinygraph: stopped before the first epoch ended; nothing is kept\n")


def wait_for(path, process):
    until = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)


def json_of_checkpoint(folder):
    return tg.checkpoint.read_arrays(folder / "checkpoint.safetensors")[1]


def test_runs_that_start_together_get_two_folders(tmp_path, monkeypatch):
    """The second looks for a name after the first has looked and before it makes its folder."""
    monkeypatch.chdir(tmp_path)
    settings = settings_of("fully_connected")
    real = Path.mkdir

    def mkdir(path, *arguments, **options):
        if path.name == "fully_connected-digits" and not path.exists():
            real(path, parents=True)  # the other run is faster
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with training._run_folder(settings, None, False) as folder:
        assert folder == Path("runs/fully_connected-digits-2")


def test_one_name_for_two_runs_is_refused(tmp_path):
    settings = settings_of("fully_connected")
    with (
        training._run_folder(settings, tmp_path / "r", False),
        pytest.raises(tg.ArgumentError, match="already holds a run"),
        training._run_folder(settings, tmp_path / "r", False),
    ):
        raise AssertionError("the second run has the folder of the first")


@pytest.fixture
def finished(started, tmp_path):
    assert ended(started(*TRAIN, "--out", "r"))[0] == 0
    np.save(tmp_path / "x.npy", np.ones((2, 64)))
    return tmp_path / "r"


SETTINGS = {
    "hidden": 5,
    "model": "x",
    "init": {},
    "activation": 3,
    "backend": ["numpy"],
    "epochs": "7",
    "lr": None,
    "tied": 1,
    "seed": 1.5,
    "noise": True,
    "data": "none",
}


def test_facts_of_a_wrong_type(started, finished):
    """Each in one line, for `predict` (run.json) and for --resume (settings.json)."""
    run, settings = (finished / name for name in ("run.json", "settings.json"))
    facts, whole = json.loads(run.read_text()), settings.read_text()
    texts = [json.dumps(facts | {"settings": facts["settings"] | {k: v}}) for k, v in SETTINGS.items()]
    texts += ["[]", "{", "null", "[" * 10**5, '{"settings": []}', '{"settings": {"unknown": 1}}', "\0"]
    for text in texts:
        run.write_text(text)
        status, out, err = ended(started(*COMMAND, "predict", "r", "x.npy"))
        assert (status, out, err.count("\n")) == (2, "", 1), text[:80]
        assert "run.json" in err
    for text in ("[]", "{", "null", '{"model": 3}'):
        settings.write_text(text)
        status, _, err = ended(started(*TRAIN, "--out", "r", "--resume"))
        assert (status, err.count("\n")) == (2, 1), text
    settings.write_text(whole)
    status, _, err = ended(
        started(*TRAIN, "--out", "r", "--resume", "--lr", "0.01", "--allow-change", "lr", "--epochs", 2)
    )
    assert (status, err) == (0, "")


def test_no_class_is_answered_from_what_is_not_finite(started, finished, tmp_path):
    weights = load_file(finished / "weights.safetensors")
    whole = weights["layer1.W"].copy()
    for value in (np.nan, np.inf):
        weights["layer1.W"] = np.where(np.arange(8) == 3, np.float32(value), whole)
        save_file(weights, finished / "weights.safetensors")
        status, out, err = ended(started(*COMMAND, "predict", "r", "x.npy"))
        assert (status, out) == (2, "")
        assert "layer1.W has 64 of 512 elements that are NaN or infinite" in err
    save_file(weights | {"layer1.W": whole * np.float32(1e38)}, finished / "weights.safetensors")
    status, out, err = ended(started(*COMMAND, "predict", "r", "x.npy"))
    assert (status, out, "row 0: the network's output is not finite" in err) == (2, "", True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--optimizer", "adam"]])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(started, tmp_path, options):
    command = [*COMMAND, "train", "--epochs", "40", "--hidden", "16", *options]
    assert ended(started(*command, "--out", "whole"))[0] == 0
    expected = (tmp_path / "whole" / "weights.safetensors").read_bytes()
    rng = np.random.default_rng(len(options))
    for trial in range(10):
        out, killed = tmp_path / f"r{trial}", 0
        while not (out / "run.json").exists():
            resume = ["--resume"] if (out / "settings.json").exists() and (out / "settings.json").stat().st_size else []
            if out.exists() and not resume:  # killed before its first line was written
                (out / "settings.json").unlink(missing_ok=True)
            process = started(*command, "--out", out, *resume)
            try:
                process.wait(timeout=float(rng.uniform(0.5, 2.5)) if killed < 3 else 120)
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            ended(process)
        assert (out / "weights.safetensors").read_bytes() == expected
        assert not list(out.glob(".*.part"))
