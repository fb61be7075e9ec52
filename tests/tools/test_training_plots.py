"""``tinygraph train --plot``: which pictures are drawn, and what does not fit."""

import re

import pytest

from tinygraph.tools import training_plots

pytestmark = pytest.mark.host
QUICK = ("--epochs", 1, "--hidden", 8, "--out", "r")
BESIDE = {"curves", "graph"}  # what every run draws
LAYERS = {"gradients", "saturation", "updates", "activations"}


def drawn(folder):
    return {path.stem for path in folder.glob("*.svg")} - BESIDE


def test_the_plots_asked_for_are_written_and_told(tinygraph, tmp_path):
    status, out, err = tinygraph("train", *QUICK, "--plot", "gradients", "--plot", "confusion", "--plot", "gradients")
    assert (status, err) == (0, "")
    assert drawn(tmp_path / "r") == {"gradients", "confusion"}
    assert re.search(r"^wrote r: .*run\.json, gradients\.svg, confusion\.svg$", out, re.MULTILINE)


def test_without_the_option_there_are_none(tinygraph, tmp_path):
    assert tinygraph("train", *QUICK)[0] == 0
    assert drawn(tmp_path / "r") == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fully_connected",), LAYERS | {"confusion", "roc", "weights"}),
        (("autoencoder",), LAYERS | {"weights", "reconstructions", "embeddings"}),
        (("multitask",), LAYERS | {"roc", "weights"}),
        (("siamese", "--noise", 0), LAYERS | {"roc", "weights", "embeddings"}),
    ],
)
def test_all_are_those_that_fit(tinygraph, tmp_path, arguments, expected):
    status, _, err = tinygraph("train", *arguments, *QUICK, "--plot", "all")
    assert (status, err) == (0, "")
    assert drawn(tmp_path / "r") == expected


def test_regions_of_a_table_of_two_columns(tinygraph, tmp_path, rng):
    points = rng.standard_normal((60, 2))
    rows = [f"{u:.3f},{v:.3f},{'in' if u * u + v * v < 1 else 'out'}" for u, v in points]
    (tmp_path / "points.csv").write_text("\n".join(["u,v,where", *rows]))
    status, _, err = tinygraph("train", "--data", "points.csv", "--target", "where", *QUICK, "--plot", "all")
    assert (status, err) == (0, "")
    assert {"confusion", "regions", "roc"} <= drawn(tmp_path / "r")
    for name in ("confusion", "regions", "roc"):  # in the table's own words
        texts = set(re.findall(r"<!-- (.*?) -->", (tmp_path / "r" / f"{name}.svg").read_text()))
        assert {text.partition(":")[0] for text in texts} >= {"in", "out"}, name


def test_training_is_the_same_with_plots(tinygraph, tmp_path):
    for folder, options in (("a", ()), ("b", ("--plot", "all"))):
        assert tinygraph("train", "--epochs", 2, "--hidden", 8, "--out", folder, *options)[0] == 0
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--plot", "gradient"), "--plot: 'gradient' is not known; known: gradients, .*all; did you mean 'gradients'"),
        (("--plot", "embeddings"), "--plot embeddings does not fit fully_connected: the network has no embedding"),
        (("--plot", "regions"), r"--plot regions does not fit .*two inputs, shape \(n, 2\), got \(355, 64\)"),
        (("autoencoder", "--plot", "confusion"), "--plot confusion does not fit autoencoder: .*classes"),
        (("transfer", "--plot", "gradients"), "--plot gradients does not fit transfer: it is not trained in one run"),
    ],
)
def test_what_does_not_fit_is_told_before_training(tinygraph, tmp_path, arguments, text):
    status, out, err = tinygraph("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(text, err)
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_plot(tinygraph):
    told = re.sub(r"\s+", " ", tinygraph("train", "--help")[1])
    assert [name for name in (*training_plots.NAMES, training_plots.ALL) if name not in told] == []
