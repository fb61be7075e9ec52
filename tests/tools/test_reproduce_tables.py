"""``tinygraph reproduce``: the tables of Exs. 65.9 and 65.10, at sizes that train in a moment."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from data_files import SHARED

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.checkpoint import read_arrays
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import fully_connected
from tinygraph.tools import reproduce
from tinygraph.tools.reproduce import tables
from tinygraph.tools.reproduce.tables import Row, Table

pytestmark = pytest.mark.host
SLEEP = (0.1, 0.5, 0.5)
SMALL = Table(
    "small",
    "errors of a moment",
    "digits",
    (64, 9, 8, 10),
    {
        "sigmoid": Row("sigmoid", printed=(2.18, 1.02)),
        "dropout": Row("relu", SLEEP, 3, printed=(6.22, 6.25)),
        "more": Row("tanh"),
    },
)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Small networks on the small digits, in a folder of the test's own; a pass is 40 samples."""

    def few(*arguments, **options):
        digits = load(*arguments, **options)
        parts = {name: tuple(a[::36] for a in getattr(digits, name)) for name in ("train", "test")}
        return data.Dataset(**{**vars(digits), **parts})

    load = data.load
    monkeypatch.setattr(data, "load", few)
    monkeypatch.setitem(reproduce.REPRODUCTIONS, "small", reproduce.of_table(SMALL))
    monkeypatch.chdir(tmp_path)


def once(**options):
    return list(reproduce.run("small", **options))


def passes(row, out="runs/small"):
    return json.loads(Path(out, f"{row}.json").read_text())


def parameters(row, out="runs/small"):
    arrays, _ = read_arrays(Path(out, f"{row}.safetensors"))
    return {name.removeprefix("net."): a for name, a in arrays.items() if name.startswith("net.")}


def share_wrong(X, Y, W, activation, awake=(1, 1, 1), theta=(1, 1, 1)):
    """The share of wrong decisions of a network with these parameters, in NumPy: signals times `awake`."""
    y = X.astype(np.float64)
    for l in (1, 2, 3):
        z = (awake[l - 1] * y) @ W[f"layer{l}.W"] - theta[l - 1] * W[f"layer{l}.theta"]
        y = activation(z)
    return np.mean(z.argmax(axis=1) != Y.argmax(axis=1))


def test_the_tables_are_those_of_the_chapter():
    text = (SHARED.parent / "chapter" / "chapter.md") if SHARED.exists() else None
    if text is None or not text.exists():
        pytest.skip("needs the chapter's text")
    for table, first in ((tables.MNIST, "sigmoid\t"), (tables.CIFAR, "w/ dropout\t")):
        lines = text.read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith(first))
        printed = [lines[start + k].split("\t") for k in range(len(table.printed_rows))]
        for name, (_, test, test_count, training, training_count) in zip(table.printed_rows, printed, strict=True):
            row = table.rows[name]
            assert row.printed == (float(test.rstrip("%")), float(training.rstrip("%")))
            for percent, count, of in (
                (row.printed[0], test_count, 10_000),
                (row.printed[1], training_count, 60_000 if table is tables.MNIST else 50_000),
            ):
                assert round(percent / 100 * of) == pytest.approx(int(count), abs=3)
            assert table.sizes[0] in (784, 3072)
    assert {name: (row.activation, row.dropout, row.passes) for name, row in tables.MNIST.rows.items()} == {
        "sigmoid": ("sigmoid", None, 200),
        "tanh": ("tanh", None, 200),
        "rectifier": ("relu", None, 200),
        "dropout": ("sigmoid", SLEEP, 200),
        "rectifier-dropout": ("relu", SLEEP, 200),
    }
    assert {name: (row.activation, row.dropout, row.passes) for name, row in tables.CIFAR.rows.items()} == {
        "rectifier": ("relu", None, 200),
        "dropout": ("relu", SLEEP, 300),
    }


@pytest.mark.parametrize("name", ["sigmoid", "more"])
def test_a_row_is_trained_by_single_samples_with_the_settings_of_the_examples(name):
    once(passes=2, rows=name, seed=4)
    digits = data.load("digits", center="each")
    net = fully_connected(SMALL.sizes, SMALL.rows[name].activation, init_bias="standard_normal", seed=4)
    sgd = optim.SGD(net.parameters(), 0.001)
    tg.fit(net, losses.cross_entropy, digits.train, sgd, 2, 1, l2=0.0001, progress=False, seed=4)
    for key, value in parameters(name).items():
        np.testing.assert_array_equal(value, net.state_dict()[key].numpy())


def test_errors_are_those_of_the_parameters_written():
    digits = data.load("digits", center="each")
    lines = once(passes=6)
    for name, activation in (("sigmoid", lambda z: 1 / (1 + np.exp(-z))), ("dropout", lambda z: np.maximum(z, 0))):
        last, W = passes(name)[-1], parameters(name)
        awake = [1 - p for p in SMALL.rows[name].dropout or (0, 0, 0)]
        assert last["test_error"] == share_wrong(*digits.test, W, activation, awake)
        assert last["training_error"] == share_wrong(*digits.train, W, activation, awake)
        line = next(line for line in lines if line.startswith(f"{name}, 6 passes"))
        assert f"test error {100 * last['test_error']:#.3g} %" in line
        assert f"training error {100 * last['training_error']:#.3g} %" in line
        around_training_mean = data.load("digits", center="train").test
        assert last["test_error_training_mean"] == share_wrong(*around_training_mean, W, activation, awake)
    assert last["test_error_scaled_biases"] == share_wrong(*digits.test, W, activation, awake, awake)
    assert [p["pass"] for p in passes("sigmoid")] == [1, 2, 3, 4, 5, 6]
    assert [p["pass"] for p in passes("sigmoid") if "training_error" in p] == [1, 5, 6]
    assert Path("runs/small/curves.svg").read_bytes().startswith(b"<?xml")


def test_passes_added_and_passes_after_a_kill_end_with_the_same_bits():
    once(passes=4, out=Path("whole"))
    once(passes=1, out=Path("parts"))
    once(passes=2, rows="dropout", out=Path("parts"))
    for name in ("sigmoid", "dropout"):  # killed when the checkpoint was written and the errors were not
        path = Path("parts", f"{name}.json")
        path.write_text(json.dumps(passes(name, "parts")[:-1]))
    once(passes=4, out=Path("parts"))
    for name in ("sigmoid", "dropout"):
        whole, parts = parameters(name, "whole"), parameters(name, "parts")
        assert whole.keys() == parts.keys()
        for key in whole:
            np.testing.assert_array_equal(whole[key], parts[key])
        tests = [[p["test_error"] for p in passes(name, out)] for out in ("whole", "parts")]
        assert tests[0] == tests[1]
        assert len(tests[0]) == 4


def test_fewer_passes_than_were_made_change_nothing():
    once(passes=3, rows="more")
    before = Path("runs/small/more.safetensors").read_bytes()
    lines = once(passes=2, rows="more")
    assert Path("runs/small/more.safetensors").read_bytes() == before
    assert any(line.startswith("more, 3 passes of 200") for line in lines)


def test_without_passes_a_row_takes_those_of_the_chapter():
    once(rows="dropout")
    assert len(passes("dropout")) == 3


@pytest.mark.parametrize("option", [{"seed": 1}, {"biases": "zeros"}])
def test_a_folder_with_another_run_is_refused(option):
    once(passes=1, rows="more")
    before = Path("runs/small/more.safetensors").read_bytes()
    ((name, value),) = option.items()
    with pytest.raises(ArgumentError, match=rf"runs/small holds another run: {name} .* there and {value!r} here"):
        once(passes=1, rows="more", **option)
    assert Path("runs/small/more.safetensors").read_bytes() == before


def test_a_damaged_folder_is_told():
    once(passes=1, rows="more")
    Path("runs/small/more.json").write_text("[")
    with pytest.raises(DataError, match=r"more\.json: damaged"):
        once(passes=2, rows="more")


# the command ------------------------------------------------------------------------------------


def test_the_command_lists_the_experiments_and_runs_one(tinygraph):
    status, said, err = tinygraph("reproduce")
    assert (status, err) == (0, "")
    assert re.search(r"^table-65\.3 .*\[--passes\] \[--rows\]", said, re.MULTILINE)
    status, said, err = tinygraph("reproduce", "small", "--passes", 1, "--rows", "more, sigmoid")
    assert (status, err) == (0, "")
    assert [line.split(",")[0] for line in said.splitlines()[1:3]] == ["more", "sigmoid"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["table-65.5"], "experiment 'table-65.5' is not known"),
        (["small", "--rows", "relu"], "small: row 'relu' is not known; known: sigmoid, dropout, more"),
        (["small", "--passes", 0], "passes must be"),
        (["small", "--biases", "ones"], "biases 'ones' is not known"),
        (["small", "--seed", -1], "seed"),
        (["--passes", 3], "options need a name before them"),
    ],
)
def test_mistakes_are_one_line(tinygraph, arguments, text):
    status, _, err = tinygraph("reproduce", *arguments)
    assert status == 2
    assert text in err
    assert err.count("\n") == 1
    assert not list(Path().iterdir())
