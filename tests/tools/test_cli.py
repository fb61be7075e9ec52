"""The command line, as its users meet it."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.tools import training

pytestmark = pytest.mark.host


def test_training_with_no_arguments_writes_everything(tinygraph, tmp_path):
    status, out, err = tinygraph("train")
    assert (status, err) == (0, "")
    error = float(re.search(r"^test error ([\d.]+) %$", out.splitlines()[-1]).group(1))
    assert error <= 4
    folder = tmp_path / "runs" / "fully_connected-digits"
    written = {path.name for path in folder.iterdir()}
    assert {"history.csv", "curves.svg", "weights.safetensors", "run.json"} < written
    assert written & {"graph.svg", "graph.dot"}
    facts = json.loads((folder / "run.json").read_text())
    assert facts["settings"]["seed"] == 0
    assert facts["results"]["test_error"] == pytest.approx(error / 100, abs=5e-4)
    assert {"tinygraph", "numpy", "python"} <= set(facts["versions"])
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + facts["settings"]["epochs"]


def test_a_second_run_gets_a_folder_of_its_own(tinygraph, tmp_path):
    for _ in range(2):
        assert tinygraph("train", "--epochs", 1)[0] == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "fully_connected-digits",
        "fully_connected-digits-2",
    ]


def test_the_same_seed_writes_the_same_weights(tinygraph, tmp_path):
    for name in ("a", "b"):
        tinygraph("train", "--epochs", 2, "--out", name, "--seed", 3)
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


@pytest.mark.parametrize("model", ["fully_connected", "siamese", "autoencoder"])
def test_another_backend(tinygraph, model):
    assert tinygraph("train", model, "--epochs", 1, "--backend", "strict")[::2] == (0, "")


def test_resuming_equals_never_stopping(tinygraph, tmp_path):
    tinygraph("train", "--epochs", 4, "--out", "whole")
    tinygraph("train", "--epochs", 2, "--out", "parts")
    status, out, _ = tinygraph("train", "--epochs", 4, "--out", "parts", "--resume")
    assert status == 0
    assert "4 epochs" in out
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts"))
    assert a == b


def test_checkpoints_as_often_as_is_wanted(tinygraph, tmp_path):
    status, _, _ = tinygraph("train", "--epochs", 1, "--out", "r", "--checkpoint-every", "20", "--keep", 2)
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "r").glob("checkpoint*")) == [
        "checkpoint.iteration-40.safetensors",
        "checkpoint.safetensors",
    ]
    for options, text in (
        (["--checkpoint-every", "daily"], "--checkpoint-every must be a number of updates such as 500"),
        (["--keep", 0], "--keep must be a whole number of at least 1"),
    ):
        status, _, err = tinygraph("train", "--out", "s", *options)
        assert (status, text in err) == (2, True)
        assert not (tmp_path / "s").exists()


def test_without_a_renderer_the_dot_source_is_written_and_told(tinygraph, tmp_path, monkeypatch):
    def render(self, path):
        raise tg.RenderError("no renderer: get one so")

    monkeypatch.setattr(tg.Graph, "render", render)
    status, out, _ = tinygraph("train", "--epochs", 1, "--out", "r")
    assert status == 0
    assert "no graph.svg: no renderer: get one so" in out
    assert (tmp_path / "r" / "graph.dot").read_text().startswith("digraph")
    assert not (tmp_path / "r" / "graph.svg").exists()


def test_predictions_for_a_file(tinygraph, tmp_path):
    tinygraph("train", "--out", "r")
    X, Y = tg.data.load("digits").test
    np.savetxt(tmp_path / "in.csv", X[:20], delimiter=",")
    status, out, _ = tinygraph("predict", "r", "in.csv")
    lines = out.splitlines()
    assert (status, lines[0], len(lines)) == (0, "row,class,probability", 21)
    right = [int(line.split(",")[1]) == y for line, y in zip(lines[1:], Y[:20].argmax(1), strict=True)]
    assert sum(right) >= 18


@pytest.mark.parametrize("suffix", ["svg", "dot"])
def test_drawing(tinygraph, tmp_path, suffix):
    status, out, _ = tinygraph("render", "--backward", "-o", f"net.{suffix}")
    assert status == 0
    assert re.match(rf"wrote net\.{suffix}: \d+ nodes", out)
    assert "layer2" in (tmp_path / f"net.{suffix}").read_text()


@pytest.mark.parametrize(
    ("options", "name"),
    [(("--html",), "net.html"), (("-o", "page.HTML"), "page.HTML"), (("siamese", "--html"), "net.html")],
)
def test_a_page(tinygraph, tmp_path, options, name):
    status, out, _ = tinygraph("render", *options)
    assert (status, out[: len(name) + 7]) == (0, f"wrote {name}:")
    page = (tmp_path / name).read_text()
    assert page.startswith("<!doctype html>")
    assert '["backward",' in page


def test_checking_every_operation(tinygraph):
    status, out, _ = tinygraph("check")
    assert status == 0
    assert re.search(r"numpy: (\d+) of \1 pass, largest difference \d", out)


def test_checking_tells_a_wrong_rule(tinygraph, monkeypatch):
    class Wrong(tg.Op):
        rule = "dx = 0, which is wrong"

        def forward(self, xp, x, out=None):
            return xp.exp(x)

        def backward(self, dy, y, x):
            return (dy * 0.0,)

    monkeypatch.setattr("tinygraph.tools.check.cases", lambda: {"wrong": (Wrong(), [np.ones(2)])})
    status, out, _ = tinygraph("check")
    assert status == 1
    assert "numpy wrong: gradcheck: input 0 at [0]" in out
    assert "0 of 1 pass" in out


def test_info_names_versions_backends_and_renderer(tinygraph):
    status, out, _ = tinygraph("info")
    assert status == 0
    for text in (f"tinygraph    {tg.__version__}", "numpy: ok", "renderer", "threads", "plans        "):
        assert text in out


def test_a_command_keeps_freed_memory(tinygraph, monkeypatch):
    asked = []
    monkeypatch.setattr("tinygraph.tools.cli.reuse_memory", lambda: asked.append(True))
    assert tinygraph("info")[0] == 0
    assert len(asked) == 1


def test_the_version_is_printed(tinygraph):
    assert tinygraph("--version") == (0, f"tinygraph {tg.__version__}\n", "")


def test_no_arguments_show_the_commands(tinygraph):
    status, out, _ = tinygraph()
    assert status == 0
    for command in ("train", "predict", "render", "figure", "check", "info"):
        assert command in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--activation", "rleu"], "activation 'rleu' is not known; known: .*did you mean 'relu'"),
        (["train", "--data", "mnits"], "fully_connected: data set 'mnits' is not known; known: .*'mnist'"),
        (["train", "fully_conected"], "model 'fully_conected' is not known"),
        (["train", "--backend", "cuda"], "backend 'cuda' is not known"),
        (["train", "--hidden", "64,x"], "hidden: expected whole numbers"),
        (["train", "--hidden", "0"], "hidden: expected whole numbers from 1 to 2147483647"),
        (["train", "--epochs", "0"], "epochs must be a whole number of at least 1, got 0"),
        (["train", "--batch-size", "0"], "batch-size must be a whole number of at least 1, got 0"),
        (["train", "--lr", "-1"], "lr must be a finite number above 0, got -1.0"),
        (["train", "--lr", "fast"], "Invalid value for '--lr'"),
        (["train", "--momentum", "1"], "momentum must be at least 0 and below 1"),
        (["train", "--l2", "nan"], "l2 must be a finite number of at least 0, got nan"),
        (["train", "--seed", "-1"], "seed: expected a whole number"),
        (["train", "--resume"], "say with --out which folder"),
        (["train", "--resume", "--out", "absent"], "absent holds no run"),
        (["train", "--out", "/dev/null/x"], "cannot make the folder /dev/null/x: Not a directory"),
        (["train", "--nonsense"], "No such option:? .?--nonsense"),
        (["trian"], "No such command 'trian'"),
        (["predict", "absent", "in.csv"], "absent holds no run"),
        (["render", "-o", "net.gif"], r"the name must end in \.svg, \.png, \.pdf"),
        (["render", "-o", "absent/net.dot"], "cannot write absent/net.dot"),
        (["render", "--html", "-o", "net.svg"], "--html: the name of a page must end in .html"),
        (["render", "-o", "absent/net.html"], "'absent' is not a folder"),
    ],
)
def test_mistakes_end_in_one_line_and_status_two(tinygraph, tmp_path, arguments, text):
    status, out, err = tinygraph(*arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(text, err)
    assert list(tmp_path.iterdir()) == []  # nothing half-written is left


def test_a_run_is_not_overwritten_and_another_ones_checkpoint_not_taken(tinygraph):
    tinygraph("train", "--epochs", 1, "--out", "r")
    status, _, err = tinygraph("train", "--epochs", 1, "--out", "r")
    assert (status, "r already holds a run; --resume continues it" in err) == (2, True)
    status, _, err = tinygraph("train", "--epochs", 2, "--out", "r", "--resume", "--lr", "0.5")
    assert (status, "lr is 0.05 there and 0.5 here" in err) == (2, True)


def test_damaged_files_of_a_run_are_told(tinygraph, tmp_path):
    tinygraph("train", "--epochs", 1, "--out", "r")
    np.save(tmp_path / "in.npy", np.zeros((2, 63)))
    status, _, err = tinygraph("predict", "r", "in.npy")
    assert (status, "in.npy: expected 64 numbers a row, got 63" in err) == (2, True)
    (tmp_path / "r" / "weights.safetensors").write_bytes(b"damaged")
    np.save(tmp_path / "in.npy", np.zeros((2, 64)))
    status, _, err = tinygraph("predict", "r", "in.npy")
    assert (status, "weights.safetensors: not a safetensors file, or damaged" in err) == (2, True)
    (tmp_path / "r" / "run.json").write_text("{")
    assert tinygraph("predict", "r", "in.npy")[0] == 2


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("true"), reason="permissions of a POSIX system")
def test_a_folder_that_cannot_be_written_to(tinygraph, tmp_path, monkeypatch):
    def refuse(path, content):
        raise tg.DataError(f"cannot write {path}: Permission denied; choose a folder that exists and can be written to")

    monkeypatch.setattr(training, "write_file", refuse)
    status, _, err = tinygraph("train", "--out", "locked")
    assert (status, "Permission denied" in err) == (2, True)


def test_the_command_is_quiet_when_not_on_a_terminal(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tinygraph.tools.cli", "train", "--epochs", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_progress_bar_shows_on_a_terminal(tmp_path):
    script = shutil.which("script")
    if script is None:
        pytest.skip("no program 'script' to make a terminal with")
    command = shlex.join([sys.executable, "-m", "tinygraph.tools.cli", "train", "--epochs", "3"])
    done = subprocess.run([script, "-qec", command, "/dev/null"], cwd=tmp_path, capture_output=True, text=True)
    assert "3/3" in done.stdout
    assert "validation error" in done.stdout
